package questions

import (
	"fmt"
	"strings"
)

func services() []script {
	return []script{{7, aboutService}, {8, aboutFailures}, {9, errorPatterns}, {10, againstYesterday}, {11, dependencies}}
}

// aboutService asks about the time from the question's start to the end of the recording.
func aboutService(a *run) {
	v := a.ask("describe_service", map[string]any{"service": a.arg("namespace") + "/" + a.arg("service"), "from": a.arg("from")})
	peer := func(n node) string { return a.end(n.str("peer")) }
	a.number("inbound", v.num("in.calls"))
	a.groups("inbound_from", v.each("callers"), peer, "calls")
	a.groups("outbound_to", v.each("asks"), peer, "calls")
	a.number("p50", v.num("in.good_p50_ms"))
	a.number("p99", v.num("in.good_p99_ms"))
	a.number("error_rate", 100*v.num("in.error_rate"))
	unavailable := 0.0
	for _, e := range v.each("endpoints") {
		for _, s := range e.strs("statuses") {
			if code, times, ok := strings.Cut(s, " × "); ok && strings.HasPrefix(code, "503") {
				unavailable += node{v: times}.num("")
			}
		}
	}
	a.number("503s", unavailable)
	triples := where(v.each("repeats"), func(n node) bool { return n.num("in_a_row") == 3 })
	a.number("triples", sum(triples, "times"))
	churn := v.at("churn.0")
	a.number("connections", churn.num("most_in_a_minute"))
	a.number("no_correlation", 100*v.num("without_correlation.share"))
	a.number("no_correlation_count", v.num("without_correlation.calls"))
	a.number("sync_ms", v.num("sync_blocking.0.median_ms"))
}

// aboutFailures asks for the failures of the path, then for the external service that causes
// them.
func aboutFailures(a *run) {
	kfl := fmt.Sprintf("http && status_code == %s && path == %q && dst.service == %q", a.arg("status"), a.arg("path"), a.arg("service"))
	f := a.ask("find_failures", a.window(map[string]any{"kfl": kfl}))
	group := f.at("groups.0")
	a.number("count", group.num("calls"))
	a.number("pattern", group.num("p50_ms"))
	a.times("when", group.str("first"), group.str("last"))
	a.behind("calls", f, kfl)
	origin := f.at("causes.0")
	below := a.ask("find_failures", map[string]any{"from": group.str("first"), "to": later(group.str("last"), 1), "client": origin.str("src"), "service": origin.str("dst"), "list_calls": true, "limit": 200, "max_bytes": 60000})
	for _, g := range below.each("groups") {
		switch outcome(g) {
		case "reset":
			a.number("resets", g.num("calls"))
			broken := a.ask("list_api_calls", map[string]any{"from": g.str("first"), "to": g.str("last"), "kfl": fmt.Sprintf("http && failed && host == %q", a.s.who(g.str("dst"))), "limit": g.num("calls")})
			a.shown("reset_calls", broken.at("calls"))
		case "timeout":
			a.number("timeouts", g.num("calls"))
		}
	}
}

func errorPatterns(a *run) {
	f := a.ask("find_failures", a.window(map[string]any{"service": a.arg("namespace") + "/*"}))
	a.number("errors", f.num("failed_calls"))
	a.groups("patterns", f.each("groups"), func(n node) string { return a.served(n) + " " + outcome(n) }, "calls")
}

func againstYesterday(a *run) {
	c := a.ask("compare_periods", a.window(map[string]any{"service": a.arg("service"), "kfl": `!(nats && method == "PING")`})) // the broker's, which no service logs
	a.number("today", c.num("period.calls"))
	a.number("yesterday", c.num("baseline.calls"))
	a.number("errors_today", c.num("period.failed"))
	a.number("errors_yesterday", c.num("baseline.failed"))
	a.ask("find_failures", a.window(map[string]any{"service": a.arg("service")}))
}

func dependencies(a *run) {
	d := a.ask("get_dependencies", map[string]any{"service": a.arg("service"), "depth": 1})
	calls := where(d.each("downstream"), func(n node) bool { return n.str("protocols.0") != "dns" })
	a.groups("dependencies", calls, a.to, "calls")
	a.groups("failures", where(calls, func(n node) bool { return n.num("failed") > 0 }), a.to, "failed")
}
