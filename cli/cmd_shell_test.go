package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/kfl"
)

func TestCompleteLine(t *testing.T) {
	for _, tt := range []struct {
		line, want string
		offered    string // one of the candidates, "" if there is only one
	}{
		{"sho", "show", ""},
		{"find-fail", "find-failures", ""},
		{"http && status_cod", "http && status_code", ""},
		{"http && tcp.retrans", "http && tcp.retransmissions", ""},
		{"dst.ser", "dst.service", "dst.services"},
		{"zzz", "zzz", ""},
	} {
		got, at, offered := completeLine(tt.line, len(tt.line), kfl.Env{})
		if got != tt.want || at != len(tt.want) || tt.offered != "" && !slices.Contains(offered, tt.offered) || tt.offered == "" && len(offered) > 0 {
			t.Errorf("%q becomes %q at %d with %q, want %q", tt.line, got, at, offered, tt.want)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	h := openHistory()
	for _, l := range []string{"http", "dns", "dns", ""} {
		h.Add(l)
	}
	h.close()
	if h = openHistory(); h.Len() != 2 || h.At(0) != "dns" || h.At(1) != "http" {
		t.Errorf("history %q", h.lines)
	}
}

// TestShellLines: SQL that an answer of sql recommends, and commands of psql, work at the prompt.
func TestShellLines(t *testing.T) {
	for line, want := range map[string]string{
		"SHOW TABLES": "sql b -- SHOW TABLES", "show tables;": "sql b -- show tables;", "show 42": "show b 42", `\dt`: "sql b -- SHOW TABLES", `\d`: "sql b -- SHOW TABLES",
		`\d calls`: "schema -- calls", "describe calls": "sql b -- describe calls", "VALUES (1)": "sql b -- VALUES (1)", "http": "query b -- http",
	} {
		if got := strings.Join(shellArgs(line, []string{"b"}), " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
