package questions

import (
	"fmt"
	"strings"
)

func architecture() []script {
	return []script{{18, bothWays}, {19, orderFlow}, {20, withoutCache}, {21, externalAPIs}, {22, pastLayer}, {23, overview},
		{24, mostUsed}, {25, whatItDoes}, {26, protocols}, {27, teamServices}}
}

func bothWays(a *run) {
	m := a.ask("get_service_map", map[string]any{"service": a.arg("service"), "kfl": "!dns"})
	in := where(m.each("edges"), func(n node) bool { return a.to(n) == a.arg("service") })
	a.groups("inbound", in, a.from, "calls")
	a.groups("outbound", where(m.each("edges"), func(n node) bool { return a.from(n) == a.arg("service") }), a.to, "calls")
	for _, e := range in {
		a.groups("protocols", e.each("protocols"), func(n node) string { return n.str("protocol") }, "calls")
	}
}

// steps returns the calls of all chains of a trace, without DNS lookups, handshakes, logins, and what
// services do not log of a broker: pings and deliveries.
func steps(trace node) (out []node) {
	for _, c := range trace.each("chains") {
		for _, s := range c.each("steps") {
			switch s.str("protocol") {
			case "dns", "tls":
				continue
			case "nats":
				if !strings.HasPrefix(s.str("summary"), "PUB ") {
					continue
				}
			case "postgresql":
				if len(s.str("summary")) > 7 && s.str("summary")[:7] == "startup" {
					continue
				}
			}
			out = append(out, s)
		}
	}
	return out
}

// trail returns the calls for an order: the chain of its request, and later calls in the same second
// that name it.
func (a *run) trail() (list []node) {
	known := map[string]bool{}
	add := func(some []node) {
		for _, s := range some {
			if id := s.str("call_id"); !known[id] {
				known[id] = true
				list = append(list, s)
			}
		}
	}
	request := a.ask("trace_request", map[string]any{"request_id": a.arg("request_id"), "limit": 100, "max_bytes": 30000})
	add(steps(request))
	first, last := "", ""
	for _, s := range list {
		if first == "" || s.str("time") < first {
			first = s.str("time")
		}
		last = max(last, s.str("time"))
	}
	add(steps(a.ask("trace_request", map[string]any{"text": a.arg("order"), "from": first, "to": later(last, 1), "limit": 100, "max_bytes": 30000})))
	return list
}

func orderFlow(a *run) {
	list := a.trail()
	a.groups("steps", list, a.pair, "")
	a.shown("calls", list...)
}

func withoutCache(a *run) {
	d := a.ask("get_dependencies", map[string]any{"service": a.arg("service"), "blast_radius": true})
	a.groups("direct", where(d.each("upstream"), func(n node) bool { return n.num("depth") == 1 }), a.from, "calls")
}

func externalAPIs(a *run) {
	e := a.ask("list_external", nil)
	name := func(n node) string { return n.str("name") }
	a.groups("calls", where(e.each("destinations"), func(n node) bool { return n.num("calls") > 0 }), name, "calls")
	a.groups("sealed", where(e.each("destinations"), func(n node) bool { return n.num("calls") == 0 }), name, "connections")
}

func pastLayer(a *run) {
	d := a.ask("get_dependencies", map[string]any{"service": a.arg("database"), "via": a.arg("layer"), "depth": 1})
	for _, b := range d.each("bypass") {
		all := a.ask("audit_access", map[string]any{"service": a.arg("database"), "client": b.str("client"), "kfl": `method != "STARTUP"`})
		a.number("statements", all.num("total_calls"))
		a.groups("who", all.each("clients"), func(n node) string { return a.end(n.str("client")) }, "calls")
		a.shown("rows", all.at("calls"))
	}
}

func overview(a *run) {
	a.ask("get_overview", nil)
	pods := a.ask("list_workloads", map[string]any{"limit": 200, "max_bytes": 20000})
	seen := map[string]bool{}
	for _, w := range pods.each("workloads") {
		if w.str("kind") == "pod" && w.str("namespace") != "" { // a pod with a known name
			seen[w.str("namespace")+"/"+w.str("name")] = true
		}
	}
	a.number("workloads", float64(len(seen)))
	m := a.ask("get_service_map", map[string]any{"kfl": "http1 || http2", "limit": 10})
	a.groups("pairs", m.each("edges"), a.pair, "calls")
}

func mostUsed(a *run) {
	s := a.ask("get_api_stats", map[string]any{"kfl": "http", "limit": 10})
	a.groups("top", s.each("endpoints"), a.served, "calls")
}

func whatItDoes(a *run) {
	a.ask("describe_service", map[string]any{"service": a.arg("service")})
	s := a.ask("get_api_stats", map[string]any{"client": a.arg("service"), "kfl": "http"})
	a.groups("does", s.each("endpoints"), a.served, "calls")
}

func protocols(a *run) {
	o := a.ask("get_overview", nil)
	a.groups("protocols", where(o.each("protocols"), func(n node) bool { return n.str("protocol") != "tcp" && n.str("protocol") != "nats" }), func(n node) string { return n.str("protocol") }, "calls")
}

func teamServices(a *run) {
	s := a.ask("describe_service", map[string]any{"labels": fmt.Sprintf("%s=%s", a.arg("label"), a.arg("value"))})
	a.groups("talk", where(s.each("talks"), func(n node) bool { return n.is("within") }), a.pair, "calls")
}
