package pcapng

import (
	"math"
	"math/bits"
)

// clock converts the ticks of an interface to nanoseconds and back.
type clock struct {
	mul    uint64 // nanoseconds per tick; 0 if not a whole number
	max    uint64 // largest tick count for the fast path
	offset int64  // nanoseconds added
	res    uint8  // if_tsresol as in the file
	secs   int64  // if_tsoffset
}

var pow10 = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

func newClock(res uint8, secs int64) clock {
	c := clock{res: res, secs: secs}
	hi, lo := bits.Mul64(absU(secs), 1e9)
	if res&0x80 == 0 && res <= 9 && hi == 0 && lo <= math.MaxInt64/2 {
		c.mul = pow10[9-res]
		c.offset = secs * 1e9
		c.max = (math.MaxInt64 - lo) / c.mul
	}
	return c
}

func absU(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// ns is the time of a tick count; false if it does not fit and was saturated.
func (c *clock) ns(ticks uint64) (int64, bool) {
	if c.mul != 0 && ticks <= c.max {
		return int64(ticks*c.mul) + c.offset, true
	}
	return c.slowNS(ticks)
}

func (c *clock) slowNS(ticks uint64) (int64, bool) {
	sec, frac := c.split(ticks)
	if sec > math.MaxInt64 {
		return math.MaxInt64, false
	}
	total, carry := int64(sec)+c.secs, int64(sec) > 0 && c.secs > 0
	if carry && total < 0 {
		return math.MaxInt64, false
	}
	const most = math.MaxInt64 / 1_000_000_000
	switch {
	case total > most || total == most && frac > math.MaxInt64%1_000_000_000:
		return math.MaxInt64, false
	case total < -most:
		return math.MinInt64, false
	}
	return total*1e9 + int64(frac), true
}

// lastTime is the latest time of a packet, in April 2261. Sums of a time and a length, differences
// of two times and conversions to calendar dates then never overflow, here or in users of the
// packets.
const lastTime = math.MaxInt64 - 365*24*3600*1_000_000_000

// packetTime is the time of a packet; false if it is before 1970 or after lastTime and was
// saturated.
func (c *clock) packetTime(ticks uint64) (int64, bool) {
	ns, fits := c.ns(ticks)
	switch {
	case ns < 0:
		return 0, false
	case ns > lastTime:
		return lastTime, false
	}
	return ns, fits
}

// packetTicks is the tick count of a packet's time. A saturated time becomes a count that
// saturates again, if the clock has one.
func (c *clock) packetTicks(p *Packet) (uint64, bool) {
	if p.TimeOK {
		return c.ticks(p.Time)
	}
	if p.Time == lastTime {
		if _, fits := c.packetTime(math.MaxUint64); !fits {
			return math.MaxUint64, true
		}
	}
	return 0, true
}

// split divides ticks into seconds and nanoseconds, rounded down.
func (c *clock) split(ticks uint64) (sec, frac uint64) {
	if c.res&0x80 != 0 {
		n := uint(c.res & 0x7f)
		if n > 63 { // 2^-64 s and finer: less than a second in total
			hi, _ := bits.Mul64(ticks, 1e9)
			return 0, hi >> min(n-64, 63)
		}
		hi, lo := bits.Mul64(ticks&(1<<n-1), 1e9)
		if n == 0 {
			return ticks, 0
		}
		return ticks >> n, hi<<(64-n) | lo>>n
	}
	n := int(c.res)
	switch {
	case n < len(pow10):
		sec, frac = ticks/pow10[n], ticks%pow10[n]
	case n-9 < len(pow10):
		return 0, ticks / pow10[n-9]
	default:
		return 0, 0
	}
	if n <= 9 {
		return sec, frac * pow10[9-n]
	}
	return sec, frac / pow10[n-9]
}

// ticks is the tick count whose time is ns, or the last one before it. It is false if ns
// is outside the range of the clock.
func (c *clock) ticks(ns int64) (uint64, bool) {
	sec, frac := ns/1e9, ns%1e9
	if frac < 0 {
		sec, frac = sec-1, frac+1e9
	}
	if c.secs < 0 && sec > math.MaxInt64+c.secs {
		return 0, false
	}
	sec -= c.secs
	if sec < 0 {
		return 0, false
	}
	t, ok := c.join(uint64(sec), uint64(frac))
	if !ok {
		return 0, false
	}
	// The tick that begins inside this nanosecond has the same time when it is read.
	if back, _ := c.ns(t); back != ns && t != math.MaxUint64 {
		if next, fits := c.ns(t + 1); fits && next == ns {
			t++
		}
	}
	return t, true
}

func (c *clock) join(sec, frac uint64) (uint64, bool) {
	if c.res&0x80 != 0 {
		n := uint(c.res & 0x7f)
		if n > 63 { // all ticks together are one second or less
			if sec != 0 || frac != 0 && (n-64 > 30 || frac<<(n-64) >= 1e9) {
				return 0, false
			}
			t, _ := bits.Div64(frac<<(n-64), 0, 1e9)
			return t, true
		}
		if sec>>(64-n) != 0 {
			return 0, false
		}
		hi, lo := frac>>(64-n), frac<<n
		part, _ := bits.Div64(hi, lo, 1e9)
		return sec<<n | part, true
	}
	n := int(c.res)
	if n >= len(pow10) { // likewise
		if sec != 0 || frac != 0 && n-9 >= len(pow10) {
			return 0, false
		}
		hi, lo := bits.Mul64(frac, pow10[min(n-9, len(pow10)-1)])
		return lo, hi == 0
	}
	hi, lo := bits.Mul64(sec, pow10[n])
	if hi != 0 {
		return 0, false
	}
	part := frac
	if n <= 9 {
		part /= pow10[9-n]
	} else {
		part *= pow10[n-9]
	}
	sum, over := bits.Add64(lo, part, 0)
	return sum, over == 0
}
