package section

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
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

// traffic shows the traffic over time with the coverage gaps.
func (b *builder) traffic(*templates.Section) (value.Section, string) {
	if !b.any || b.accts.Packets == 0 {
		return value.Section{}, "packets"
	}
	s := value.Section{Title: "Traffic over time"}
	cov, err := b.c.Coverage(b.first, b.last)
	if err != nil {
		b.err = err
		return s, ""
	}
	s.Statements = []value.Statement{{ID: "traffic-coverage", Text: b.cov.NotRecorded()}}
	axis := b.axis()
	holes := spans(cov)
	list := tallied(b, cut(axis, tally.Bytes))
	chart := with(axis, "bytes", list.Rows)
	chart.Holes = holes
	f := &value.Figure{ID: "bytes-over-time", Title: "Bytes on the wire by protocol, per " + bucketText(chart.BucketNs), Time: chart,
		Queries: b.query(list.SQL)}
	f.Alt = seriesAlt(chart, value.Bytes, "bytes")
	f.Note = axisNote(chart)
	if b.several {
		f.Note += " A packet that is in several bundles counts in each; a call counts once."
	}
	if len(chart.Series) > 0 {
		s.Blocks = append(s.Blocks, value.FigureBlock(f))
	}
	if b.calls > 0 && !slices.ContainsFunc(b.r.Sections, func(s value.Section) bool { return s.ID == templates.Glance }) {
		s.Blocks = append(s.Blocks, value.FigureBlock(b.callsOverTime(axis, holes)))
	}
	if t := b.holes("holes", cov); t != nil {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
	return s, ""
}

// spans are the coverage gaps that charts show.
func spans(cov forensics.Coverage) (holes []value.Span) {
	for _, h := range cov.Holes[:min(len(cov.Holes), mostHoles)] {
		holes = append(holes, value.Span{FromNs: h.From, ToNs: h.To, Reason: value.Clean(h.Reason, 40)})
	}
	return holes
}

// cut returns a table of amounts over time in the buckets of an axis.
func cut(c *value.TimeChart, of func(context.Context, *forensics.Case, *ask.Window, int64) (tally.Table[tally.Amount], error)) func(context.Context, *forensics.Case, *ask.Window) (tally.Table[tally.Amount], error) {
	return func(ctx context.Context, k *forensics.Case, w *ask.Window) (tally.Table[tally.Amount], error) {
		return of(ctx, k, w, c.BucketNs)
	}
}

func (b *builder) callsOverTime(axis *value.TimeChart, holes []value.Span) *value.Figure {
	list := tallied(b, cut(axis, tally.Outcomes))
	chart := with(axis, "calls", list.Rows)
	chart.Holes = holes
	sort.SliceStable(chart.Series, func(i, j int) bool { return chart.Series[i].Name > chart.Series[j].Name })
	for i := range chart.Series {
		if chart.Series[i].Name == "failed" {
			chart.Series[i].Class = "bad"
		}
	}
	f := &value.Figure{ID: "calls-over-time", Title: "Calls and how many failed, per " + bucketText(chart.BucketNs), Time: chart, Queries: b.query(list.SQL)}
	f.Alt = seriesAlt(chart, plural.Thousands, "calls")
	f.Note = "A call counts at the time of its first byte."
	return f
}

// axis divides the time of the case into buckets and skips long silences.
func (b *builder) axis() *value.TimeChart {
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
	bucket := value.Nice[len(value.Nice)-1]
	for _, d := range value.Nice {
		if rest/int64(d) <= wantBuckets {
			bucket = d
			break
		}
	}
	for {
		chart := &value.TimeChart{BucketNs: int64(bucket)}
		from, total := b.first, 0
		for _, g := range append(slices.Clone(gaps), gap{b.last, b.last}) {
			s := value.Stretch{First: floorDiv(from, chart.BucketNs)}
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

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// with makes a chart on the same axis.
func with(c *value.TimeChart, unit string, rows []tally.Amount) *value.TimeChart {
	out := &value.TimeChart{BucketNs: c.BucketNs, Unit: unit, Stretches: c.Stretches}
	n := c.Buckets()
	at := map[string]int{}
	for _, row := range rows {
		key := value.Text(row.Kind)
		i, ok := at[key]
		if !ok {
			i = len(out.Series)
			at[key] = i
			out.Series = append(out.Series, value.Series{Name: key, Values: make([]int64, n)})
		}
		out.Series[i].Values[c.Place(row.Bucket)] += row.N
		out.Series[i].Total += row.N
	}
	sort.SliceStable(out.Series, func(i, j int) bool {
		a, b := out.Series[i], out.Series[j]
		return a.Total > b.Total || a.Total == b.Total && a.Name < b.Name
	})
	if len(out.Series) > mostSeries+1 {
		rest := value.Series{Name: plural.Count(int64(len(out.Series)-mostSeries), "other", "others"), Values: make([]int64, n)}
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

func seriesAlt(c *value.TimeChart, write func(int64) string, unit string) string {
	var parts []string
	for _, s := range c.Series {
		parts = append(parts, s.Name+" "+write(s.Total))
	}
	alt := "Stacked bars of " + unit + " over time: " + value.And(parts) + "."
	if len(c.Holes) > 0 {
		alt += " " + plural.Count(int64(len(c.Holes)), "coverage gap is", "coverage gaps are") + " hatched."
	}
	return alt
}

func axisNote(c *value.TimeChart) string {
	note := ""
	if n := len(c.Stretches) - 1; n > 0 {
		note = plural.Count(int64(n), "long silence is", "long silences are") + " skipped on the axis, at the double lines. "
	}
	if len(c.Holes) > 0 {
		note += "Hatched: not recorded, or only in part; the reasons are listed below. "
	}
	return note + "Times are UTC."
}
