package command

import "testing"

func TestTimesOutsideTheRangeOfPackets(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64 // -1: refused
	}{
		{"", 0},
		{"2026-01-31T14:15:00Z", 1769868900_000_000_000},
		{"1970-01-01T00:00:00.000000001Z", 1},
		{"2262-04-11T23:47:16.854775807Z", 1<<63 - 1},
		{"yesterday", -1},
		{"0001-01-01T00:00:00Z", -1},
		{"1677-01-01T00:00:00Z", -1},
		{"1970-01-01T00:00:00Z", -1},
		{"2262-04-11T23:47:16.854775808Z", -1},
		{"9999-12-31T23:59:59Z", -1},
	} {
		got, err := ParseTime("from", tt.text)
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("%s: %d, %v; want %d", tt.text, got, err, tt.want)
		}
	}
}
