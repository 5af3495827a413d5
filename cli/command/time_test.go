package command

import "testing"

const (
	morning = 1769868900_000_000_000 // 2026-01-31T14:15:00Z
	minute  = 60_000_000_000
)

func TestTimesOutsideTheRangeOfPackets(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64 // -1: refused
	}{
		{"", 0},
		{"2026-01-31T14:15:00Z", morning},
		{"1970-01-01T00:00:00.000000001Z", 1},
		{"2262-04-11T23:47:16.854775807Z", 1<<63 - 1},
		{"yesterday", -1},
		{"25:00", -1},
		{"0001-01-01T00:00:00Z", -1},
		{"1677-01-01T00:00:00Z", -1},
		{"1970-01-01T00:00:00Z", -1},
		{"2262-04-11T23:47:16.854775808Z", -1},
		{"9999-12-31T23:59:59Z", -1},
	} {
		times, err := ParseTimes(tt.text, "")
		got := times.From.In(0, 0)
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("%s: %d, %v; want %d", tt.text, got, err, tt.want)
		}
	}
}

// TestTimesOfACapture checks the forms that other commands print, in a recording from 14:15 to 14:25.
func TestTimesOfACapture(t *testing.T) {
	const first, last = morning, morning + 10*minute
	for _, tt := range []struct {
		from, to        string
		in, since       [2]int64
		badIn, badSince bool
	}{
		{from: "14:16", to: "14:17:00.5", in: [2]int64{first + minute, first + 2*minute + 500_000_000}, since: [2]int64{first + minute, first + 2*minute + 500_000_000}},
		{from: "2026-01-31 14:16:00", in: [2]int64{first + minute, 0}, since: [2]int64{first + minute, 0}},
		{from: "14:10", in: [2]int64{first - 5*minute, 0}, since: [2]int64{first - 5*minute, 0}},
		{from: "5m", in: [2]int64{last - 5*minute, 0}, badSince: true},
		{to: "5m", in: [2]int64{0, last - 5*minute}, badSince: true},
		{from: "14:20", to: "00:05", badIn: true, since: [2]int64{first + 5*minute, first - (14*60+15)*minute + 24*60*minute + 5*minute}},
		{from: "2026-01-31T14:20:00Z", to: "2026-01-31T14:16:00Z", badIn: true, badSince: true},
	} {
		times, err := ParseTimes(tt.from, tt.to)
		if err != nil {
			t.Errorf("%s to %s: %v", tt.from, tt.to, err)
			continue
		}
		check := func(what string, bad bool, want [2]int64, from, to int64, err error) {
			if (err != nil) != bad || !bad && want != [2]int64{from, to} {
				t.Errorf("%s %s to %s: %d to %d, %v; want %d", what, tt.from, tt.to, from, to, err, want)
			}
		}
		from, to, err := times.In(first, last)
		check("in", tt.badIn, tt.in, from, to, err)
		from, to, err = times.Since(first)
		check("since", tt.badSince, tt.since, from, to, err)
	}
}

// TestTimesOfAnEndlessRecording checks times that count back from now, 14:25.
func TestTimesOfAnEndlessRecording(t *testing.T) {
	const now, hour = morning + 10*minute, 60 * minute
	for _, tt := range []struct {
		from, to string
		want     [2]int64 // nil values: refused
	}{
		{"2026-01-31T14:15:00Z", "2026-01-31 14:20", [2]int64{morning, morning + 5*minute}},
		{"14:15", "14:20:00", [2]int64{morning, morning + 5*minute}},
		{"14:15", "14:30", [2]int64{morning, morning + 15*minute}},         // the hub waits for it
		{"23:15", "00:15", [2]int64{morning - 15*hour, morning - 14*hour}}, // over midnight
		{"10m", "5m", [2]int64{morning, morning + 5*minute}},
		{"10m", "", [2]int64{morning, 0}},
		{"", "14:30", [2]int64{0, morning + 15*minute - 24*hour}},
		{"5m", "10m", [2]int64{}},
		{"2026-01-31T14:20:00Z", "2026-01-31T14:15:00Z", [2]int64{}},
	} {
		times, err := ParseTimes(tt.from, tt.to)
		if err != nil {
			t.Fatal(err)
		}
		from, to, err := times.Before(now)
		if got := [2]int64{from, to}; (err != nil) != (tt.want == [2]int64{}) || err == nil && got != tt.want {
			t.Errorf("%s to %s: %d, %v, want %d", tt.from, tt.to, got, err, tt.want)
		}
	}
}
