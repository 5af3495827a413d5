package main

import (
	"fmt"
	"strings"
	"time"
)

func (f *finder) incidents() []Question {
	sc := f.s.sc
	a, b := sc.time("checkout_from"), sc.time("checkout_to")
	pay := f.where(between(a, b), with("payment-service", "payment-gateway", "token-service"), web)
	gone := f.where(between(a, b), from("payment-service"), to("payment-gateway"), status(401))
	one := f.where(during("checkout_failure"), from(customerRole), holds(`"user":"`+sc.text("user")+`"`))
	var chain []*Entry
	expired := ""
	for _, e := range gone {
		if _, at, ok := strings.Cut(e.reply, `"expired_at":"`); ok {
			expired, _, _ = strings.Cut(at, `"`)
		}
	}
	if len(one) > 0 {
		first := one[0]
		chain = f.where(during("checkout_failure"), func(e *Entry) bool {
			return !e.At.Before(first.At) && !e.Done.After(first.Done) && (web(e) || e.Protocol == "grpc" || e.Protocol == "redis")
		})
	}
	timeouts := f.where(during("orders_504"), from(customerRole), status(504))
	slow := f.where(during("orders_504"), from("data-access"), to("orders-database"), statement, holds("pg_sleep"))
	crash, worker := sc.time("crash"), f.s.pod("worker")
	before := f.where(between(crash.Add(-2*time.Minute), crash.Add(2*time.Second)), with("worker"))
	bad := f.where(f.lastHour(), failed, open)
	p500 := f.where(from("checkout"), to("payment-service"), status(500))
	cause := words("cause", "payment's gateway refused the token, which had expired, since the token service kept handing it out", "token_expired", f.name("payment-gateway"), f.name("token-service"))
	return []Question{
		{Number: 1, Kind: "incidents", Words: fmt.Sprintf("Checkout failed from %s on: show all calls to payment-related services in that time, and what went wrong.", clockOf(a)),
			Arguments: window(a, b, args{"services": f.names("payment-service", "payment-gateway", "token-service")}),
			Facts: []Fact{count("calls", "%d calls from or to payment's services", pay), groups("by_outcome", "who asked whom for what, with which outcome", by(pay, f.outcome)),
				count("refused", "%d charges were refused with 401", gone), cause, span("when", "from the first refused charge to the last", gone), rows("failing", "the refused charges", gone)}},
		{Number: 2, Kind: "incidents", Words: "Users see 504s on /api/orders: trace the path of such a request; where is the timeout?", Arguments: args{"path": "/api/orders", "status": 504},
			Facts: []Fact{count("504s", "%d requests were answered 504", timeouts), words("path", "the way of the request", f.names("gateway", "auth", "order-service", "data-access", "orders-database")...),
				number1("gave_up", "the gateway waited so long", median(timeouts), "ms", 60), words("where", "the database query was what took long", f.name("orders-database"), f.name("data-access"), "pg_sleep"),
				number1("query", "so long took the query", median(slow), "ms", 60), words("who_gave_up", "the gateway made the 504", f.name("gateway"), "upstream_timeout"), rows("failing", "the 504s", timeouts), rows("queries", "the slow queries", slow)}},
		{Number: 3, Kind: "incidents", Words: fmt.Sprintf("Pod %s crashed ten minutes ago: what was its network activity in the two minutes before, which external calls?", worker.name),
			Arguments: args{"pod": worker.name, "namespace": worker.ns, "minutes": 2},
			Facts: []Fact{moment("crash", "the kernel killed it for its memory", crash, 2000), words("why", "killed for memory, exit code 137", "OOMKilled", "137"),
				groups("activity", "what it said and heard in the two minutes before", by(before, f.outcome)), count("activity_count", "%d calls from or to it in those minutes", before),
				rows("external", "its calls to the outside", f.where(between(crash.Add(-2*time.Minute), crash.Add(2*time.Second)), from("worker"), f.outside)),
				words("external_names", "who it called outside", f.name("storage")), rows("unanswered", "a call that it did not hear the end of", f.where(during("crash"), from("worker"), web))}},
		{Number: 4, Kind: "incidents", Words: fmt.Sprintf("Why did checkout fail for user %s at %s?", sc.text("user"), clockOf(a)), Arguments: args{"user": sc.text("user"), "at": a.Format(time.RFC3339), "service": f.name("checkout")},
			Facts: []Fact{rows("failing", "the request of the user that failed", one), words("payload", "what the user was told", "payment_failed", "gateway_refused", "token_expired", f.s.story.facts["failed_order"]),
				words("expired", "when the token had expired", expired), cause, rows("chain", "all calls behind it", chain)}},
		{Number: 5, Kind: "incidents", Words: "Which calls failed in the last hour, and why?", Arguments: window(f.now.Add(-time.Hour), f.now, nil),
			Facts: []Fact{count("failed", "%d calls failed", bad), groups("by_outcome", "which", by(bad, f.outcome)), words("why", "the errors that were given", "gateway_timeout", "gateway_reset")}},
		{Number: 6, Kind: "incidents", Words: fmt.Sprintf("Show me the exact request that made %s return a 500.", f.name("payment-service")), Arguments: args{"service": f.name("payment-service"), "status": 500},
			Facts: []Fact{count("500s", "%d call was answered 500", p500), rows("call", "the call", p500), words("request", "what stood in it", sc.text("currency"), "4250"), words("response", "what came back", sc.text("error_500")), span("when", "when", p500)}},
	}
}

