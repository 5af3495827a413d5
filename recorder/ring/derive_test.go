package ring

import (
	"fmt"
	"strings"
	"testing"
)

func TestADerivedFileNamesTheParentsThatFit(t *testing.T) {
	for _, c := range []struct {
		name    string
		parents int
		kfl     int
		all     bool
		err     bool
	}{
		{"none", 0, 10, true, false},
		{"a few", 3, 10, true, false},
		{"more than fit into a comment", 5000, 10, false, false},
		{"a long condition", 600, 50_000, false, false},
		{"a condition longer than a comment", 1, 70_000, false, true},
	} {
		h := Header{Version: Version, Ring: "r", Series: DerivedSeries, Derived: &Derived{KFL: strings.Repeat("x", c.kfl)}}
		for i := range c.parents {
			h.Derived.Parents = append(h.Derived.Parents, Parent{ID{"sockets", "n", uint64(i)}.Segment(), strings.Repeat("0", 64)})
		}
		text, err := h.deriving()
		if c.err {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the limit is %d", maxHeader)) {
				t.Errorf("%s: %v, want an error", c.name, err)
			}
			continue
		}
		got, ok := ParseHeader(text)
		if err != nil || !ok || len(text) > maxHeader || got.Derived == nil {
			t.Fatalf("%s: %d bytes, %v", c.name, len(text), err)
		}
		d := got.Derived
		if len(d.Parents)+d.More != c.parents || (d.More == 0) != c.all {
			t.Errorf("%s: %d parents and %d more of %d", c.name, len(d.Parents), d.More, c.parents)
		}
	}
}
