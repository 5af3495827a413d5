package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

func (f *finder) architecture() []Question {
	sc := f.s.sc
	order := sc.text("order")
	placed := f.where(during("audit_order"), from(customerRole), endpoint("/api/checkout"))
	var flow []*Entry
	if len(placed) > 0 {
		flow = f.orderCalls()
	}
	cache := f.where(to("redis-cache"))
	direct := by(cache, f.client)
	indirect := f.callersOf(direct)
	outside := f.where(f.outside, web, open)
	bypass := f.where(to("orders-database"), statement, not(from("data-access")))
	ends := by(f.where(web, open), func(e *Entry) string { return f.name(e.ServerRole) + " " + e.Method + " " + e.Endpoint })
	team := sc.text("team")
	var mine []string
	for _, s := range sc.Services {
		if s.Team == team {
			mine = append(mine, s.Role)
		}
	}
	inv := f.where(to("inventory"), not(of("dns")))
	invOut := f.where(from("inventory"), not(of("dns")))
	op := f.where(from("order-processing"), not(of("dns", "tls")))
	return []Question{
		{Number: 18, Kind: "architecture", Words: fmt.Sprintf("What talks to %s, both ways?", f.name("inventory")), Arguments: args{"service": f.name("inventory")},
			Facts: []Fact{groups("inbound", "who calls it, and how often", by(inv, f.client)), groups("outbound", "whom it calls, and how often", by(invOut, f.service)), groups("protocols", "in which protocols it is called", by(inv, func(e *Entry) string { return e.Protocol }))}},
		{Number: 19, Kind: "architecture", Words: "Show the whole flow when a user places an order.", Arguments: args{"order": order, "endpoint": "/api/checkout", "request_id": requestID(flow)},
			Facts: []Fact{groups("steps", "who calls whom when an order is placed", by(flow, f.pair)), words("services", "who takes part", f.names("gateway", "frontend", "checkout", "inventory", "payment-service", "payment-gateway", "order-service", "data-access", "orders-database", "order-processing", "notification")...), rows("calls", "the calls of one order", flow)}},
		{Number: 20, Kind: "architecture", Words: fmt.Sprintf("What is hit if %s is gone?", f.name("redis-cache")), Arguments: args{"service": f.name("redis-cache")},
			Facts: []Fact{groups("direct", "who uses it, and how often", direct), words("direct_names", "they", keys(direct)...), words("indirect", "who calls those", indirect...)}},
		{Number: 21, Kind: "architecture", Words: "Which external APIs do we use, by domain?",
			Facts: []Fact{groups("calls", "calls that can be read, by domain", by(outside, f.service)), groups("sealed", "connections that stay closed, by domain", by(f.where(of("tls"), to("analytics", "raw")), f.service)), words("domains", "the domains", keys(by(f.where(f.outside), f.service))...)}},
		{Number: 22, Kind: "architecture", Words: fmt.Sprintf("Who goes to %s past the data-access layer?", f.name("orders-database")), Arguments: args{"database": f.name("orders-database"), "layer": f.name("data-access")},
			Facts: []Fact{groups("who", "who, and with how many statements", by(bypass, f.client)), words("pod", "from this pod", f.s.pod("report").name), count("statements", "%d statements", bypass), rows("rows", "the statements", bypass)}},
		{Number: 23, Kind: "architecture", Words: "Give me an overview of the cluster from its traffic.",
			Facts: []Fact{number1("workloads", "so many pods were recorded", float64(f.pods()), "pods", 0), words("namespaces", "namespaces", f.namespaces()...), words("ingress", "where customers come in", f.name("gateway")),
				groups("pairs", "the ten busiest pairs (HTTP)", top(by(f.where(web, open), f.pair), 10)), words("databases", "databases and caches", f.names("orders-database", "user-database", "product-database", "session-database", "redis-cache")...)}},
		{Number: 24, Kind: "architecture", Words: "Which APIs are used most?", Facts: []Fact{groups("top", "the ten most used endpoints", top(ends, 10))}},
		{Number: 25, Kind: "architecture", Words: fmt.Sprintf("What does %s do, by its traffic?", f.name("order-processing")), Arguments: args{"service": f.name("order-processing")},
			Facts: []Fact{groups("does", "what it does, and how often", by(op, func(e *Entry) string { return f.name(e.ServerRole) + " " + e.Method + " " + e.Endpoint })), words("input", "it gets orders from the broker", f.name("broker")), words("calls", "whom it calls", f.names("inventory", "data-access", "shipping", "notification")...)}},
		{Number: 26, Kind: "architecture", Words: "Which protocols are in use? An example of each.", Facts: []Fact{groups("protocols", "calls by protocol, as far as they can be read", by(f.where(open, not(of("nats"))), func(e *Entry) string { return e.Protocol }))}},
		{Number: 27, Kind: "architecture", Words: fmt.Sprintf("Which services does team %s own, and how do they talk?", team), Arguments: args{"label": "team", "value": team},
			Facts: []Fact{words("services", "its services", f.names(mine...)...), groups("talk", "how they talk with each other", by(f.where(from(mine...), to(mine...)), f.pair))}},
	}
}

