package latency

import (
	"math"
	"testing"
)

// near reports whether two numbers agree to three digits.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-3*math.Max(1e-3, math.Abs(b)) }

// The expected values come from R: pchisq(lower.tail=FALSE).
func TestChiSquare(t *testing.T) {
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

func TestWordsOfCorrelation(t *testing.T) {
	for _, row := range []struct {
		rho  float64
		n    int64
		want string
	}{{0.9, 30, "strong correlation: larger requests take longer"}, {-0.5, 100, "moderate correlation: larger requests usually take shorter"}, {0.3, 12, "no significant correlation"}, {0.1, 5000, "weak correlation: larger requests take slightly longer"}} {
		if got := correlationWords("request", &row.rho, row.n); got != row.want {
			t.Errorf("%v of %d: %s", row.rho, row.n, got)
		}
	}
}
