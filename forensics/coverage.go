package forensics

import (
	"cmp"
	"context"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// Limits of coverage.
const (
	maxStretches = 200000 // rows of table coverage
	maxHoles     = 1000   // gaps listed in one answer

	minPause = int64(10e9) // ns between two recordings above which it can be a gap

	minQuiet  = int64(60e9)   // ns without a packet above which a recording can have paused
	longQuiet = int64(3600e9) // ns of it that are named, if they are not a fifth of the time
	edge      = int64(1e6)    // ns before the first and after the last packet that are a gap: many name times by the millisecond
)

// CoverageState is whether the requested time was recorded.
type CoverageState string

// The states of coverage.
const (
	Complete CoverageState = "complete" // all of it was recorded
	Partial  CoverageState = "partial"  // some of it was not: see the gaps
	None     CoverageState = "none"     // none of it was recorded, so an empty answer proves nothing
)

// Coverage is how much of the requested time was recorded.
type Coverage struct {
	State    CoverageState
	From, To int64 // requested time, or the whole case; nanoseconds since 1970 UTC, both inclusive
	Holes    []Hole
	More     int64  // number of gaps above the limit, which are not listed
	Quiet    []Span // by time: nothing was sent, or recorders that state no pauses paused
	Unread   bool   // something that was recorded in the time could not be read, see readUnread
}

// Whole reports whether an empty answer about the time proves that there was nothing: all of it was recorded, and all
// that was recorded was read.
func (c *Coverage) Whole() bool { return c.State == Complete && !c.Unread && len(c.Quiet) == 0 }

// Span is a time range, both ends inclusive, in nanoseconds since 1970 UTC.
type Span struct{ From, To int64 }

// Hole is a coverage gap: a part of the requested time that was not recorded, or only in part.
type Hole struct {
	Bundle   int
	Source   string // interface, node or file
	From, To int64  // 0 if no time is known, because no packet could be read
	Reason   string // filter, policy, drop, restart, retention, redaction, damaged, not_scheduled, not_read, not_recorded
	Packets  int64  // known to be lost
	Detail   string
}

// Stretch is one row of table coverage.
type Stretch struct {
	Hole
	Recorded bool
	Silence  int64 // longest time between two packets of a recorded one, ns
	Quiet    int64 // when it began, if the recorder may have paused then; else 0
}

// Coverage returns the coverage of a time window, both ends inclusive; 0 leaves an end open.
//
// A time counts as recorded if any source of the case recorded it. So does a pause between two
// recordings that is not much longer than the silences in them, as captures in several files have.
func (c *Case) Coverage(from, to int64) (Coverage, error) {
	list, err := c.coverage()
	if err != nil {
		return Coverage{}, err
	}
	first, last, any := c.Window()
	unread, err := c.unread()
	if err != nil {
		return Coverage{}, err
	}
	return Cover(Recording{Stretches: list, First: first, Last: last, Any: any, Redacted: len(c.Redactions()) > 0, Unread: unread}, from, to), nil
}

// Recording is what bundles say about the time that they cover.
type Recording struct {
	Stretches   []Stretch // by time
	First, Last int64     // times of the first and the last packet
	Any         bool      // there are packets
	Redacted    bool      // values were removed
	Unread      [][2]int64
}

// Cover returns the coverage of a time window, as Case.Coverage does.
func Cover(r Recording, from, to int64) Coverage {
	first, last, any := r.First, r.Last, r.Any
	out := Coverage{State: None, From: from, To: to}
	if from == 0 {
		out.From = first
	}
	if to == 0 {
		out.To = last
	}
	out.Unread = r.Redacted || slices.ContainsFunc(r.Unread, func(t [2]int64) bool { return t[0] <= out.To && t[1] >= out.From })
	var known []Stretch // times about which there is a statement
	for _, s := range r.Stretches {
		timeless := s.To == 0 && !s.Recorded // a file without a readable packet
		if timeless {
			s.From, s.To, s.Detail = out.From, out.To, "at an unknown time: "+s.Detail
		}
		if any && (s.To < out.From || s.From > out.To) { // a case without packets has no time
			continue
		}
		if !s.Recorded {
			out.add(s.Hole)
		}
		if any && !timeless {
			known = append(known, s)
		}
	}
	if !slices.ContainsFunc(known, func(s Stretch) bool { return s.Recorded }) {
		return out
	}
	out.pauses(known)
	out.quiets(known)
	slices.SortStableFunc(out.Holes, func(a, b Hole) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	out.State = Complete
	if len(out.Holes) > 0 {
		out.State = Partial
	}
	return out
}

func (o *Coverage) add(h Hole) {
	if len(o.Holes) >= maxHoles {
		o.More++
		return
	}
	o.Holes = append(o.Holes, h)
}

// pauses adds the parts of the requested window about which there is no statement.
func (o *Coverage) pauses(known []Stretch) {
	slices.SortFunc(known, func(a, b Stretch) int { return cmp.Compare(a.From, b.From) })
	at, silence := o.From, int64(-1) // no recording is before the first
	for _, s := range known {
		if silence < 0 && s.From-at >= edge || silence >= 0 && s.From-at > max(minPause, 2*silence, 2*s.Silence) {
			o.unrecorded(at, s.From-1)
		}
		if s.To >= at {
			at, silence = s.To+1, s.Silence
		}
	}
	if o.To-at >= edge {
		o.unrecorded(at, o.To)
	}
}

// quiets finds the long times without a packet that are no gaps, unless a recorder states that it did not pause. known is
// sorted.
func (o *Coverage) quiets(known []Stretch) {
	var heard []Span
	for _, s := range known {
		switch {
		case !s.Recorded:
		case s.Quiet == 0 || s.Silence < minQuiet:
			heard = append(heard, Span{s.From, s.To})
		default:
			heard = append(heard, Span{s.From, s.Quiet}, Span{s.Quiet + s.Silence, s.To})
		}
	}
	slices.SortFunc(heard, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	last := heard[0].To
	for _, h := range heard {
		from, to := max(last, o.From), min(h.From, o.To)
		gap := func(x Hole) bool { return x.Reason == notRecorded && x.From <= h.From && x.To >= last }
		if h.From-last >= minQuiet && to > from && (to-from >= longQuiet || to-from >= (o.To-o.From)/5) && len(o.Quiet) < maxHoles && !slices.ContainsFunc(o.Holes, gap) {
			o.Quiet = append(o.Quiet, Span{from, to})
		}
		last = max(last, h.To)
	}
}

// notRecorded is the reason of a gap that no recorder states.
const notRecorded = "not_recorded"

func (o *Coverage) unrecorded(from, to int64) {
	o.add(Hole{Bundle: -1, From: from, To: to, Reason: notRecorded, Detail: "no file of the case has packets of this time"})
}

// readCoverage reads table coverage. A bundle without the table counts as recorded from its first to
// its last packet.
func (c *Case) readCoverage() ([]Stretch, error) {
	var out []Stretch
	has := make([]bool, len(c.bundles))
	if c.views["coverage"] != nil {
		no := "0"
		if c.several() {
			no = "bundle"
		}
		rows, err := c.db.Query(context.Background(), "SELECT "+no+", source, from_ns, to_ns, kind, reason, packets, detail, coalesce(silence_ns, to_ns - from_ns), coalesce(quiet_from_ns, 0) FROM coverage ORDER BY from_ns, to_ns, source, reason, packets, detail, file_id, 1 LIMIT ?", maxStretches)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			s := readStretch(rows)
			if s.Bundle >= 0 && s.Bundle < len(has) {
				has[s.Bundle] = true
			}
			out = append(out, s)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	for i, b := range c.bundles {
		out = append(out, StretchesOf(i, b.Manifest, has[i])...)
	}
	return out, nil
}

// StretchesOf is what the manifest of bundle i says about the time that it covers. has says that its table coverage has rows.
func StretchesOf(i int, m *bundle.Manifest, has bool) (out []Stretch) {
	for _, l := range m.Derived.Lacks() {
		if w := m.Window; l.Reason == bundle.LackFilter && w.FirstNs != nil && w.LastNs != nil {
			out = append(out, Stretch{Hole{Bundle: i, Source: m.Derived.Kind, From: int64(*w.FirstNs), To: int64(*w.LastNs), Reason: l.Reason, Packets: l.Packets, Detail: l.Detail}, false, 0, 0})
		}
	}
	if w := m.Window; !has && w.FirstNs != nil && w.LastNs != nil {
		out = append(out, Stretch{Hole{Bundle: i, From: int64(*w.FirstNs), To: int64(*w.LastNs)}, true, int64(*w.LastNs - *w.FirstNs), 0})
	}
	return out
}

// NotProved marks the facts of a redaction, whose packets may have bytes that are not the original's.
const NotProved = "facts from changed packets are the original's only as far as pcapsule verify proves them"

// Redactions lists how values were removed from bundles of the case, without repetitions. The
// absence of a value then proves nothing.
func (c *Case) Redactions() (out []string) {
	for _, b := range c.bundles {
		for _, l := range b.Manifest.Derived.Lacks() {
			if text := cmp.Or(l.Detail, "an earlier redaction removed values"); l.Reason == bundle.LackRedaction && !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}

func readStretch(r *duck.Rows) Stretch {
	return Stretch{Hole{Bundle: int(r.Int(0)), Source: r.Text(1), From: r.Int(2), To: r.Int(3), Reason: r.Text(5),
		Packets: r.Int(6), Detail: r.Text(7)}, r.Text(4) == "recorded", r.Int(8), r.Int(9)}
}
