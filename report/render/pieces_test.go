package render

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/report/value"
)

// TestCharactersAtTheEndOfAPiece writes data with characters of 1 to 4 bytes at every place of a border
// between two cells.
func TestCharactersAtTheEndOfAPiece(t *testing.T) {
	for _, char := range []string{"a", "é", "漢", "😀"} {
		for shift := range 4 {
			text := strings.Repeat("x", shift) + strings.Repeat(char, 3*chunk/len(char))
			var all strings.Builder
			for piece := range pieces(text) {
				if len(piece) > chunk || !utf8.ValidString(piece) {
					t.Errorf("%q after %d bytes: a piece of %d bytes, valid: %v", char, shift, len(piece), utf8.ValidString(piece))
				}
				all.WriteString(piece)
			}
			if all.String() != text {
				t.Errorf("%q after %d bytes: the pieces are not the text", char, shift)
			}
			r := &value.Report{Schema: value.Schema, Title: text, Basis: value.Basis{Template: "x"}}
			for _, f := range Forms() {
				if f.Name == "pdf" {
					continue // which has the data in one piece
				}
				var file bytes.Buffer
				if err := f.Write(&file, r); err != nil {
					t.Fatal(f.Name, err)
				}
				if got, err := f.Read(file.Bytes()); err != nil || got.Title != text {
					t.Errorf("%s, %q after %d bytes: the data is not what was written: %v", f.Name, char, shift, err)
				}
			}
		}
	}
}
