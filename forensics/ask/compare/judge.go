package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/stats"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// judge adjusts the tests of a list, sets the state of each effect, and sorts the list by importance. It
// returns the number of tests that could show something.
func judge(list []Change) int {
	var tests []*stats.P
	for i := range list {
		ch := &list[i]
		for _, e := range []*Effect{ch.Latency, ch.tail(), ch.Errors} {
			if e != nil {
				tests = append(tests, e.test)
			}
		}
	}
	n := stats.Holm(tests)
	for i := range list {
		list[i].judge()
	}
	slices.SortStableFunc(list, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.rank(), a.rank()), cmp.Compare(b.weight, a.weight), cmp.Compare(b.Calls[0]+b.Calls[1], a.Calls[0]+a.Calls[1]))
	})
	return n
}

// tail is the effect of the slowest calls.
func (ch *Change) tail() *Effect {
	if ch.Slowest == nil {
		return nil
	}
	return &ch.Slowest.Effect
}

// rank is 2 for a change, 1 for one that may be chance, 0 if none was seen.
func (ch *Change) rank() int {
	switch {
	case len(ch.Changed) > 0:
		return 2
	case len(ch.Maybe) > 0:
		return 1
	}
	return 0
}

// unsure reports whether there are too few calls to say that latency and errors did not change.
func (ch *Change) unsure() bool {
	return ch.Calls[0] > 0 && ch.Calls[1] > 0 && (ch.Errors.State == tooFew || ch.Latency != nil && ch.Latency.State == tooFew)
}

// judge decides what changed, and describes it.
func (ch *Change) judge() {
	ch.Words, ch.weight = "", 0
	var words []string
	say := func(e *Effect, large bool, more, less, text string, size float64) {
		word := less
		if e.raw > 0 && more == "more_errors" || e.raw > 1 && more != "more_errors" {
			word = more
		}
		many := math.Sqrt(float64(ch.Calls[1]))
		switch {
		case e.State == changed:
			ch.Changed = append(ch.Changed, word)
			text = ch.phrase(word) + ": " + text
		case large && e.State == tooFew:
			ch.Maybe = append(ch.Maybe, word)
			text += ": too few calls to be sure"
			many = math.Sqrt(float64(min(ch.Calls[0], ch.Calls[1])))
		default:
			return
		}
		ch.weight += size * many
		words = append(words, text)
	}
	if e := ch.Errors; e != nil {
		e.judge(math.Abs(e.raw) >= minErrorDiff, -largeErrorDiff, largeErrorDiff)
		say(e, math.Abs(e.raw) >= largeErrorDiff, "more_errors", "fewer_errors", ch.errorWords(), 8*math.Abs(e.raw))
	}
	if e := ch.Latency; e != nil {
		apart := !(e.span.Low <= minRatio && e.span.High >= 1/minRatio)
		e.judge(math.Abs(*ch.Slower-0.5) >= minSlower && differs(ch.P50Ms, ch.P90Ms, ch.P99Ms) || apart, 1/largeRatio, largeRatio)
		word := [2]string{"slower", "faster"}
		if e.State == changed { // by most pairs of calls, not by the medians alone
			if *ch.Slower < 0.5 {
				word[0] = "faster"
			} else {
				word[1] = "slower"
			}
		}
		text := ch.latencyWords()
		if e.State == changed {
			text += ch.slowestWords()
		}
		large := e.raw >= largeRatio && *ch.Slower >= 0.5+maybeSlower || e.raw <= 1/largeRatio && *ch.Slower <= 0.5-maybeSlower
		say(e, large, word[0], word[1], text, math.Max(math.Abs(math.Log2(e.raw)), 4*math.Abs(*ch.Slower-0.5)))
	}
	ch.judgeSlowest(say)
	if e := ch.Volume; e != nil && e.State == changed {
		say(e, true, "more_calls", "fewer_calls", ch.volumeWords(), math.Abs(math.Log2(e.raw))/math.Sqrt(float64(ch.Calls[1])))
	}
	ch.Words = strings.Join(words, "; ")
}

