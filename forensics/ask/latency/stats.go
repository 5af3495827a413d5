package latency

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// sortReplicas sorts unbalanced services first, then by calls.
func sortReplicas(list []Replicas) {
	grade := map[string]int{"no": 0, "yes": 1, "one_replica": 2}
	slices.SortFunc(list, func(a, b Replicas) int {
		return cmp.Or(grade[a.Balanced]-grade[b.Balanced], cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Service, b.Service))
	})
}

// chiSquareTail is the probability that a chi-square variable with k degrees of freedom is at least
// x.
func chiSquareTail(x float64, k int) float64 {
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

func nonzero(x, tiny float64) float64 {
	if math.Abs(x) < tiny {
		return tiny
	}
	return x
}

// byCount returns the indexes of the numbers, smallest number first.
func byCount(list []int64) []int {
	out := make([]int, len(list))
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(list[a], list[b]) })
	return out
}

// middleOf is the lower median.
func middleOf(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list[(len(list)-1)/2]
}
