package ask_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// TestClientsOutsideHaveOneName compares the names that answers give to all clients outside without a name.
func TestClientsOutsideHaveOneName(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for _, q := range []struct{ name, in, part string }{
		{"get_service_map", `{}`, "nodes"}, {"get_dependencies", `{"service":"gateway"}`, "upstream"}, {"find_failures", `{}`, "groups"}, {"describe_service", `{"service":"gateway"}`, "callers"},
		{"describe_service", `{"service":"gateway"}`, "handshakes"}, {"get_timeline", `{"workload":"gateway"}`, "activity"}, {"audit_access", `{"service":"gateway"}`, "pairs"}, {"trace_request", `{"kfl":"src.external"}`, "hops"},
	} {
		text, err := json.Marshal(asktest.Put(t, c, q.name, q.in)[q.part])
		if err != nil {
			t.Fatal(err)
		}
		if got := string(text); !strings.Contains(got, `"`+terms.AnyOutside+`"`) || strings.Contains(got, `"src":"outside"`) || strings.Contains(got, "198.51.100.") {
			t.Errorf("%s %s: %.600s", q.name, q.part, got)
		}
	}
}
