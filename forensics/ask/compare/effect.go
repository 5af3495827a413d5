package compare

import (
	"math"
	"strconv"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/internal/stats"
)

// The states of a comparison. docs/guide/questions.md has their conditions.
const (
	changed  = "changed"
	noChange = "no_change_seen"
	tooFew   = "too_few_calls"
)

// A difference that is not chance is a change if it is at least this large.
const (
	minSlower    = 0.06 // share of pairs above one half
	maybeSlower  = 0.2  // the same, for a difference that may be chance
	minRatio     = 1.1  // ratio of medians, p90 or p99
	minErrorDiff = 0.01 // difference of error rates
	minVolume    = 1.5  // ratio of calls per minute
)

// Without a change, none was seen if the interval excludes one this large; else there are too few calls.
const (
	largeRatio     = 2.0
	largeErrorDiff = 0.1
	largeVolume    = 3.0
)

// burst is the number of calls that count as one event in a volume: calls come in groups, so their number
// varies more than that of independent events.
const burst = 9

// Calls that are needed to compare the slowest tenth, and the slowest hundredth.
const (
	enoughForP90 = 20
	enoughForP99 = 500

	enoughForPercentile = 100 // below, the p99 is the slowest call
)

// Effect is a difference between the windows with its uncertainty.
type Effect struct {
	State string   `json:"state" jsonschema:"changed; no_change_seen: the interval excludes a large change (latency: twice or half, errors: 10 percentage points, volume: three times or a third); or too_few_calls to be sure"`
	Value float64  `json:"value" jsonschema:"latency: ratio of the medians; errors and slowest: difference of the shares; volume: ratio of the rates"`
	Low   *float64 `json:"low,omitempty" jsonschema:"95 % interval of value; an absent bound is unknown"`
	High  *float64 `json:"high,omitempty"`
	P     *float64 `json:"p,omitempty" jsonschema:"probability of such a difference by chance, adjusted for the number of comparisons; absent without a test, or if none of these sizes can show a change"`

	raw  float64        // Value, not rounded
	span stats.Interval // Low to High, not rounded
	test *stats.P
}

// effect is a difference with its interval, before it is judged.
func effect(value float64, span stats.Interval, test *stats.P) *Effect {
	e := &Effect{Value: digits(value), raw: value, span: span, test: test}
	if span.Low == 0 && math.IsInf(span.High, 0) { // of a ratio: nothing is known
		return e
	}
	for _, b := range []struct {
		of   float64
		into **float64
	}{{span.Low, &e.Low}, {span.High, &e.High}} {
		if v := digits(b.of); !math.IsInf(b.of, 0) && !math.IsNaN(b.of) {
			*b.into = &v
		}
	}
	return e
}

// digits rounds to four digits.
func digits(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	return v + 0 // 0, not -0
}

// sure reports whether a difference is not chance.
func (e *Effect) sure() bool { return e != nil && e.test != nil && e.test.Value < stats.Level }

// judge sets the state: large is whether the difference is large enough for a change, and low and high
// bound what counts as no large change.
func (e *Effect) judge(large bool, low, high float64) {
	switch {
	case large && e.sure():
		e.State = changed
	case e.span.Within(low, high):
		e.State = noChange
	default:
		e.State = tooFew
	}
	if e.test != nil && e.test.Least < stats.Level {
		p := math.Round(e.test.Value*1e4) / 1e4 // below the resolution it is 0
		e.P = &p
	}
}

// Slowest compares the calls that are slower than most calls of both windows.
type Slowest struct {
	OverMs float64  `json:"over_ms" jsonschema:"the p90 or p99 of the calls of both windows"`
	Calls  [2]int64 `json:"calls" jsonschema:"calls that took longer"`
	Effect
}

// sample is what both windows say about one service, endpoint or pair, or about all calls.
type sample struct {
	calls, failed [2]int64
	bins          []int64    // of latency, in order
	counts        [2][]int64 // calls in these bins
	p50           []float64  // exact medians in microseconds, if they were read
}

// timed are the calls with a latency.
func (s *sample) timed() (n [2]int64) {
	for i := range n {
		for _, c := range s.counts[i] {
			n[i] += c
		}
	}
	return n
}

// edge is the lower edge of a latency bin in microseconds.
func edge(bin int64) float64 { return math.Max(0, math.Exp((float64(bin)-0.5)/logBins)-1) }

// rank finds the value with a rank from 1: its bin, and its place among the values of that bin from 0 to 1.
func (s *sample) rank(window int, rank int64) (bin int64, place float64) {
	for i, c := range s.counts[window] {
		if rank <= c {
			return s.bins[i], (float64(rank) - 0.5) / float64(c)
		}
		rank -= c
	}
	return 0, 0
}

