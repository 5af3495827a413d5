package compare

import (
	"math"
	"strings"
	"testing"
)

// The expected values come from R: wilcox.test(correct=TRUE, exact=FALSE), prop.test without
// correction, fisher.test.
func TestStatisticsMatchR(t *testing.T) {
	// x = 1..10, y = 6..15, one bin per number.
	a := []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0}
	b := []int64{0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	p, larger, ok := mannWhitney(a, b)
	if !ok || math.Abs(p-0.00502) > 1e-4 || larger != 0.875 {
		t.Errorf("Mann-Whitney: %v, %v, %v", p, larger, ok)
	}
	if p, larger, ok = mannWhitney([]int64{20}, []int64{20}); !ok || p != 1 || larger != 0.5 {
		t.Errorf("all ties: %v, %v, %v", p, larger, ok)
	}
	if _, _, ok = mannWhitney([]int64{3}, []int64{20}); ok {
		t.Error("three calls are compared")
	}
	for _, row := range []struct {
		what       string
		x, n, y, m int64
		want       float64
	}{
		{"z of 15 of 100 against 30 of 100", 15, 100, 30, 100, 0.01112},
		{"Fisher of 0 of 20 against 4 of 20", 0, 20, 4, 20, 0.10603},
		{"equal shares", 10, 100, 10, 100, 1},
	} {
		if got, ok := twoProportions(row.x, row.n, row.y, row.m); !ok || math.Abs(got-row.want) > 2e-4 {
			t.Errorf("%s: %v, want %v", row.what, got, row.want)
		}
	}
}

func TestHolmAdjustment(t *testing.T) {
	p := []float64{0.01, 0.04, 0.03}
	list := []Change{{LatencyP: &p[0]}, {LatencyP: &p[1], ErrorP: &p[2]}}
	if n := adjust(list); n != 3 || p[0] != 0.03 || p[1] != 0.06 || p[2] != 0.06 {
		t.Errorf("%d: %v", n, p)
	}
}

// TestFewCallsMakeNoVerdict has an endpoint with nine mostly failed calls, and one with many calls
// that became slightly worse.
func TestFewCallsMakeNoVerdict(t *testing.T) {
	sure := 0.001
	list := []Change{
		{Dst: "few", Calls: [2]int64{12, 9}, Failed: [2]int64{0, 8}, ErrorRate: [2]float64{0, 0.89}, ErrorP: &sure, PerMinute: [2]float64{12, 9}},
		{Dst: "many", Calls: [2]int64{500, 500}, Failed: [2]int64{10, 30}, ErrorRate: [2]float64{0.02, 0.06}, ErrorP: &sure, PerMinute: [2]float64{500, 500}},
	}
	judge(list, [2]float64{1, 1})
	if list[0].Dst != "many" || list[1].Words != "more errors: 8 of 9 failed, before 0 of 12: too few calls for a percentage" {
		t.Errorf("%+v", list)
	}
	o := &Answer{Baseline: Period{Calls: 12}, Period: Period{Calls: 9, Failed: 8}, Tests: 2}
	o.writeVerdict(nil, list)
	if text := strings.Join(o.Verdict, "\n"); !strings.Contains(text, "many: more errors: 6 %") || strings.Contains(text, "few:") || !strings.Contains(text, "8 of 9 failed") || !strings.Contains(text, "fewer than 20 calls in one of the windows: 1,") {
		t.Error(text)
	}
	// Volume counts even with few calls.
	loud := []Change{{Dst: "loud", Calls: [2]int64{3, 900}, PerMinute: [2]float64{3, 900}}}
	judge(loud, [2]float64{1, 1})
	if loud[0].rank() != 2 {
		t.Errorf("%+v", loud)
	}
}

func TestVerdictCountsNews(t *testing.T) {
	o := &Answer{New: []News{{Kind: "dependency"}, {Kind: "dependency"}, {Kind: "status"}}, Vanished: []News{{Kind: "status"}, {Kind: "status"}, {Kind: "endpoint"}}}
	o.Period.Calls, o.Baseline.Calls = 1, 1
	o.writeVerdict(nil, nil)
	text := strings.Join(o.Verdict, " ")
	if want := "There are too few calls to compare latency, errors or volume. New: 2 dependencies, 1 status. Vanished: 1 endpoint, 2 statuses."; !strings.HasSuffix(text, want) {
		t.Errorf("%q, want %q", text, want)
	}
}
