package read

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
)

func TestProblemsOfFragmentsAreNotOfHeaders(t *testing.T) {
	for _, code := range (decode.FragmentOverlap | decode.FragmentConflict | decode.FragmentDropped).Codes() {
		if got := problemDetail(code); !strings.HasPrefix(got, "the fragment") {
			t.Errorf("%s: %s", code, got)
		}
	}
}
