package compare

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Thresholds that a significant change must also reach to be reported.
const (
	levelOfP     = 0.05
	minSlower    = 0.06 // share of pairs above one half: a small effect
	minRatio     = 1.1  // ratio of medians or of p99
	minErrorDiff = 0.01 // difference of error rates
	minVolume    = 1.5  // ratio of calls per minute
	minEach      = 8    // calls in each window for a test
	enough       = 20   // calls in each window for a rate or a p99
)

// logBins is the number of bins per factor of e of latency: each bin is 2.5 % wide.
const logBins = 40

// changeRow is a Change as SQL returns it.
type changeRow struct {
	ask.Target
	N0    int64     `json:"n0"`
	N1    int64     `json:"n1"`
	F0    int64     `json:"f0"`
	F1    int64     `json:"f1"`
	P0    []float64 `json:"p0"`
	P1    []float64 `json:"p1"`
	Bins  []int64   `json:"bins"`
	H0    []int64   `json:"h0"`
	H1    []int64   `json:"h1"`
	First int64     `json:"first_key"`
}

// maxChanges is the highest number of services or endpoints that are compared.
const maxChanges = 2000

// read reads both windows of every service, or of every endpoint with a histogram of its latency.
func (t *times) read(ctx context.Context, c *forensics.Case, w *ask.Window, endpoints bool, f *ask.Frame) ([]changeRow, error) {
	keys, group, order := "bn, far", "bn, far", "1"
	if endpoints {
		keys, group, order = "bn, far, protocol, coalesce(method, '') AS method, "+terms.PathTemplate+" AS tpl", "bn, far, protocol, method, tpl", "1, protocol, method, tpl"
	}
	names := strings.TrimPrefix(strings.Replace(group, "bn, far", "", 1), ", ")
	if names != "" {
		names += ", "
	}
	bins, list, join := "", "", ""
	if endpoints {
		bins = fmt.Sprintf(`, b AS (SELECT %[1]s, (ln(elapsed_us + 1) * %[2]d)::INTEGER AS bin, count(*) FILTER (NOT later) AS c0, count(*) FILTER (later) AS c1 FROM y WHERE elapsed_us IS NOT NULL GROUP BY ALL),
			h AS (SELECT %[1]s, list(bin::BIGINT ORDER BY bin) AS bins, list(c0 ORDER BY bin) AS h0, list(c1 ORDER BY bin) AS h1 FROM b GROUP BY ALL)`, group, logBins)
		list, join = ", bins, h0, h1", fmt.Sprintf("LEFT JOIN h USING (%s)", group)
	}
	sql := w.Ends(c, "service") + fmt.Sprintf(`, y AS NOT MATERIALIZED (SELECT %[1]s, %[2]s AS later, failed, `+terms.Took+` AS elapsed_us, `+terms.Asked+` AS named, %[8]s AS k FROM x WHERE %[3]s),
		g AS (SELECT %[4]s, bool_or(named) AS asked, count(*) FILTER (NOT later) AS n0, count(*) FILTER (later) AS n1, count(*) FILTER (failed AND NOT later) AS f0, count(*) FILTER (failed AND later) AS f1, min(k) AS first_key,
			quantile_disc(elapsed_us, [0.5, 0.9, 0.99]) FILTER (NOT later) AS p0, quantile_disc(elapsed_us, [0.5, 0.9, 0.99]) FILTER (later) AS p1 FROM y GROUP BY ALL)%[5]s
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, %[6]s n0, n1, f0, f1, first_key, p0, p1%[9]s FROM g %[10]s JOIN dname USING (bn) ORDER BY n0 + n1 DESC, %[7]s`,
		keys, t.later(), terms.IsRequest, group, bins, names, order, terms.NumberOf(c), list, join)
	rows, more, err := ask.Rows[changeRow](ctx, c, maxChanges, sql, w.Args...)
	if err != nil {
		return nil, err
	}
	if more {
		f.Truncated = true
		f.Note("only the %d with the most calls were compared", maxChanges)
	}
	return rows, nil
}

// changes converts rows. Services are tested by the histograms of their endpoints.
func (t *times) changes(rows, endpoints []changeRow, known map[string]ask.Node) []Change {
	bins := map[string]map[int64][2]int64{}
	for i := range endpoints {
		r := &endpoints[i]
		m := bins[r.Dst]
		if m == nil {
			m = map[int64][2]int64{}
			bins[r.Dst] = m
		}
		for k, b := range r.Bins {
			m[b] = [2]int64{m[b][0] + r.H0[k], m[b][1] + r.H1[k]}
		}
	}
	out := make([]Change, len(rows))
	for i := range rows {
		r := &rows[i]
		if r.Protocol == "" {
			var at []int64
			for b := range bins[r.Dst] {
				at = append(at, b)
			}
			slices.Sort(at)
			for _, b := range at {
				r.H0, r.H1 = append(r.H0, bins[r.Dst][b][0]), append(r.H1, bins[r.Dst][b][1])
			}
		}
		out[i] = r.change(t, known, r.Protocol != "")
	}
	return out
}

