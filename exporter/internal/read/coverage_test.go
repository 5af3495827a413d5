package read

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
)

func TestEachProblemHasItsDescription(t *testing.T) {
	by := map[string]string{}
	for _, code := range (^decode.Problem(0)).Codes() {
		detail := problemDetails[code]
		if other, ok := by[detail]; ok || detail == "" {
			t.Errorf("%s: %q, as %q", code, detail, other)
		}
		by[detail] = code
	}
}
