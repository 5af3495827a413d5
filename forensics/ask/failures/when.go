package failures

import (
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// when describes the pattern in time.
func (g *group) when() string {
	length := g.LastNs - g.FirstNs
	switch {
	case g.Calls == 1:
		return "once"
	case g.Calls == 2:
		if length < 1000 {
			return "twice, at the same time"
		}
		return "twice, " + chain.LengthOf(length) + " apart"
	case g.GapP50 == nil || g.GapP10 == nil || g.GapP90 == nil:
		return "spread"
	case g.Calls >= 5 && *g.GapP50 >= 100 && *g.GapP90-*g.GapP10 <= 0.2**g.GapP50:
		return fmt.Sprintf("about every %s, over %s", chain.LengthOf(int64(*g.GapP50*1e6)), chain.LengthOf(length))
	case g.Pauses == 0 && length <= 60_000_000_000:
		return fmt.Sprintf("one burst of %s", chain.LengthOf(length))
	case g.Pauses == 0:
		return fmt.Sprintf("without a pause of 10 s, over %s", chain.LengthOf(length))
	case g.Pauses*3 <= g.Calls:
		return fmt.Sprintf("%d bursts over %s, at least 10 s apart", g.Pauses+1, chain.LengthOf(length))
	}
	return "spread over " + chain.LengthOf(length)
}

// limits are common timeouts, in milliseconds.
var limits = [...]float64{100, 150, 200, 250, 300, 400, 500, 600, 750, 800, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6000, 8000, 10_000, 12_000, 15_000, 20_000, 25_000, 30_000, 45_000, 60_000, 90_000, 120_000, 180_000, 300_000}

// Conditions of a timeout.
const (
	leastWaits = 3    // waits that end after the same time
	leastMs    = 90   // shorter than any timeout
	oneMs      = 5    // waits within this or
	oneShare   = 0.02 // this share of their length end after the same time
)

// limit describes the time after which waits ended, if it is likely a timeout: most waits ended after one time, and no
// response came, neither to these calls nor to the calls below that they waited for. Responses that all took the same
// time are none, unless they say that a time had passed.
func (g *group) limit() string {
	low, high := most(g.Tenths, g.Calls)
	if g.Calls < leastWaits || low < leastMs || !oneTime(low, high) {
		return ""
	}
	text := "most took " + span(low, high) + ", likely a timeout"
	if g.Waited {
		what := "a response"
		if g.Delivery == terms.FateInPart {
			what = "the whole response"
		}
		text = "most waits ended after " + span(low, high) + " without " + what + ", likely a timeout"
	} else if !g.Told && !g.waitedBelow(low) {
		return ""
	}
	for _, l := range limits {
		if low >= 0.985*l && high <= 1.05*l {
			text += " of " + chain.LengthOf(int64(l*1e6))
			break
		}
	}
	switch {
	case g.Waited:
	case g.Told:
		text += ", as the responses say"
	default:
		text += ": a call below got no response"
	}
	return text
}

// most is the shortest range that has six tenths of n times, or all of them if six tenths are too few. tenths are the
// lowest time, the p10, p20 and so on, the highest.
func most(tenths []float64, n int64) (low, high float64) {
	if len(tenths) != 11 {
		return 0, 0
	}
	low, high = tenths[0], tenths[10]
	for i := 0; i+6 <= 10 && n*6 >= leastWaits*10; i++ {
		if tenths[i+6]-tenths[i] < high-low {
			low, high = tenths[i], tenths[i+6]
		}
	}
	return low, high
}

// oneTime reports whether two lengths in milliseconds are the same but for what a timer and a busy machine add.
func oneTime(low, high float64) bool { return high-low <= max(oneMs, oneShare*high) }

// waitedBelow reports whether most of the examined calls took ms because they waited for another without a response.
func (g *group) waitedBelow(ms float64) bool {
	n := len(g.below)
	if n < leastWaits || n*10 < g.Examined*8 {
		return false
	}
	slices.Sort(g.below)
	tenths := make([]float64, 11)
	for i := range tenths {
		tenths[i] = float64(g.below[max(0, (i*n+9)/10-1)]) / 1e6
	}
	low, high := most(tenths, int64(n))
	return oneTime(low, high) && low >= 0.9*ms
}

// span writes two lengths in milliseconds, or one if they read the same.
func span(low, high float64) string {
	a, b := chain.LengthOf(int64(low*1e6)), chain.LengthOf(int64(high*1e6))
	if a == b {
		return a
	}
	return a + " to " + b
}
