package dissecttest

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Heads are first bytes that a side sends, and the verdicts on them.
type Heads = []struct {
	Name string
	Dir  dissect.Dir
	Head string
	Want dissect.Verdict
}

// Detect checks the verdicts of a protocol's Detect.
func Detect(t *testing.T, detect func(dir dissect.Dir, head []byte) dissect.Verdict, heads Heads) {
	t.Helper()
	for _, h := range heads {
		if got := detect(h.Dir, []byte(h.Head)); got != h.Want {
			t.Errorf("%s: %v, want %v", h.Name, got, h.Want)
		}
	}
}