func requestID(list []*Entry) string {
	for _, e := range list {
		if e.RequestID != "" {
			return e.RequestID
		}
	}
	return ""
}

// orderCalls are the calls for the order in the questions.
func (f *finder) orderCalls() []*Entry {
	return f.where(during("audit_order"), func(e *Entry) bool {
		return (web(e) || e.Protocol == "grpc" || e.Protocol == "nats" || e.Protocol == "redis" || statement(e))
	})
}

// callersOf returns all direct and transitive callers of the named services.
func (f *finder) callersOf(direct map[string]float64) []string {
	hit := map[string]bool{}
	for k := range direct {
		hit[k] = true
	}
	for grew := true; grew; {
		grew = false
		for _, e := range f.where(not(of("dns", "tls", "nats"))) {
			if a, b := f.client(e), f.service(e); hit[b] && !hit[a] && f.s.sc.service(e.ClientRole) != nil {
				hit[a], grew = true, true
			}
		}
	}
	var out []string
	for k := range hit {
		if direct[k] == 0 {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func (f *finder) pods() int {
	seen := map[string]bool{}
	for _, e := range f.all {
		for _, p := range []string{e.Client, e.Server} {
			seen[p] = true
		}
	}
	n := 0
	for _, p := range f.s.all {
		if p.inside() && seen[p.name] {
			n++
		}
	}
	return n
}

func (f *finder) namespaces() (out []string) {
	for _, ns := range f.s.sc.Namespaces {
		out = append(out, ns)
	}
	slices.Sort(out)
	return out
}

// top keeps the n largest, and those equal to the last of them.
func top(m map[string]float64, n int) map[string]float64 {
	list := keys(m)
	slices.SortStableFunc(list, func(a, b string) int { return int(m[b] - m[a]) })
	out := map[string]float64{}
	for i, k := range list {
		if i < n || m[k] == out[list[n-1]] {
			out[k] = m[k]
		}
	}
	return out
}

func (f *finder) performance() []Question {
	sc := f.s.sc
	hour := f.lastHour()
	// Only planned slow calls count; a busy machine may have slowed down others.
	over := func(bound time.Duration) cond {
		return func(e *Entry) bool { return e.elapsed() > bound-12*time.Millisecond }
	}
	long := f.where(hour, open, during("503s"), over(500*time.Millisecond), not(of("tls")))
	gray := f.where(hour, open, not(during("503s")), over(500*time.Millisecond))
	hops := map[string]float64{}
	for _, h := range [][2]string{{customerRole, "gateway"}, {"gateway", "frontend"}, {"frontend", "checkout"}, {"checkout", "inventory"}, {"checkout", "cart"}, {"checkout", "payment-service"}, {"checkout", "order-service"}, {"payment-service", "token-service"}, {"payment-service", "payment-gateway"}} {
		list := f.where(from(h[0]), to(h[1]), not(failed), not(of("dns", "tls")), func(e *Entry) bool {
			return strings.HasSuffix(e.Endpoint, "/checkout") || h[0] == "checkout" || h[0] == "payment-service"
		})
		hops[f.name(h[0])+" → "+f.name(h[1])] = median(list)
	}
	day := sc.time("latency")
	part := func(shift int, more ...cond) []*Entry {
		a := day.AddDate(0, 0, shift)
		return f.where(append(more, between(a, a.Add(22*time.Minute)))...)
	}
	prod, prodY := part(0, to("product-service"), web), part(-1, to("product-service"), web)
	sql, sqlY := part(0, from("product-service"), statement), part(-1, from("product-service"), statement)
	ups := f.where(from("gateway"), to("media"), endpoint("/upload"))
	slow := f.where(statement, during("slow_query", "orders_504"), over(100*time.Millisecond))
	near := float64(len(f.where(statement, not(during("slow_query", "orders_504")), over(100*time.Millisecond))))
	w := window(day, day.Add(22*time.Minute), args{"service": f.name("product-service"), "against_from": day.AddDate(0, 0, -1).Format(time.RFC3339), "against_to": day.AddDate(0, 0, -1).Add(22 * time.Minute).Format(time.RFC3339)})
	changes := map[string]float64{}
	for k := range by(part(0, web, open), f.endpointKey) {
		same := func(e *Entry) bool { return f.endpointKey(e) == k }
		if a, b := part(0, web, open, same), part(-1, web, open, same); len(b) > 4 && len(a) > 4 {
			changes[k] = math.Round(100*(median(a)-median(b))) / 100
		}
	}
	return []Question{
		{Number: 28, Kind: "performance", Words: "Where does the time go on /api/checkout, along the chain?", Arguments: args{"path": "/api/checkout"},
			Facts: []Fact{{ID: "hops", Says: "median time of each hop of checkouts that went well, in ms", Unit: "ms", Tolerance: 25, Groups: hops}, words("slowest", "the hop where the time goes", f.name("payment-gateway")),
				number1("slowest_ms", "which takes so long", hops[f.name("payment-service")+" → "+f.name("payment-gateway")], "ms", 25)}},
		{Number: 29, Kind: "performance", Words: "Which calls took over 500 ms in the last hour? Which services and endpoints are the slowest?", Arguments: window(f.now.Add(-time.Hour), f.now, args{"threshold_ms": 500}),
			Facts: []Fact{number1("count", fmt.Sprintf("%d calls", len(long)), float64(len(long)), "calls", float64(len(gray))), {ID: "by_endpoint", Says: "which", Groups: by(long, f.endpointKey), Tolerance: float64(len(gray))}, words("slowest", "among them", f.name("payment-gateway"), "/api/express")}},
		{Number: 30, Kind: "performance", Words: fmt.Sprintf("Compare %s today with yesterday: what changed?", f.name("product-service")), Arguments: w,
			Facts: []Fact{number1("today_ms", "median today", median(prod), "ms", 8), number1("yesterday_ms", "median yesterday", median(prodY), "ms", 8), count("today", "%d calls today", prod), count("yesterday", "%d calls yesterday", prodY),
				number1("queries_today", "database queries for each call today", ratio(sql, prod), "queries", 0.05), number1("queries_yesterday", "and yesterday", ratio(sqlY, prodY), "queries", 0.05), moment("rollout", "in between it was rolled out", sc.time("rollout"), 10000)}},
		{Number: 31, Kind: "performance", Words: "Does the size of the payload go with latency on /upload?", Arguments: args{"path": "/upload"},
			Facts: []Fact{number1("correlation", "Pearson's correlation of size and time", pearson(ups), "", 0.06), count("calls", "%d uploads reached the service", ups)}},
		{Number: 32, Kind: "performance", Words: "Which database queries took over 100 ms?", Arguments: args{"threshold_ms": 100},
			Facts: []Fact{number1("count", fmt.Sprintf("%d queries", len(slow)), float64(len(slow)), "queries", near), {ID: "who", Says: "from whom to which database", Groups: by(slow, f.pair), Tolerance: near}, rows("queries", "which", slow), words("text", "what they do", "pg_sleep")}},
		{Number: 33, Kind: "performance", Words: "Compare today's latency patterns with yesterday's.", Arguments: w,
			Facts: []Fact{{ID: "change", Says: "change of the median of each endpoint in ms", Groups: changes, Unit: "ms", Tolerance: 10}, words("slower", "what became slower", f.name("product-service"), "/v1/products")}},
	}
}

func (f *finder) endpointKey(e *Entry) string {
	return f.name(e.ServerRole) + " " + strings.TrimSpace(e.Method+" "+e.Endpoint)
}

func ratio(a, b []*Entry) float64 {
	return math.Round(100*float64(len(a))/float64(max(len(b), 1))) / 100
}

// pearson is the correlation of request sizes and times.
func pearson(list []*Entry) float64 {
	var n, sx, sy, sxx, syy, sxy float64
	for _, e := range list {
		x, y := float64(e.RequestBytes), ms(e.elapsed())
		n, sx, sy, sxx, syy, sxy = n+1, sx+x, sy+y, sxx+x*x, syy+y*y, sxy+x*y
	}
	d := math.Sqrt(n*sxx-sx*sx) * math.Sqrt(n*syy-sy*sy)
	if d == 0 {
		return 0
	}
	return math.Round(1000*(n*sxy-sx*sy)/d) / 1000
}
