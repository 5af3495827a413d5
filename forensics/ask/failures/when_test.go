package failures

import "testing"

func TestPatternInTime(t *testing.T) {
	f := func(x float64) *float64 { return &x }
	for _, row := range []struct {
		name string
		g    group
		want string
	}{
		{"one", group{FailureGroup: FailureGroup{Calls: 1}}, "once"},
		{"two", group{FailureGroup: FailureGroup{Calls: 2}, LastNs: 3_000_000_000}, "twice, 3 s apart"},
		{"even gaps", group{FailureGroup: FailureGroup{Calls: 10}, LastNs: 45_000_000_000, GapP10: f(4950), GapP50: f(5000), GapP90: f(5050)}, "about every 5 s, over 45 s"},
		{"no even gaps", group{FailureGroup: FailureGroup{Calls: 10}, LastNs: 45_000_000_000, GapP10: f(100), GapP50: f(5000), GapP90: f(9000)}, "one burst of 45 s"},
		{"pauses", group{FailureGroup: FailureGroup{Calls: 30}, LastNs: 600_000_000_000, GapP10: f(1), GapP50: f(2), GapP90: f(30), Pauses: 3}, "4 bursts over 600 s, at least 10 s apart"},
	} {
		if got := row.g.when(); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	limit := func(low, mid, high float64) string {
		return (&group{FailureGroup: FailureGroup{Calls: 9, P50Ms: f(mid)}, Low: f(low), High: f(high), Clear: true}).limit()
	}
	for _, row := range []struct {
		low, mid, high float64
		want           string
	}{
		{5001, 5002, 5010, "most took 5 s to 5.01 s, likely a timeout of 5 s"},
		{1700, 1701, 1703, "most took 1.7 s, likely a timeout"},
		{2000, 5000, 9000, ""},
		{1, 1, 1, ""}, // fast responses are also alike
	} {
		if got := limit(row.low, row.mid, row.high); got != row.want {
			t.Errorf("%v: %q, want %q", row.mid, got, row.want)
		}
	}
	if got := (&group{FailureGroup: FailureGroup{Calls: 9, P50Ms: f(60000)}, Low: f(60000), High: f(60000)}).limit(); got != "" {
		t.Errorf("no packet shows how long the callers waited: %q", got)
	}
}
