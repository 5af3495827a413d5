package ask_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// lookup is a DNS question and its answer, NXDOMAIN.
func lookup(id byte) (question, answer string) {
	rest := "\x00\x01\x00\x00\x00\x00\x00\x00\x07payment\x04shop\x00\x00\x01\x00\x01"
	return "\x00" + string(rune(id)) + "\x01\x00" + rest, "\x00" + string(rune(id)) + "\x81\x83" + rest
}

// TestAddressesBehindATranslation has 5 calls to an address that a translation replaces by that of a server, and 3 to the server. No
// name is known. Every question counts 5 calls to the one and 8 to the other, and the filter of each row finds the row's calls.
func TestAddressesBehindATranslation(t *testing.T) {
	var w traffic.Capture
	const dialled, server = "10.96.0.10", "10.1.0.77"
	for i := range 8 {
		question, answer := lookup(byte(i))
		at := time.Duration(i) * time.Second
		if i < 5 {
			w.Translated(at, "10.1.0.5", dialled+":53", server+":53", question, answer)
		} else {
			w.Datagram(at, "10.1.0.6", server+":53", question, answer)
		}
	}
	c := asktest.OpenMade(t, &w)
	for _, x := range []struct {
		name  string
		calls float64
	}{{dialled, 5}, {"10.96.*", 5}, {server, 8}, {"10.96.0.11", 0}} {
		for _, q := range []struct {
			question, in, field string
		}{
			{"get_api_stats", `{"service": %q}`, "total_calls"}, {"find_failures", `{"service": %q}`, "calls"}, {"find_failures", `{"service": %q}`, "failed_calls"}, {"audit_access", `{"service": %q}`, "total_calls"},
			{"describe_service", `{"service": %q}`, "in.calls"}, {"describe_service", `{"service": %q}`, "connections_to_it.connections"}, {"get_latency", `{"service": %q}`, "calls"}, {"get_capacity", `{"service": %q}`, "calls"},
			{"get_service_map", `{"service": %q}`, "total_calls"}, {"get_timeline", `{"workload": %q}`, "calls"}, {"get_pair", `{"src": "10.1.0.*", "dst": %q}`, "forth.calls"},
		} {
			in := fmt.Sprintf(q.in, x.name)
			if got := field(asktest.Put(t, c, q.question, in), q.field); got != x.calls && !(got == nil && x.calls == 0) {
				t.Errorf("%s %s: %s is %v, want %v", q.question, in, q.field, got, x.calls)
			}
		}
		if got := asktest.Put(t, c, "get_dependencies", fmt.Sprintf(`{"service": %q}`, x.name))["services"].([]any); (len(got) > 0) != (x.calls > 0) {
			t.Errorf("get_dependencies of %s: %v", x.name, got)
		}
	}
	for _, q := range []string{"get_overview", "get_service_map", "get_api_stats", "get_latency", "get_capacity", "find_failures"} {
		filters(t, c, q, asktest.Put(t, c, q, `{}`))
	}
}

// field is a member of an answer; a dot separates its names.
func field(in map[string]any, name string) any {
	head, rest, more := strings.Cut(name, ".")
	if !more {
		return in[head]
	}
	inner, _ := in[head].(map[string]any)
	return field(inner, rest)
}

// filters checks that the filter of each row of an answer finds the calls of the row.
func filters(t *testing.T, c *forensics.Case, what string, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			filters(t, c, what, x)
		}
	case map[string]any:
		if filter, ok := v["kfl"].(string); ok && v["calls"] != nil {
			r, err := c.Query(ctx, forensics.Query{KFL: filter})
			if err != nil {
				t.Fatal(err)
			}
			if float64(len(r.Rows)) != v["calls"] {
				t.Errorf("%s: a row has %v calls, its filter %s finds %d", what, v["calls"], filter, len(r.Rows))
			}
		}
		for _, x := range v {
			filters(t, c, what, x)
		}
	}
}
