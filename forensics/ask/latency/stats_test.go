package latency

import (
	"strings"
	"testing"
)

func TestWordsOfCorrelation(t *testing.T) {
	for _, row := range []struct {
		rho  float64
		n    int64
		want string
	}{
		{0.9, 30, "strong correlation: larger requests take longer (0.9, 95 % interval 0.79 to 0.95)"},
		{-0.5, 100, "moderate correlation: larger requests usually take shorter (-0.5, 95 % interval -0.64 to -0.33)"},
		{0.3, 12, "too few calls to be sure of a correlation (0.3, 95 % interval -0.35 to 0.75)"},
		{0.05, 1000, "no correlation seen (0.05, 95 % interval -0.01 to 0.11)"},
		{0.1, 5000, "weak correlation: larger requests take slightly longer (0.1, 95 % interval 0.07 to 0.13)"},
	} {
		if got := correlationWords("request", &row.rho, row.n); got != row.want {
			t.Errorf("%v of %d: %s", row.rho, row.n, got)
		}
	}
}

// TestFewCallsAreNotBalanced has pods with so few calls that one could have twice its share.
func TestFewCallsAreNotBalanced(t *testing.T) {
	for _, row := range []struct {
		calls []int64
		want  string
	}{{[]int64{2, 1}, "unknown"}, {[]int64{9, 1}, "no"}, {[]int64{300, 290}, "yes"}, {[]int64{3, 3, 3}, "unknown"}, {[]int64{100, 100, 98}, "yes"}, {[]int64{200, 100, 98}, "no"}, {[]int64{7}, "one_replica"}} {
		var r Replicas
		for _, n := range row.calls {
			r.Pods, r.Calls = append(r.Pods, PodLoad{Calls: n}), r.Calls+n
		}
		if r.judge(); r.Balanced != row.want || (row.want == "unknown") != strings.Contains(r.Words, "too few calls to be sure") {
			t.Errorf("%v: %s: %s", row.calls, r.Balanced, r.Words)
		}
	}
}

// TestTrendsAndHeadroomNeedCalls has steps of which chance explains everything, and load that hardly varies.
func TestTrendsAndHeadroomNeedCalls(t *testing.T) {
	for _, row := range []struct {
		counts []float64
		want   string
	}{{[]float64{0, 3, 1, 0, 5, 0, 2}, "unknown"}, {[]float64{100, 101, 99, 100, 102, 98}, "steady"}, {[]float64{10, 20, 30, 40, 50, 61}, "growing"}, {[]float64{5, 5}, "unknown"}} {
		var l Volume
		mean := 0.0
		for _, n := range row.counts {
			mean += n / float64(len(row.counts))
		}
		if l.trend(row.counts, mean); l.Trend != row.want || (l.Trend == "growing") != (l.TrendPercent != nil) {
			t.Errorf("%v: %s", row.counts, l.Trend)
		}
	}
	even := loadRow{Calls: 600, Counts: []int64{100, 100, 100, 100, 100, 100}, P99: []float64{5, 5, 5, 5, 5, 5}}
	varied := loadRow{Calls: 600, Counts: []int64{10, 20, 100, 100, 170, 200}, P99: []float64{5, 5, 5, 5, 5, 5}}
	for r, want := range map[*loadRow]string{&even: "unknown", &varied: "none_seen"} {
		var l Volume
		if l.headroom(r); l.Headroom != want {
			t.Errorf("%v: %s", r.Counts, l.Headroom)
		}
	}
}
