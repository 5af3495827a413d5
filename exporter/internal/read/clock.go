package read

import "github.com/pcapsule/pcapsule/recorder/pcapng"

// Limits of the search for packets with a wrong time.
const (
	outlierGap = int64(60e9) // ns by which a time must differ from those of the packets around it
	outlierRun = 8           // later packets to compare with
	outlierFar = 100         // factor of their time span by which a file's first time must differ
)

// clock is the time of a file's packets according to most of them. One packet without a time, or
// with a time far in the future or the past, must neither delay later packets nor end
// connections. A step that later packets confirm is accepted as a step of the file's clock.
//
// LIMIT: a step among the last 8 packets of a file is compared with fewer packets. A step at the
// very end is accepted, like a long silence, and ends connections that were idle until then,
// although packets that were cut off might have shown that the time is wrong.
type clock struct {
	now int64
	set bool
}

// at returns the time that orders packet i of a window, and whether the packet's own time is an
// outlier. Another section of the file may be a capture of another day, so only packets of the same
// one are compared.
func (c *clock) at(list []pcapng.Packet, i int, interfaces []pcapng.Interface) (now int64, outlier bool) {
	p := &list[i]
	if c.set && p.TimeOK && distance(p.Time, c.now) < outlierGap {
		return p.Time, false
	}
	behind := list[i+1 : min(i+1+outlierRun, len(list))]
	for j := range behind {
		if interfaces[behind[j].Interface].Section != interfaces[p.Interface].Section {
			behind = behind[:j]
			break
		}
	}
	if !c.set {
		return first(p, behind)
	}
	own, old := 0, 0 // later packets that are closer to p's time, and to the clock's
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

// first is the time of a file's first packet, or of the next ones if its own is far from theirs.
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
