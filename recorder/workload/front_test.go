package workload

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

// TestServiceAt: the port decides which of several services reached a pod, and the reduced dump gives the same answer.
func TestServiceAt(t *testing.T) {
	const dump = `{"kind":"List","items":[
	{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"w-0","uid":"1","labels":{"app":"w"}},"spec":{"containers":[{"name":"c","ports":[{"name":"prom","containerPort":9090}]}]},"status":{"podIP":"10.0.0.1"}},
	{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":"api","uid":"2"},"spec":{"selector":{"app":"w"},"ports":[{"port":80,"targetPort":8080}]}},
	{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":"metrics","uid":"3"},"spec":{"selector":{"app":"w"},"ports":[{"port":80,"targetPort":"prom"}]}},
	{"kind":"Service","apiVersion":"v1","metadata":{"namespace":"shop","name":"gone","uid":"4"},"spec":{"selector":{"app":"w"},"ports":[{"port":80,"targetPort":"gone"}]}},
	{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"namespace":"shop","name":"s-1","labels":{"kubernetes.io/service-name":"sliced"}},"endpoints":[{"targetRef":{"kind":"Pod","name":"w-0","uid":"1"}}],"ports":[{"port":7000},{"port":7000,"protocol":"UDP"}]}]}`
	x, again := NewIndex(), NewIndex()
	var used bytes.Buffer
	if _, err := x.AddKube("dump", strings.NewReader(dump)); err != nil {
		t.Fatal(err)
	}
	if err := x.WriteUsed(&used); err != nil {
		t.Fatal(err)
	}
	if _, err := again.AddKube("used", &used); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		port  uint16
		proto uint8
		want  string
	}{{8080, 6, "api"}, {9090, 6, "metrics"}, {9090, 17, ""}, {7000, 6, "sliced"}, {7000, 17, "sliced"}, {7001, 6, ""}, {0, 6, ""}} {
		for i, x := range []*Index{x, again} {
			id, ok := x.Lookup(netip.MustParseAddr("10.0.0.1"), tt.port, tt.proto, 1)
			if got := id.ServiceAt(tt.port, tt.proto); !ok || got != tt.want {
				t.Errorf("index %d, port %d of %d: service %q (%v), want %q", i, tt.port, tt.proto, got, ok, tt.want)
			}
			if got := id.MainService(); got != "api" {
				t.Errorf("a client is named %q", got)
			}
		}
	}
	several := Identity{Services: []string{"a", "b", "headless", "x"}, Fronts: []Front{{"a", 1, 6}, {"b", 1, 6}, {"x", 2, 6}}}
	for port, want := range map[uint16]string{1: "a", 2: "x", 3: "headless"} {
		if got := several.ServiceAt(port, 6); got != want {
			t.Errorf("port %d: %q, want %q", port, got, want)
		}
	}
	if several.Workload = "b"; several.ServiceAt(1, 6) != "b" || several.MainService() != "b" || several.ServiceAt(2, 6) != "x" {
		t.Error("the workload's name does not decide between equal services")
	}
}
