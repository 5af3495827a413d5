package collection

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// MaxSample is the largest sample.
const MaxSample = 10_000

// Wanted is what a sample is drawn from, and how.
type Wanted struct {
	Size int
	Seed string
	KFL  string // only calls that match

	Population io.Writer // gets the population, one id and line feed each; nil: nobody
}

// Sample is calls that were drawn from the population of a period.
type Sample struct {
	Seed       string `json:"seed"`
	Size       int    `json:"size"` // as wanted; fewer calls if the population is smaller
	KFL        string `json:"kfl,omitempty"`
	Population int64  `json:"population"`
	SHA256     string `json:"population_sha256"`
	Unread     int64  `json:"bundles_unread"`
	Items      []Item `json:"calls"`
}

// Item is a call of a sample.
type Item struct {
	Rank int    `json:"rank"` // from 1
	Key  string `json:"key"`  // SHA-256 of seed, LF, call_id
	Part string `json:"part"` // first day of its sub-period
	ask.Call

	part int
}

// drawn is a heap of items whose first has the highest key.
type drawn []Item

func (d drawn) Len() int           { return len(d) }
func (d drawn) Less(i, j int) bool { return above(d[i], d[j]) > 0 }
func (d drawn) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *drawn) Push(x any)        { *d = append(*d, x.(Item)) }
func (d *drawn) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

func above(a, b Item) int {
	return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.CallID, b.CallID))
}

// Key orders a call in the sample of a seed.
func Key(seed, callID string) string {
	sum := sha256.Sum256([]byte(seed + "\n" + callID))
	return hex.EncodeToString(sum[:])
}

// CheckSeed checks a seed.
func CheckSeed(seed string) error {
	if seed == "" || len(seed) > maxWord || strings.ContainsFunc(seed, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("a seed has 1 to %d printable ASCII characters", maxWord)
	}
	return nil
}

// Draw draws a sample. The collection must have been read (Read). The errors of KFL are those of forensics.
func (s *State) Draw(ctx context.Context, o Options, want Wanted) (*Sample, error) {
	out := &Sample{Seed: want.Seed, Size: want.Size, KFL: want.KFL, Unread: s.unread(), Items: []Item{}}
	sum := sha256.New()
	r := &reader{access: o.Access, analyzers: o.Analyzers, file: s.file}
	best := &drawn{}
	for i, p := range s.Parts {
		if err := s.drawFrom(ctx, r, p, i, want, out, best, sum); err != nil {
			return nil, fmt.Errorf("drawing from %s: %w", p.Name(), err)
		}
	}
	out.SHA256, out.Items = hex.EncodeToString(sum.Sum(nil)), *best
	slices.SortFunc(out.Items, above)
	for i := range out.Items {
		out.Items[i].Rank = i + 1
	}
	return out, s.describe(ctx, r, out.Items)
}

// Record adds a sample to the log of the collection, so that somebody who draws until the calls suit him leaves traces.
func (s *State) Record(d *Sample, by bundle.Entry) (bundle.Digest, error) {
	by.Event = Sampled
	by.Details = map[string]string{"seed": d.Seed, "size": strconv.Itoa(d.Size), "population": strconv.FormatInt(d.Population, 10), "population_sha256": d.SHA256, collectionDetail: s.SHA256}
	if d.KFL != "" {
		by.Details["kfl"] = d.KFL
	}
	_, head, err := bundle.AppendLog(s.file.Beside(".log.jsonl"), by)
	return head, err
}

// bundlesOf are the bundles of a sub-period.
func (s *State) bundlesOf(p *Part) (list []*Bundle) {
	for _, b := range s.Bundles {
		if b.counts() && p.span.overlaps(span{b.Summary.First, b.Summary.Last}) {
			list = append(list, b)
		}
	}
	return list
}

// drawFrom adds the calls of a sub-period to the population.
func (s *State) drawFrom(ctx context.Context, r *reader, p *Part, number int, want Wanted, out *Sample, best *drawn, sum hash.Hash) error {
	list := s.bundlesOf(p)
	if len(list) == 0 {
		return nil
	}
	c, err := r.open(ctx, list...)
	if err != nil {
		return err
	}
	defer c.Close()
	w, err := ask.Scope{From: bundle.Time(p.span.from).String(), To: bundle.Time(p.span.to).String(), KFL: want.KFL}.Read(ctx, c)
	if err != nil {
		return err
	}
	write := io.Writer(sum)
	if want.Population != nil {
		write = io.MultiWriter(sum, want.Population)
	}
	_, err = c.Each(ctx, forensics.Query{SQL: "SELECT lower(hex(call_id)) AS id FROM calls WHERE " + w.Where + " ORDER BY 1", Args: w.Args, Named: true}, nil, func(_ []forensics.Column, row []any) error {
		id, _ := row[0].(string)
		out.Population++
		item := Item{Key: Key(want.Seed, id), Part: p.From, Call: ask.Call{CallID: id}, part: number}
		if len(*best) < want.Size {
			heap.Push(best, item)
		} else if above(item, (*best)[0]) < 0 {
			(*best)[0] = item
			heap.Fix(best, 0)
		}
		_, err := io.WriteString(write, id+"\n")
		return err
	})
	return err
}

// describe fills in what readers need to find the calls.
func (s *State) describe(ctx context.Context, r *reader, items []Item) error {
	for number, p := range s.Parts {
		var ids []string
		for _, x := range items {
			if x.part == number {
				ids = append(ids, x.CallID)
			}
		}
		if len(ids) == 0 {
			continue
		}
		calls, err := r.calls(ctx, s.bundlesOf(p), ids)
		if err != nil {
			return fmt.Errorf("describing the sample of %s: %w", p.Name(), err)
		}
		for i := range items {
			if call, ok := calls[items[i].CallID]; ok && items[i].part == number {
				items[i].Call = call
			}
		}
	}
	return nil
}

// calls reads calls by their ids.
func (r *reader) calls(ctx context.Context, list []*Bundle, ids []string) (map[string]ask.Call, error) {
	c, err := r.open(ctx, list...)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	out := map[string]ask.Call{}
	for some := range slices.Chunk(ids, 500) {
		found, err := ask.CallsOf(ctx, c, some)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, found)
	}
	return out, nil
}

// WriteCSV writes a sample for programs and spreadsheets. Text that begins like a formula gets a ' in front.
func (s *Sample) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"rank", "key", "call_id", "time", "protocol", "src", "dst", "summary", "status", "packets"})
	for _, x := range s.Items {
		_ = c.Write([]string{strconv.Itoa(x.Rank), x.Key, x.CallID, x.Time, x.Protocol, quote.Cell(x.Src), quote.Cell(x.Dst), quote.Cell(x.Summary), quote.Cell(x.Status), quote.Cell(x.Packets)})
	}
	c.Flush()
	return c.Error()
}
