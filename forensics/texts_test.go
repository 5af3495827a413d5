package forensics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
)

// contains gives a verdict to texts that contain a needle.
type contains struct {
	forensics.EveryText
	needle []byte
}

func (c contains) Text(_ int, text []byte) forensics.TextVerdict {
	if bytes.Contains(text, c.needle) {
		return 1
	}
	return 0
}

// Header keeps the verdicts for request headers.
func (c contains) Header(_ int, _, _, kind []byte, v forensics.TextVerdict) forensics.TextVerdict {
	if string(kind) == "request" {
		return v
	}
	return 0
}

// skipping judges only texts with the needle.
type skipping struct {
	contains
	block []byte
}

func (s *skipping) Begin(_ int, block []byte) { s.block = block }

func (s *skipping) Next(at int) int {
	if i := bytes.Index(s.block[at:], s.needle); i >= 0 {
		return at + i
	}
	return -1
}

// textPlaces are places of calls with their SQL.
var textPlaces = []struct {
	place forensics.TextPlace
	sql   string
}{
	{forensics.TextPlace{Columns: []string{"path"}}, "contains(path, ?)"},
	{forensics.TextPlace{Columns: []string{"query_string"}}, "contains(query_string, ?)"},
	{forensics.TextPlace{Columns: []string{"summary"}}, "contains(summary, ?)"},
	{forensics.TextPlace{Columns: []string{"postgresql_query"}}, "contains(postgresql_query, ?)"},
	{forensics.TextPlace{Columns: []string{"redis_command"}}, "contains(redis_command, ?)"},
	{forensics.TextPlace{Columns: []string{"redis_reply"}}, "contains(redis_reply, ?)"},
	{forensics.TextPlace{Columns: []string{"postgresql_params"}, Join: ", "}, "contains(array_to_string(postgresql_params, ', '), ?)"},
	{forensics.TextPlace{Columns: []string{"dns_answers"}, Join: " "}, "contains(array_to_string(dns_answers, ' '), ?)"},
	{forensics.TextPlace{Columns: []string{"postgresql_error_message", "postgresql_error_detail"}, Join: " "}, "contains(concat_ws(' ', postgresql_error_message, postgresql_error_detail), ?)"},
	{forensics.TextPlace{Columns: []string{"headers"}, Headers: true}, "len(list_filter(headers, lambda h: h.kind = 'request' AND contains(h.value, ?))) > 0"},
	{forensics.TextPlace{Columns: []string{"nowhere"}}, "? IS NULL"},
}

func TestTextsAreFoundWhereSQLFindsThem(t *testing.T) {
	found := map[int]bool{}
	for _, name := range []string{"shop.pcapng", "http1.pcapng", "http2.pcap", "grpc.pcapng", "postgresql.pcapng", "redis.pcap", "dns.pcap", "tls.pcapng"} {
		c := open(t, sample(t, name))
		for _, needle := range []string{"a", "e", ", ", "GET", "order", "1", "/", "application/json", "example", " "} {
			want := wanted(t, c, needle)
			for _, judge := range []func() forensics.TextJudge{
				func() forensics.TextJudge { return contains{needle: []byte(needle)} },
				func() forensics.TextJudge { return &skipping{contains: contains{needle: []byte(needle)}} },
			} {
				got := map[string]bool{}
				for line := range looked(t, c, judge) {
					got[line] = true
					var at int
					fmt.Sscan(line, &at)
					found[at] = true
				}
				if len(got) != len(want) {
					t.Errorf("%s: %q: %d finds, SQL has %d", name, needle, len(got), len(want))
				}
				for line := range want {
					if !got[line] {
						t.Errorf("%s: %q: place and call %s not found", name, needle, line)
						break
					}
				}
			}
		}
	}
	for i, p := range textPlaces {
		if p.sql != "? IS NULL" && !found[i] {
			t.Errorf("no sample has a find in %v", p.place.Columns)
		}
	}
}