func (r *changeRow) change(t *times, known map[string]ask.Node, endpoints bool) Change {
	ch := Change{Dst: r.Dst, Calls: [2]int64{r.N0, r.N1}, Failed: [2]int64{r.F0, r.F1}, ErrorRate: [2]float64{ask.Share(r.F0, r.N0), ask.Share(r.F1, r.N1)}, Changed: []string{},
		PerMinute: [2]float64{ask.Round(float64(r.N0) / t.minutes(0)), ask.Round(float64(r.N1) / t.minutes(1))}}
	ch.KFL = ask.DstKFL(r.Dst, r.Pb, r.Asked, known)
	if endpoints {
		ch.Endpoint = ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		ch.KFL += " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path)
	} else {
		ch.KFL += terms.NotCarriers
	}
	if len(r.P0) == 3 && len(r.P1) == 3 {
		for i, list := range []*[]float64{&ch.P50Ms, &ch.P90Ms, &ch.P99Ms} {
			*list = []float64{r.P0[i] / 1000, r.P1[i] / 1000}
		}
	}
	if p, slower, ok := mannWhitney(r.H0, r.H1); ok {
		ch.LatencyP, ch.Slower = &p, &slower
	}
	if p, ok := twoProportions(r.F0, r.N0, r.F1, r.N1); ok {
		ch.ErrorP = &p
	}
	return ch
}

// mannWhitney compares two samples that are counted in the same bins. It returns the probability
// that samples of one distribution differ this much (normal approximation with ties and continuity
// correction), and the share of pairs in which the second value is larger; ties count half.
func mannWhitney(a, b []int64) (p, larger float64, ok bool) {
	var n, m, before, u, ties float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		u += y * (before + x/2)
		before += x
		n, m = n+x, m+y
		ties += (x+y)*(x+y)*(x+y) - (x + y)
	}
	if n < minEach || m < minEach {
		return 0, 0, false
	}
	all := n + m
	variance := n * m / 12 * (all + 1 - ties/(all*(all-1)))
	if variance <= 0 {
		return 1, 0.5, true
	}
	z := math.Max(0, math.Abs(u-n*m/2)-0.5) / math.Sqrt(variance)
	return normalTail(z), ask.Round(u / (n * m)), true
}

// twoProportions compares two proportions by the pooled z test. With an expected count below five
// in any cell it uses Fisher's exact test.
func twoProportions(x, n, y, m int64) (float64, bool) {
	if n < minEach || m < minEach || x+y == 0 {
		return 0, false
	}
	pool := float64(x+y) / float64(n+m)
	if least := math.Min(pool, 1-pool) * float64(min(n, m)); least < 5 {
		return fisher(x, n, y, m), true
	}
	z := (float64(x)/float64(n) - float64(y)/float64(m)) / math.Sqrt(pool*(1-pool)*(1/float64(n)+1/float64(m)))
	return normalTail(z), true
}

// maxFisher is the highest number of tables that Fisher's test sums; with small expected counts
// further tables are negligible.
const maxFisher = 10_000

// fisher is the two-sided exact test of a 2×2 table: the total probability of all tables with the
// same margins that are at most as likely as this one.
func fisher(x, n, y, m int64) float64 {
	k := x + y
	choose := func(n, k int64) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		return a - b - c
	}
	chance := func(i int64) float64 { return choose(n, i) + choose(m, k-i) - choose(n+m, k) }
	here, sum := chance(x), 0.0
	for i := max(0, k-m); i <= min(k, n) && i-max(0, k-m) < maxFisher; i++ {
		if l := chance(i); l <= here+1e-9 {
			sum += math.Exp(l)
		}
	}
	return math.Min(1, sum)
}

// adjust corrects p values for multiple comparisons (Holm): the smallest of m is multiplied by m,
// the next by m-1 and so on, each at least as large as the one before.
func adjust(lists ...[]Change) int {
	var all []*float64
	for _, list := range lists {
		for i := range list {
			for _, p := range []*float64{list[i].LatencyP, list[i].ErrorP} {
				if p != nil {
					all = append(all, p)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *float64) int { return cmp.Compare(*a, *b) })
	most := 0.0
	for i, p := range all {
		most = math.Max(most, math.Min(1, *p*float64(len(all)-i)))
		*p = most
	}
	for _, p := range all {
		if *p < 0.0001 {
			*p = 0 // below the resolution
		} else {
			*p = math.Round(*p*1e4) / 1e4
		}
	}
	return len(all)
}

// judge sets what changed in each row, and sorts the largest changes first.
func judge(list []Change, minutes [2]float64) {
	for i := range list {
		list[i].judge(minutes)
	}
	slices.SortStableFunc(list, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.rank(), a.rank()), cmp.Compare(b.weight, a.weight), cmp.Compare(b.Calls[0]+b.Calls[1], a.Calls[0]+a.Calls[1]))
	})
}

