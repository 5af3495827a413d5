package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// cluster returns a policyMaker with a client and two workloads behind a service. The service maps
// port 80 to port 8080 of the pods.
func cluster(t *testing.T) *policyMaker {
	t.Helper()
	g := newPolicyMaker(map[[2]int64]*peer{
		{0, 1}: {ID: 1, IP: "10.0.0.1", Kind: "pod", Namespace: "shop", Pod: "client-1", Workload: "client"},
		{0, 2}: {ID: 2, IP: "10.96.0.7", Kind: "service", Namespace: "shop", Service: "web"},
		{0, 3}: {ID: 3, IP: "10.0.0.3", Kind: "pod", Namespace: "shop", Pod: "blue-1", Workload: "blue", Service: "web"},
		{0, 4}: {ID: 4, IP: "203.0.113.9", Kind: "outside", DNSName: "cards.example", External: true},
	})
	g.targets["shop/web/tcp/80"] = []int64{8080}
	g.add("shop", "client", []label{{"app", "client"}, {"pod-template-hash", "1"}}, nil)
	g.add("shop", "blue", []label{{"app", "web"}, {"track", "blue"}}, []string{"web"})
	g.add("shop", "green", []label{{"app", "web"}, {"track", "green"}}, []string{"web"})
	g.add("shop", "other", []label{{"app", "web"}}, []string{"web-internal"})
	for name, addr := range map[string]string{"client": "10.0.0.1", "blue": "10.0.0.3", "green": "10.0.0.4", "other": "10.0.0.5"} {
		g.groups["shop/"+name].locate(addr, "2001:db8::1")
	}
	for _, q := range g.groups {
		q.selector = g.selectorOf(q)
	}
	return g
}

// A network plugin sees the address behind a service, never the service's own. Policies do not
// select pods on the network of their node, and do not restrict a pod's connections to itself.
func TestPoliciesHaveTheAddressesThatPluginsSee(t *testing.T) {
	for _, tc := range []struct {
		name       string
		setup      func(*policyMaker)
		seen       seen
		egress     []string // of the client: address or selector, and port
		unselected string
		unlocated  []string
	}{
		{"a service in front of pods that no selector selects", func(g *policyMaker) {
			g.groups["shop/other"].locate("10.0.0.6")
		}, seen{SrcID: 1, DstID: 5, Transport: "tcp", Port: 80}, []string{"10.0.0.5/32 8080", "10.0.0.6/32 8080"}, "", nil},
		{"a service in front of pods on their node's network", func(g *policyMaker) {
			g.addNode("10.0.0.5")
		}, seen{SrcID: 1, DstID: 5, Transport: "tcp", Port: 80}, []string{"10.0.0.5/32 8080"}, "shop/other: its pods use the network of their node, where policies do not apply", nil},
		{"a service in front of a host", func(g *policyMaker) {
			g.peers[[2]int64{0, 7}] = &peer{ID: 7, IP: "10.5.5.5", Kind: "host", Namespace: "shop", Services: []string{"db"}}
			g.targets["shop/db/tcp/5432"] = []int64{5433}
		}, seen{SrcID: 1, DstID: 6, Transport: "tcp", Port: 5432}, []string{"10.5.5.5/32 5433"}, "", nil},
		{"a service in front of unknown addresses", nil, seen{SrcID: 1, DstID: 6, Transport: "tcp", Port: 5432}, []string{"10.96.0.9/32 5432"}, "", []string{"shop/db"}},
		{"a pod on its node's network", func(g *policyMaker) { g.addNode("10.0.0.3") },
			seen{SrcID: 1, DstID: 3, Transport: "tcp", Port: 8080}, []string{"10.0.0.3/32 8080"}, "shop/blue: its pods use the network of their node, where policies do not apply", nil},
		{"a pod and itself", nil, seen{SrcID: 1, DstID: 1, Transport: "tcp", Port: 8080}, nil, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := cluster(t)
			g.peers[[2]int64{0, 5}] = &peer{ID: 5, IP: "10.96.0.8", Kind: "service", Namespace: "shop", Service: "web-internal"}
			g.peers[[2]int64{0, 6}] = &peer{ID: 6, IP: "10.96.0.9", Kind: "service", Namespace: "shop", Service: "db"}
			g.targets["shop/web-internal/tcp/80"] = []int64{8080}
			if tc.setup != nil {
				tc.setup(g)
			}
			g.learn(&tc.seen)
			var egress []string
			for _, r := range g.groups["shop/client"].egress {
				egress = append(egress, fmt.Sprintf("%s %d", r.prefix, r.port))
			}
			if !slices.Equal(egress, tc.egress) {
				t.Errorf("egress %q, want %q", egress, tc.egress)
			}
			if got := g.unselected(); tc.unselected != "" && !slices.Equal(got, []string{tc.unselected}) {
				t.Errorf("unselected %q, want %q", got, tc.unselected)
			}
			if got := slices.Sorted(maps.Keys(g.unlocated)); !slices.Equal(got, tc.unlocated) {
				t.Errorf("services with unknown addresses %q, want %q", got, tc.unlocated)
			}
			if a, refused := g.judge(inForce(g.policies()), &tc.seen); refused {
				t.Errorf("what was learned is refused: %+v", a)
			}
		})
	}
}