func (f *finder) aService() []Question {
	sc := f.s.sc
	hour := f.lastHour()
	in, out := f.where(hour, to("frontend"), web), f.where(hour, from("frontend"))
	good := f.where(hour, to("frontend"), web, not(failed))
	bad := f.where(hour, to("frontend"), web, failed)
	nocorr := f.where(hour, to("frontend"), web, func(e *Entry) bool { return e.RequestID == "" && e.TraceID == "" })
	conns := f.where(during("churn"), from("frontend"), to("session-database"), func(e *Entry) bool { return e.Method == "STARTUP" })
	s503 := f.where(hour, to("frontend"), status(503), endpoint("/api/express"))
	resets := f.where(from("payment-service"), to("payment-gateway"), func(e *Entry) bool { return e.Error == "reset" })
	lates := f.where(from("payment-service"), to("payment-gateway"), func(e *Entry) bool { return e.Error == "timeout" })
	triples := f.where(during("triples"), from("frontend"), to("user-service"), web)
	blocking := f.where(during("sync_blocking"), to("frontend"))
	namespace := sc.ns("shop")
	nsBad := f.where(hour, failed, open, func(e *Entry) bool { s := sc.service(e.ServerRole); return s != nil && sc.ns(s.Namespace) == namespace })
	today, yesterday := sc.time("nine_from"), sc.time("nine_from").AddDate(0, 0, -1)
	span9 := sc.time("nine_to").Sub(today)
	nineT, nineY := f.where(between(today, today.Add(span9)), to("order-service")), f.where(between(yesterday, yesterday.Add(span9)), to("order-service"))
	deps := f.where(from("checkout"), not(to("kube-dns")))
	badDeps := f.where(from("checkout"), not(to("kube-dns")), failed)
	pct := func(a, b []*Entry) float64 {
		return float64(int(1000*float64(len(a))/float64(max(len(b), 1))+0.5)) / 10
	}
	window1 := func(more args) args { return window(f.now.Add(-time.Hour), f.now, more) }
	return []Question{
		{Number: 7, Kind: "service", Words: fmt.Sprintf("What can you tell me about my service %q?", f.name("frontend")), Arguments: window1(args{"service": f.name("frontend"), "namespace": namespace}),
			Facts: []Fact{count("inbound", "%d calls came in", in), groups("inbound_from", "from whom", by(in, f.client)), groups("outbound_to", "whom it called, and how often, DNS too", by(out, f.service)),
				number1("p50", "half of the good calls took at most", median(good), "ms", 10), number1("p99", "99 of 100 good calls took at most", quantile(good, 0.99), "ms", 40),
				number1("error_rate", "so many of 100 failed", pct(bad, in), "percent", 0.2), count("503s", "%d calls were answered 503, all on one path", s503), words("503_path", "that path", "/api/express"),
				number1("triples", "so often the same request was made three times within 100 ms", float64(len(triples)/3), "times", 0), words("triple_path", "which", "/v1/users/"+sc.text("user")+"/preferences"),
				number1("connections", "so many connections were opened to a database within one minute", float64(len(conns)), "connections", 0), words("connections_to", "to which, by which pod", f.name("session-database"), f.s.pods["frontend"][0].name),
				number1("no_correlation", "so many of 100 requests had no correlation id", pct(nocorr, in), "percent", 0.2), count("no_correlation_count", "%d of them", nocorr), words("no_correlation_path", "on this path", "/api/profile"),
				words("journey", "how users go", "/products", "/api/cart", "/api/checkout"), words("sync", "what waits for one service after the other", "/api/dashboard"), number1("sync_ms", "and takes so long", median(blocking), "ms", 80)}},
		{Number: 8, Kind: "service", Words: "Tell me more about those 503s.", Arguments: window1(args{"service": f.name("frontend"), "status": 503, "path": "/api/express"}),
			Facts: []Fact{count("count", "%d calls", s503), number1("pattern", "they took about as long", median(s503), "ms", 40), span("when", "from the first to the last", s503), words("cause", "the gateway outside was slow, or broke off", f.name("payment-gateway"), "gateway_timeout", "gateway_reset"),
				count("resets", "%d of them since it broke off", resets), count("timeouts", "%d of them since it did not answer in time", lates), rows("calls", "all of them", s503), rows("reset_calls", "those to the gateway that were reset", resets)}},
		{Number: 9, Kind: "service", Words: fmt.Sprintf("What error patterns are there in namespace %s in the last hour?", namespace), Arguments: window1(args{"namespace": namespace}),
			Facts: []Fact{count("errors", "%d calls to its services failed", nsBad), groups("patterns", "which", by(nsBad, func(e *Entry) string {
				end := fmt.Sprint(e.Status)
				if e.Error != "" {
					end = e.Error
				}
				return f.name(e.ServerRole) + " " + e.Method + " " + e.Endpoint + " " + end
			}))}},
		{Number: 10, Kind: "service", Words: fmt.Sprintf("Compare the traffic to %s between %s and %s with yesterday's.", f.name("order-service"), clockOf(today), clockOf(today.Add(span9))), Arguments: window(today, today.Add(span9), args{"service": f.name("order-service")}),
			Facts: []Fact{count("today", "%d calls today", nineT), count("yesterday", "%d calls yesterday", nineY), count("errors_today", "%d failed today", f.where(between(today, today.Add(span9)), to("order-service"), failed)),
				count("errors_yesterday", "%d failed yesterday", f.where(between(yesterday, yesterday.Add(span9)), to("order-service"), failed)), words("new_error", "new are", "404", "no_such_order")}},
		{Number: 11, Kind: "service", Words: fmt.Sprintf("What does %s depend on, and is any of it unhealthy?", f.name("checkout")), Arguments: args{"service": f.name("checkout")},
			Facts: []Fact{groups("dependencies", "what it calls, and how often", by(deps, f.service)), groups("failures", "which of them failed, and how often", by(badDeps, f.service)), words("unhealthy", "the one that fails", f.name("payment-service"))}},
	}
}

