package validation

import (
	"strings"
	"testing"
)

func TestPackIsReadAsWritten(t *testing.T) {
	p := Known()
	if p.String() != embedded || len(p.Rows) < 20 || p.Captures < 1000 {
		t.Fatalf("%d rows of %d captures, or another text", len(p.Rows), p.Captures)
	}
	for _, r := range p.Rows {
		if r.Open() < 0 || r.Same > min(r.Theirs, r.Ours) {
			t.Errorf("%+v", r)
		}
	}
	for name, text := range map[string]string{
		"empty":         "",
		"another head":  strings.Replace(embedded, "# Counts", "# Other", 1),
		"no number":     strings.Replace(embedded, "captures\t1", "captures\tx1", 1),
		"a column less": embedded + "dns\tqueries\t1\n",
		"a text":        embedded + "dns\tqueries\t1\t1\t0\t1\t1\tx\n",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
