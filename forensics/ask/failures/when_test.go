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
	limit := func(low, mid, high float64, g group) string {
		g.FailureGroup, g.Examined = FailureGroup{Calls: 9}, 4
		g.Tenths = []float64{low / 2, low / 2, low, low, mid, mid, mid, mid, high, high, high * 2}
		return g.limit()
	}
	waited, told := group{Waited: true}, group{Told: true}
	below := group{below: []int64{4999e6, 5000e6, 5001e6, 5000e6}}
	for _, row := range []struct {
		low, mid, high float64
		g              group
		want           string
	}{
		{5001, 5002, 5010, waited, "most waits ended after 5 s to 5.01 s without a response, likely a timeout of 5 s"},
		{1700, 1701, 1703, waited, "most waits ended after 1.7 s without a response, likely a timeout"},
		{1700, 1701, 1703, told, "most took 1.7 s, likely a timeout, as the responses say"},
		{5001, 5002, 5010, below, "most took 5 s to 5.01 s, likely a timeout of 5 s: a call below got no response"},
		{9001, 9002, 9010, below, ""}, // longer than the wait below
		{5001, 5002, 5010, group{below: []int64{5000e6}}, ""},
		{5001, 5002, 5010, group{below: []int64{4000e6, 4700e6, 5000e6, 5001e6}}, ""},
		{5001, 5002, 5010, group{}, ""}, // responses came
		{215, 221, 227, waited, ""},     // not after one time
		{2000, 5000, 9000, waited, ""},
		{1, 1, 1, waited, ""}, // fast responses are also alike
	} {
		if got := limit(row.low, row.mid, row.high, row.g); got != row.want {
			t.Errorf("%v: %q, want %q", row.mid, got, row.want)
		}
	}
	few := group{FailureGroup: FailureGroup{Calls: 4}, Waited: true, Tenths: []float64{700, 700, 700, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000}}
	if got := few.limit(); got != "" {
		t.Errorf("three waits of four: %q", got)
	}
}
