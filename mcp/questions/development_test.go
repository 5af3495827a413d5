package questions

import (
	"fmt"
	"regexp"
	"strings"
)

func development() []script {
	return []script{{44, newEndpoint}, {45, integrationTests}, {46, authMiddleware}, {47, retries}, {48, caching}}
}

func newEndpoint(a *run) {
	kfl := `http && src.external && path.startsWith("/api/orders")`
	l := a.ask("list_api_calls", a.window(map[string]any{"kfl": kfl}))
	a.groups("outcomes", l.each("calls"), func(n node) string { return endpoint(n.str("summary")) + " " + outcome(n) }, "")
	a.shown("calls", l.at("calls"))
	a.ask("find_failures", a.window(map[string]any{"kfl": kfl}))
}

// integrationTests lists the calls of the tests, looks for patterns in them, and follows a list
// of orders to the database.
func integrationTests(a *run) {
	p := a.ask("get_pair", a.window(map[string]any{"src": a.arg("service"), "dst": a.arg("target"), "limit": 20}))
	a.number("calls", p.num("forth.calls"))
	a.shown("rows", p.at("calls"))
	failed := a.ask("find_failures", a.window(map[string]any{"client": a.arg("service"), "service": a.arg("target")}))
	a.number("bad_dates", sum(where(failed.each("groups"), func(n node) bool { return strings.Contains(n.str("said.0"), "date") }), "calls"))
	f := a.ask("find_patterns", a.window(map[string]any{"kinds": []string{"drift", "correlation"}, "service": a.arg("target")}))
	below := a.ask("find_patterns", a.window(map[string]any{"kinds": []string{"n_plus_one"}}))
	for _, x := range append(f.each("findings"), below.each("findings")...) {
		switch x.str("kind") {
		case "drift":
			if a.to(x) == a.arg("target") && strings.Contains(x.str("words"), "in the response 2xx") { // accepted orders
				a.number("as_text", value(x, "string"))
				a.number("as_number", value(x, "number"))
			}
		case "correlation":
			if a.from(x) == a.arg("service") && a.to(x) == a.arg("target") {
				a.number("no_correlation", value(x, "without_any"))
			}
		case "n_plus_one":
			a.number("n_plus_one", value(x, "most_in_one_request"))
			t := a.ask("trace_request", map[string]any{"call_id": x.str("call_ids.0"), "max_bytes": 16000})
			a.number("n_plus_one", float64(len(where(steps(t), func(n node) bool { return n.str("protocol") == "postgresql" }))))
		}
	}
}

// value returns a number of a pattern by name.
func value(n node, name string) float64 {
	for _, x := range n.each("numbers") {
		if x.str("name") == name {
			return x.num("value")
		}
	}
	return -1
}

var reason = regexp.MustCompile(`"error":"([a-z_]+)"`)

func authMiddleware(a *run) {
	v := a.ask("describe_service", a.window(map[string]any{"service": a.arg("service")}))
	a.number("rejected", v.num("in.failed"))
	a.number("passed", v.num("in.calls")-v.num("in.failed"))
	said := a.ask("search_content", a.window(map[string]any{"kfl": fmt.Sprintf("dst.service == %q && status_code == 401", a.arg("service")), "pattern": `"error":"[a-z_]+"`, "in": []string{"response.body"}}))
	for _, m := range said.each("matches") {
		if x := reason.FindStringSubmatch(m.str("found.0.excerpt")); x != nil {
			a.set("reasons", x[1], 1)
		}
	}
	a.shown("rejected_calls", said.at("matches"))
	passed := where(v.each("asks"), func(n node) bool { return n.str("protocol") == "http1" })
	a.shown("passed_call", passed...)
	for _, p := range passed {
		a.ask("get_api_call", map[string]any{"call_id": p.str("call_ids.0")})
	}
}

func retries(a *run) {
	f := a.ask("find_patterns", a.window(map[string]any{"kinds": []string{"retries"}}))
	for _, x := range f.each("findings") {
		switch a.pair(x) {
		case a.arg("service") + " → " + a.arg("target"):
			a.number("cases", value(x, "requests_retried"))
			if value(x, "min_retries") == value(x, "max_retries") {
				a.number("retries", value(x, "max_retries"))
			}
			for i := 1; value(x, fmt.Sprintf("pause_%d_ms", i)) >= 0; i++ {
				a.set("pauses", fmt.Sprint(i), value(x, fmt.Sprintf("pause_%d_ms", i)))
			}
			a.behind("tries", f, x.str("kfl"))
		case a.arg("wrong_service") + " → " + a.arg("wrong_target"):
			a.number("wrong_tries", value(x, "requests_retried")+value(x, "retries"))
			a.number("wrong_pause", value(x, "pause_1_ms"))
			a.behind("wrong_rows", f, x.str("kfl"))
		}
	}
}

func caching(a *run) {
	f := a.ask("find_patterns", a.window(map[string]any{"kinds": []string{"caching"}, "service": a.arg("service")}))
	for _, x := range f.each("findings") {
		switch x.str("endpoint") {
		case endpoint("GET " + a.arg("endpoint")):
			a.number("cold", value(x, "first_reached_database"))
			a.number("warm", value(x, "later")-value(x, "later_reached_database"))
			a.number("queries", value(x, "first_reached_database")+value(x, "later_reached_database"))
			a.number("cold_ms", value(x, "cold_p50_ms"))
			a.number("warm_ms", value(x, "warm_p50_ms"))
			a.behind("rows", f, x.str("kfl"))
			a.ask("get_api_call", map[string]any{"call_id": x.str("call_ids.0")})
		case "GET " + a.arg("opposite"):
			a.number("never", value(x, "requests"))
			a.behind("rows", f, x.str("kfl"))
			a.ask("get_api_call", map[string]any{"call_id": x.str("call_ids.0")})
			t := a.ask("trace_request", a.window(map[string]any{"kfl": x.str("kfl"), "limit": 100, "max_bytes": 40000}))
			a.number("never_queries", float64(len(where(steps(t), func(n node) bool { return n.str("protocol") == "postgresql" }))))
		}
	}
}
