package ask

import (
	"strings"
	"testing"
)

func TestHealthWithFewCalls(t *testing.T) {
	slow := 1500.0
	for _, row := range []struct {
		calls, faults int64
		p99           *float64
		want          string
		sure          bool
	}{{1, 1, nil, Failing, false}, {10, 10, nil, Failing, true}, {10, 1, nil, Degraded, false}, {1000, 100, nil, Degraded, true}, {3, 0, &slow, Slow, false}, {300, 0, &slow, Slow, true}, {3, 0, nil, Healthy, true}} {
		health, why := Health(row.calls, row.faults, row.p99)
		if health != row.want || strings.Contains(why, "too few calls to be sure") == row.sure {
			t.Errorf("%d of %d: %s: %q", row.faults, row.calls, health, why)
		}
	}
}
