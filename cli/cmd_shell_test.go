package cli

import (
	"slices"
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
