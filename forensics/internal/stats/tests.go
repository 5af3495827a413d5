package stats

import (
	"cmp"
	"math"
	"slices"
)

// P is the result of a test: the probability that samples of one distribution differ at least this much.
type P struct {
	Value float64
	Least float64 // the lowest that samples of these sizes can reach
}

// most is the highest number of tables that Fisher sums.
const most = 2000

// Fisher is the exact two-sided test of two shares, x of n and y of m: the probability of all tables
// with the same margins that are at most as likely. If there are too many of them, it is the z test
// with a pooled share.
func Fisher(x, n, y, m int64) P {
	k := x + y
	first, last := max(0, k-m), min(k, n)
	if last-first > most {
		pool := float64(k) / float64(n+m)
		d := float64(x)/float64(n) - float64(y)/float64(m)
		return P{Value: normalTail(d / math.Sqrt(pool*(1-pool)*(1/float64(n)+1/float64(m))))}
	}
	chance := func(i int64) float64 { return math.Exp(choose(n, i) + choose(m, k-i) - choose(n+m, k)) }
	more := func(i int64) float64 { // the probability of i+1, divided by that of i
		return float64(n-i) * float64(k-i) / (float64(i+1) * float64(m-k+i+1))
	}
	sum := 1.0 // relative to x
	add := func(relative float64) {
		if relative <= 1+1e-7 {
			sum += relative
		}
	}
	for i, relative := x, 1.0; i < last; i++ {
		relative *= more(i)
		add(relative)
	}
	for i, relative := x, 1.0; i > first; i-- {
		relative /= more(i - 1)
		add(relative)
	}
	return P{Value: math.Min(1, sum*chance(x)), Least: math.Min(1, math.Min(chance(first), chance(last)))}
}

