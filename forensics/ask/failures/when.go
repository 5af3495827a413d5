package failures

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/chain"
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

// limit describes the time that most calls took, if it looks like a timeout.
func (g *group) limit() string {
	if !g.Clear || g.Calls < 3 || g.P50Ms == nil || g.Low == nil || g.High == nil || *g.P50Ms < 90 || *g.High-*g.Low > 0.1**g.P50Ms {
		return ""
	}
	for _, l := range limits {
		if *g.P50Ms >= 0.985*l && *g.P50Ms <= 1.05*l {
			return "most took " + span(*g.Low, *g.High) + ", likely a timeout of " + chain.LengthOf(int64(l*1e6))
		}
	}
	return "most took " + span(*g.Low, *g.High) + ", likely a timeout"
}

// span writes two lengths in milliseconds, or one if they read the same.
func span(low, high float64) string {
	a, b := chain.LengthOf(int64(low*1e6)), chain.LengthOf(int64(high*1e6))
	if a == b {
		return a
	}
	return a + " to " + b
}
