// Package stats has the statistics of answers: intervals that contain the true value with a probability
// of at least 95 %, and tests of two samples. They are exact, or conservative, for any number of calls;
// only for large samples some use the normal distribution, as their comments say. A bound that the data
// do not give is infinite.
package stats

import "math"

// Level is the probability with which an interval may miss the true value.
const Level = 0.05

// z is the 97.5 % point of the normal distribution.
const z = 1.959963984540054

// Interval is a 95 % interval.
type Interval struct{ Low, High float64 }

// Within reports whether an interval lies between two values.
func (v Interval) Within(low, high float64) bool { return v.Low >= low && v.High <= high }

// Share is the interval of Clopper and Pearson for a share of which x of n were seen. x and n need not
// be whole numbers.
func Share(x, n float64) Interval {
	out := Interval{0, 1}
	if n <= 0 {
		return out
	}
	if x > 0 {
		out.Low = betaQuantile(Level/2, x, n-x+1)
	}
	if x < n {
		out.High = betaQuantile(1-Level/2, x+1, n-x)
	}
	return out
}

// ShareDifference is an interval for the second of two shares minus the first: Newcombe's combination of
// two intervals, here of those of Clopper and Pearson.
func ShareDifference(x, n, y, m int64) Interval {
	if n == 0 || m == 0 {
		return Interval{-1, 1}
	}
	p, q := float64(x)/float64(n), float64(y)/float64(m)
	a, b := Share(float64(x), float64(n)), Share(float64(y), float64(m))
	return Interval{q - p - math.Hypot(q-b.Low, a.High-p), q - p + math.Hypot(b.High-q, p-a.Low)}
}

// RateRatio is an interval for the ratio of two rates: y events in time u, divided by x in time t. It is
// exact if the events are independent. If they come in groups, each counts as one event: give the mean
// size of a group.
func RateRatio(x, t, y, u, group float64) Interval {
	share := Share(y/group, (x+y)/group)
	ratio := func(p float64) float64 {
		if p >= 1 {
			return math.Inf(1)
		}
		return p / (1 - p) * t / u
	}
	return Interval{ratio(share.Low), ratio(share.High)}
}

// QuantileRanks are the ranks, from 1, of the two values between which the quantile q of n values lies
// in 95 % of cases, whatever their distribution. Rank 0 and rank n+1 mean that no value is low or high
// enough.
func QuantileRanks(n int64, q float64) (low, high int64) {
	for step := bit(n); step > 0; step /= 2 { // the highest rank whose value is above the quantile in at most 2.5 % of cases
		if low+step <= n && atMost(low+step-1, n, q) <= Level/2 {
			low += step
		}
	}
	high = n + 1
	for step := bit(n); step > 0; step /= 2 {
		if high-step >= 1 && 1-atMost(high-step-1, n, q) <= Level/2 {
			high -= step
		}
	}
	return low, high
}

// bit is the highest power of two that is at most n.
func bit(n int64) int64 {
	out := int64(1)
	for out <= n/2 {
		out *= 2
	}
	return out
}

// Ratio combines the intervals of two positive values to one for the second divided by the first, by
// Newcombe's method on their logarithms. before and after are the values.
func Ratio(before float64, a Interval, after float64, b Interval) Interval {
	p, q := math.Log(before), math.Log(after)
	d := q - p
	low, high := math.Hypot(q-math.Log(b.Low), math.Log(a.High)-p), math.Hypot(math.Log(b.High)-q, p-math.Log(a.Low))
	return Interval{math.Exp(d - low), math.Exp(d + high)}
}

// Correlation is an interval for the rank correlation (Spearman) of n pairs: Fisher's transformation
// with the standard error of Fieller, Hartley and Pearson.
func Correlation(rho float64, n int64) Interval {
	if n < 4 {
		return Interval{-1, 1}
	}
	at, far := math.Atanh(math.Max(-1+1e-12, math.Min(1-1e-12, rho))), z*math.Sqrt(1.06/float64(n-3))
	return Interval{math.Tanh(at - far), math.Tanh(at + far)}
}

// atMost is the probability that at most k of n independent events happen, each with probability p.
func atMost(k, n int64, p float64) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n:
		return 1
	}
	return Beta(float64(n-k), float64(k+1), 1-p)
}

// Beta is the regularized incomplete beta function I(a, b, x), by its continued fraction (Lentz).
func Beta(a, b, x float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - Beta(b, a, 1-x)
	}
	const most, tiny = 100_000, 1e-300
	c, d := 1.0, 1/nonzero(1-(a+b)*x/(a+1), tiny)
	h := d
	for i := 1; i < most; i++ {
		m := float64(i)
		h0 := h
		for _, an := range [2]float64{m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m)), -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))} {
			d = 1 / nonzero(1+an*d, tiny)
			c = nonzero(1+an/c, tiny)
			h *= c * d
		}
		if math.Abs(h-h0) < 1e-13*math.Abs(h) {
			break
		}
	}
	return math.Max(0, math.Min(1, betaDensity(a, b, x)*x*(1-x)*h/a))
}

// betaDensity is the density of the beta distribution.
func betaDensity(a, b, x float64) float64 {
	ab, _ := math.Lgamma(a + b)
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	return math.Exp(ab - la - lb + (a-1)*math.Log(x) + (b-1)*math.Log1p(-x))
}

// betaQuantile is the value below which a variable with the beta distribution lies with probability p:
// Newton's method within bounds that are halved if a step leaves them.
func betaQuantile(p, a, b float64) float64 {
	low, high, x := 0.0, 1.0, a/(a+b)
	for range 200 {
		f := Beta(a, b, x) - p
		if f > 0 {
			high = x
		} else {
			low = x
		}
		next := x - f/betaDensity(a, b, x)
		if !(next > low && next < high) {
			next = (low + high) / 2
		}
		if math.Abs(next-x) <= 1e-8*next || high-low <= 1e-15 {
			return next
		}
		x = next
	}
	return x
}

func nonzero(x, tiny float64) float64 {
	if math.Abs(x) < tiny {
		return tiny
	}
	return x
}
