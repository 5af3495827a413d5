package sqltext

import "testing"

func TestVerb(t *testing.T) {
	for _, x := range []struct{ name, statement, want string }{
		{"a word", "select 1", "SELECT"},
		{"parentheses", " ((select 1))", "SELECT"},
		{"a line comment", "-- why\nupdate t set a = 1", "UPDATE"},
		{"nested comments", "/* a /* b */ c */ delete from t", "DELETE"},
		{"a comment of MySQL", "# why\ninsert into t values (1)", "INSERT"},
		{"a comment that MySQL executes", "/*!40101 SET NAMES utf8 */", "SET"},
		{"a comment without an end", "/* select", ""},
		{"no word", "{call p}", ""},
		{"nothing", "", ""},
	} {
		if got := Verb(x.statement); got != x.want {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
	}
}

func TestTextsAreValidAndBounded(t *testing.T) {
	if got := string(AppendField(nil, []byte("a\tb\\\n\xff"))); got != `a\tb\\\n`+"\ufffd" {
		t.Errorf("field %q", got)
	}
	if got := string(AppendLine([]byte("x "), " select\n\t1 ")); got != "x select 1" {
		t.Errorf("line %q", got)
	}
}
