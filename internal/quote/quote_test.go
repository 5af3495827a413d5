package quote

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestCellIsNoFormula checks that no text becomes a formula, and that one ' less restores it.
func TestCellIsNoFormula(t *testing.T) {
	for _, s := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"} {
		if got := Cell(s); got != "'"+s {
			t.Errorf("Cell(%q) is %q", s, got)
		}
	}
	for _, s := range []string{"", "a=1", "%2e", "|a", "1", "\xff", "\u00e9"} {
		if got := Cell(s); got != s {
			t.Errorf("Cell(%q) is %q: the text is no formula", s, got)
		}
	}
}

var code = regexp.MustCompile(`#(\d+);`)

// TestMermaidReadsNothing checks that a label has no character that Mermaid reads, and that its codes
// restore the text.
func TestMermaidReadsNothing(t *testing.T) {
	for _, s := range []string{
		`%%{init: {"theme":"dark"}}%%`, "GET /a%%20b", "a\nb", "\u2028", `"]; click n0 "javascript:x"`, "`**b**`", "a|b", "#35;", "---", "x-->y", "pay-svc:80", "</script>", "\u202e", "\u4ed8",
	} {
		label := Mermaid(s)
		if bad := strings.IndexAny(code.ReplaceAllString(label, ""), "%{}[]()<>\"'`|#;:-&\n\r\u2028\u202e"); bad >= 0 {
			t.Errorf("Mermaid(%q) is %q", s, label)
		}
		back := code.ReplaceAllStringFunc(label, func(c string) string {
			n, err := strconv.Atoi(code.FindStringSubmatch(c)[1])
			if err != nil {
				t.Fatal(err)
			}
			return string(rune(n))
		})
		if back != s {
			t.Errorf("Mermaid(%q) reads as %q", s, back)
		}
	}
}

func TestSQL(t *testing.T) {
	for _, c := range [][3]string{{"", "''", `""`}, {`it's "x"`, `'it''s "x"'`, `"it's ""x"""`}} {
		if got := SQL(c[0]); got != c[1] {
			t.Errorf("%q as a value: %s, want %s", c[0], got, c[1])
		}
		if got := Ident(c[0]); got != c[2] {
			t.Errorf("%q as a name: %s, want %s", c[0], got, c[2])
		}
	}
}
