package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// near reports whether two numbers agree to seven digits.
func near(a, b float64) bool { return a == b || math.Abs(a-b) <= 1e-7*math.Abs(b) }

// The expected values come from SciPy 1.17.1: binomtest(x, n).proportion_ci(0.95, "exact").
func TestSharesMatchSciPy(t *testing.T) {
	for _, row := range []struct{ x, n, low, high float64 }{
		{0, 7, 0, 0.409616397225}, {0, 9, 0, 0.33626711688}, {1, 7, 0.0036102968619, 0.578723197043}, {7, 9, 0.399906426284, 0.971855026522}, {7, 7, 0.590383602775, 1},
		{15, 100, 0.0864543856416, 0.235307500149}, {3, 100_000, 6.18676391593e-06, 8.76702025678e-05}, {500_000, 1_000_000, 0.499019519195, 0.500980480805}, {999, 1000, 0.99444107572, 0.999974682513},
	} {
		if got := Share(row.x, row.n); !near(got.Low, row.low) || !near(got.High, row.high) {
			t.Errorf("%v of %v: %v, want %v to %v", row.x, row.n, got, row.low, row.high)
		}
	}
	if got := Share(0, 0); got != (Interval{0, 1}) {
		t.Errorf("nothing was seen: %v", got)
	}
}

// The expected values are binomtest's intervals, combined as Newcombe (1998) does; and, for rates,
// beta.ppf.
func TestDifferencesMatchSciPy(t *testing.T) {
	for _, row := range []struct {
		x, n, y, m int64
		low, high  float64
	}{{1, 7, 7, 9, 0.05806192131, 0.8737839067}, {0, 7, 0, 9, -0.4096163972, 0.3362671169}, {20, 1000, 30, 1000, -0.004436710423, 0.02474693591}} {
		if got := ShareDifference(row.x, row.n, row.y, row.m); !near(got.Low, row.low) || !near(got.High, row.high) {
			t.Errorf("%d of %d and %d of %d: %v, want %v to %v", row.x, row.n, row.y, row.m, got, row.low, row.high)
		}
	}
	for _, row := range []struct{ x, t, y, u, group, low, high float64 }{{40, 10, 90, 10, 9, 0.67370711761602, 9.084313888360528}, {40, 10, 90, 5, 1, 3.068124660564784, 6.704864993757423}} {
		if got := RateRatio(row.x, row.t, row.y, row.u, row.group); !near(got.Low, row.low) || !near(got.High, row.high) {
			t.Errorf("%+v: %v", row, got)
		}
	}
	if got := RateRatio(0, 1, 5, 1, 1); !math.IsInf(got.High, 1) || got.Low <= 0 {
		t.Errorf("no event before: %v", got)
	}
}

// The expected values come from binom.cdf and binom.sf.
func TestQuantileRanksMatchSciPy(t *testing.T) {
	for _, row := range []struct {
		n         int64
		q         float64
		low, high int64
	}{{1, 0.5, 0, 2}, {5, 0.5, 0, 6}, {6, 0.5, 1, 6}, {7, 0.5, 1, 7}, {9, 0.5, 2, 8}, {100, 0.5, 40, 61}, {100, 0.9, 84, 96}, {1000, 0.99, 983, 997}, {300, 0.99, 293, 301}, {400, 0.99, 392, 400}, {1_000_000, 0.5, 499_020, 500_981}} {
		if low, high := QuantileRanks(row.n, row.q); low != row.low || high != row.high {
			t.Errorf("%v of %d: ranks %d and %d, want %d and %d", row.q, row.n, low, high, row.low, row.high)
		}
	}
}

// The expected values come from beta.cdf and chi2.sf.
func TestDistributionsMatchSciPy(t *testing.T) {
	for _, row := range []struct{ a, b, x, want float64 }{{2, 3, 0.4, 0.5248}, {0.5, 0.5, 0.1, 0.204832764699}, {100, 200, 0.3, 0.108843065645}, {1e5, 2e5, 0.3335, 0.576936801895}, {3.3, 100, 0.01, 0.0556535677753}, {2, 3, 0, 0}, {2, 3, 1, 1}} {
		if got := Beta(row.a, row.b, row.x); !near(got, row.want) {
			t.Errorf("I(%v, %v, %v): %v, want %v", row.a, row.b, row.x, got, row.want)
		}
	}
	for _, row := range []struct {
		x    float64
		k    int
		want float64
	}{{3.841459, 1, 0.05}, {5.991465, 2, 0.05}, {16.91898, 9, 0.05}, {100, 2, 1.92875e-22}, {0, 3, 1}, {1, 10, 0.999828}} {
		if got := ChiSquare(row.x, row.k); math.Abs(got-row.want) > 1e-3*row.want {
			t.Errorf("chi-square %v of %d: %v, want %v", row.x, row.k, got, row.want)
		}
	}
}

