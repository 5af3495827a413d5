package ask

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/redact"
)

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
		return (&group{FailureGroup: FailureGroup{Calls: 9, P50Ms: f(mid)}, Low: f(low), High: f(high)}).limit()
	}
	for _, row := range []struct {
		low, mid, high float64
		want           string
	}{
		{5001, 5002, 5010, "most took 5 s to 5.01 s: a timeout of 5 s, likely"},
		{1700, 1701, 1703, "most took 1.7 s to 1.7 s, as at a limit"},
		{2000, 5000, 9000, ""},
		{1, 1, 1, ""}, // quick answers are alike, too
	} {
		if got := limit(row.low, row.mid, row.high); got != row.want {
			t.Errorf("%v: %q, want %q", row.mid, got, row.want)
		}
	}
}

func TestWaitingForOneAfterTheOther(t *testing.T) {
	call := func(from, to int64) *step { return &step{Start: from, end: to, Protocol: "http1"} }
	s := call(0, 100)
	for _, row := range []struct {
		name     string
		children []*step
		alone    int64
		sequence int
		saves    int64
	}{
		{"in sequence", []*step{call(0, 30), call(30, 60), call(60, 90)}, 90, 3, 60},
		{"side by side", []*step{call(0, 40), call(1, 41), call(2, 42)}, 0, 1, 0},
		{"one", []*step{call(10, 90)}, 80, 1, 0},
		{"none", nil, 0, 0, 0},
		{"after its end", []*step{call(200, 300)}, 0, 0, 0},
	} {
		alone, sequence, saves := waits(s, row.children)
		if alone != row.alone || sequence != row.sequence || saves != row.saves {
			t.Errorf("%s: %d, %d, %d", row.name, alone, sequence, saves)
		}
	}
	if got := selfTime(s, []*step{call(10, 40), call(20, 60), call(90, 150)}); got != 40 {
		t.Errorf("self time %d, want 40", got)
	}
	if got := selfUntil(call(0, 500), nil, 100); got != 100 {
		t.Errorf("self time until the end %d", got)
	}
}

func TestHarmlessFailures(t *testing.T) {
	at := &party{Who: "x"}
	call := func(start int64, protocol, host, path string, failed bool) *step {
		return &step{Start: start, Protocol: protocol, Failed: failed, dst: at, detail: detail{Host: host, Path: path, Summary: "s"}}
	}
	search := call(1, "dns", "api.example.net.svc.cluster.local", "", true)
	found := call(2, "dns", "api.example.net", "", false)
	lost := call(1, "dns", "apo.example.net", "", true)
	if !harmless(search, []*step{search, found}) || harmless(lost, []*step{lost, found}) || harmless(found, nil) {
		t.Error("look-ups")
	}
	again := call(3, "http1", "", "/a", false)
	if first := call(1, "http1", "", "/a", true); !harmless(first, []*step{first, again}) {
		t.Error("what went well the second time is blamed")
	}
	if last := call(5, "http1", "", "/a", true); harmless(last, []*step{again, last}) {
		t.Error("what failed the last time is not blamed")
	}
}

func TestSmallParts(t *testing.T) {
	if got := runs([]int64{1, 2, 10, 11, 30}, 3, 5); !slices.Equal(got, [][2]int64{{1, 2}, {10, 11}, {30, 30}}) {
		t.Errorf("runs %v", got)
	}
	if got := runs([]int64{1, 10, 20}, 1, 2); !slices.Equal(got, [][2]int64{{1, 20}}) {
		t.Errorf("too many runs %v", got)
	}
	for header, want := range map[string]string{
		"Basic dXNlcjpwYXNz": "user",
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.x": "alice (as the token says)",
		"Bearer abc": "", "Basic %%%": "", "": "",
	} {
		if got := userOf(header); got != want {
			t.Errorf("user of %q: %q, want %q", header, got, want)
		}
	}
	p := position{ts: 5, bundle: 1, no: 7}
	if q, err := readCursor(nil, p.String()); err != nil || q != p {
		t.Errorf("cursor %v %v", q, err)
	}
	for _, bad := range []string{"x", "1.2", "1.2.3.4", "1.2.-3", " 1.2.3", "01.2.3"} {
		if _, err := readCursor(nil, bad); err == nil {
			t.Errorf("cursor %q is taken", bad)
		}
	}
}

func FuzzJSONPath(f *testing.F) {
	f.Add(`{"a":[1,{"b":"x 12345"}]}`)
	f.Add(`[[[[`)
	f.Add(`{"a":{}}{}]`)
	n, err := newNeedle("12345", "", true, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		jsonPath(s, n)
		excerpt(redact.Default(), "application/json", s, n)
		userOf("Bearer " + s)
		userOf("Basic " + s)
	})
}
