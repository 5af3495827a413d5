package report

import (
	"context"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of charts over time.
const (
	wantBuckets = 72  // on the whole axis
	mostBuckets = 400 // above this number buckets are merged
	mostBreaks  = 23  // times without traffic that the axis skips
	mostSeries  = 7   // protocols shown separately; the rest is one series
	mostHoles   = 200 // gaps that are drawn and listed
	breakFactor = 12  // a silence longer than this fraction of the rest is skipped
)

// nice are round lengths of buckets.
var nice = [...]time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
	10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour,
	14 * 24 * time.Hour, 28 * 24 * time.Hour, 91 * 24 * time.Hour, 364 * 24 * time.Hour, 3640 * 24 * time.Hour}

// traffic shows the traffic over time with the coverage gaps.
func (b *builder) traffic() (Section, string) {
	if !b.any || b.packets == 0 {
		return Section{}, "packets"
	}
	s := Section{ID: "traffic", Title: "Traffic over time"}
	cov, err := b.c.Coverage(0, 0)
	if err != nil {
		b.err = err
		return s, ""
	}
	// The summary mentions gaps even if the charts cannot be made.
	var listed []Block
	s.Text, listed = b.holes(cov)
	axis := b.axis()
	var holes []Span
	for i, h := range cov.Holes {
		if i < mostHoles {
			holes = append(holes, Span{FromNs: h.From, ToNs: h.To, Reason: clean(h.Reason, 40)})
		}
	}
	list := tallied(b, axis.cut(tally.Bytes))
	chart := axis.with("bytes", list.Rows)
	chart.Holes = holes
	f := &Figure{ID: "bytes-over-time", Title: "Bytes on the wire by protocol, per " + bucketText(chart.BucketNs), Time: chart,
		Queries: []Query{b.query(list.SQL)}}
	f.Alt = seriesAlt(chart, bytesText, "bytes")
	f.Note = axisNote(chart)
	s.Blocks = append(s.Blocks, figureBlock(f))
	if b.calls > 0 {
		s.Blocks = append(s.Blocks, figureBlock(b.callsOverTime(axis, holes)))
	}
	s.Blocks = append(s.Blocks, listed...)
	return s, ""
}

// cut returns a table of amounts over time in the buckets of the axis.
func (c *TimeChart) cut(of func(context.Context, *forensics.Case, int64) (tally.Table[tally.Amount], error)) func(context.Context, *forensics.Case) (tally.Table[tally.Amount], error) {
	return func(ctx context.Context, k *forensics.Case) (tally.Table[tally.Amount], error) {
		return of(ctx, k, c.BucketNs)
	}
}

func (b *builder) callsOverTime(axis *TimeChart, holes []Span) *Figure {
	list := tallied(b, axis.cut(tally.Outcomes))
	chart := axis.with("calls", list.Rows)
	chart.Holes = holes
	sort.SliceStable(chart.Series, func(i, j int) bool { return chart.Series[i].Name > chart.Series[j].Name })
	for i := range chart.Series {
		if chart.Series[i].Name == "failed" {
			chart.Series[i].Class = "bad"
		}
	}
	f := &Figure{ID: "calls-over-time", Title: "Calls and how many failed, per " + bucketText(chart.BucketNs), Time: chart, Queries: []Query{b.query(list.SQL)}}
	f.Alt = seriesAlt(chart, plural.Thousands, "calls")
	f.Note = "A call counts at the time of its first byte."
	return f
}

// axis divides the time of the case into buckets and skips long silences.
func (b *builder) axis() *TimeChart {
	rest := b.last - b.first
	type gap struct{ from, to int64 }
	var gaps []gap
	for _, silence := range tallied(b, tally.Silences).Rows {
		to, length := silence.End, silence.Length
		if length < int64(time.Second) || length <= rest/breakFactor {
			break
		}
		gaps = append(gaps, gap{to - length, to})
		rest -= length
	}
	slices.SortFunc(gaps, func(x, y gap) int { return int(min(max(x.from-y.from, -1), 1)) })
	bucket := nice[len(nice)-1]
	for _, d := range nice {
		if rest/int64(d) <= wantBuckets {
			bucket = d
			break
		}
	}
	for {
		chart := &TimeChart{BucketNs: int64(bucket)}
		from, total := b.first, 0
		for _, g := range append(slices.Clone(gaps), gap{b.last, b.last}) {
			s := Stretch{First: floorDiv(from, chart.BucketNs)}
			s.Count = int(min(floorDiv(g.from, chart.BucketNs)-s.First+1, mostBuckets+1))
			if n := len(chart.Stretches); n > 0 {
				// A silence shorter than a bucket is not a break.
				if end := chart.Stretches[n-1].First + int64(chart.Stretches[n-1].Count); s.First <= end {
					s.Count -= int(end - s.First)
					chart.Stretches[n-1].Count += max(s.Count, 0)
					total += max(s.Count, 0)
					from = g.to
					continue
				}
			}
			chart.Stretches = append(chart.Stretches, s)
			total += s.Count
			from = g.to
		}
		if total <= mostBuckets {
			return chart
		}
		bucket *= 2
	}
}