// phrase writes a word of changed as a sentence does.
func (ch *Change) phrase(word string) string {
	switch {
	case word == "faster" && ch.against(1):
		return "most calls faster, the slowest slower"
	case word == "slower" && ch.against(-1):
		return "most calls slower, the slowest faster"
	}
	return strings.ReplaceAll(strings.ReplaceAll(word, "slowest", "slowest calls"), "_", " ")
}

// judgeSlowest reports the slowest calls if they changed otherwise than the rest.
func (ch *Change) judgeSlowest(say func(e *Effect, large bool, more, less, text string, size float64)) {
	s := ch.Slowest
	if s == nil {
		return
	}
	s.judge(math.Abs(s.raw) >= minErrorDiff/2 && differs(ch.P90Ms, ch.P99Ms), -largeErrorDiff, largeErrorDiff)
	with := map[bool]string{true: "slower", false: "faster"}[s.raw > 0]
	// Fewer calls may be slow and the slowest of them slower, as if fast calls were added.
	if s.State != changed || ch.against(-s.raw) || slices.Contains(ch.Changed, with) {
		ch.Slowest = nil
		return
	}
	n := ch.of.timed()
	text := fmt.Sprintf("%d of %d took over %s ms, before %d of %d (%s)", s.Calls[1], n[1], plural.Digits(s.OverMs, 4), s.Calls[0], n[0], s.pointWords())
	if ch.Latency.State != changed { // else its words have the p99
		text += ch.slowestWords()
	}
	word := "slowest_" + with
	say(&s.Effect, true, word, word, text, 8*math.Abs(s.raw))
}

// against reports whether the p99 moved in a direction, up if it is positive, and enough to matter.
func (ch *Change) against(direction float64) bool {
	n := ch.of.timed()
	if min(n[0], n[1]) < enoughForPercentile || len(ch.P99Ms) != 2 || ch.P99Ms[0] <= 0 || ch.P99Ms[1] <= 0 {
		return false
	}
	log := math.Log(ch.P99Ms[1] / ch.P99Ms[0])
	return log*direction > 0 && math.Abs(log) >= math.Log(minRatio)
}

// latencyWords describes the medians in both windows.
func (ch *Change) latencyWords() string {
	return fmt.Sprintf("median %s ms, before %s ms (%s)", plural.Digits(ch.P50Ms[1], 4), plural.Digits(ch.P50Ms[0], 4), ch.Latency.ratioWords())
}

// slowestWords describes the p99 in both windows, unless there are too few calls for one.
func (ch *Change) slowestWords() string {
	n := ch.of.timed()
	for _, n := range n {
		if n < enoughForPercentile {
			return ""
		}
	}
	return fmt.Sprintf("; p99 %s ms, before %s ms", plural.Digits(ch.P99Ms[1], 4), plural.Digits(ch.P99Ms[0], 4))
}

// errorWords describes the failures in both windows.
func (ch *Change) errorWords() string {
	return plural.Sprintf("%d of %d {call|calls} failed, before %d of %d (%s)", ch.Failed[1], ch.Calls[1], ch.Failed[0], ch.Calls[0], ch.Errors.pointWords())
}

// volumeWords describes the calls per minute in both windows, or per hour or day if there are few.
func (ch *Change) volumeWords() string {
	unit, times := "minute", 1.0
	if most := max(ch.PerMinute[0], ch.PerMinute[1]); most < 1.0/60 {
		unit, times = "day", 24*60
	} else if most < 1 {
		unit, times = "hour", 60
	}
	return fmt.Sprintf("%s per %s, before %s (%s)", plural.Digits(times*ch.PerMinute[1], 3), unit, plural.Digits(times*ch.PerMinute[0], 3), ch.Volume.ratioWords())
}

