package servicemap_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
)

func TestEveryEdgeLeadsToItsCalls(t *testing.T) {
	for _, name := range []string{"shop.pcapng", "http2.pcap", "dns.pcap", "vantages.pcapng"} {
		c := asktest.Open(t, name)
		for _, by := range []string{"service", "workload", "namespace", "pod", "node"} {
			m, err := servicemap.AskServiceMap(ctx, c, servicemap.ServiceMapIn{Scope: ask.Scope{Limit: 1000}, GroupBy: by})
			if err != nil {
				t.Fatal(err)
			}
			var sum int64
			for _, e := range m.Edges {
				sum += e.Calls
				if e.KFL == "" {
					continue
				}
				if n := asktest.Matching(t, c, e.KFL); n != e.Calls && e.Calls > 0 {
					t.Errorf("%s by %s: %s to %s: %d calls, but %d for %s", name, by, e.Src, e.Dst, e.Calls, n, e.KFL)
				}
			}
			if want := asktest.Matching(t, c, `protocol not in ["tls", "quic", "sctp", "openvpn", "wireguard", "tcp", "udp", "ip", "icmp_payload", "sctp_payload", "sctp_messages", "quic_stream"] and (protocol != "icmp" or method.endsWith("_request"))`); sum != want || m.TotalCalls != want {
				t.Errorf("%s by %s: edges have %d calls, total says %d, want %d", name, by, sum, m.TotalCalls, want)
			}
			for _, p := range m.Ingress {
				if n := asktest.Matching(t, c, p.KFL); n != p.Calls {
					t.Errorf("%s by %s: ingress %s: %d calls, but %d for %s", name, by, p.Service, p.Calls, n, p.KFL)
				}
			}
		}
	}
}

func TestMapDrawsEveryEdge(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for _, form := range []string{"mermaid", "dot"} {
		out := asktest.Put(t, c, "get_service_map", fmt.Sprintf(`{"format":%q}`, form))
		arrow := map[string]string{"mermaid": "-->", "dot": "->"}[form]
		if n := strings.Count(out["diagram"].(string), arrow); n != len(out["edges"].([]any)) || n == 0 {
			t.Errorf("%s: %d arrows for %d edges", form, n, len(out["edges"].([]any)))
		}
	}
}

func TestMapRejectsInvalidInput(t *testing.T) {
	c := asktest.Open(t, "dns.pcap")
	for _, in := range []servicemap.ServiceMapIn{{Label: "app"}} {
		if _, err := servicemap.AskServiceMap(ctx, c, in); err == nil {
			t.Errorf("%+v is accepted", in)
		}
	}
}

// Two bundles of one capture have the same calls; each call counts once.
func TestOverlappingBundlesCountOnce(t *testing.T) {
	one, two := asktest.Open(t, "shop.pcapng"), asktest.Twice(t, forensics.Options{})
	for _, q := range []struct{ name, in, field string }{
		{"get_overview", `{}`, "calls"},
		{"get_service_map", `{"from_namespace":"shop","group_by":"pod"}`, "total_calls"},
		{"get_dependencies", `{"service":"redis","blast_radius":true,"via":"catalogue"}`, "calls_through_via"},
		{"list_external", `{"allow":["10.0.0.0/8"]}`, "total_destinations"},
		{"get_latency", `{"min_ms":10,"parts":["breakdown","slow","queries","size","replicas","series"]}`, "calls"},
		{"compare_periods", `{}`, "tests"},
		{"find_patterns", `{}`, "counts"},
		{"get_capacity", `{}`, "calls"},
		{"get_api_stats", `{}`, "total_calls"},
	} {
		a, b := asktest.Put(t, one, q.name, q.in)[q.field], asktest.Put(t, two, q.name, q.in)[q.field]
		if fmt.Sprint(a) != fmt.Sprint(b) || a == nil {
			t.Errorf("%s: %s is %v in one bundle, %v in two", q.name, q.field, a, b)
		}
	}
}

// The same question has the same answer, whatever the order of threads.
func TestAnswersAreTheSameAgain(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for _, name := range []string{"get_overview", "get_service_map", "list_external", "get_latency", "compare_periods", "find_patterns", "get_capacity", "get_api_stats"} {
		first := fmt.Sprint(asktest.Put(t, c, name, `{}`))
		for range 3 {
			if again := fmt.Sprint(asktest.Put(t, c, name, `{}`)); again != first {
				t.Errorf("%s: the answers differ:\n%s\n%s", name, first, again)
				break
			}
		}
	}
}