// bucketText writes the length of a bucket, which is a round number.
func bucketText(ns int64) string {
	return strings.Replace(duration(time.Duration(ns)), ".0", "", 1)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// buckets is the number of buckets on the axis.
func (c *TimeChart) buckets() (n int) {
	for _, s := range c.Stretches {
		n += s.Count
	}
	return n
}

// place is the position of a bucket on the axis; in a break it is the end of the previous stretch.
func (c *TimeChart) place(bucket int64) int {
	at := 0
	for i, s := range c.Stretches {
		if bucket < s.First {
			return max(at-1, 0)
		}
		if bucket < s.First+int64(s.Count) || i == len(c.Stretches)-1 {
			return at + int(min(bucket-s.First, int64(s.Count-1)))
		}
		at += s.Count
	}
	return at
}

// with makes a chart on the same axis.
func (c *TimeChart) with(unit string, rows []tally.Amount) *TimeChart {
	out := &TimeChart{BucketNs: c.BucketNs, Unit: unit, Stretches: c.Stretches}
	n := c.buckets()
	at := map[string]int{}
	for _, row := range rows {
		key := str(row.Kind)
		i, ok := at[key]
		if !ok {
			i = len(out.Series)
			at[key] = i
			out.Series = append(out.Series, Series{Name: key, Values: make([]int64, n)})
		}
		out.Series[i].Values[c.place(row.Bucket)] += row.N
		out.Series[i].Total += row.N
	}
	sort.SliceStable(out.Series, func(i, j int) bool {
		a, b := out.Series[i], out.Series[j]
		return a.Total > b.Total || a.Total == b.Total && a.Name < b.Name
	})
	if len(out.Series) > mostSeries+1 {
		rest := Series{Name: plural.Count(int64(len(out.Series)-mostSeries), "other", "others"), Values: make([]int64, n)}
		for _, s := range out.Series[mostSeries:] {
			rest.Total += s.Total
			for i, v := range s.Values {
				rest.Values[i] += v
			}
		}
		out.Series = append(out.Series[:mostSeries], rest)
	}
	return out
}

func seriesAlt(c *TimeChart, write func(int64) string, unit string) string {
	var parts []string
	for _, s := range c.Series {
		parts = append(parts, s.Name+" "+write(s.Total))
	}
	alt := "Stacked bars of " + unit + " over time: " + and(parts) + "."
	if len(c.Holes) > 0 {
		alt += " " + plural.Count(int64(len(c.Holes)), "coverage gap is", "coverage gaps are") + " hatched."
	}
	return alt
}

func axisNote(c *TimeChart) string {
	note := ""
	if n := len(c.Stretches) - 1; n > 0 {
		note = plural.Count(int64(n), "long silence is", "long silences are") + " skipped on the axis, at the double lines. "
	}
	if len(c.Holes) > 0 {
		note += "Hatched: not recorded, or only in part; the reasons are listed below. "
	}
	return note + "Times are UTC."
}

// holes lists the coverage gaps.
func (b *builder) holes(cov forensics.Coverage) (text []string, list []Block) {
	switch cov.State {
	case forensics.Complete:
		return []string{"No coverage gap is known: no filter, no reported drop, no damage. Unreported losses of a recorder appear as missing bytes under Accounts."}, nil
	case forensics.None:
		return []string{"The bundle has no information about coverage."}, nil
	}
	t := &Table{ID: "holes", Title: "Coverage gaps", Queries: []Query{b.query(tally.Gaps)},
		Columns: []Column{column("Source"), column("Reason"), moment("From (UTC)"), number("Length", ""), number("Packets lost", "as far as is known"), {Name: "Detail", Kind: "wide"}}}
	span := time.Duration(b.last - b.first)
	seen := map[string]bool{}
	for i, h := range cov.Holes {
		b.notes.lostPackets += h.Packets
		if !seen[h.Reason] {
			seen[h.Reason] = true
			b.notes.reasons = append(b.notes.reasons, clean(h.Reason, 40))
		}
		if i >= 40 {
			continue
		}
		t.add(nil, textCell(h.Source), textCell(h.Reason), wordCell(stamp(h.From, span)), wordCell(duration(time.Duration(h.To-h.From))), countCell(h.Packets), textCell(h.Detail))
	}
	b.notes.holes = int64(len(cov.Holes)) + cov.More
	if more := b.notes.holes - int64(len(t.Rows)); more > 0 {
		t.Note = plural.Count(more, "more gap is", "more gaps are") + " in table coverage."
	}
	return nil, []Block{tableBlock(t)}
}
