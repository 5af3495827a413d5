package questions

import (
	"fmt"
	"strings"
)

func incidents() []script {
	return []script{{1, checkoutFailed}, {2, gatewayTimeouts}, {3, crashedPod}, {4, whyUserFailed}, {5, whatFailed}, {6, exactRequest}}
}

// checkoutFailed lists the calls, then asks why some of them failed.
func checkoutFailed(a *run) {
	kfl := "http && " + anyOf(a.list("services"))
	calls := a.ask("list_api_calls", a.window(map[string]any{"kfl": kfl, "limit": 1000, "max_bytes": 40000}))
	why := a.ask("find_failures", a.window(map[string]any{"kfl": kfl}))
	a.number("calls", float64(len(calls.each("calls"))))
	a.groups("by_outcome", calls.each("calls"), func(n node) string {
		return a.pair(n) + " " + endpoint(n.str("summary")) + " " + outcome(n)
	}, "")
	refused := where(why.each("groups"), func(n node) bool { return strings.HasPrefix(n.str("status"), "401") })
	a.number("refused", sum(refused, "calls"))
	if len(refused) == 1 {
		a.times("when", refused[0].str("first"), refused[0].str("last"))
	}
	a.shown("failing", where(calls.each("calls"), func(n node) bool { return n.num("status_code") == 401 })...)
}

// gatewayTimeouts finds the timeouts, then follows some to the slow service.
func gatewayTimeouts(a *run) {
	failed := a.ask("find_failures", map[string]any{"kfl": "http && status_code == " + a.arg("status") + " && path.startsWith(\"" + a.arg("path") + "\")", "list_calls": true})
	outer := where(failed.each("groups"), func(n node) bool { return a.from(n) == "customer" })
	a.number("504s", sum(outer, "calls"))
	a.shown("failing", failed.at("listed"))
	if len(outer) == 0 {
		return
	}
	a.number("gave_up", outer[0].num("p50_ms"))
	trace := a.ask("trace_request", map[string]any{"call_id": outer[0].str("call_ids.0")})
	origin := trace.at("origins.0")
	a.number("query", origin.num("elapsed_ms"))
	queries := a.ask("get_latency", map[string]any{"service": origin.str("dst"), "client": origin.str("src"), "min_ms": origin.num("elapsed_ms") / 2, "parts": []string{"slow", "queries"}})
	a.shown("queries", queries.at("slow.slowest"))
}

func crashedPod(a *run) {
	all := a.ask("get_timeline", map[string]any{"workload": a.arg("namespace") + "/" + a.arg("pod"), "before": a.arg("minutes") + "m", "after": "0s"})
	a.times("crash", all.str("crash.time"), "")
	a.number("activity_count", all.num("calls"))
	lookups := a.ask("list_api_calls", map[string]any{"from": all.str("from"), "to": all.str("to"), "kfl": fmt.Sprintf("dns && src.pod == %q", a.arg("pod"))})
	a.groups("activity", lookups.each("calls"), func(n node) string {
		question, _, _ := strings.Cut(n.str("summary"), " → ")
		return a.pair(n) + " " + question + " " + outcome(n)
	}, "")
	a.groups("activity", where(all.each("activity"), func(n node) bool { return n.str("protocol") != "dns" }), func(n node) string {
		us, them := a.s.who(a.arg("pod")), a.end(n.str("peer"))
		if n.str("direction") == "in" {
			us, them = them, us
		}
		return us + " → " + them + " " + endpoint(n.str("endpoint")) + " " + outcome(n)
	}, "calls")
	outside := a.ask("audit_access", map[string]any{"service": a.arg("pod"), "direction": "from", "external": true, "from": all.str("from"), "to": all.str("to")})
	a.shown("external", outside.at("calls"))
	a.shown("unanswered", where(all.each("activity"), func(n node) bool { return n.num("failed") > 0 })...)
}

// whyUserFailed finds the user's failed call, then follows its chain.
func whyUserFailed(a *run) {
	found := a.ask("trace_request", map[string]any{"text": a.arg("user"), "from": a.arg("at"), "to": later(a.arg("at"), 60)})
	a.shown("failing", found)
	a.shown("chain", found)
}

func whatFailed(a *run) {
	f := a.ask("find_failures", a.window(nil))
	a.number("failed", f.num("failed_calls"))
	a.groups("by_outcome", f.each("groups"), a.flow, "calls")
}

func exactRequest(a *run) {
	f := a.ask("find_failures", map[string]any{"service": a.arg("service"), "kfl": "status_code == " + a.arg("status")})
	a.number("500s", f.num("failed_calls"))
	call := a.ask("get_api_call", map[string]any{"call_id": f.str("groups.0.call_ids.0")})
	a.times("when", call.str("call.ts"), call.str("call.ts"))
	a.shown("call", call.at("call"))
}