// quantile is a quantile of one window in microseconds, from its bin, with its interval.
func (s *sample) quantile(window int, n int64, q float64) (float64, stats.Interval) {
	bin, place := s.rank(window, max(1, int64(math.Ceil(q*float64(n)))))
	v := stats.Interval{Low: 0, High: math.Inf(1)}
	low, high := stats.QuantileRanks(n, q)
	if low > 0 {
		at, _ := s.rank(window, low)
		v.Low = edge(at)
	}
	if high <= n {
		at, _ := s.rank(window, high)
		v.High = edge(at + 1)
	}
	return edge(bin) + place*(edge(bin+1)-edge(bin)), v
}

// latency compares the latencies; nil if one window has none.
func (s *sample) latency() (e *Effect, larger float64) {
	n := s.timed()
	p, larger, ok := stats.MannWhitney(s.counts[0], s.counts[1])
	if !ok {
		return nil, 0
	}
	var at [2]float64
	var over [2]stats.Interval
	span := stats.Interval{Low: 0, High: math.Inf(1)}
	for i := range at {
		at[i], over[i] = s.quantile(i, n[i], 0.5)
		if len(s.p50) == 2 {
			at[i] = s.p50[i]
		}
		// A latency may be 0 µs: 1 µs more in both windows makes the ratio finite, as in the bins.
		over[i] = stats.Interval{Low: math.Min(at[i], over[i].Low) + 1, High: math.Max(at[i], over[i].High) + 1}
	}
	if bounded(n[0]) && bounded(n[1]) {
		span = stats.Ratio(at[0]+1, over[0], at[1]+1, over[1])
	}
	return effect((at[1]+1)/(at[0]+1), span, &p), ask.Round(larger)
}

// bounded reports whether n values give an interval of their median.
func bounded(n int64) bool {
	low, _ := stats.QuantileRanks(n, 0.5)
	return low > 0
}

// slowest compares the shares of calls above the p90, or the p99, of the calls of both windows. Under the
// assumption of equal distributions that limit does not depend on which call is in which window, so the
// test is exact.
func (s *sample) slowest() *Slowest {
	n := s.timed()
	var best *Slowest
	tests := 0.0
	for _, q := range [...]struct {
		share float64
		least int64
	}{{0.9, enoughForP90}, {0.99, enoughForP99}} {
		if min(n[0], n[1]) == 0 || n[0]+n[1] < q.least {
			continue
		}
		tests++
		var above [2]int64
		at, cut := len(s.bins), int64(0)
		for most := int64(math.Ceil((1 - q.share) * float64(n[0]+n[1]))); at > 0; at-- { // whole bins of at most this many calls
			c := s.counts[0][at-1] + s.counts[1][at-1]
			if cut += c; cut > most {
				break
			}
			above[0], above[1] = above[0]+s.counts[0][at-1], above[1]+s.counts[1][at-1]
		}
		if above[0]+above[1] == 0 {
			continue
		}
		p := stats.Fisher(above[0], n[0], above[1], n[1])
		if best == nil || p.Value < best.test.Value {
			best = &Slowest{OverMs: ask.Round(edge(s.bins[at-1]+1) / 1000), Calls: above,
				Effect: *effect(float64(above[1])/float64(n[1])-float64(above[0])/float64(n[0]), stats.ShareDifference(above[0], n[0], above[1], n[1]), &p)}
		}
	}
	if best != nil {
		best.test.Value, best.test.Least = math.Min(1, tests*best.test.Value), math.Min(1, tests*best.test.Least)
	}
	return best
}

// errors compares the shares of failed calls; nil if one window has no calls.
func (s *sample) errors() *Effect {
	if s.calls[0] == 0 || s.calls[1] == 0 {
		return nil
	}
	p := stats.Fisher(s.failed[0], s.calls[0], s.failed[1], s.calls[1])
	return effect(float64(s.failed[1])/float64(s.calls[1])-float64(s.failed[0])/float64(s.calls[0]), stats.ShareDifference(s.failed[0], s.calls[0], s.failed[1], s.calls[1]), &p)
}

// volume compares the calls per minute; nil if one window has no calls.
func (s *sample) volume(minutes [2]float64) *Effect {
	if s.calls[0] == 0 || s.calls[1] == 0 {
		return nil
	}
	x, y := float64(s.calls[0]), float64(s.calls[1])
	e := effect(y/minutes[1]/(x/minutes[0]), stats.RateRatio(x, minutes[0], y, minutes[1], burst), nil)
	if e.judge(false, 1/largeVolume, largeVolume); !(e.span.Low <= 1 && e.span.High >= 1) && (e.raw >= minVolume || e.raw <= 1/minVolume) {
		e.State = changed
	}
	return e
}

// stratum is a sample as one part of a whole.
func (s *sample) stratum() stats.Stratum {
	return stats.Stratum{X: s.failed[0], N: s.calls[0], Y: s.failed[1], M: s.calls[1], Before: s.counts[0], After: s.counts[1]}
}
