package pcapng

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// exactNS computes the expected result of clock.ns with big numbers.
func exactNS(res uint8, secs int64, ticks uint64) (int64, bool) {
	v := new(big.Int).Mul(new(big.Int).SetUint64(ticks), big.NewInt(1e9))
	if res&0x80 != 0 {
		v.Rsh(v, uint(res&0x7f))
	} else {
		v.Quo(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(res)), nil))
	}
	v.Add(v, new(big.Int).Mul(big.NewInt(secs), big.NewInt(1e9)))
	if !v.IsInt64() {
		if v.Sign() > 0 {
			return math.MaxInt64, false
		}
		return math.MinInt64, false
	}
	return v.Int64(), true
}

func TestClockAgreesWithExactArithmetic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	offsets := []int64{0, 0, 1, -1, 1700000000, -1700000000, math.MaxInt64, math.MinInt64, 9223372036, -9223372036}
	for range 200000 {
		res := uint8(rnd.Uint32())
		secs := offsets[rnd.IntN(len(offsets))]
		ticks := rnd.Uint64() >> rnd.IntN(64)
		if rnd.IntN(50) == 0 {
			ticks = math.MaxUint64
		}
		c := newClock(res, secs)
		got, ok := c.ns(ticks)
		want, wantOK := exactNS(res, secs, ticks)
		near := want < math.MinInt64+2e9 && got < math.MinInt64+2e9 // the last second of the range saturates early
		if (got != want || ok != wantOK) && !near {
			t.Fatalf("resolution %#x, offset %d, %d ticks: %d %t, want %d %t", res, secs, ticks, got, ok, want, wantOK)
		}
		if !ok {
			continue
		}
		back, fits := c.ticks(got)
		if !fits {
			if _, sure := exactNS(res, secs, ticks); sure {
				t.Fatalf("resolution %#x, offset %d: %d ns has no ticks", res, secs, got)
			}
			continue
		}
		if again, _ := c.ns(back); again != got {
			t.Fatalf("resolution %#x, offset %d: %d ns became %d ns", res, secs, got, again)
		}
	}
}

func TestTimeBetweenTicksIsRoundedDown(t *testing.T) {
	c := newClock(6, 0)
	for ns, want := range map[int64]uint64{999: 0, 1000: 1, 1999: 1, 1700000000_123456789: 1700000000_123456} {
		if got, ok := c.ticks(ns); !ok || got != want {
			t.Errorf("%d ns: %d ticks, want %d", ns, got, want)
		}
	}
	if _, ok := c.ticks(-1); ok {
		t.Error("a time before 1970 has ticks")
	}
}
