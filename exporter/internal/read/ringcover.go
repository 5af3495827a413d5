package read

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// ringOf finds the ring of an input, and its seal there.
func (r *Reader) ringOf(x *input) (*ringFolder, *sealed) {
	if x.header == nil {
		return nil, nil
	}
	for _, f := range r.sources.rings {
		if f.id == word(x.header.Ring) {
			return f, f.find(x)
		}
	}
	return nil, nil
}

// coverSegment adds what a segment and its seal report about missing packets, and compares the
// seal with the bytes that were read.
func (r *Reader) coverSegment(o *opened, in *bundle.Input) {
	h := o.header
	f, s := r.ringOf(o.input)
	row := func(reason string, from, to, packets int64, detail string) {
		r.addCoverage(table.Coverage{FileID: o.id, Source: o.name, FromNs: from, ToNs: to, Kind: "hole", Reason: reason,
			Packets: packets, Detail: detail})
	}
	// If a seal counts none, the policy matched no packet.
	if n, counted := s.forbidden(); h.Policy != "" && !counted || n > 0 {
		row("policy", o.first, o.last, n, "recorded under the policy: "+word(cmp.Or(h.Policy, "none is named")))
	}
	if d := h.Derived; d != nil {
		from, to := int64(cmp.Or(d.From, ring.Time(o.first))), int64(cmp.Or(d.To, ring.Time(o.last)))
		row("filter", min(from, to), max(from, to), 0, derivedText(d)) // a header can contain anything
	}
	// A file that is not a segment of a ring ends with its counters, and nothing else states its losses.
	if h.Sequence == 0 && h.Derived == nil && len(o.stats) == 0 && o.packets > 0 {
		row("missing", o.last, o.last, 0, "the recorder ended without writing its counters: how much was lost is not known, and what it had in memory is missing")
	}
	if f == nil { // the seals are not available, but the header says what came before
		for i := range h.Holes {
			x := (&ringFolder{}).hole(&h.Holes[i], nil)
			from, to := x.times(o.first, o.first)
			row(x.reason, from, to, x.packets, x.detail)
		}
		if about := filterText(h); about != "" {
			row("filter", o.first, o.last, 0, about)
		}
		return
	}
	in.Segment.Seal = "none"
	if s == nil {
		return
	}
	s.file = o.id
	in.Segment.Seal = "sealed"
	if in.Size != s.size || hex.EncodeToString(in.SHA256[:]) != s.sha256 {
		in.Segment.Seal = "broken"
		what := fmt.Sprintf("%d bytes with SHA-256 %s, but the seal has %d bytes with %.64s", in.Size, in.SHA256, s.size, s.sha256)
		r.warn(o.name + ": its bytes differ from the sealed ones")
		r.addAnomaly(table.Anomaly{TsNs: o.last, Ts: table.MicrosOf(o.last), Source: "ring", Kind: "seal_broken", Detail: what,
			FileID: table.Some(o.id), Count: 1})
	}
	if s.sidesOpen {
		r.sidesOpen(o.name)
	}
	if s.filtered > 0 {
		row("filter", o.first, o.last, s.filtered, cmp.Or(filterText(h), "no filter is named"))
	}
	if n := s.drops - in.Drops; n > 0 {
		row("drop", o.first, o.last, n, "the seal counts them, but no packet or interface shows where: "+cmp.Or(s.reasons, "no reason given"))
	}
	if s.unbalanced != "" {
		row("drop", o.first, o.last, 0, "the counters of the seal are inconsistent: "+s.unbalanced)
	}
	if s.recovered {
		row("restart", o.last, o.last, 0, "sealed after a crash: the packets in memory are lost")
	}
	if s.cut {
		row("disk", o.last, o.last, 0, "the rest of the segment could not be written to disk")
	}
}

// sidesOpen reports that the recorder had not finished the side files of a segment.
func (r *Reader) sidesOpen(segment string) {
	r.sideCount["ring/side_files_not_sealed"]++
	r.warn(segment + ": its side files were not final; owners of packets and events may be missing")
}

// filterText describes the packets that a recorder excluded.
func filterText(h *ring.Header) string {
	var all []string
	if h.Own != "" {
		all = append(all, word(h.Own))
	}
	if h.Filter != "" {
		all = append(all, "filter "+word(h.Filter))
	}
	if h.Only != "" {
		all = append(all, "only "+word(h.Only))
	}
	if h.Sight != "" {
		all = append(all, "packets between two sockets of the machine "+word(h.Sight))
	}
	return strings.Join(all, "; ")
}

// forbidden is the number of packets that a policy excluded since the previous segment, if a
// seal counts them.
func (s *sealed) forbidden() (n int64, counted bool) {
	if s == nil {
		return 0, false
	}
	return s.policy, s.counted
}

// derivedText describes how the packets of a derived file were selected.
func derivedText(d *ring.Derived) string {
	text := "derived from " + clip.Count(int64(len(d.Parents))+int64(max(d.More, 0)), "segment", "segments")
	if d.Filter != "" {
		text += "; only packets that match " + word(d.Filter)
	}
	if d.KFL != "" {
		text += "; only packets of calls that match " + word(d.KFL) + ", and earlier ones of their connections"
	}
	return text
}

