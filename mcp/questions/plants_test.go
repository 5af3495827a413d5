package questions

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// plants are questions about the other planted traffic. Their scripts know no names in advance,
// like a person who does not know what was planted.
func plants() map[string]func(*run) {
	return map[string]func(*run){
		"unbalanced": unbalanced, "storm": storm, "dns_failures": unresolved, "dns_tunnel": tunnel, "beacon": beacon,
		"expired_certificate": expired, "certificate_ends_soon": endsSoon, "weak_tls": weakTLS, "plaintext_credentials": inClear,
		"tokens_downstream": passedOn, "keep_alive": usedAgain, "pool": waiting, "hidden_prompt": orders, "churn": churn,
	}
}

// found returns the findings of some analyzers.
func (a *run) found(names ...string) []node {
	a.t.Helper()
	return a.ask("list_findings", map[string]any{"names": names, "limit": 200}).each("findings")
}

// details returns the details of the first call of a row.
func (a *run) details(n node) node {
	a.t.Helper()
	return a.ask("get_api_call", map[string]any{"call_id": n.str("call_ids.0")})
}

// count is a number of a pattern by its name.
func count(p node, name string) float64 {
	for _, n := range p.each("numbers") {
		if n.str("name") == name {
			return n.num("value")
		}
	}
	return -1
}

func unbalanced(a *run) {
	l := a.ask("get_latency", map[string]any{"parts": []string{"replicas"}})
	for _, r := range where(l.each("replicas"), func(n node) bool { return n.str("balanced") == "no" }) {
		a.groups("replicas", r.each("pods"), func(n node) string { return n.str("pod") }, "calls")
	}
}

func storm(a *run) {
	for _, p := range a.ask("find_patterns", map[string]any{"kinds": []string{"retry_storms"}}).each("findings") {
		a.number("calls", count(p, "calls"))
		if m := lasted.FindStringSubmatch(p.str("words")); m != nil {
			a.times("when", m[1], m[2])
		}
	}
}

var lasted = regexp.MustCompile(`times from (\S+) to ([^ ,]+)`)

func unresolved(a *run) {
	list := a.found("dns-failure")
	for id, code := range map[string]string{"nxdomain": "NXDOMAIN", "servfail": "SERVFAIL"} {
		a.number(id, sum(where(list, func(n node) bool { return strings.Contains(n.str("what"), code) }), "count"))
	}
}

func tunnel(a *run) {
	list := a.found("dns-tunnel")
	a.number("questions", sum(list, "count"))
	if len(list) > 0 {
		a.details(list[0])
	}
}

// beacon selects the only traffic from its pod to that destination, at regular intervals of less
// than a day.
func beacon(a *run) {
	known := a.ask("list_external", nil)
	for _, b := range where(a.found("beacon"), func(n node) bool {
		return strings.Contains(n.str("what"), "pauses is 0s") && len(n.each("call_ids")) > 0
	}) {
		a.number("calls", b.num("count"))
		for _, d := range known.each("destinations") {
			if strings.Contains(b.str("what"), d.str("name")) && d.num("calls") != b.num("count") {
				a.t.Errorf("list_external has %v calls to %s, the finding %v", d.num("calls"), d.str("name"), b.num("count"))
			}
		}
	}
}

var validTo = regexp.MustCompile(`had expired \(valid to ([^)]*)\)|about to expire \(valid to ([^)]*)\)`)

// certificates returns the findings about the certificate that expired, or is about to expire.
func (a *run) certificates(ended bool) (rows []node, end string) {
	list := a.found("certificate")
	who := func(n node) bool { return strings.Contains(n.str("what"), "had expired") }
	for _, x := range list {
		same := where(list, func(n node) bool { return n.str("dst") == x.str("dst") })
		if m := validTo.FindStringSubmatch(x.str("what")); m != nil && slices.ContainsFunc(same, who) == ended {
			return same, m[1] + m[2]
		}
	}
	return nil, ""
}

func expired(a *run) {
	rows, end := a.certificates(true)
	a.number("handshakes", sum(rows, "count"))
	a.times("ended", end, "")
}

func endsSoon(a *run) {
	_, end := a.certificates(false)
	a.times("ends", end, "")
}

func weakTLS(a *run) { a.number("handshakes", sum(a.found("weak-tls"), "count")) }

func inClear(a *run) {
	list := a.found("plaintext-credentials")
	most := 0.0 // others try once with something else, and are refused
	for _, x := range where(list, func(n node) bool { return strings.Contains(n.str("what"), "(basic)") }) {
		most = max(most, x.num("count"))
	}
	a.number("basic", most)
	for _, x := range where(list, func(n node) bool { return strings.Contains(n.str("what"), "postgresql") }) {
		a.details(x)
	}
}

func passedOn(a *run) {
	outside := map[string]bool{}
	m := a.ask("get_service_map", map[string]any{"kfl": `"authorization" in request.headers && !src.external`, "limit": 200})
	for _, n := range m.each("nodes") {
		outside[n.str("name")] = n.str("place") == "outside"
	}
	a.groups("pairs", where(m.each("edges"), func(n node) bool { return !outside[n.str("dst")] }), a.pair, "calls")
}

