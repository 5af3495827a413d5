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