// wanted returns the place and number of every call in which SQL finds a text.
func wanted(t *testing.T, c *forensics.Case, needle string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for i, p := range textPlaces {
		if p.sql == "? IS NULL" {
			continue
		}
		for _, row := range query(t, c, forensics.Query{SQL: "SELECT call_no FROM calls_raw WHERE " + p.sql, Args: []any{needle}, Limit: 1 << 20}).Rows {
			out[fmt.Sprint(i, row[0])] = true
		}
	}
	return out
}

// looked returns the place and number of every call in which a search finds a text.
func looked(t *testing.T, c *forensics.Case, judge func() forensics.TextJudge) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	var p forensics.Progress
	err := c.Texts(forensics.WithProgress(ctx, &p), forensics.Texts{Table: "calls", Places: placesOf(), Numbers: []string{"call_no"}, Judge: judge, Group: func(_ int, g *forensics.TextGroup) error {
		for _, h := range g.Hits {
			out[fmt.Sprint(h.Place, g.Numbers[0][h.Row])] = true
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if done, total := p.Bytes(); done != total || total == 0 {
		t.Errorf("looked through %d bytes of %d", done, total)
	}
	return out
}

func placesOf() (list []forensics.TextPlace) {
	for _, p := range textPlaces {
		list = append(list, p.place)
	}
	return list
}

func TestTextsOfATime(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	_, last, _ := c.Window()
	n := 0
	err := c.Texts(ctx, forensics.Texts{Table: "calls", Places: placesOf(), From: last + 1, Judge: func() forensics.TextJudge { return contains{} }, Group: func(_ int, g *forensics.TextGroup) error {
		n++
		return nil
	}})
	if err != nil || n > 0 {
		t.Errorf("%d row groups after the last packet, %v", n, err)
	}
}

func TestTextsEndWhenToldTo(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	enough := errors.New("enough")
	walk := forensics.Texts{Table: "calls", Places: placesOf(), Judge: func() forensics.TextJudge { return contains{} }, Group: func(int, *forensics.TextGroup) error { return enough }}
	if err := c.Texts(ctx, walk); !errors.Is(err, enough) {
		t.Errorf("%v, want the error of Group", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.Texts(over, walk); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

// TestTextsOfDamagedParts changes bytes of a part. The result is an answer, or an error that names
// the file, but never a different answer if a checksum covers the bytes.
func TestTextsOfDamagedParts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "t.pcapsule")
	if err := os.CopyFS(dir, os.DirFS(sample(t, "http1.pcapng"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "data/tables/calls/protocol=http1/part-000.parquet")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	refused := 0
	for i := range 600 {
		bad := slices.Clone(whole)
		for range 1 + i%3 {
			bad[r.IntN(len(bad))] ^= byte(1 + r.IntN(255))
		}
		if i%2 == 0 { // in the footer
			bad = slices.Clone(whole)
			bad[len(bad)-9-r.IntN(len(bad)/3)] ^= byte(1 + r.IntN(255))
		}
		if i%20 == 0 {
			bad = bad[:r.IntN(len(bad))]
		}
		if err := os.WriteFile(file, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		err := damagedScan(t, dir)
		var damaged *bundle.DamagedError
		if err != nil && (!errors.As(err, &damaged) || !strings.Contains(err.Error(), "protocol=http1")) {
			t.Fatalf("%v, want damage that names the file", err)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("%d of 600 damaged parts refused", refused)
	}
}

func damagedScan(t *testing.T, dir string) error {
	t.Helper()
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := forensics.CaseOf(b)
	if rows, err := c.Rows(t.Context(), "calls"); err == nil {
		err = rows.Each(ctx, func(_ int, g *forensics.RowGroup) error {
			for _, name := range []string{"ts_ns", "call_id", "failed", "clock_id", "path", "elapsed_us"} {
				col, err := g.Column(name)
				if err != nil {
					return err
				}
				for row := range g.Rows {
					col.Number(row)
					col.Text(row)
				}
				g.Bounds(name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return c.Texts(ctx, forensics.Texts{Table: "calls", Places: placesOf(), Numbers: []string{"call_no", "ts_ns"}, Judge: func() forensics.TextJudge { return contains{needle: []byte("e")} }, Group: func(_ int, g *forensics.TextGroup) error {
		for _, h := range g.Hits {
			_ = g.Numbers[0][h.Row]
		}
		return nil
	}})
}