// The expected values come from fisher_exact.
func TestFisherMatchesSciPy(t *testing.T) {
	for _, row := range []struct {
		x, n, y, m int64
		want       float64
	}{{1, 7, 7, 9, 0.04055944056}, {0, 20, 4, 20, 0.106029106}, {15, 100, 30, 100, 0.01714902277}, {10, 100, 10, 100, 1}, {0, 7, 0, 9, 1}, {400, 1000, 500, 1000, 8.453719674e-06}, {3, 5000, 20, 5000, 0.0004815571286}} {
		if got := Fisher(row.x, row.n, row.y, row.m); !near(got.Value, row.want) || got.Least > got.Value {
			t.Errorf("%d of %d and %d of %d: %+v, want %v", row.x, row.n, row.y, row.m, got, row.want)
		}
	}
	// Above the limit of the exact test, the z test is near it (0.0262).
	if got := Fisher(9900, 100_000, 10_200, 100_000).Value; math.Abs(got-0.0262) > 0.001 {
		t.Errorf("large: %v", got)
	}
	if got := Fisher(0, 7, 0, 9); got.Least != 1 {
		t.Errorf("a test that cannot show anything: %+v", got)
	}
}

// The expected values come from mannwhitneyu; with ties, from all permutations of its ranks.
func TestMannWhitneyMatchesSciPy(t *testing.T) {
	for _, row := range []struct {
		what         string
		a, b         []int64
		want, larger float64
	}{
		{"separate, 7 and 9", []int64{1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []int64{0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 0.00017482517482517483, 1},
		{"one tie", []int64{1, 1, 1, 0, 0}, []int64{0, 1, 0, 1, 1}, 0.3, 7.5 / 9},
		{"many ties", []int64{2, 2, 0}, []int64{0, 2, 3}, 0.07936507936507936, 0.9},
		{"1..10 and 6..15", []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0}, []int64{0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 0.0031392755850960185, 0.875},
		{"histograms", []int64{30, 50, 40, 20, 10}, []int64{20, 40, 50, 30, 20}, 0.002660575809790548, 1 - 9700.0/(150*160)},
		{"all equal", []int64{20}, []int64{20}, 1, 0.5},
	} {
		p, larger, ok := MannWhitney(row.a, row.b)
		if !ok || !near(p.Value, row.want) || !near(larger, row.larger) {
			t.Errorf("%s: %+v, %v, want %v, %v", row.what, p, larger, row.want, row.larger)
		}
		slices.Reverse(row.a)
		slices.Reverse(row.b)
		if q, less, _ := MannWhitney(row.a, row.b); !near(q.Value, p.Value) || !near(less, 1-larger) {
			t.Errorf("%s, reversed: %+v, %v", row.what, q, less)
		}
		if q, less, _ := MannWhitney(row.b, row.a); !near(q.Value, p.Value) || !near(less, larger) {
			t.Errorf("%s, reversed and exchanged: %+v, %v", row.what, q, less)
		}
	}
	if p, _, _ := MannWhitney([]int64{3, 0}, []int64{0, 3}); !near(p.Value, 0.1) || !near(p.Least, 0.1) {
		t.Errorf("3 against 3: %+v", p)
	}
	if _, _, ok := MannWhitney([]int64{0}, []int64{20}); ok {
		t.Error("nothing is compared with something")
	}
}

func TestHolm(t *testing.T) {
	list := []*P{{Value: 0.01}, {Value: 0.04}, {Value: 0.03}}
	if n := Holm(list); n != 3 || list[0].Value != 0.03 || list[1].Value != 0.06 || list[2].Value != 0.06 {
		t.Errorf("%d: %v %v %v", n, *list[0], *list[1], *list[2])
	}
	// Tests of two calls each cannot show anything, so they do not weaken the one that can.
	list = []*P{{Value: 0.04, Least: 0.0001}}
	for range 50 {
		list = append(list, &P{Value: 0.34, Least: 1. / 3})
	}
	if n := Holm(list); n != 1 || list[0].Value != 0.04 || list[1].Value != 1 {
		t.Errorf("%d: %v %v", n, *list[0], *list[1])
	}
}

// TestSharesCoverTheTruth sums the probability of all results whose interval contains the true value.
func TestSharesCoverTheTruth(t *testing.T) {
	chance := func(k, n int64, p float64) float64 { return atMost(k, n, p) - atMost(k-1, n, p) }
	for _, n := range []int64{3, 7, 20, 60} {
		for _, p := range []float64{0.01, 0.05, 0.2, 0.5, 0.9} {
			covered := 0.0
			for k := range n + 1 {
				if v := Share(float64(k), float64(n)); v.Low <= p && p <= v.High {
					covered += chance(k, n, p)
				}
			}
			if covered < 0.95-1e-9 {
				t.Errorf("a share of %v in %d calls: %.4f", p, n, covered)
			}
			for _, m := range []int64{4, 9, 25} {
				for _, q := range []float64{0.01, 0.1, 0.5, 0.8} {
					covered := 0.0
					for k := range n + 1 {
						for l := range m + 1 {
							if v := ShareDifference(k, n, l, m); v.Low <= q-p && q-p <= v.High {
								covered += chance(k, n, p) * chance(l, m, q)
							}
						}
					}
					if covered < 0.95-1e-9 {
						t.Errorf("shares of %v in %d calls and %v in %d: %.4f", p, n, q, m, covered)
					}
				}
			}
		}
	}
}

// TestMediansCoverTheTruth draws latencies from distributions whose quantiles are known: log-normal, as
// of a server, and one with two modes, as of a cache.
func TestMediansCoverTheTruth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const times = 3000
	lognormal := func() float64 { return math.Exp(r.NormFloat64()) }
	cache := func() float64 {
		if r.Float64() < 0.4 {
			return 1 + r.Float64()
		}
		return 100 * math.Exp(r.ExpFloat64())
	}
	quantile := func(n int64, q float64, draw func() float64) (v float64, i Interval) {
		list := make([]float64, n)
		for k := range list {
			list[k] = draw()
		}
		slices.Sort(list)
		low, high := QuantileRanks(n, q)
		i = Interval{0, math.Inf(1)}
		if low > 0 {
			i.Low = list[low-1]
		}
		if high <= n {
			i.High = list[high-1]
		}
		return list[(n-1)/2], i
	}
	for _, row := range []struct {
		what  string
		n     int64
		q     float64
		draw  func() float64
		truth float64
	}{
		{"median of 7", 7, 0.5, lognormal, 1}, {"median of 40", 40, 0.5, lognormal, 1}, {"p90 of 40", 40, 0.9, lognormal, math.Exp(1.2815515655446004)},
		{"p99 of 400", 400, 0.99, lognormal, math.Exp(2.3263478740408408)}, {"median of a cache", 25, 0.5, cache, 120},
	} {
		covered := 0
		for range times {
			if _, i := quantile(row.n, row.q, row.draw); i.Low <= row.truth && row.truth <= i.High {
				covered++
			}
		}
		if float64(covered)/times < 0.945 {
			t.Errorf("%s: covered in %d of %d", row.what, covered, times)
		}
	}
	for _, n := range [][2]int64{{7, 9}, {20, 200}, {50, 50}} {
		covered := 0
		for range times {
			a, i := quantile(n[0], 0.5, lognormal)
			b, j := quantile(n[1], 0.5, func() float64 { return 3 * lognormal() })
			if v := Ratio(a, i, b, j); v.Low <= 3 && 3 <= v.High {
				covered++
			}
		}
		if float64(covered)/times < 0.945 {
			t.Errorf("ratio of medians of %v: covered in %d of %d", n, covered, times)
		}
	}
}

// TestRanksByChance compares samples of one distribution: a test at 5 % may find something in 5 % of cases.
func TestRanksByChance(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range [][2]int{{5, 8}, {12, 12}, {20, 60}} {
		found := 0
		const times = 2000
		for range times {
			bins := [2][]int64{make([]int64, 30), make([]int64, 30)}
			for side := range bins {
				for range n[side] {
					bins[side][min(29, int(10*r.ExpFloat64()))]++
				}
			}
			if p, _, _ := MannWhitney(bins[0], bins[1]); p.Value < Level {
				found++
			}
		}
		if float64(found)/times > 0.063 {
			t.Errorf("%v: %d of %d", n, found, times)
		}
	}
}

func TestCorrelationInterval(t *testing.T) {
	// SciPy: tanh(arctanh(0.5) ± norm.ppf(0.975) * sqrt(1.06/27))
	if got := Correlation(0.5, 30); math.Abs(got.Low-0.15958407) > 1e-6 || math.Abs(got.High-0.7341418) > 1e-6 {
		t.Errorf("%v", got)
	}
	if got := Correlation(0.5, 3); got != (Interval{-1, 1}) {
		t.Errorf("3 pairs: %v", got)
	}
}
