package failures_test

import (
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/internal/when"
)

func TestParseTime(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixNano()
	}
	first, last := at("2026-11-19T23:30:00Z"), at("2026-11-20T09:24:52.5Z")
	for text, want := range map[string]string{
		"":                              "2026-11-19T23:30:00Z",
		"2026-11-20T09:24:50Z":          "2026-11-20T09:24:50Z",
		"2026-11-20T10:24:50.25+01:00":  "2026-11-20T09:24:50.25Z",
		"2026-11-20 09:24:48.892204":    "2026-11-20T09:24:48.892204Z",
		"2026-11-20T09:24:48.892204689": "2026-11-20T09:24:48.892204689Z",
		"2026-11-20":                    "2026-11-20T00:00:00Z",
		"09:24:50.5":                    "2026-11-20T09:24:50.5Z",
		"09:24":                         "2026-11-20T09:24:00Z",
		"23:45:00":                      "2026-11-19T23:45:00Z",
		"10:00":                         "2026-11-20T10:00:00Z", // after the end, which is on this day
		"2s":                            "2026-11-20T09:24:50.5Z",
		"1970-01-01":                    "1970-01-01T00:00:00Z",
		"2000000h":                      "1970-01-01T00:00:00Z", // packets are never older
		"2262-04-11":                    "2262-04-11T00:00:00Z",
	} {
		got, err := ask.ParseTime("from", text, first, first, last)
		if err != nil || got != at(want) {
			t.Errorf("%q is %s, %v; want %s", text, when.Stamp(got), err, want)
		}
	}
	for _, text := range []string{"yesterday", "25:00", "-5m", "2026-13-01", "09:24:50 ", "0001-01-01", "1677-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2262-04-12", "9999-12-31T23:59:59Z"} {
		if got, err := ask.ParseTime("from", text, first, first, last); err == nil {
			t.Errorf("%q is %s, want an error", text, when.Stamp(got))
		}
	}
}

// TestTimesOutsideTheRecording: a window with one end outside the recording is a time that was not recorded, no matter which
// end is given; a window whose given ends are in the wrong order is an error.
func TestTimesOutsideTheRecording(t *testing.T) {
	c := asktest.Open(t, "http1.pcapng")
	for _, tt := range []struct {
		name string
		in   ask.Scope
		ok   bool
	}{
		{"after the end", ask.Scope{From: "2100-01-01"}, true},
		{"before the start", ask.Scope{To: "1980-01-01"}, true},
		{"both before the start", ask.Scope{From: "1980-01-01", To: "1980-01-02"}, true},
		{"in the wrong order", ask.Scope{From: "1980-01-02", To: "1980-01-01"}, false},
	} {
		out, err := failures.Ask(ctx, c, failures.In{Scope: tt.in})
		switch {
		case (err == nil) != tt.ok:
			t.Errorf("%s: %v", tt.name, err)
		case err == nil && (out.Coverage.State != "none" || out.Calls != 0):
			t.Errorf("%s: recorded %s, %d calls", tt.name, out.Coverage.State, out.Calls)
		}
	}
}