// rank is 2 for a change, 1 for one of latency or errors among few calls, 0 if nothing changed.
func (ch *Change) rank() int {
	switch {
	case len(ch.Changed) == 0:
		return 0
	case ch.Few && !slices.Contains(ch.Changed, "more_calls") && !slices.Contains(ch.Changed, "fewer_calls"):
		return 1
	}
	return 2
}

func (ch *Change) judge(minutes [2]float64) {
	ch.Few = few(ch.Calls)
	var words []string
	say := func(change string, weight float64, format string, args ...any) {
		ch.Changed = append(ch.Changed, change)
		ch.weight += weight
		words = append(words, fmt.Sprintf(format, args...))
	}
	if ch.LatencyP != nil && *ch.LatencyP < levelOfP && math.Abs(*ch.Slower-0.5) >= minSlower && len(ch.P50Ms) == 2 && differs(ch.P50Ms, ch.P90Ms, ch.P99Ms) {
		word := "slower"
		if *ch.Slower < 0.5 {
			word = "faster"
		}
		say(word, 4*math.Abs(*ch.Slower-0.5)*math.Sqrt(float64(ch.Calls[1])), "%s: median %s ms, before %s ms; %s", word, plural.Digits(ch.P50Ms[1], 4), plural.Digits(ch.P50Ms[0], 4), ch.slowest())
	}
	if d := ch.ErrorRate[1] - ch.ErrorRate[0]; ch.ErrorP != nil && *ch.ErrorP < levelOfP && math.Abs(d) >= minErrorDiff {
		word := map[bool]string{true: "more_errors", false: "fewer_errors"}[d > 0]
		say(word, 8*math.Abs(d)*math.Sqrt(float64(ch.Calls[1])), "%s: %s", strings.ReplaceAll(word, "_", " "), failedWords(ch.Calls, ch.Failed))
	}
	if ch.Calls[0] == 0 || ch.Calls[1] == 0 {
		ch.Words = strings.Join(words, "; ")
		return // new or vanished: reported by news
	}
	ratio := ch.PerMinute[1] / math.Max(ch.PerMinute[0], 1e-9)
	// Calls come in bursts, so the variance of a count exceeds that of a Poisson process.
	z := math.Abs(float64(ch.Calls[1])/minutes[1]-float64(ch.Calls[0])/minutes[0]) / math.Sqrt(float64(ch.Calls[1])/(minutes[1]*minutes[1])+float64(ch.Calls[0])/(minutes[0]*minutes[0]))
	if z > 6 && (ratio >= minVolume || ratio <= 1/minVolume) {
		word := map[bool]string{true: "more_calls", false: "fewer_calls"}[ratio > 1]
		say(word, math.Abs(math.Log2(ratio)), "%s: %s per minute, before %s", strings.ReplaceAll(word, "_", " "), plural.Digits(ch.PerMinute[1], 4), plural.Digits(ch.PerMinute[0], 4))
	}
	ch.Words = strings.Join(words, "; ")
}

// few reports whether one of the two windows has too few calls for a rate or a p99.
func few(calls [2]int64) bool { return min(calls[0], calls[1]) < enough }

// slowest describes the p99 in both windows.
func (ch *Change) slowest() string {
	if ch.Few {
		return plural.Sprintf("%d {call|calls}, before %d: too few for a p99", ch.Calls[1], ch.Calls[0])
	}
	return fmt.Sprintf("p99 %s ms, before %s ms", plural.Digits(ch.P99Ms[1], 4), plural.Digits(ch.P99Ms[0], 4))
}

// failedWords describes the failures in both windows: as percentages, or as counts if there are few calls.
func failedWords(calls, failed [2]int64) string {
	if few(calls) {
		return fmt.Sprintf("%d of %d failed, before %d of %d: too few calls for a percentage", failed[1], calls[1], failed[0], calls[0])
	}
	return fmt.Sprintf("%s %% failed, before %s %%", plural.Digits(100*ask.Share(failed[1], calls[1]), 3), plural.Digits(100*ask.Share(failed[0], calls[0]), 3))
}

// differs reports whether the values of any pair differ by at least minRatio.
func differs(pairs ...[]float64) bool {
	for _, p := range pairs {
		low, high := math.Min(p[0], p[1]), math.Max(p[0], p[1])
		if high >= low*minRatio {
			return true
		}
	}
	return false
}

// normalTail is the probability that a standard normal variable is at least as far from 0 as z.
func normalTail(z float64) float64 { return math.Erfc(math.Abs(z) / math.Sqrt2) }
