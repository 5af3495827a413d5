package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/miekg/dns"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// all runs n functions in parallel.
func all(n int, do func(int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// incidents adds the incidents of the first questions.
func (t *story) incidents() {
	s := t.s
	t.on(s.sc.time("payment_500"), "payment_500", func(ctx context.Context) error {
		return want(t.buy(ctx, "/api/checkout", t.nextOrder(), t.someUser(), "currency", s.sc.text("currency"), "amount_cents", 4250), 502)
	})
	t.spread(s.sc.time("orders_504"), s.sc.time("orders_504").Add(8*time.Minute), s.sc.count("504s"), "orders_504", func(ctx context.Context, _ int) error {
		c := t.customer()
		a := c.http(ctx, ask{method: "GET", url: s.url("gateway", "/api/orders?archive=all"), header: []string{"Authorization", s.bearer(t.someUser())}})
		time.Sleep(s.sc.ms("slow_query_504") - s.sc.ms("gateway_gives_up") + 200*time.Millisecond) // until the query has ended
		return want(a, 504)
	})
	from, to := s.sc.time("checkout_from"), s.sc.time("checkout_to")
	for i := range 5 { // before, everything works
		t.on(from.Add(-time.Duration(5-i)*70*time.Second), "checkout_before", func(ctx context.Context) error {
			return want(t.buy(ctx, "/api/checkout", t.nextOrder(), t.someUser()), 201)
		})
	}
	t.on(from.Add(-10*time.Second), "", func(context.Context) error {
		t.stale.Store(true)
		t.mu.Lock()
		s.gatewayToken = token{s.sc.text("gateway_token"), from.Add(-5 * time.Second)} // it expires just before
		t.mu.Unlock()
		return nil
	})
	t.spread(from, to.Add(-time.Minute), s.sc.count("checkout_failures"), "checkout_failure", func(ctx context.Context, i int) error {
		user, order := t.someUser(), t.nextOrder()
		if i == 0 {
			user = s.sc.text("user")
			t.facts["failed_order"] = order
		}
		return want(t.buy(ctx, "/api/checkout", order, user), 502)
	})
	t.on(to, "", func(context.Context) error { t.stale.Store(false); return nil })
	for i := range 3 {
		t.on(to.Add(time.Duration(i+1)*80*time.Second), "checkout_after", func(ctx context.Context) error {
			return want(t.buy(ctx, "/api/checkout", t.nextOrder(), t.someUser()), 201)
		})
	}
	// The order that the questions name by number.
	t.on(to.Add(6*time.Minute), "audit_order", func(ctx context.Context) error {
		order, user := s.sc.text("order"), s.sc.text("user")
		if err := want(t.buy(ctx, "/api/checkout", order, user), 201); err != nil {
			return err
		}
		a := t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/api/orders/"+order), header: []string{"Authorization", s.bearer(user)}})
		return want(a, 200)
	})
	t.spread(s.sc.time("uploads"), s.sc.time("uploads").Add(8*time.Minute), s.sc.count("uploads"), "uploads", func(ctx context.Context, i int) error {
		size := 2000 + 400_000*((i*7)%s.sc.count("uploads"))/s.sc.count("uploads")
		c := t.customer()
		if err := want(c.http(ctx, ask{method: "POST", url: s.url("gateway", "/upload"), body: strings.Repeat("photo of a tea pot ", size/19)}), 201); err != nil {
			return err
		}
		return want(s.pod("worker").http(ctx, ask{method: "GET", url: s.url("media", fmt.Sprintf("/thumbnail/%d", i))}), 200)
	})
}

// lastHour adds the last hour, with all facts for the questions about it.
func (t *story) lastHour() {
	s := t.s
	t.spread(s.sc.time("evidence_from").Add(30*time.Second), s.sc.time("evidence_to").Add(-2*time.Minute), 8, "evidence", func(ctx context.Context, _ int) error {
		return want(t.buy(ctx, "/api/checkout", t.nextOrder(), t.someUser()), 201)
	})
	// The external gateway is slow; every request through it ends with 503, some after a reset.
	const together = 16
	n := s.sc.count("503s")
	batches := (n + together - 1) / together
	span := s.sc.time("slow_to").Sub(s.sc.time("slow_from"))
	for b := range batches {
		t.on(s.sc.time("slow_from").Add(span*time.Duration(b)/time.Duration(batches)).Add(7*time.Second), "503s", func(ctx context.Context) error {
			t.slowGateway.Store(true)
			defer t.slowGateway.Store(false)
			users := make([]string, together)
			orders := make([]string, together)
			for i := range users {
				users[i], orders[i] = t.someUser(), t.nextOrder()
			}
			list := s.pods[customerRole]
			err := all(min(together, n-b*together), func(i int) error {
				time.Sleep(time.Duration(i) * 9 * time.Millisecond)
				body := object{"order": orders[i], "user": users[i], "amount_cents": 1500 + i, "currency": "EUR", "card": s.sc.text("card_2")}
				a := list[i%len(list)].http(ctx, ask{method: "POST", url: s.url("gateway", "/api/express"), body: body, header: []string{"Authorization", s.bearer(users[i])}})
				return want(a, 503)
			})
			time.Sleep(900 * time.Millisecond) // the gateway's responses come too late and are discarded
			return err
		})
	}
	t.spread(s.sc.time("my_4xx").Add(-10*time.Minute), s.sc.time("my_4xx").Add(12*time.Minute), 14, "my_4xx", t.badRequest)
	t.on(s.sc.time("churn").Add(-time.Minute), "pool", func(ctx context.Context) error {
		return all(s.sc.count("pool"), func(int) error {
			return want(s.pod("order-service").http(withCorrelation(ctx, newCorrelation()), ask{method: "GET", url: s.url("data-access", "/v1/rows/totals")}), 200)
		})
	})
	t.on(s.sc.time("churn"), "churn", t.churn)
	t.frontendHabits()
	t.spread(s.sc.time("empty_stock"), s.sc.time("empty_stock").Add(2*time.Minute), s.sc.count("empty_stock"), "empty_stock", func(ctx context.Context, _ int) error {
		ctx = withCorrelation(ctx, newCorrelation())
		return want(s.pod("promo").http(ctx, ask{method: "GET", url: s.url("inventory", "/v1/stock?item="+s.sc.text("empty_sku"))}), 200)
	})
	t.spread(s.sc.time("frontend").Add(-40*time.Minute), s.sc.time("now").Add(-time.Minute), s.sc.count("gateway_users"), "gateway_users", func(ctx context.Context, _ int) error {
		user := t.someUser()
		return want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/api/users/"+user), header: []string{"Authorization", s.bearer(user)}}), 200)
	})
	t.spread(s.sc.time("evidence_from").Add(20*time.Minute), s.sc.time("now").Add(-3*time.Minute), s.sc.count("slow_queries"), "slow_query", func(ctx context.Context, i int) error {
		span := s.sc.ms("slow_query") + time.Duration(i)*8*time.Millisecond
		_, err := s.pod("report").db("orders-database").rows(ctx, fmt.Sprintf("select status, count(*), pg_sleep(%.3f)::text as wait from orders where placed_on like '%%-01-%%' group by status", span.Seconds()))
		return err
	})
	t.on(s.sc.time("frontend").Add(90*time.Second), "one_request", func(ctx context.Context) error {
		c := correlation{requestID: s.sc.text("request_id"), traceID: random(16)}
		a := s.pod("tester").http(withCorrelation(ctx, c), ask{method: "POST", url: s.url("cart", "/v1/carts"), body: object{"user": s.sc.text("user"), "sku": s.sc.text("sku")},
			header: []string{"Authorization", s.bearer(s.sc.text("user"))}, raw: map[string]string{"x-shop-Channel": "kiosk-7", "X-FEATURE-flags": "new-cart,beta", "Accept-Language": "de-CH"}})
		return want(a, 200)
	})
}

// badRequest is a client's mistake, of five kinds.
func (t *story) badRequest(ctx context.Context, i int) error {
	s := t.s
	user := t.someUser()
	good := []string{"Authorization", s.bearer(user)}
	on := s.clock.now()
	post := func(body object, status int) error {
		return want(t.customer().http(ctx, ask{method: "POST", url: s.url("gateway", "/api/orders"), header: good, body: body}), status)
	}
	switch i % 4 {
	case 0:
		return post(object{"order": t.nextOrder(), "user": user, "sku": "sku-1", "quantity": 1, "placed_on": on.Format("02/01/2006")}, 400)
	case 1:
		return want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/api/orders/missing-"+fmt.Sprint(i)), header: good}), 404)
	case 2:
		return post(object{"order": "old-1", "user": user, "sku": "sku-1", "quantity": 1, "placed_on": on.Format(time.DateOnly)}, 409)
	}
	return post(object{"order": t.nextOrder(), "user": user, "quantity": 1, "placed_on": on.Format(time.DateOnly)}, 422)
}

// churn opens a connection for every session look-up, hundreds within a minute.
func (t *story) churn(ctx context.Context) error {
	p := t.s.pods["frontend"][0]
	d := p.db("session-database")
	n := t.s.sc.count("connections")
	const lanes = 3
	return all(lanes, func(lane int) error {
		for i := lane; i < n; i += lanes {
			c, err := d.connect(ctx)
			if err != nil {
				return err
			}
			_, err = c.Exec(ctx, "select user_id from sessions where id = $1", fmt.Sprintf("s%d", 1+i%50))
			c.Close(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// frontendHabits adds the traffic patterns of frontend.
func (t *story) frontendHabits() {
	s := t.s
	at := s.sc.time("frontend")
	get := func(ctx context.Context, path string) error {
		return want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", path), header: []string{"Authorization", s.bearer(s.sc.text("user"))}}), 200)
	}
	t.spread(at, at.Add(60*time.Second), s.sc.count("triples"), "triples", func(ctx context.Context, _ int) error { return get(ctx, "/api/preferences") })
	t.spread(at.Add(61*time.Second), at.Add(120*time.Second), s.sc.count("no_correlation"), "no_correlation", func(ctx context.Context, _ int) error { return get(ctx, "/api/profile") })
	t.spread(at.Add(121*time.Second), at.Add(150*time.Second), s.sc.count("sync"), "sync_blocking", func(ctx context.Context, _ int) error { return get(ctx, "/api/dashboard") })
	t.spread(at.Add(-12*time.Minute), at.Add(-time.Minute), s.sc.count("journeys"), "", func(ctx context.Context, _ int) error { return t.journey(ctx) })
}

// crash is the end of the worker: its load grows until it is OOM-killed.
func (t *story) crash() {
	s := t.s
	at, w := s.sc.time("crash"), s.pod("worker")
	for i := range 18 {
		t.on(at.Add(-5*time.Minute+time.Duration(i)*15*time.Second), "before_crash", func(ctx context.Context) error {
			ctx = withCorrelation(ctx, newCorrelation())
			if err := want(w.http(ctx, ask{method: "GET", url: s.url("media", fmt.Sprintf("/thumbnail/%d", 500+i))}), 200); err != nil {
				return err
			}
			w.redis(ctx, "SET", fmt.Sprintf("thumb:%d", 500+i), "done", "EX", "600")
			n := 1 + i/5
			for k := range n {
				if err := want(w.http(ctx, ask{method: "PUT", url: s.url("storage", fmt.Sprintf("/thumbnails/%d-%d.png", 500+i, k)), body: []byte(strings.Repeat("png", 500*(i+1)))}), 200); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i := range 3 {
		t.on(at.Add(-time.Duration(30-i*10)*time.Second+3*time.Second), "before_crash", func(ctx context.Context) error {
			t.ailing.Store(true)
			t.probe(ctx)
			return nil
		})
	}
	t.on(at.Add(-4*time.Minute-7*time.Second), "", func(ctx context.Context) error { t.probe(ctx); return nil })
	// It dies with a call in flight, whose response is lost.
	t.on(at.Add(-300*time.Millisecond), "crash", func(ctx context.Context) error {
		conn, err := w.dialName(ctx, "tcp4", strings.TrimPrefix(s.url("inventory", ""), "http://"))
		if err != nil {
			return err
		}
		e := s.log.begin(w, "http1")
		e.Method, e.Path, e.Endpoint, e.Host, e.Error = "GET", "/v1/recount", "/v1/recount", strings.TrimPrefix(strings.TrimSuffix(s.url("inventory", ""), ":8080"), "http://"), "reset"
		e.ClientAddr, e.ServerAddr = conn.LocalAddr().String(), conn.RemoteAddr().String()
		fmt.Fprintf(conn, "GET /v1/recount HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n\r\n", strings.TrimPrefix(s.url("inventory", ""), "http://"), w.web.agent)
		time.Sleep(60 * time.Millisecond)
		reset(conn)
		s.log.end(s, e)
		t.ailing.Store(false)
		time.Sleep(s.sc.ms("sync_call") + 50*time.Millisecond)
		return nil
	})
	pod := func(d time.Duration, typ, reason, message string, count int64) {
		t.events = append(t.events, event{at: at.Add(d), pod: w, kind: "k8s", typ: typ, reason: reason, message: message, object: "Pod", count: count})
	}
	pod(-7*time.Second, "Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 3)
	t.events = append(t.events, event{at: at, pod: w, kind: "oom_kill"}, event{at: at.Add(4 * time.Millisecond), pod: w, kind: "exit"})
	pod(time.Second, "Warning", "OOMKilled", "Container "+w.svc.Name+" exit code 137", 1)
	pod(2*time.Second, "Warning", "BackOff", "Back-off restarting failed container "+w.svc.Name, 1)
	pod(22*time.Second, "Normal", "Pulled", "Container image \""+w.svc.Image+"\" already present on machine", 1)
	pod(23*time.Second, "Normal", "Restarted", "Started container "+w.svc.Name, 1)
	t.spread(at.Add(30*time.Second), at.Add(3*time.Minute), 4, "", func(ctx context.Context, _ int) error { t.probe(ctx); return nil })
}

// security adds traffic that security questions must find.
func (t *story) security() {
	s := t.s
	t.spread(s.sc.time("breach_from").Add(time.Minute), s.sc.time("breach_to").Add(-time.Minute), s.sc.count("breach_queries"), "breach", t.breach)
	t.spread(s.sc.time("breach_from").Add(3*time.Minute), s.sc.time("breach_to").Add(-4*time.Minute), 3, "breach_ordinary", func(ctx context.Context, _ int) error {
		user := t.someUser()
		return want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/api/users/"+user), header: []string{"Authorization", s.bearer(user)}}), 200)
	})
	every := s.sc.ms("beacon_every")
	for i := range s.sc.count("beacons") {
		t.on(s.sc.time("beacon").Add(time.Duration(i)*every), "beacon", func(ctx context.Context) error {
			return want(s.pod("media").http(ctx, ask{method: "POST", url: s.url("beacon", "/c"), body: object{"n": i, "h": random(8)}}), 200)
		})
	}
	t.on(s.sc.time("tunnel"), "tunnel", func(ctx context.Context) error {
		for range s.sc.count("tunnel_queries") {
			if _, err := s.pod("legacy").names.ask(ctx, random(28)+"."+random(10)+"."+s.sc.name("tunnel")+".", dns.TypeTXT); err != nil {
				return err
			}
		}
		return nil
	})
	t.spread(s.sc.time("tunnel").Add(10*time.Minute), s.sc.time("tunnel").Add(20*time.Minute), s.sc.count("nxdomain"), "nxdomain", func(ctx context.Context, _ int) error {
		_, err := s.pod("cart").names.ask(ctx, s.sc.text("typo")+"."+s.sc.ns("shop")+clusterZone, dns.TypeA)
		return err
	})
	t.spread(s.sc.time("tunnel").Add(21*time.Minute), s.sc.time("tunnel").Add(26*time.Minute), s.sc.count("servfail"), "servfail", func(ctx context.Context, _ int) error {
		_, err := s.pod("notification").names.ask(ctx, s.sc.text("broken_domain")+".", dns.TypeA)
		return err
	})
	t.spread(s.sc.time("uploads").Add(-9*time.Minute), s.sc.time("now").Add(-8*time.Minute), s.sc.count("adtrack"), "adtrack", func(ctx context.Context, _ int) error {
		return want(s.pod("promo").http(ctx, ask{method: "POST", url: "https://" + s.sc.name("analytics") + "/e", kind: "analytics", body: object{"page": "/"}}), 200)
	})
	t.spread(s.sc.time("uploads").Add(-6*time.Minute), s.sc.time("now").Add(-9*time.Minute), s.sc.count("raw"), "raw", func(ctx context.Context, _ int) error {
		return want(s.pod("report").http(ctx, ask{method: "POST", url: "https://" + s.sc.name("raw") + "/in", kind: "raw", body: strings.Repeat("row;", 2000)}), 200)
	})
	// Requests for a customer need no credentials.
	t.spread(s.sc.time("uploads").Add(2*time.Minute), s.sc.time("uploads").Add(30*time.Minute), s.sc.count("no_authorization"), "no_authorization", func(ctx context.Context, _ int) error {
		return want(s.pod("promo").http(withCorrelation(ctx, newCorrelation()), ask{method: "GET", url: s.url("user-service", "/v1/users/"+t.someUser())}), 200)
	})
	t.on(s.sc.time("uploads").Add(-20*time.Minute), "secrets", t.leaks)
	t.on(s.sc.time("uploads").Add(-19*time.Minute), "hidden_prompt", func(ctx context.Context) error {
		user := t.someUser()
		body := object{"user": user, "sku": s.sc.text("sku"), "note": s.sc.text("hidden_prompt")}
		return want(t.customer().http(ctx, ask{method: "POST", url: s.url("gateway", "/api/cart"), header: []string{"Authorization", s.bearer(user)}, body: body}), 200)
	})
	t.spread(s.sc.time("latency").Add(90*time.Minute), s.sc.time("uploads"), s.sc.count("bypass_queries"), "bypass", func(ctx context.Context, i int) error {
		_, err := s.pod("report").db("orders-database").rows(ctx, "select id, user_id, sku from orders where user_id = $1 order by id", fmt.Sprintf("u%d", i))
		return err
	})
	t.on(s.sc.time("uploads").Add(40*time.Minute), "storm", func(ctx context.Context) error {
		for range s.sc.count("storm") { // endless immediate requests for a missing resource
			if err := want(s.pod("promo").http(ctx, ask{method: "GET", url: s.url("product-service", "/v1/banners/spring")}), 404); err != nil {
				return err
			}
			time.Sleep(4 * time.Millisecond)
		}
		return nil
	})
}

// breach is an intruder at the users' database.
func (t *story) breach(ctx context.Context, i int) error {
	s := t.s
	d := s.pod("debug").db("user-database")
	d.user, d.pass = s.sc.text("db_user"), s.sc.text("db_password")
	list := []string{
		"select version()", "select table_name from information_schema.tables where table_schema = 'public'", "select count(*) from users",
		"select column_name from information_schema.columns where table_name = 'users'", "select id, email from users order by id limit 20", "select rolname, rolpassword is not null as has from pg_authid",
	}
	sql := fmt.Sprintf("select * from users order by id limit 10 offset %d", (i-len(list))*10)
	if i < len(list) {
		sql = list[i]
	}
	if i == 2 { // and once with an error
		return d.with(ctx, func(c *pgx.Conn) error {
			c.Exec(ctx, "select * from user_secrets")
			_, err := c.Exec(ctx, sql)
			return err
		})
	}
	_, err := d.rows(ctx, sql)
	return err
}

// leaks plants secrets in places where they do not belong, and decoys next to them.
func (t *story) leaks(ctx context.Context) error {
	s := t.s
	ctx = withCorrelation(ctx, newCorrelation())
	tester := s.pod("tester")
	if err := want(s.pod("report").http(ctx, ask{method: "GET", url: s.url("token-service", "/v1/debug/config")}), 200); err != nil {
		return err
	}
	user := s.sc.text("user")
	if err := want(tester.http(ctx, ask{method: "PUT", url: s.url("user-service", "/v1/users/"+user),
		body: object{"ssn": s.sc.text("ssn"), "iban": s.sc.text("iban"), "phone": s.sc.text("phone"), "email": s.sc.text("email"),
			"serial": s.sc.text("ssn_decoy"), "reference": s.sc.text("iban_decoy"), "ticket": s.sc.text("card_decoy")}}), 200); err != nil {
		return err
	}
	t.facts["jwt"] = jwt(user, audience, signWith, s.clock.now().Add(time.Hour))
	if err := want(tester.http(ctx, ask{method: "GET", url: s.url("media", "/thumbnail/7?access_token="+t.facts["jwt"])}), 200); err != nil {
		return err
	}
	key, err := samplePrivateKey()
	if err != nil {
		return err
	}
	t.facts["private_key"] = key
	return want(s.pod("worker").http(ctx, ask{method: "PUT", url: s.url("storage", "/backup/deploy.pem"), body: key}), 200)
}