// The pods of a cluster's DNS may listen on another port than their service.
func TestPoliciesKnowDNSAtAnyPort(t *testing.T) {
	g := cluster(t)
	g.learn(&seen{SrcID: 1, DstID: 3, Transport: "udp", Port: 5353, DNS: true})
	if got := g.withoutDNS(g.policies()); len(got) > 0 {
		t.Errorf("without DNS: %q", got)
	}
}

func TestPoliciesAllowThePortBehindAService(t *testing.T) {
	g := cluster(t)
	through := seen{SrcID: 1, DstID: 2, Transport: "tcp", Port: 80, Connections: 2, Learned: 2}
	g.learn(&through)
	list := g.policies()
	names := []string{}
	for _, p := range list {
		names = append(names, p.Metadata.Name)
	}
	if !slices.Equal(names, []string{"observed-blue", "observed-client", "observed-green"}) {
		t.Fatalf("policies %v, want those of the client and of both workloads behind the service", names)
	}
	for _, p := range list {
		for _, r := range slices.Concat(p.Spec.Ingress, p.Spec.Egress) {
			if len(r.Ports) != 1 || r.Ports[0].Protocol != "TCP" || r.Ports[0].Port.Number != 8080 {
				t.Errorf("%s allows %v, want the pods' port", p.Metadata.Name, r.Ports)
			}
		}
	}
	force := inForce(list)
	if a, refused := g.judge(force, &through); refused {
		t.Errorf("what was learned is refused: %+v", a)
	}
	atPod := seen{SrcID: 1, DstID: 3, Transport: "tcp", Port: 8080, Connections: 1}
	if a, refused := g.judge(force, &atPod); refused {
		t.Errorf("the same connection seen at the pod is refused: %+v", a)
	}
	atPod.Port = 9090
	if _, refused := g.judge(force, &atPod); !refused {
		t.Error("another port of the pod is allowed")
	}
	if len(g.unresolved) > 0 {
		t.Errorf("unresolved: %v", g.unresolved)
	}
	g.targets = nil
	g.hops(&through)
	if !g.unresolved["shop/web"] {
		t.Error("the unknown port behind the service is not reported")
	}
	if got := g.withoutDNS(list); !slices.Equal(got, []string{"shop/blue", "shop/client", "shop/green"}) {
		t.Errorf("without DNS: %v", got)
	}
}

