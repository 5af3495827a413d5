package ask_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
)

// TestMySQLTakesPart puts the questions about databases to a recording of MariaDB. What the client
// did is in samples/gen/store/mysql.go.
func TestMySQLTakesPart(t *testing.T) {
	c := asktest.Open(t, "mysql.pcapng")
	rows := func(answer map[string]any, list string, line func(map[string]any) string) (out []string) {
		all, _ := answer[list].([]any)
		for _, x := range all {
			out = append(out, line(x.(map[string]any)))
		}
		return out
	}
	slow := rows(asktest.Put(t, c, "get_latency", `{"min_ms":0.001,"parts":["queries"]}`), "queries", func(r map[string]any) string {
		return fmt.Sprintf("%v %v %v", r["protocol"], r["text"], r["calls"])
	})
	for _, want := range []string{"mysql select name from items where id = ? 4", "mysql insert into items (name, price, added, pic) values (?, …) 3", "mysql select repeat(?, …) 2"} {
		if !slices.Contains(slow, want) {
			t.Errorf("slow queries lack %q: %q", want, slow)
		}
	}
	for needle, want := range map[string]float64{"tea pot": 3, "Duplicate entry": 1, "spoon 1": 1} {
		if got := asktest.Put(t, c, "search_content", fmt.Sprintf(`{"text":%q}`, needle))["total_calls"]; got != want {
			t.Errorf("%q is in %v calls, want %v", needle, got, want)
		}
	}
	access := asktest.Put(t, c, "audit_access", `{"kfl":"mysql"}`)
	if s := fmt.Sprint(access); !strings.Contains(s, "shop") || !strings.Contains(s, "delete from items where id = ?") {
		t.Errorf("access: %.400s", s)
	}
}
