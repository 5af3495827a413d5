package questions

func debugging() []script {
	return []script{{39, lastRequests}, {40, whatItSends}, {41, realHeaders}, {42, clientErrors}, {43, emptyAnswers}}
}

func lastRequests(a *run) {
	p := a.ask("get_pair", map[string]any{"src": a.arg("source"), "dst": a.arg("service"), "limit": a.q.Arguments["limit"]})
	a.number("all", p.num("forth.calls"))
	a.shown("last_ten", p.at("calls"))
}

func whatItSends(a *run) {
	p := a.ask("get_pair", map[string]any{"src": a.arg("service"), "dst": a.arg("target"), "kfl": "http", "limit": 2})
	a.number("calls", p.num("forth.calls"))
	a.shown("last", p.at("calls"))
}

func realHeaders(a *run) {
	f := a.ask("search_content", map[string]any{"text": a.arg("request_id"), "whole": true, "in": []string{"request.headers"}})
	call := a.ask("get_api_call", map[string]any{"call_id": f.str("matches.0.call_id")})
	a.shown("call", call.at("call"))
}

func clientErrors(a *run) {
	f := a.ask("find_failures", a.window(map[string]any{"service": a.arg("service"), "class": "4xx", "list_calls": true}))
	a.number("count", f.num("failed_calls"))
	a.groups("by_status", f.each("groups"), outcome, "calls")
	a.shown("rows", f.at("listed"))
}

// emptyAnswers finds responses with an empty list or object.
func emptyAnswers(a *run) {
	f := a.ask("search_content", map[string]any{"service": a.arg("service"), "pattern": `^\s*(\{[^{}\[\]]*\[\s*\]\s*\}|\[\s*\]|\{\s*\}|null)\s*$`, "in": []string{"response.body"}})
	a.number("count", f.num("total_calls"))
	a.shown("calls", f.at("matches"))
	a.ask("get_api_call", map[string]any{"call_id": f.str("matches.0.call_id")})
}