// choose is the logarithm of a binomial coefficient.
func choose(n, k int64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// maxExact bounds the work of the exact test of ranks: values times those of the smaller sample.
const maxExact = 320

// MannWhitney compares two samples that are counted in the same bins, in order. larger is the share of
// pairs in which the second value is larger; ties count half. The test is exact, ties included, for small
// samples; else it is the normal approximation with a correction for ties and continuity.
func MannWhitney(a, b []int64) (p P, larger float64, ok bool) {
	var n, m int64
	u, ties := 0.0, 0.0
	for i := range a {
		x, y, t := float64(a[i]), float64(b[i]), float64(a[i]+b[i])
		u += y * (float64(n) + x/2)
		n, m = n+a[i], m+b[i]
		ties += t*t*t - t
	}
	if n == 0 || m == 0 {
		return P{}, 0, false
	}
	pairs, all := float64(n)*float64(m), float64(n+m)
	p.Least = math.Min(1, 2*math.Exp(-choose(n+m, m)))
	if (n+m)*min(n, m) <= maxExact {
		p.Value = exactRanks(a, b, n, m)
	} else if variance := pairs / 12 * (all + 1 - ties/(all*(all-1))); variance > 0 {
		p.Value = normalTail(math.Max(0, math.Abs(u-pairs/2)-0.5) / math.Sqrt(variance))
	} else {
		p.Value = 1
	}
	return p, u / pairs, true
}

// exactRanks counts the ways to choose the smaller sample from all values, by the sum of its ranks.
func exactRanks(a, b []int64, n, m int64) float64 {
	few := b
	if n < m {
		few = a
		m = n
	}
	ways := make([][]float64, m+1) // number chosen → twice the sum of their ranks → ways
	for i := range ways {
		ways[i] = make([]float64, 2*m*int64(len64(a, b))+1)
	}
	ways[0][0] = 1
	var before, seen int64
	for i := range few {
		t := a[i] + b[i]
		if t == 0 {
			continue
		}
		rank := 2*before + t + 1 // twice the mean rank of these values
		before += t
		seen += few[i] * rank
		for k := m; k >= 1; k-- {
			for j := int64(1); j <= min(t, k); j++ {
				c := math.Exp(choose(t, j))
				from, to := ways[k-j], ways[k]
				for s := range from {
					if from[s] > 0 {
						to[int64(s)+j*rank] += math.Round(c) * from[s]
					}
				}
			}
		}
	}
	middle := m * (before + 1)
	extreme, all := 0.0, 0.0
	for s, w := range ways[m] {
		all += w
		if abs(int64(s)-middle) >= abs(seen-middle) {
			extreme += w
		}
	}
	return math.Min(1, extreme/all)
}

// len64 is the number of values in both samples.
func len64(a, b []int64) (n int) {
	for i := range a {
		n += int(a[i] + b[i])
	}
	return n
}

func abs(x int64) int64 { return max(x, -x) }

// Holm adjusts the results of several tests, so that with a probability of at most 5 % any of those
// below 5 % is chance: the lowest of m is multiplied by m, the next by m-1 and so on. Tests that could
// not have shown anything count for nothing (Tarone): their value becomes 1. It returns the number of
// tests that count.
func Holm(list []*P) int {
	k := 1
	able := func(p *P) bool { return p.Least <= Level/float64(k) }
	for count(list, able) > k {
		k++
	}
	var tests []*P
	for _, p := range list {
		if able(p) {
			tests = append(tests, p)
		} else {
			p.Value = 1
		}
	}
	slices.SortStableFunc(tests, func(a, b *P) int { return cmp.Compare(a.Value, b.Value) })
	highest := 0.0
	for i, p := range tests {
		highest = math.Max(highest, math.Min(1, p.Value*float64(len(tests)-i)))
		p.Value = highest
	}
	return len(tests)
}

func count(list []*P, is func(*P) bool) (n int) {
	for _, p := range list {
		if is(p) {
			n++
		}
	}
	return n
}

// ChiSquare is the probability that a chi-square variable with k degrees of freedom is at least x.
func ChiSquare(x float64, k int) float64 {
	if x <= 0 {
		return 1
	}
	return upperGamma(float64(k)/2, x/2)
}

// upperGamma is the regularized upper incomplete gamma function Q(a, x), by its series for
// small x and by its continued fraction (Lentz) for large x.
func upperGamma(a, x float64) float64 {
	const most, tiny = 1000, 1e-300
	lg, _ := math.Lgamma(a)
	scale := math.Exp(-x + a*math.Log(x) - lg)
	if x < a+1 {
		sum, term := 1/a, 1/a
		for n := 1; n < most && math.Abs(term) > 1e-15*math.Abs(sum); n++ {
			term *= x / (a + float64(n))
			sum += term
		}
		return max(0, 1-sum*scale)
	}
	b := x + 1 - a
	c, d := 1/tiny, 1/b
	h := d
	for n := 1; n < most; n++ {
		an := -float64(n) * (float64(n) - a)
		b += 2
		d = 1 / nonzero(an*d+b, tiny)
		c = nonzero(b+an/c, tiny)
		h *= d * c
		if math.Abs(d*c-1) < 1e-15 {
			break
		}
	}
	return min(1, h*scale)
}

// normalTail is the probability that a standard normal variable is at least as far from 0 as z.
func normalTail(z float64) float64 { return math.Erfc(math.Abs(z) / math.Sqrt2) }

// Stratum is one part of two samples: x of n before, y of m after, and their values in common bins.
type Stratum struct {
	X, N, Y, M int64
	Before     []int64
	After      []int64
}

// WithinShares is the difference of shares within parts, each weighted by its size in both samples
// (Mantel and Haenszel). It does not depend on the mix of parts.
func WithinShares(parts []Stratum) (difference float64, p float64) {
	var sum, weights, far, variance float64
	for _, s := range parts {
		n, m := float64(s.N), float64(s.M)
		if n == 0 || m == 0 {
			continue
		}
		all, k := n+m, float64(s.X+s.Y)
		w := n * m / all
		sum, weights = sum+w*(float64(s.Y)/m-float64(s.X)/n), weights+w
		far += float64(s.Y) - m*k/all
		if all > 1 {
			variance += n * m * k * (all - k) / (all * all * (all - 1))
		}
	}
	if weights == 0 || variance == 0 {
		return 0, 1
	}
	return sum / weights, normalTail(far / math.Sqrt(variance))
}

// WithinRanks is the share of pairs within parts in which the second value is larger, each part weighted
// by its size in both samples (van Elteren). Ties make the test conservative.
func WithinRanks(parts []Stratum) (larger float64, p float64) {
	var sum, weights, far, variance float64
	for _, s := range parts {
		_, share, ok := MannWhitney(s.Before, s.After)
		if !ok {
			continue
		}
		var n, m float64
		for i := range s.Before {
			n, m = n+float64(s.Before[i]), m+float64(s.After[i])
		}
		w := n * m / (n + m)
		sum, weights = sum+w*share, weights+w
		far += n * m * (share - 0.5) / (n + m + 1)
		variance += n * m / (12 * (n + m + 1))
	}
	if weights == 0 {
		return 0.5, 1
	}
	return sum / weights, normalTail(far / math.Sqrt(variance))
}
