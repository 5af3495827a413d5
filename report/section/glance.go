package section

import (
	"fmt"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// glance shows calls, failures and latency over time right after the first page, in one section of charts. Lists of every
// call for other programs have none.
func (b *builder) glance() {
	if b.calls == 0 || b.err != nil || slices.ContainsFunc(b.in.Template.Sections, func(s templates.Section) bool { return s.Every }) {
		return
	}
	cov, err := b.c.Coverage(b.first, b.last)
	if err != nil {
		b.err = err
		return
	}
	axis, holes := b.axis(), spans(cov)
	s := value.Section{ID: templates.Glance, Title: "Calls, failures and latency"}
	s.Blocks = append(s.Blocks, value.FigureBlock(b.callsOverTime(axis, holes)))
	if f := b.latencyOverTime(axis, holes); f != nil {
		s.Blocks = append(s.Blocks, value.FigureBlock(f))
	}
	if !b.tolerate(s.Title) && b.err == nil {
		b.r.Sections = append(b.r.Sections, s)
	}
}

// latencyOverTime shows how long the slowest requests took; nil if none has a latency.
func (b *builder) latencyOverTime(axis *value.TimeChart, holes []value.Span) *value.Figure {
	list := tallied(b, cut(axis, tally.Slowest))
	if len(list.Rows) == 0 {
		return nil
	}
	chart := with(axis, value.Latency, list.Rows)
	chart.Holes = holes
	most := list.Rows[0]
	for _, r := range list.Rows {
		if r.N > most.N {
			most = r
		}
	}
	for i := range chart.Series {
		chart.Series[i].Name, chart.Series[i].Total = "highest", slices.Max(chart.Series[i].Values)
	}
	f := &value.Figure{ID: "latency-over-time", Title: "Latency of requests (p99), per " + bucketText(chart.BucketNs), Time: chart, Queries: b.query(list.SQL)}
	f.Alt = fmt.Sprintf("Bars of the latency that 99 %% of the requests of a bar did not exceed: the highest is %s, from %s on.", value.Micros(most.N), value.Stamp(most.Bucket*chart.BucketNs, time.Duration(b.last-b.first)))
	f.Note = "99 % of the requests that began in a bar took at most that long. A request without a response counts with the time that its caller waited."
	return f
}

// next says what to look at next: the packets, and the question to ask.
func (b *builder) next() {
	if b.r.Blank {
		return
	}
	add := func(id, what, command string) {
		b.state(value.Statement{ID: id, Head: headNext, Text: what + ": " + command, Queries: b.number(value.Query{Command: command})})
	}
	switch {
	case b.incident != nil && len(b.incident.CallIDs) > 0:
		id := b.incident.CallIDs[0]
		what := "the first failed request"
		if b.incident.Failed == 0 {
			what = "the first slow request"
		}
		add("next-packets", "The packets of "+what+", for Wireshark", "pcapsule packets "+b.paths+" --call "+id+" -o next.pcapng")
		add("next-question", "What it waited for, and where it went wrong", "pcapsule ask trace-request "+b.paths+" --call-id "+id)
	case b.worst != nil && len(b.worst.CallIDs) == 0 && b.worst.Src != "" && b.worst.Dst != "":
		add("next-question", "All connections between the ends of the worst finding", "pcapsule ask get-pair "+b.paths+" --src "+value.ShellQuote(b.worst.Src)+" --dst "+value.ShellQuote(b.worst.Dst))
	case b.worst != nil && len(b.worst.CallIDs) > 0:
		add("next-packets", "The packets of the worst finding, for Wireshark", "pcapsule packets "+b.paths+" --call "+b.worst.CallIDs[0]+" -o next.pcapng")
		add("next-question", "Its first call in full", "pcapsule show "+b.paths+" "+b.worst.CallIDs[0])
	case b.calls > 0:
		add("next-question", "Where the time goes", "pcapsule ask get-latency "+b.paths+b.flags)
	}
}

// bucketText writes the length of a bucket, which is a round number.
func bucketText(ns int64) string {
	for _, u := range []struct {
		length time.Duration
		one    string
		many   string
	}{{24 * time.Hour, "day", "days"}, {time.Hour, "hour", "hours"}, {time.Minute, "minute", "minutes"}, {time.Second, "second", "seconds"}, {time.Millisecond, "ms", "ms"}} {
		if n := ns / int64(u.length); n > 0 && ns%int64(u.length) == 0 {
			if n == 1 && u.one != u.many {
				return u.one
			}
			return plural.Count(n, u.one, u.many)
		}
	}
	return value.Duration(time.Duration(ns))
}