// A port's name is another number in each workload behind a service.
func TestPoliciesAllowTheNamedPortOfEachWorkload(t *testing.T) {
	g := cluster(t)
	g.targets["shop/web/tcp/80"] = []int64{8080, 9090}
	g.groups["shop/blue"].ports = []int64{8080, 9000}
	g.groups["shop/green"].ports = []int64{9090}
	g.learn(&seen{SrcID: 1, DstID: 2, Transport: "tcp", Port: 80, Connections: 1, Learned: 1})
	for name, want := range map[string]int64{"shop/blue": 8080, "shop/green": 9090} {
		if in := g.groups[name].ingress; len(in) != 1 || in[0].port != want {
			t.Errorf("%s allows %+v, want only port %d", name, in, want)
		}
	}
	if out := g.groups["shop/client"].egress; len(out) != 2 {
		t.Errorf("egress of the client: %+v", out)
	}
}

func TestSelectorsSelectNoOtherPod(t *testing.T) {
	g := cluster(t)
	for _, q := range g.groups {
		for _, other := range g.groups {
			for _, set := range other.sets {
				if q.selector != nil && selects(q.selector, set) != (q == other) {
					t.Errorf("the selector %v of %s selects a pod of %s with %v", q.selector, q.path(), other.path(), set)
				}
			}
		}
	}
	if q := g.groups["shop/other"]; q.selector != nil {
		t.Errorf("%s is selected by %v, which the pods of the service have too", q.path(), q.selector)
	}
	// During a rollout, one pod of another workload has a label that the others lack.
	g.add("shop", "client", []label{{"app", "client"}, {"canary", "yes"}}, nil)
	g.add("shop", "batch", []label{{"app", "batch"}, {"canary", "yes"}}, nil)
	g.add("shop", "batch", []label{{"app", "client"}}, nil)
	if sel := g.selectorOf(g.groups["shop/client"]); sel != nil {
		t.Errorf("%v selects a pod of shop/batch too", sel)
	}
}

func TestPolicyNamesAreValidAndDiffer(t *testing.T) {
	long := strings.Repeat("a", 80)
	names, seen := policyNames{}, map[string]bool{}
	for _, name := range []string{"web", "web.v1", "web-v1", "WEB-V1", long, long + "b", long[:54], "-", ""} {
		got := names.reserve(&podGroup{namespace: "shop", name: name})
		if seen[got] || len(got) > 63 || strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasSuffix(got, "-") {
			t.Errorf("%q is named %q", name, got)
		}
		seen[got] = true
	}
	if got := names.reserve(&podGroup{namespace: "bank", name: "web"}); got != "observed-web" {
		t.Errorf("in another namespace the name is %q", got)
	}
}

// TestConnectionsWithoutRulesAreCounted has connections to services whose pods no dump has.
func TestConnectionsWithoutRulesAreCounted(t *testing.T) {
	for _, tc := range []struct {
		name     string
		src, dst int64
		only     []string
		podless  string
		unruled  int64
	}{
		{"a pod behind a service", 1, 2, nil, "", 0},
		{"a service with unknown addresses", 1, 6, nil, "shop/db", 0},
		{"a host behind a service", 1, 7, nil, "shop/ldap", 0},
		{"a host of another namespace", 1, 7, []string{"other"}, "", 0},
		{"a client that is no pod", 4, 6, nil, "shop/db", 3},
		{"two hosts", 4, 8, nil, "", 3},
		{"a pod to itself", 1, 1, nil, "", 0},
	} {
		g := cluster(t)
		g.only = tc.only
		g.peers[[2]int64{0, 6}] = &peer{ID: 6, IP: "10.96.0.9", Kind: "service", Namespace: "shop", Service: "db"}
		g.peers[[2]int64{0, 7}] = &peer{ID: 7, IP: "10.5.5.5", Kind: "host", Namespace: "shop", Services: []string{"ldap"}}
		g.peers[[2]int64{0, 8}] = &peer{ID: 8, IP: "10.5.5.6", Kind: "host"}
		g.learn(&seen{SrcID: tc.src, DstID: tc.dst, Transport: "tcp", Port: 80, Learned: 3})
		if got := strings.Join(slices.Sorted(maps.Keys(g.podless)), " "); got != tc.podless || g.unruled != tc.unruled {
			t.Errorf("%s: services without pods %q, %d connections without rules; want %q, %d", tc.name, got, g.unruled, tc.podless, tc.unruled)
		}
	}
}
