package verify

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// TestAnotherProgramIsNoTampering: a bundle of another program may differ from what this one makes of its packets.
func TestAnotherProgramIsNoTampering(t *testing.T) {
	this, other := bundle.ThisProgram(), bundle.Digest{1}
	for _, tt := range []struct {
		made    string
		program *bundle.Digest
		want    string
	}{
		{"1.0.0", this, "the bundle was changed after it was made"},
		{"1.0.0", &other, "another build of release 1.0.0 made it"},
		{"1.0.0", nil, "another build of release 1.0.0 made it"},
		{"0.9.0", this, "release 0.9.0 made it and this is 1.0.0"},
	} {
		r := result{Report: &bundle.Report{}, Rederived: &bundle.Rederived{Release: tt.made, By: "1.0.0"}}
		if tt.program != nil {
			r.Custody = []bundle.Entry{{Details: map[string]string{"program_sha256": tt.program.String()}}}
		}
		if got := r.reason(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("made by %s of %s: %q, want %q", tt.program, tt.made, got, tt.want)
		}
	}
}