func (f *finder) security() []Question {
	sc := f.s.sc
	allowed := f.names("payment-gateway", "email-provider", "shipping", "crm", "storage", "bank")
	strangers := f.where(from(f.podRoles()...), to("analytics", "raw", "beacon"), web)
	lack := map[string]float64{}
	var lacking []*Entry
	type both struct{ with, without []*Entry }
	ends := map[string]*both{}
	for _, e := range f.where(web, open, func(e *Entry) bool { return sc.service(e.ServerRole) != nil }) {
		k := f.name(e.ServerRole) + " " + e.Method + " " + e.Endpoint
		if ends[k] == nil {
			ends[k] = &both{}
		}
		if authorized(e) {
			ends[k].with = append(ends[k].with, e)
		} else {
			ends[k].without = append(ends[k].without, e)
		}
	}
	for k, x := range ends {
		if len(x.with) > 0 && len(x.without) > 0 {
			lack[k] = float64(len(x.without))
		}
	}
	lacking = f.where(during("no_authorization"), from("promo"), to("user-service"), web)
	public := f.where(from("gateway", "promo"), not(to("kube-dns")), func(e *Entry) bool {
		s := sc.service(e.ServerRole)
		return s != nil && s.Namespace != "public"
	})
	beacon := f.where(from("media"), to("beacon"), web)
	noauth := map[string]float64{}
	authd := by(f.where(web, open, authorized), f.pair)
	for k, n := range by(f.where(web, open, func(e *Entry) bool { return sc.service(e.ServerRole) != nil }), f.pair) {
		if authd[k] == 0 {
			noauth[k] = n
		}
	}
	return []Question{
		{Number: 12, Kind: "security", Words: "Which pods connect to outside addresses that are not on the allow-list?", Arguments: args{"allowed_domains": allowed, "allowed_cidrs": []string{"10.244.0.0/16", "192.168.49.0/24"}},
			Facts: []Fact{groups("strangers", "who called whom, and how often (calls; inside TLS the calls do not all show)", by(strangers, func(e *Entry) string { return e.Client + " → " + f.name(e.ServerRole) })),
				words("names", "who is not allowed", f.names("analytics", "raw", "beacon")...), words("pods", "and who called them", f.s.pod("promo").name, f.s.pod("report").name, f.s.pod("media").name)}},
		{Number: 13, Kind: "security", Words: "Find calls that lack an Authorization header but should have one.",
			Facts: []Fact{groups("endpoints", "endpoints that are called with and without, and how often without", lack), rows("calls", "the calls of a service that never sends one", lacking), words("who", "who makes them", f.name("promo"), f.name("user-service")), count("count", "%d of them", lacking)}},
		{Number: 14, Kind: "security", Words: fmt.Sprintf("Which internal services can be reached from namespace %s? Show the traffic.", sc.ns("public")), Arguments: args{"namespace": sc.ns("public")},
			Facts: []Fact{groups("reached", "who reached whom, and how often (DNS left out)", by(public, f.pair)), words("names", "the services", keys(by(public, f.service))...)}},
		{Number: 15, Kind: "security", Words: fmt.Sprintf("Is anything unusual about %s against its normal behaviour?", f.name("media")), Arguments: args{"service": f.name("media"), "baseline_to": sc.time("beacon").Add(-time.Minute).Format(time.RFC3339)},
			Facts: []Fact{words("destination", "a destination that it never had", f.name("beacon")), count("calls", "%d calls to it", beacon), number1("interval", "at a regular interval", ms(sc.ms("beacon_every"))/1000, "s", 0.5), span("when", "from the first to the last", beacon)}},
		{Number: 16, Kind: "security", Words: "Look for card numbers, SSNs and API keys in bodies.", Facts: f.leaks()},
		{Number: 17, Kind: "security", Words: "Which services talk to each other without authentication?", Facts: []Fact{groups("pairs", "HTTP between services with no Authorization header at all, and how often", noauth)}},
	}
}

