package ring

import "fmt"

// Underway follows the records of a ring. It knows how many packets the kernel had counted at
// the last seal, but no record accounts for yet: they were in transit. Later seals of the same
// recorder account for them; after a crash, no record does.
type Underway struct {
	started bool
	kernel  uint64 // at the last seal that states it
	series  string // of that seal, without its age
	seen    map[string]uint64
	at      Time // of the last seal with counters
}

// Apply processes one record.
func (u *Underway) Apply(r *Record) {
	switch {
	case r.Start != nil:
		*u = Underway{started: true, seen: map[string]uint64{}}
	case r.Stop != nil:
		*u = Underway{}
	case r.Segment != nil && r.Segment.Counters != nil && u.started && validSeries(r.Segment.Series):
		c := r.Segment.Counters
		if len(u.seen) < maxCounted || u.seen[r.Segment.Series] != 0 {
			u.seen[r.Segment.Series] = c.Seen
		}
		if c.Kernel > 0 {
			u.kernel, u.series, u.at = c.Kernel, BaseSeries(r.Segment.Series), r.Segment.Last
		}
	}
}

const maxCounted = 1024 // series

// Packets returns their number and the time of the last seal; false if the recorder stopped
// properly or no seal states it. The counters of series with their own age may be older than
// those of the kernel, so the actual number may be lower.
func (u *Underway) Packets() (n uint64, at Time, known bool) {
	if u.kernel == 0 {
		return 0, 0, false
	}
	var seen uint64
	for series, count := range u.seen {
		if BaseSeries(series) == u.series {
			seen += count
		}
	}
	return u.kernel - min(seen, u.kernel), u.at, true
}

// String describes them in words, "" if they are not known.
func (u *Underway) String() string {
	n, at, known := u.Packets()
	if !known {
		return ""
	}
	return fmt.Sprintf("at the last seal (%s) the kernel had seen %d packets, of which %d were not accounted for yet", at, u.kernel, n)
}