// droppedSince is the increase of an interface's drop count since the previous segment: a
// recorder counts from its start, and starts each series of segments once.
func (r *Reader) droppedSince(o *opened, name string, total int64) int64 {
	if o.header == nil {
		return total
	}
	key := strings.Join([]string{o.header.Ring, o.header.Series, o.header.BootID, name}, "\x00")
	before := r.lost[key]
	if len(r.lost) < maxOwners || before != 0 {
		r.lost[key] = total
	}
	if total < before { // another recorder started counting
		return total
	}
	return total - before
}

// times is the time range of the gap; an unknown end comes from its surroundings.
func (h *ringHole) times(low, high int64) (from, to int64) {
	from, to = int64(h.from), int64(h.to)
	if from == 0 {
		from = low
		if to != 0 {
			from = min(low, to)
		}
	}
	if to == 0 {
		to = max(from, high)
	}
	return min(from, to), max(from, to)
}

// coverRings adds what the rings report in addition to their segments: gaps between them,
// segments that retention removed, and missing segments.
func (r *Reader) coverRings() {
	for _, f := range r.sources.rings {
		r.coverRing(f)
	}
}

func (r *Reader) coverRing(f *ringFolder) {
	rows := 0
	row := func(s *sealed, series, reason string, from, to, packets int64, detail string) {
		c := table.Coverage{FileID: -1, Source: strings.TrimSuffix(f.label()+" "+series, " "), FromNs: from, ToNs: to, Kind: "hole", Reason: reason,
			Packets: packets, Detail: detail}
		if s != nil && s.file >= 0 {
			c.FileID, c.Source = s.file, s.id.Segment()
		}
		if !f.inWindow(from, to) {
			return
		}
		if rows++; rows > maxHoles {
			r.sideCount["ring/limited"]++
			return
		}
		r.addCoverage(c)
	}
	var low, high int64
	for i, s := range f.order {
		if i == 0 || s.first < low {
			low = s.first
		}
		high = max(high, s.last)
	}
	for i := range f.holes {
		h := &f.holes[i]
		a, b := low, high
		if h.of != nil {
			a, b = h.of.first, h.of.last
		}
		from, to := h.times(a, b)
		row(h.of, h.series, h.reason, from, to, h.packets, h.detail)
	}
	// A snapshot of a ring that is being written has no stop either: its packets are later ones'.
	if n, at, _ := f.underway.Packets(); n > 0 && f.pin == nil {
		row(nil, "", "restart", int64(at), int64(at), 0, "no record says that the recorder stopped; "+f.underway.String())
	}
	wanted := map[string]bool{}
	if f.pin != nil {
		for _, name := range f.pin.Segments {
			wanted[name] = true
		}
	}
	series := map[string][]*sealed{}
	var names []string
	for _, s := range f.order {
		if series[s.id.Series] == nil {
			names = append(names, s.id.Series)
		}
		series[s.id.Series] = append(series[s.id.Series], s)
		if s.file < 0 && !s.deleted && (f.pin == nil || wanted[s.id.Segment()]) {
			row(s, s.id.Series, "missing", s.first, s.last, s.packets, s.id.Segment()+" was sealed, but it is missing; no record says that it was deleted")
		}
	}
	slices.Sort(names)
	for _, name := range names {
		f.gaps(series[name], func(from, to *sealed, detail string) {
			row(nil, name, "missing", from.last, max(from.last, to.first), 0, detail)
		})
	}
}

// gaps reports numbers between sealed segments without a record that no start or gap explains.
func (f *ringFolder) gaps(list []*sealed, tell func(from, to *sealed, detail string)) {
	slices.SortStableFunc(list, func(a, b *sealed) int { return cmp.Compare(a.id.Sequence, b.id.Sequence) })
	for i := 1; i < len(list); i++ {
		a, b := list[i-1], list[i]
		n := a.id.Sequence + 1
		if n >= b.id.Sequence || f.explained(a.id.Series, n, b.id.Sequence-1) {
			continue
		}
		tell(a, b, fmt.Sprintf("segments %d to %d have no record", n, b.id.Sequence-1))
	}
}

// explained reports whether the ring says why numbers are missing.
func (f *ringFolder) explained(series string, from, to uint64) bool {
	from = max(from, f.below[series])
	for from <= to {
		next := from
		for _, x := range f.absent {
			if x.series == series && x.From <= from && from <= x.To {
				next = max(next, min(x.To, to)+1)
			}
		}
		if next == from {
			return false
		}
		from = next
	}
	return true
}

// absent is a range of numbers that were begun, but never completed.
type absent struct {
	series string
	ring.Range
}

// lostBy is the number of packets that the statistics of an interface count as lost.
func lostBy(s *pcapng.Statistics) (n int64) {
	for _, c := range []pcapng.Counter{s.Dropped, s.OSDropped} {
		if c.Known {
			n += int64(min(c.N, 1<<53))
		}
	}
	return n
}
