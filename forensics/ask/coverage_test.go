package ask_test

import (
	"reflect"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/when"
)

// TestChoicesAreListedOnce has sources that leave out the same, beside a loss that would come last.
func TestChoicesAreListedOnce(t *testing.T) {
	c := forensics.Coverage{State: forensics.Partial}
	for i := range 30 {
		c.Holes = append(c.Holes, forensics.Hole{Source: "a", From: int64(100 - i), To: int64(200 + i), Reason: "filter", Packets: 2, Detail: "left out"})
	}
	c.Holes = append(c.Holes, forensics.Hole{Bundle: 1, Source: "b", From: 1, To: 2, Reason: "filter", Detail: "left out"}, forensics.Hole{Source: "c", From: 1, To: 2, Reason: "drop", Packets: 1},
		forensics.Hole{Source: "c", From: 3, To: 4, Reason: "drop", Packets: 1})
	stamp := when.Stamp
	want := []ask.Hole{{Source: "c", Reason: "drop", From: stamp(1), To: stamp(2), Packets: 1}, {Source: "c", Reason: "drop", From: stamp(3), To: stamp(4), Packets: 1},
		{Source: "a", Sources: 30, Reason: "filter", From: stamp(71), To: stamp(229), Packets: 60, Detail: "left out"}, {Source: "b", Reason: "filter", From: stamp(1), To: stamp(2), Detail: "left out"}}
	if got := ask.CoverageOf(c); !reflect.DeepEqual(got.Holes, want) || got.More != 0 {
		t.Errorf("%+v and %d more, want %+v", got.Holes, got.More, want)
	}
}
