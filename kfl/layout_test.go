package kfl

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLayoutChangesOnlyWhiteSpace lays out the SQL of the documented examples, and of texts with everything
// that a break could damage.
func TestLayoutChangesOnlyWhiteSpace(t *testing.T) {
	filters := append(documented(t), `host == "a AND b, (c"`, `path contains "it's OR \"x\""`, `request.headers["x"] == "a" && dst.service == "b"`)
	for _, text := range filters {
		q, err := Compile(text, Env{Now: noon})
		if err != nil {
			continue // an example of a macro
		}
		sql, _ := q.SQL()
		all := []string{sql, `SELECT "a", "b" FROM "calls" WHERE ` + sql + ` ORDER BY "ts_ns", "call_no" LIMIT 5`}
		for _, dialect := range Dialects() {
			if s, err := q.SQLIn(dialect); err == nil {
				all = append(all, s)
			}
		}
		for _, sql := range all {
			for _, width := range []int{52, 72, 112} {
				out := Layout(sql, width)
				if withoutSpace(out) != withoutSpace(sql) {
					t.Fatalf("%s at %d columns: changed\n%s\n%s", text, width, sql, out)
				}
				for line := range strings.Lines(out) {
					line = strings.TrimRight(line, "\n")
					if n := utf8.RuneCountInString(line); n > width && strings.ContainsAny(strings.TrimSpace(line), ",") && !strings.ContainsAny(line, "'\"`") {
						t.Errorf("%s at %d columns: a line has %d: %s", text, width, n, line)
					}
				}
			}
			if Layout(sql, 0) != sql {
				t.Errorf("%s: changed without a width", text)
			}
		}
	}
}

// withoutSpace removes white space outside quotes.
func withoutSpace(sql string) string {
	var b strings.Builder
	for i, d := range depthsOf(sql) {
		if c := sql[i]; d < 0 || c != ' ' && c != '\n' {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func TestLayout(t *testing.T) {
	const sql = `(("a" IS NOT NULL AND "a" = 1) AND ("b" = 'x AND y' OR "c" IN (1, 2)))`
	const want = `(
  ("a" IS NOT NULL AND "a" = 1)
  AND (
    "b" = 'x AND y'
    OR "c" IN (1, 2)
  )
)`
	if got := Layout(sql, 32); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