func (f *finder) podRoles() (out []string) {
	for _, s := range f.s.sc.Services {
		out = append(out, s.Role)
	}
	return out
}

// leaks are the planted secrets, each with the calls that carry it.
func (f *finder) leaks() (out []Fact) {
	sc := f.s.sc
	for _, k := range []struct{ id, value string }{
		{"card", sc.text("card")}, {"card_2", sc.text("card_2")}, {"ssn", sc.text("ssn")}, {"iban", sc.text("iban")}, {"email", sc.text("email")}, {"phone", sc.text("phone")},
		{"cloud_key", sc.text("cloud_key")}, {"jwt_in_url", f.s.story.facts["jwt"]}, {"private_key", strings.Split(f.s.story.facts["private_key"], "\n")[1]},
	} {
		list := f.where(web, open, holds(k.value))
		x := count(k.id, "%d calls carry it in a body or URL", list)
		x.Says = k.id + ": " + x.Says
		x.Rows = list[:min(len(list), 5)]
		x.Groups = by(list, f.pair)
		out = append(out, x)
	}
	return append(out, Fact{ID: "decoys", Says: "numbers that only look like a card, an SSN or an IBAN", Not: []string{sc.text("card_decoy"), sc.text("ssn_decoy"), sc.text("iban_decoy")}})
}
