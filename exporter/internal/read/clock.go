package read

import "github.com/pcapsule/pcapsule/recorder/pcapng"

// Limits of the search for packets with a wrong time.
const (
	outlierGap = int64(60e9) // ns by which a time must differ from the packets around it
	outlierRun = 8           // packets behind it that are compared
	outlierFar = 100         // times the span of these by which a file's first time must be off
)

// clock is the time of a file's packets as their bulk tells it. One packet with a time far
// in the future or the past, or with none, must not delay the packets behind it, nor end
// connections. A step that the packets behind it confirm is what the file's clock did.
//
// LIMIT: a step among the last 8 packets of a file is judged by fewer. One at the very end
// counts, as after a long silence, and ends connections that were idle until then, although
// packets that were cut off might have shown that the time is wrong.
type clock struct {
	now int64
	set bool
}

// at returns the time by which packet i of a window is put in order, and whether the
// packet's own time is an outlier.
func (c *clock) at(list []pcapng.Packet, i int) (now int64, outlier bool) {
	p := &list[i]
	if c.set && p.TimeOK && distance(p.Time, c.now) < outlierGap {
		return p.Time, false
	}
	behind := list[i+1 : min(i+1+outlierRun, len(list))]
	if !c.set {
		return first(p, behind)
	}
	own, old := 0, 0 // packets behind that are nearer to p's time, and to the clock's
	for j := range behind {
		switch t := behind[j].Time; {
		case !behind[j].TimeOK:
		case p.TimeOK && distance(t, p.Time) < distance(t, c.now):
			own++
		default:
			old++
		}
	}
	if !p.TimeOK || old > own {
		return c.now, p.TimeOK
	}
	return p.Time, false
}

// first is the time of a file's first packet, or of the next ones if its own is far away
// from them.
func first(p *pcapng.Packet, behind []pcapng.Packet) (now int64, outlier bool) {
	var low, high int64
	n := 0
	for j := range behind {
		if t := behind[j].Time; behind[j].TimeOK {
			if n == 0 {
				low, high = t, t
			}
			low, high = min(low, t), max(high, t)
			n++
		}
	}
	switch {
	case n == 0:
		return p.Time, false
	case !p.TimeOK:
		return low, false
	}
	if off := min(distance(p.Time, low), distance(p.Time, high)); n > 1 && off > outlierGap && off/outlierFar > high-low {
		return low, true
	}
	return p.Time, false
}

func distance(a, b int64) int64 { return max(a-b, b-a) }
