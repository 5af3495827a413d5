package failures

import (
	"context"
	"fmt"
	"math"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Conditions of a sentence about more calls than before.
const (
	leastBefore = 10 // calls in the time before
	leastDuring = 20
	moreOften   = 2.0        // times
	surelyOften = 1.3        // times, the lower end of the 95 % interval of the ratio of two Poisson rates
	shortest    = int64(1e9) // ns
	longBefore  = 10         // times as long as the time
)

// amount is how many calls there were in a time, and before it.
type amount struct {
	During int64    `json:"during"`
	Before int64    `json:"before"`
	ns     [2]int64 // lengths of the two
}

// amountOf counts calls from the first failed request to the last, and before.
func (h *Happened) amountOf(ctx context.Context, c *forensics.Case, where string, args []any) (amount, error) {
	first, _, _ := c.Window()
	during := max(h.to-h.from, 1)
	before := min(longBefore*during, max(h.from-first, 0))
	a, err := ask.One[amount](ctx, c, "SELECT count(*) FILTER (ts_ns >= ?) AS during, count(*) FILTER (ts_ns < ?) AS before FROM calls WHERE ts_ns BETWEEN ? AND ? AND "+where, append([]any{h.from, h.from, h.from - before, h.to}, args...)...)
	a.ns = [2]int64{during, before}
	return a, err
}

// more reports whether calls came more often than before, and not by chance.
func (a *amount) more() bool {
	if a.Before < leastBefore || a.During < leastDuring || min(a.ns[0], a.ns[1]) < shortest {
		return false
	}
	ratio := float64(a.During) / float64(a.ns[0]) / (float64(a.Before) / float64(a.ns[1]))
	return ratio >= moreOften && math.Log(ratio)-1.96*math.Sqrt(1/float64(a.During)+1/float64(a.Before)) > math.Log(surelyOften)
}

// surge says that requests came more often than before, if they did.
func (h *Happened) surge() string {
	if !h.asked.more() {
		return ""
	}
	unit, each := "second", 1e9
	if h.asked.Before*1e9 < h.asked.ns[1] {
		unit, each = "minute", 60e9
	}
	rate := func(n, ns int64) string { return plural.Digits(float64(n)/float64(ns)*each, 2) }
	return fmt.Sprintf(" Such requests came %s times a %s, in the %s before %s times.", rate(h.asked.During, h.asked.ns[0]), unit, chain.LengthOf(h.asked.ns[1]), rate(h.asked.Before, h.asked.ns[1]))
}

// amplified says that each request caused more calls of its origin than before, as repeated attempts do.
func (h *Happened) amplified(ctx context.Context, c *forensics.Case, all *ask.Window, o *chain.Origin) (string, error) {
	if o.Protocol == "dns" || o.Protocol == "tcp" || h.asked.Before < leastBefore || h.asked.During < leastDuring {
		return "", nil
	}
	below, err := h.amountOf(ctx, c, all.Where+" AND "+terms.Who("src_")+" = ? AND "+terms.Who("dst_")+" = ? AND protocol = ? AND endpoint = ?", all.Values(o.Src, o.Dst, o.Protocol, o.Endpoint))
	if err != nil || below.Before < leastBefore {
		return "", err
	}
	now, then := float64(below.During)/float64(h.asked.During), float64(below.Before)/float64(h.asked.Before)
	if now < moreOften*then || now-then < 1 {
		return "", nil
	}
	return " " + at(o.Protocol, o.Dst) + " was asked " + o.Endpoint + " " + times(now) + " for each request, before " + times(then) + ".", nil
}

// times writes a mean of calls.
func times(mean float64) string {
	switch n := math.Round(mean); {
	case mean < 0.8:
		return "less than once"
	case n == 1:
		return "about once"
	case n == 2:
		return "about twice"
	default:
		return "about " + plural.Digits(n, 3) + " times"
	}
}
