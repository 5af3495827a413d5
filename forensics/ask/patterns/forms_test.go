package patterns

import (
	"math"
	"testing"
)

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
