package read

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// TestProgramsOfASegment has digests that a segment's header may claim.
func TestProgramsOfASegment(t *testing.T) {
	good := strings.Repeat("ab", 32)
	h := &ring.Header{Programs: []ring.Program{{Name: "recorder", SHA256: good}, {Name: "short", SHA256: "ab"}, {Name: "none"}, {Name: "a\x1b[31m", SHA256: good}}}
	got := segmentOf(h).Programs
	if len(got) != 2 || got[0].Name != "recorder" || got[0].SHA256.String() != good || strings.Contains(got[1].Name, "\x1b") {
		t.Errorf("%+v", got)
	}
	for range 100 {
		h.Programs = append(h.Programs, h.Programs[0])
	}
	if n := len(segmentOf(h).Programs); n > bundle.MaxPrograms {
		t.Errorf("%d programs", n)
	}
}
