package latency

import (
	"cmp"
	"slices"
	"strings"
)

// sortReplicas sorts unbalanced services first, then by calls.
func sortReplicas(list []Replicas) {
	grade := map[string]int{"no": 0, "unknown": 1, "yes": 2, "one_replica": 3}
	slices.SortFunc(list, func(a, b Replicas) int {
		return cmp.Or(grade[a.Balanced]-grade[b.Balanced], cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Service, b.Service))
	})
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
