package questions

import "fmt"

func performance() []script {
	return []script{{28, whereTimeGoes}, {29, slowCalls}, {30, whatChanged}, {31, sizeAndTime}, {32, slowQueries}, {33, latencyPatterns}}
}

func whereTimeGoes(a *run) {
	t := a.ask("trace_request", map[string]any{"kfl": fmt.Sprintf("http && path == %q && status_code < 300", a.arg("path")), "max_bytes": 40000})
	calls, time := map[string]float64{}, map[string]float64{}
	for _, h := range t.each("hops") {
		switch h.str("protocol") {
		case "http1", "http2", "grpc":
			calls[a.pair(h)] += h.num("calls")
			time[a.pair(h)] += h.num("calls") * h.num("p50_ms")
		}
	}
	a.claim("hops").some = true // the chain continues after the planted hops
	for p, n := range calls {
		a.set("hops", p, time[p]/n)
	}
	a.number("slowest_ms", t.num("hops.0.p50_ms"))
}

func slowCalls(a *run) {
	l := a.ask("get_latency", a.window(map[string]any{"min_ms": a.q.Arguments["threshold_ms"], "parts": []string{"slow"}}))
	a.number("count", l.num("slow.calls"))
	a.groups("by_endpoint", l.each("slow.endpoints"), a.served, "slow")
}

// whatChanged compares the calls to and from the service, and looks for events between the two
// periods.
func whatChanged(a *run) {
	times := map[string]any{"from": a.arg("from"), "to": a.arg("to"), "baseline_from": a.arg("against_from"), "baseline_to": a.arg("against_to")}
	with := func(key string) map[string]any {
		out := map[string]any{key: a.arg("service")}
		for k, v := range times {
			out[k] = v
		}
		return out
	}
	in := a.ask("compare_periods", with("service"))
	out := a.ask("compare_periods", with("client"))
	a.number("today_ms", in.num("endpoints.0.p50_ms.1"))
	a.number("yesterday_ms", in.num("endpoints.0.p50_ms.0"))
	a.number("today", in.num("period.calls"))
	a.number("yesterday", in.num("baseline.calls"))
	queries := where(out.each("endpoints"), func(n node) bool { return n.str("endpoint") == "SELECT" })
	a.number("queries_today", sum(queries, "calls.1")/in.num("period.calls"))
	a.number("queries_yesterday", sum(queries, "calls.0")/in.num("baseline.calls"))
	between := a.ask("get_timeline", map[string]any{"workload": a.arg("service"), "from": a.arg("against_to"), "to": a.arg("from"), "limit": 5})
	k8s := where(between.each("events"), func(n node) bool { return n.str("kind") == "k8s" })
	if len(k8s) > 0 {
		a.times("rollout", k8s[0].str("time"), "")
	}
}

func sizeAndTime(a *run) {
	l := a.ask("get_latency", map[string]any{"path": a.arg("path") + "*", "parts": []string{"size"}})
	for _, c := range where(l.each("size"), func(n node) bool { return n.str("of") == "request" }) {
		a.number("correlation", c.num("pearson")) // the last one is the service farthest from the customer
		a.number("calls", c.num("n"))
	}
}

func slowQueries(a *run) {
	l := a.ask("get_latency", map[string]any{"min_ms": a.q.Arguments["threshold_ms"], "kfl": "postgresql", "parts": []string{"slow", "queries"}})
	a.number("count", l.num("slow.calls"))
	a.groups("who", l.each("slow.slowest"), a.pair, "")
	a.shown("queries", l.at("slow.slowest"))
}

func latencyPatterns(a *run) {
	c := a.ask("compare_periods", map[string]any{"from": a.arg("from"), "to": a.arg("to"), "baseline_from": a.arg("against_from"), "baseline_to": a.arg("against_to"), "kfl": "http"})
	for _, e := range where(c.each("endpoints"), func(n node) bool { return len(n.each("p50_ms")) == 2 }) {
		a.set("change", a.served(e), e.num("p50_ms.1")-e.num("p50_ms.0"))
	}
}
