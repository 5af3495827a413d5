package questions

import (
	"fmt"
	"strings"
)

func compliance() []script {
	return []script{{34, personalData}, {35, evidence}, {36, breachWindow}, {37, auditTrail}, {38, vendorReview}}
}

func personalData(a *run) {
	all := a.ask("audit_access", a.window(map[string]any{"pii": true, "kfl": "http", "limit": 20}))
	a.number("count", all.num("total_calls"))
	a.groups("pairs", all.each("pairs"), a.pair, "calls")
	f := a.ask("list_findings", a.window(map[string]any{"names": []string{"sensitive-data"}, "kfl": "http", "limit": 1000, "max_bytes": 75000}))
	for _, x := range where(f.each("findings"), func(n node) bool { return strings.Contains(n.str("what"), "(personal)") }) {
		a.behind("calls", f, x.str("kfl"))
	}
	a.claim("calls").exact = false // the truth has only the first of them
	if n := len(a.claim("calls").calls); a.s.plain != nil && n != int(all.num("total_calls")) {
		a.t.Errorf("%d calls behind findings of personal data, %v in the audit", n, all.num("total_calls"))
	}
}

// evidence claims the calls, their outcomes, and their connections.
func evidence(a *run) {
	all := a.ask("audit_access", a.window(map[string]any{"service": a.arg("service"), "limit": 10}))
	a.number("with_handshakes", all.num("total_calls"))
	kfl := fmt.Sprintf("host == %q && !dns", a.arg("service"))
	outside := a.ask("list_external", a.window(map[string]any{"kfl": kfl}))
	d := outside.at("destinations.0")
	a.number("calls", d.num("calls"))
	a.number("connections", d.num("connections"))
	a.behind("rows", outside, kfl)
	failed := a.ask("find_failures", a.window(map[string]any{"service": a.arg("service"), "no_causes": true}))
	a.groups("outcomes", failed.each("groups"), a.flow, "calls")
	if d.str("clients.0") == "" {
		return
	}
	pair := a.ask("get_pair", a.window(map[string]any{"src": d.str("clients.0"), "dst": a.arg("service"), "limit": 5}))
	for _, k := range where(pair.each("kinds"), func(n node) bool { return n.str("protocol") == "http1" && n.str("status") < "400" }) {
		a.set("outcomes", a.end(d.str("clients.0"))+" → "+d.str("name")+" "+endpoint(k.str("endpoint"))+" "+outcome(k), k.num("calls"))
	}
}

func breachWindow(a *run) {
	all := a.ask("audit_access", a.window(map[string]any{"service": a.arg("service")}))
	a.number("all", all.num("total_calls"))
	a.groups("who", all.each("clients"), func(n node) string { return a.end(n.str("client")) }, "calls")
	a.shown("rows", all.at("calls"))
	a.shown("unusual_calls", where(all.each("calls"), func(n node) bool {
		for _, c := range all.each("clients") {
			if c.str("client") == n.str("src") {
				return c.is("only_in_window")
			}
		}
		return false
	})...)
}

func auditTrail(a *run) {
	list := a.trail()
	a.number("calls", float64(len(list)))
	a.groups("pairs", list, a.pair, "")
	a.shown("rows", list...)
}

func vendorReview(a *run) {
	m := a.ask("get_service_map", a.window(map[string]any{"kfl": "dst.external"}))
	a.number("readable", sum(m.each("edges"), "calls"))
	readable := where(m.each("edges"), func(n node) bool { return n.num("calls") > 0 })
	a.groups("by_domain", readable, a.to, "calls")
	a.groups("by_pair", readable, a.pair, "calls")
	for _, e := range m.each("edges") {
		for _, p := range e.each("protocols") {
			if p.str("protocol") == "tls" {
				a.set("handshakes", a.to(e), p.num("calls"))
			}
		}
	}
	a.ask("list_external", a.window(nil))
}
