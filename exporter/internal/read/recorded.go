package read

import "github.com/pcapsule/pcapsule/exporter/table"

// Limits of the time ranges of one file.
const (
	newRange  = int64(10e9) // ns between two sections that begin another range
	maxRanges = 10_000      // ranges of a file; the last one has all later sections
)

// timeRange is a time in which a file was recorded, from the first to the last packet of adjacent
// sections. Captures of different days may be in one file, and nothing was recorded between them.
type timeRange struct {
	section     int32 // of the last packet
	first, last int64 // ns
	silence     int64 // longest time between two packets, ns
	quiet       int64 // time of the first of these two packets
	packets     int64
}

// extend adds the next packet to the ranges. Until a packet has a time, the file was recorded at the
// times that order its packets.
func (o *opened) extend(section int32, timed bool) {
	n := len(o.ranges)
	if n == 0 || timed && !o.any {
		o.first, o.last = o.now, o.now
		o.ranges = append(o.ranges[:0], timeRange{section: section, first: o.now, last: o.now, packets: 1 + o.packets})
		o.any = timed
		return
	}
	o.first, o.last = min(o.first, o.now), max(o.last, o.now)
	s := &o.ranges[n-1]
	if s.section != section && n < maxRanges && (o.now-s.last > newRange || s.first-o.now > newRange) {
		o.ranges = append(o.ranges, timeRange{section: section, first: o.now, last: o.now, packets: 1})
		return
	}
	if s.section = section; o.now-s.last > s.silence {
		s.silence, s.quiet = o.now-s.last, s.last
	}
	s.first, s.last = min(s.first, o.now), max(s.last, o.now)
	s.packets++
}

// segmentEnd is the end of a segment of a ring.
type segmentEnd struct {
	sequence uint64
	last     int64 // time of its last packet, ns
}

// follows finds the previous segment of the file's series. A recorder states what it did not
// record between two segments, so a silence between them was recorded too.
func (r *Reader) follows(o *opened) {
	h := o.header
	if h == nil || h.Derived != nil || h.Sequence == 0 || o.packets == 0 {
		return
	}
	key := h.Ring + "\x00" + h.Series
	before, any := r.chains[key]
	if any && before.sequence+1 == h.Sequence {
		o.unbroken = before.last
	}
	if any || len(r.chains) < maxOwners {
		r.chains[key] = segmentEnd{h.Sequence, o.last}
	}
}

// coverRanges writes the times in which a file was recorded.
func (r *Reader) coverRanges(o *opened) {
	r.follows(o)
	for i, s := range o.ranges {
		if i == 0 && o.unbroken != 0 {
			s.silence = max(s.silence, s.first-o.unbroken)
			s.first = min(s.first, o.unbroken)
		}
		c := table.Coverage{FileID: o.id, Source: o.name, FromNs: s.first, ToNs: s.last, Kind: "recorded", Packets: s.packets, Silence: table.Some(s.silence)}
		if o.header == nil && s.silence > 0 {
			c.Quiet = table.Some(s.quiet)
		}
		if i == maxRanges-1 {
			c.Detail = "with all later sections of the file"
		}
		r.addCoverage(c)
	}
}