// ratioWords writes a ratio with its interval: "+12 %, 95 % interval +5 to +20 %", or "35×, 95 %
// interval 30× to 38×".
func (e *Effect) ratioWords() string {
	low, high := e.span.Low, e.span.High
	times := math.Max(e.raw, high) >= largeRatio || e.raw <= 1/largeRatio
	write := func(v float64) string {
		if times {
			return plural.Digits(v, 3)
		}
		return signed(100 * (v - 1))
	}
	unit := " %"
	if times {
		unit = "×"
	}
	switch {
	case math.IsInf(high, 0) && low <= 0:
		return write(e.raw) + unit + "; too few calls for an interval"
	case math.IsInf(high, 0):
		return write(e.raw) + unit + ", 95 % interval from " + write(low) + unit
	}
	return write(e.raw) + unit + ", 95 % interval " + write(low) + " to " + write(high) + unit
}

// pointWords writes a difference of shares in percentage points, with its interval.
func (e *Effect) pointWords() string {
	return fmt.Sprintf("%s points, 95 %% interval %s to %s", signed(100*e.raw), signed(100*e.span.Low), signed(100*e.span.High))
}

// signed writes a number with its sign and one decimal place.
func signed(v float64) string {
	v = math.Round(10*v) / 10
	if v == 0 {
		return "0"
	}
	return strings.TrimSuffix(fmt.Sprintf("%+.1f", v), ".0")
}

// differs reports whether the values of any pair differ by at least minRatio.
func differs(pairs ...[]float64) bool {
	for _, p := range pairs {
		if len(p) == 2 && math.Max(p[0], p[1]) >= math.Min(p[0], p[1])*minRatio && p[0] != p[1] {
			return true
		}
	}
	return false
}

// explain says if a whole changed otherwise than its endpoints: their shares of the calls changed.
func explain(whole *Change, endpoints []Change) {
	parts := make([]stats.Stratum, len(endpoints))
	for i := range endpoints {
		parts[i] = endpoints[i].of.stratum()
	}
	var words []string
	if e := whole.Errors; e != nil && len(parts) > 1 {
		within, p := stats.WithinShares(parts)
		words = append(words, mix(e.raw, within, e, p, minErrorDiff, [2]string{"more", "fewer"}, "failures", signed(100*within)+" points")...)
	}
	if e := whole.Latency; e != nil && len(parts) > 1 {
		larger, p := stats.WithinRanks(parts)
		words = append(words, mix(*whole.Slower-0.5, larger-0.5, e, p, minSlower, [2]string{"slower", "faster"}, "calls", fmt.Sprintf("slower in %s %% of pairs", plural.Digits(100*larger, 3)))...)
	}
	whole.Mix = strings.Join(words, "; ")
}

// mix compares the difference of a whole with that within its parts. A difference of the whole that is said is not hidden, even
// if few pairs of calls show it and only the medians are apart.
func mix(all, within float64, e *Effect, p, least float64, ways [2]string, what, size string) []string {
	way := func(d float64) string {
		if d > 0 {
			return ways[0]
		}
		return ways[1]
	}
	real, sure := p < stats.Level && math.Abs(within) >= least, e.sure()
	switch {
	case real && all*within < 0 && (e.State == changed || math.Abs(all) >= least):
		return []string{fmt.Sprintf("in total %s %s, but %s within the endpoints (%s): the mix of calls changed", way(all), what, way(within), size)}
	case real && !(sure && math.Abs(all) >= least) && all*within <= 0:
		return []string{fmt.Sprintf("%s %s within the endpoints (%s), which a change in the mix of calls hides in the total", way(within), what, size)}
	case sure && math.Abs(all) >= least && !real && math.Abs(within) < math.Abs(all)/2:
		return []string{fmt.Sprintf("in total %s %s, but not within the endpoints (%s): the mix of calls changed", way(all), what, size)}
	}
	return nil
}
