package forensics

import (
	"slices"
	"testing"
)

// TestQuiet has recordings with long silences: only times in which no recording has a packet are doubtful, and only if none
// of them states that it did not pause.
func TestQuiet(t *testing.T) {
	const s, hour = int64(1e9), int64(3600e9)
	recorded := func(from, to, quiet, silence int64) Stretch {
		return Stretch{Hole{From: from, To: to}, true, silence, quiet}
	}
	day := recorded(1, 24*hour, 8*hour, 4*hour)
	for _, tt := range []struct {
		name     string
		list     []Stretch
		from, to int64
		want     []Span
	}{
		{"a day", []Stretch{day}, 0, 0, []Span{{8 * hour, 12 * hour}}},
		{"within the silence", []Stretch{day}, 9 * hour, 9*hour + 5*s, []Span{{9 * hour, 9*hour + 5*s}}},
		{"before the silence", []Stretch{day}, hour, 2 * hour, nil},
		{"a short silence", []Stretch{recorded(1, 24*hour, 8*hour, hour/2)}, 0, 0, nil},
		{"short, but most of the time", []Stretch{recorded(1, 120*s, 20*s, 90*s)}, 0, 0, []Span{{20 * s, 110 * s}}},
		{"less than a minute", []Stretch{recorded(1, 60*s, 20*s, 30*s)}, 0, 0, nil},
		{"stated by a ring", []Stretch{recorded(1, 24*hour, 0, 4*hour)}, 0, 0, nil},
		{"another recorder heard something", []Stretch{day, recorded(2, 24*hour, 2*hour, 2*hour)}, 0, 0, nil},
		{"another one was silent, too", []Stretch{day, recorded(2, 24*hour, 7*hour, 4*hour)}, 0, 0, []Span{{8 * hour, 11 * hour}}},
		{"two files", []Stretch{recorded(1, 3*hour, hour, hour), recorded(3*hour+1, 6*hour, 4*hour, hour)}, 0, 0, []Span{{hour, 2 * hour}, {4 * hour, 5 * hour}}},
		{"a gap is none", []Stretch{recorded(1, hour, 0, 0), recorded(20*hour, 24*hour, 0, 0)}, 0, 0, nil},
	} {
		c := Cover(Recording{Stretches: tt.list, First: 1, Last: tt.list[len(tt.list)-1].To, Any: true}, tt.from, tt.to)
		if !slices.Equal(c.Quiet, tt.want) || c.Whole() != (c.State == Complete && len(tt.want) == 0) {
			t.Errorf("%s: %v, whole %t; want %v", tt.name, c.Quiet, c.Whole(), tt.want)
		}
	}
}

// TestALongSilenceHidesNoPause has a file with a silence of a day beside a shorter time that no file has.
func TestALongSilenceHidesNoPause(t *testing.T) {
	const hour = int64(3600e9)
	list := []Stretch{{Hole{From: 1, To: 30 * hour}, true, 24 * hour, 2 * hour}, {Hole{From: 40 * hour, To: 41 * hour}, true, 0, 0}}
	if c := Cover(Recording{Stretches: list, First: 1, Last: 41 * hour, Any: true}, 0, 0); c.Whole() || !slices.Equal(c.Quiet, []Span{{2 * hour, 26 * hour}, {30 * hour, 40 * hour}}) {
		t.Errorf("%s, quiet %v", c.State, c.Quiet)
	}
}
