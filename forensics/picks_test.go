package forensics

import "testing"

func TestNumbersAreListed(t *testing.T) {
	for _, x := range []struct {
		name string
		add  [][2]int64
		want string
	}{
		{"none", nil, ""},
		{"the first packet", [][2]int64{{0, 0}}, "0"},
		{"around the edge of a word", [][2]int64{{62, 65}}, "62,63,64,65"},
		{"several, some twice, not in order", [][2]int64{{700, 701}, {3, 3}, {700, 700}}, "3,700,701"},
	} {
		var s numbers
		for _, r := range x.add {
			if err := s.add(r[0], r[1]); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.list(); got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}
	var s numbers
	if err := s.add(-1, 0); err == nil || s.list() != "" {
		t.Errorf("%v, %q for a number below zero", err, s.list())
	}
}
