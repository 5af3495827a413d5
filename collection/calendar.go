package collection

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/internal/plural"
)

const (
	minPause = int64(10 * time.Second) // ns between two recordings above which it can be a gap, as in forensics.Coverage
	maxGaps  = 5000                    // listed
	noNode   = "(no node stated)"

	notRecorded = "not_recorded"
)

// Recorded is how much of a day a node recorded.
type Recorded string

// The states of a day.
const (
	Whole   Recorded = "recorded"
	Partly  Recorded = "partly"
	Missing Recorded = "missing"
	NotOver Recorded = "not_over" // the day is not over at the time of the report
)

// NodeDay is a day of a node.
type NodeDay struct {
	Day     string   `json:"day"`
	Node    string   `json:"node"`
	State   Recorded `json:"state"`
	Missing int64    `json:"missing_ns"` // time that no bundle has
	Lost    int64    `json:"lost_packets"`
	Reasons []string `json:"reasons"`
}

// calendar is what was recorded in the period, by day and node.
type calendar struct {
	nodes  []string
	days   []NodeDay
	gaps   []Gap // also those that bundles state
	more   int64
	absent []Gap // times that no bundle has
}

// makeCalendar compares the recorded time of bundles with the period. Days from now on are not over.
func makeCalendar(f *File, list []*Bundle, now time.Time) *calendar {
	k := &calendar{nodes: slices.Clone(f.Nodes)}
	recorded, stated := map[string][]Stretch{}, map[string][]Gap{}
	for _, b := range list {
		if b.Problem != "" {
			continue
		}
		for _, s := range b.Summary.Recorded {
			recorded[s.Node] = append(recorded[s.Node], s)
		}
		for _, g := range b.Summary.Gaps {
			stated[g.Node] = append(stated[g.Node], g)
		}
		k.more += b.Summary.GapsMore
		for _, n := range b.Summary.Nodes {
			if len(f.Nodes) == 0 && !slices.Contains(k.nodes, n) {
				k.nodes = append(k.nodes, n)
			}
		}
	}
	slices.Sort(k.nodes)
	if len(f.Nodes) == 0 && (len(recorded[""]) > 0 || len(k.nodes) == 0) {
		k.nodes = append(k.nodes, "")
	}
	end := min(f.To.UnixNano(), max(now.Truncate(day).UnixNano(), f.From.UnixNano())) - 1
	for _, n := range k.nodes {
		absent := unrecorded(span{f.From.UnixNano(), end}, n, recorded[n])
		k.absent = append(k.absent, absent...)
		for _, g := range stated[n] {
			if (span{g.From, g.To}).overlaps(span{f.From.UnixNano(), f.To.UnixNano() - 1}) {
				k.gaps = append(k.gaps, g)
			}
		}
		for t := f.From; t.Before(f.To); t = t.Add(day) {
			k.days = append(k.days, nodeDay(span{t.UnixNano(), t.Add(day).UnixNano() - 1}, n, end, absent, stated[n]))
		}
	}
	k.gaps = append(k.gaps, k.absent...)
	slices.SortStableFunc(k.gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), strings.Compare(a.Node, b.Node), strings.Compare(a.Reason, b.Reason))
	})
	slices.SortStableFunc(k.days, func(a, b NodeDay) int { return strings.Compare(a.Day, b.Day) })
	if n := len(k.gaps) - maxGaps; n > 0 {
		k.gaps, k.more = k.gaps[:maxGaps], k.more+int64(n)
	}
	return k
}

// nodeDay is one day of a node.
func nodeDay(at span, node string, end int64, absent, stated []Gap) NodeDay {
	d := NodeDay{Day: dateOf(at.from), Node: node, State: Whole, Reasons: []string{}}
	if at.from > end {
		d.State = NotOver
		return d
	}
	add := func(g Gap) {
		d.State = Partly
		if !slices.Contains(d.Reasons, g.Reason) {
			d.Reasons = append(d.Reasons, g.Reason)
		}
	}
	for _, g := range absent {
		if (span{g.From, g.To}).overlaps(at) {
			d.Missing += min(g.To, at.to) - max(g.From, at.from) + 1
			add(g)
		}
	}
	for _, g := range stated {
		if (span{g.From, g.To}).overlaps(at) {
			add(g)
			if g.From >= at.from { // packets of a loss over midnight count on its first day
				d.Lost += g.Packets
			}
		}
	}
	if d.Missing > at.to-at.from {
		d.State = Missing
	}
	return d
}

// unrecorded is the time that no stretch covers. A pause counts as covered if it is not much longer than the silences in
// the recordings beside it.
func unrecorded(at span, node string, list []Stretch) (out []Gap) {
	if at.from > at.to {
		return nil
	}
	slices.SortFunc(list, func(a, b Stretch) int { return cmp.Compare(a.From, b.From) })
	add := func(from, to, silence int64) {
		from, to = max(from, at.from), min(to, at.to)
		if to-from >= max(minPause, 2*silence) {
			out = append(out, Gap{Node: node, From: from, To: to, Reason: notRecorded, Detail: "no bundle has packets of this time"})
		}
	}
	next, silence := at.from, int64(0)
	for _, s := range list {
		if s.From > next {
			add(next, s.From-1, max(silence, s.Silence))
		}
		if s.To >= next {
			next, silence = s.To+1, s.Silence
		}
	}
	add(next, at.to, silence)
	return out
}

// lacks says what of a part was not recorded, for the reason of a verdict.
func (k *calendar) lacks(at span) (out []string) {
	for _, n := range k.nodes {
		var missing int64
		for _, g := range k.absent {
			if s := (span{g.From, g.To}); g.Node == n && s.overlaps(at) {
				missing += min(g.To, at.to) - max(g.From, at.from) + 1
			}
		}
		switch name := nodeName(n); {
		case missing == 0:
		case len(out) == 5:
			return append(out, "other nodes too")
		case missing > at.to-at.from:
			out = append(out, name+" was not recorded")
		default:
			out = append(out, name+" was not recorded for "+Length(missing))
		}
	}
	return out
}

func nodeName(n string) string {
	if n == "" {
		return noNode
	}
	return n
}

// Length writes a length of time in days, hours and minutes.
func Length(ns int64) string {
	d := time.Duration(ns).Round(time.Second)
	switch {
	case d >= day:
		h := (d % day).Round(time.Hour) / time.Hour
		text := plural.Count(int64(d/day), "day", "days")
		if h > 0 {
			text += fmt.Sprintf(" %d h", h)
		}
		return text
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