// usedAgain asks about the workload that receives all external requests.
func usedAgain(a *run) {
	way := a.ask("get_overview", map[string]any{"limit": 5}).each("ingress")
	if len(way) == 0 {
		return
	}
	door := way[0].str("service")
	for _, p := range a.ask("find_patterns", map[string]any{"kinds": []string{"keep_alive"}, "kfl": "src.service == \"" + a.s.who(door) + "\""}).each("findings") {
		for _, what := range []string{"calls", "connections"} {
			a.set("connections", a.to(p)+" "+what, count(p, what))
		}
	}
}

var waited = regexp.MustCompile(`connection, from (\S+) to (\S+)\.$`)

// waiting lists the requests from just before the first call that waited.
func waiting(a *run) {
	for _, p := range a.ask("find_patterns", map[string]any{"kinds": []string{"pool"}}).each("findings") {
		a.number("at_once", count(p, "requests_at_once"))
		a.number("connections", count(p, "ceiling"))
		m := waited.FindStringSubmatch(p.str("words"))
		if m == nil {
			continue
		}
		calls := a.ask("list_api_calls", map[string]any{"kfl": "http && dst.service == \"" + a.from(p) + "\"", "from": later(m[1], -1), "to": m[2], "limit": 100}).each("calls")
		for _, c := range calls {
			took := c.num("elapsed_us") / 1000
			if f := a.claim("fastest").number; f == nil || took < *f {
				a.number("fastest", took)
			}
			if f := a.claim("slowest").number; f == nil || took > *f {
				a.number("slowest", took)
			}
		}
	}
}

func orders(a *run) {
	a.shown("calls", a.ask("search_content", map[string]any{"pattern": `(?i)\bignore (all |any )?(previous|prior|earlier) instructions[^"<\n]*`, "limit": 50}))
}

func churn(a *run) {
	for _, p := range a.ask("find_patterns", map[string]any{"kinds": []string{"churn"}}).each("findings") {
		a.number("connections", count(p, "connections_opened"))
		a.details(p)
		for _, x := range where(a.found("unusual"), func(n node) bool { return a.pair(n) == a.pair(p) }) {
			if x.num("count") != count(p, "connections_opened") {
				a.t.Errorf("one answer has %v connections, another %v", x.num("count"), count(p, "connections_opened"))
			}
		}
	}
}

// TestPlants asks for the traffic that was planted in addition to the answers to the questions.
func TestPlants(t *testing.T) {
	for _, name := range scenarios {
		s := open(t, name)
		scripts := plants()
		for i, p := range s.truth.Plants {
			t.Run(name+"/"+p.ID, func(t *testing.T) {
				script := scripts[p.ID]
				if script == nil {
					t.Fatalf("there is no script for %s", p.ID)
				}
				a := s.start(t, question{Number: 100 + i, Words: p.ID, Facts: p.Facts})
				script(a)
				r := a.checkFacts()
				t.Logf("%d calls, %d bytes, %d/%d facts", r.calls, r.bytes, r.ok, r.facts)
			})
			delete(scripts, p.ID)
		}
		for id := range scripts {
			t.Errorf("%s: there is a script for %s, which was not planted", name, id)
		}
	}
}

// TestTotals compares the totals of the overview and the service map with the planted traffic.
func TestTotals(t *testing.T) {
	for _, name := range scenarios {
		s := open(t, name)
		c := s.connect(t)
		totals := maps.Clone(s.truth.Totals)
		for _, p := range callTool(t, c, "get_overview", map[string]any{"limit": 50}).each("protocols") {
			want, known := totals[p.str("protocol")]
			if known && p.num("calls") != want {
				t.Errorf("%s: %v calls of %s, want %v", name, p.num("calls"), p.str("protocol"), want)
			}
			delete(totals, p.str("protocol"))
		}
		for protocol, want := range totals {
			t.Errorf("%s: the overview has no %s, want %v calls", name, protocol, want)
		}
		want, got := map[string]float64{}, map[string]float64{}
		for _, n := range s.truth.Counts {
			// Closed protocols have no calls. DNS is excluded because the first answer comes from a pod
			// without a name. Of NATS, the services log what they publish.
			if !n.Sealed && n.Protocol != "tls" && n.Protocol != "raw" && n.Protocol != "dns" {
				want[s.roleName(n.Client)+" → "+s.roleName(n.Server)] += n.Count
			}
		}
		a := s.start(t, question{})
		m := callTool(t, c, "get_service_map", map[string]any{"kfl": `protocol not in ["tls", "tcp", "udp", "icmp", "dns"] && !(nats && method != "PUB")`, "limit": 1000, "max_bytes": 1 << 20})
		for _, e := range m.each("edges") {
			got[a.pair(e)] += e.num("calls")
		}
		for pair, n := range want {
			if got[pair] != n {
				t.Errorf("%s: the map has %v calls %s, want %v", name, got[pair], pair, n)
			}
			delete(got, pair)
		}
		for pair, n := range got {
			t.Errorf("%s: the map has %v calls %s, want none", name, n, pair)
		}
	}
}
