package page

import (
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/report/value"
)

// TestLongTimesAreThoseOfReports: a time is rounded as in a report, not cut.
func TestLongTimesAreThoseOfReports(t *testing.T) {
	for us, want := range map[float64]string{196_529_998: "3 min 17 s", 60e6: "1 min", 119_600_000: "2 min", 7_259_700_000: "2 h 1 min"} {
		got := strings.ReplaceAll(duration(us), nbsp, " ")
		if report := value.Duration(time.Duration(us * 1e3)); got != want || got != report {
			t.Errorf("%.0f µs: %q, want %q; a report writes %q", us, got, want, report)
		}
	}
}

// TestNegativeTimes: a time before a moment has the same sign, whatever its length.
func TestNegativeTimes(t *testing.T) {
	for us, want := range map[float64]string{-119_600_000: "-2 min", -21_700_000: "-21.7 s", -1500: "-1.5 ms", -7: "-7 µs"} {
		if got := strings.ReplaceAll(duration(us), nbsp, " "); got != want {
			t.Errorf("%v µs: %q, want %q", us, got, want)
		}
	}
}
