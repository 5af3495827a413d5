package ask

import (
	"math"
	"testing"
)

// near says that two numbers agree to three digits.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-3*math.Max(1e-3, math.Abs(b)) }

// The values are those of R: wilcox.test(correct=TRUE, exact=FALSE), prop.test without
// correction, fisher.test, pchisq(lower.tail=FALSE).
func TestStatisticsAreThoseOfTables(t *testing.T) {
	// x = 1..10, y = 6..15, one bin a number.
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
	for _, row := range []struct {
		x    float64
		k    int
		want float64
	}{{3.841459, 1, 0.05}, {5.991465, 2, 0.05}, {16.91898, 9, 0.05}, {100, 2, 1.92875e-22}, {0, 3, 1}, {1, 10, 0.999828}} {
		if got := chiSquareTail(row.x, row.k); !near(got, row.want) {
			t.Errorf("chi-square %v of %d: %v, want %v", row.x, row.k, got, row.want)
		}
	}
}

func TestAdjustedAfterHolm(t *testing.T) {
	p := []float64{0.01, 0.04, 0.03}
	list := []Change{{LatencyP: &p[0]}, {LatencyP: &p[1], ErrorP: &p[2]}}
	if n := adjust(list); n != 3 || p[0] != 0.03 || p[1] != 0.06 || p[2] != 0.06 {
		t.Errorf("%d: %v", n, p)
	}
}

func TestBackoffShapes(t *testing.T) {
	for _, row := range []struct {
		what   string
		pauses []float64
		shape  string
		factor float64
	}{
		{"one retry has no shape", []float64{100}, "none", 0},
		{"always the same", []float64{100, 104, 98, 101}, "constant", 1},
		{"doubling", []float64{100, 200, 400}, "exponential", 2},
		{"doubling up to a ceiling", []float64{100, 200, 400, 800, 800, 800}, "exponential", 2},
		{"tripling roughly", []float64{50, 160, 440}, "exponential", 2.966},
		{"growing by the same", []float64{100, 200, 300, 400}, "linear", 0},
		{"up and down", []float64{100, 700, 90, 800}, "irregular", 0},
		{"from nothing", []float64{0, 100, 1000}, "irregular", 0},
	} {
		var ch chain
		for _, ms := range row.pauses {
			ch.Pauses = append(ch.Pauses, int64(ms*1e6))
		}
		shape, factor, _ := backoff(row.pauses, []chain{ch})
		if shape != row.shape || math.Abs(factor-row.factor) > 0.01 {
			t.Errorf("%s: %s %v, want %s %v", row.what, shape, factor, row.shape, row.factor)
		}
	}
}

func TestFormsOfDates(t *testing.T) {
	for _, row := range []struct{ at, s, want string }{
		{"created_at", "2026-03-11T10:00:00Z", "rfc3339"},
		{"x", "2026-03-11", "date"},
		{"x", "2026-13-41", "impossible"},
		{"x", "2026-02-30T10:00:00Z", "impossible"},
		{"x", "2026-03-11 10:00:00", "no time zone or not RFC 3339"},
		{"placed_on", "11/03/2026", "slashes or dots"},
		{"placed_on", "11.03.2026", "slashes or dots"},
		{"version", "11.03.2026", ""},
		{"createdAt", "Mar 11 2026", "words"},
		{"note", "march to the sea", ""},
		{"updated", "1772000000", "seconds as text"},
		{"phone", "1772000000", ""},
		{"x", "", ""},
	} {
		if got := dateForm(row.at, row.s); got != row.want {
			t.Errorf("%s: %q: %q, want %q", row.at, row.s, got, row.want)
		}
	}
}

func TestRegistrableDomain(t *testing.T) {
	for name, want := range map[string]string{"api.pay.example.co.uk": "example.co.uk", "A.Example.COM.": "example.com", "203.0.113.5": "203.0.113.5", "fd00::1": "fd00::1", "localhost": "localhost", "com": "com", "": ""} {
		if got := domain(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestWordsOfCorrelation(t *testing.T) {
	for _, row := range []struct {
		rho  float64
		n    int64
		want string
	}{{0.9, 30, "a strong one: larger requests take longer"}, {-0.5, 100, "a moderate one: larger requests take shorter as a rule"}, {0.3, 12, "no connection that chance would not give as well"}, {0.1, 5000, "a weak one: larger requests take slightly longer"}} {
		if got := correlationWords("request", &row.rho, row.n); got != row.want {
			t.Errorf("%v of %d: %s", row.rho, row.n, got)
		}
	}
}
