package derive

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// TestRedactionKeepsClocks has the comments of a slice's interface: its clock stays, without the node's name.
func TestRedactionKeepsClocks(t *testing.T) {
	m := pcapng.ClockMark{ID: pcapng.ClockOfBoot("secret-node", "b"), Node: "secret-node", BootID: "b"}
	x := &rewriter{fileEdit: &fileEdit{}}
	for _, tt := range []struct {
		typ  pcapng.BlockType
		text string
		keep bool
	}{
		{pcapng.BlockInterface, m.Comment(), true},
		{pcapng.BlockInterface, "pcapsule:clock of secret-node", false},
		{pcapng.BlockEnhanced, m.Comment(), false},
	} {
		text := []byte(tt.text)
		keep := x.comment(tt.typ, text)
		got, _ := pcapng.ParseClockMark(string(text))
		if keep != tt.keep || keep && (got.ID != m.ID || strings.Contains(string(text), "secret") || len(text) != len(tt.text)) {
			t.Errorf("%q: kept %v as %q", tt.text, keep, text)
		}
	}
}
