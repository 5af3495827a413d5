package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// serveAll starts every server, in order of dependencies.
func (s *shop) serveAll(ctx context.Context) error {
	if err := s.serveDNS(); err != nil {
		return err
	}
	if err := s.redis(); err != nil {
		return err
	}
	for _, role := range []string{"orders-database", "user-database", "product-database", "session-database"} {
		if err := s.postgres(role); err != nil {
			return err
		}
		if err := s.fill(ctx, role); err != nil {
			return fmt.Errorf("filling %s: %w", role, err)
		}
	}
	if err := s.serveBroker(); err != nil {
		return err
	}
	if err := s.serveStock(); err != nil {
		return err
	}
	for role, make := range map[string]func(*pod) routes{
		"gateway": s.gateway, "frontend": s.frontend, "auth": s.auth, "product-service": s.product, "inventory": s.inventory, "cart": s.cart, "checkout": s.checkout,
		"order-service": s.orders, "user-service": s.users, "notification": s.notification, "media": s.media, "worker": s.worker, "payment-service": s.payment,
		"token-service": s.tokens, "data-access": s.dataAccess, "legacy": s.legacy, "storage": s.storage, "beacon": s.collector,
	} {
		if err := s.serve(role, make); err != nil {
			return fmt.Errorf("starting %s: %w", role, err)
		}
	}
	for role, make := range map[string]func(*pod) routes{
		"payment-gateway": s.cardGateway, "email-provider": s.mail, "shipping": s.parcels, "crm": s.collector, "bank": s.collector, "analytics": s.collector, "raw": s.collector,
	} {
		if err := s.serveTLS(role, make); err != nil {
			return fmt.Errorf("starting %s: %w", role, err)
		}
	}
	return nil
}

// fill makes the tables of a database, from inside its own pod, before recording begins.
func (s *shop) fill(ctx context.Context, role string) error {
	p := s.pod(role)
	conf, err := pgx.ParseConfig(fmt.Sprintf("postgres://shop@%s:5432/postgres?sslmode=disable", p.ip))
	if err != nil {
		return err
	}
	conf.DialFunc = p.dialName
	c, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	sql := map[string]string{
		"orders-database": `create table orders (id text primary key, user_id text, sku text, quantity int, status text, placed_on text);
			create table stock (sku text primary key, count int);
			insert into stock select 'sku-' || i, i from generate_series(1, 40) i;
			insert into orders select 'old-' || i, 'u' || i % 9, 'sku-' || i % 40 + 1, 1, 'done', '2026-01-02' from generate_series(1, 400) i`,
		"user-database": `create table users (id text primary key, name text, email text, phone text, ssn text, iban text, preferences text);
			insert into users select 'u' || i, 'Customer ' || i, 'customer' || i || '@customers.example', '+1-202-555-01' || (i + 10), null, null, '{"theme":"dark"}' from generate_series(1, 60) i;
			create role ` + s.sc.text("db_user") + ` login superuser password '` + s.sc.text("db_password") + `'`,
		"product-database": `create table products (id int primary key, name text, price int);
			insert into products select i, 'product ' || i, i * 99 from generate_series(1, 200) i;
			create table reviews (product int, stars int);
			insert into reviews select i % 200 + 1, i % 5 + 1 from generate_series(1, 1000) i`,
		"session-database": `create table sessions (id text primary key, user_id text);
			insert into sessions select 's' || i, 'u' || i from generate_series(1, 50) i`,
	}[role]
	if role == "user-database" {
		for _, v := range [][2]string{{s.sc.text("user"), s.sc.text("email")}} {
			sql += fmt.Sprintf(`; insert into users values ('%s', 'Jane Doe', '%s', '%s', '%s', '%s', '{"theme":"light"}')`, v[0], v[1], s.sc.text("phone"), s.sc.text("ssn"), s.sc.text("iban"))
		}
	}
	if role == "orders-database" {
		sql += fmt.Sprintf(`; insert into stock values ('%s', 12), ('%s', 0)`, s.sc.text("sku"), s.sc.text("empty_sku"))
	}
	_, err = c.Exec(ctx, sql)
	return err
}

// gateway is the entry point for customers and routes requests to services.
func (s *shop) gateway(p *pod) routes {
	pass := func(w http.ResponseWriter, q *query) {
		path := q.r.URL.RequestURI()
		c := newCorrelation()
		if id := q.r.Header.Get("X-Request-Id"); id != "" {
			c.requestID = id
		}
		c.lost = strings.HasPrefix(path, "/api/profile") // the one route that drops it
		q.ctx = withCorrelation(q.ctx, c)
		to, target := s.route(path)
		timeout := s.sc.ms("gateway_gives_up")
		if strings.HasPrefix(path, "/upload") || strings.HasPrefix(path, "/api/express") {
			timeout = 20 * time.Second
		}
		out := q.forward(w, s.url(to, target), func(a *ask) {
			a.timeout = timeout
			if to == "frontend" {
				a.to = s.replica(p).ip
			}
		})
		if out.err != nil {
			reply(w, http.StatusGatewayTimeout, object{"error": "upstream_timeout", "upstream": s.sc.name(to), "after_ms": timeout.Milliseconds(), "request_id": c.requestID})
		}
	}
	return routes{"/": pass}
}

func (s *shop) route(path string) (role, target string) {
	switch {
	case strings.HasPrefix(path, "/api/orders"):
		return "auth", path
	case strings.HasPrefix(path, "/api/users"):
		return "user-service", "/v1/users" + strings.TrimPrefix(path, "/api/users")
	case strings.HasPrefix(path, "/upload"):
		return "media", path
	}
	return "frontend", path
}

// replica picks a pod of frontend, mostly the same one, like a load balancer with long connections.
func (s *shop) replica(p *pod) *pod {
	s.story.mu.Lock()
	defer s.story.mu.Unlock()
	s.story.picked++
	first := s.sc.count("first_replica_percent")
	list := s.pods["frontend"]
	switch n := s.story.picked * 37 % 100; {
	case n < first:
		return list[0]
	case n < first+(100-first)*2/3:
		return list[1%len(list)]
	}
	return list[2%len(list)]
}

func (s *shop) frontend(p *pod) routes {
	to := func(role, path string) func(http.ResponseWriter, *query) {
		return func(w http.ResponseWriter, q *query) {
			target := path
			for _, name := range []string{"id"} {
				target = strings.ReplaceAll(target, "{"+name+"}", q.r.PathValue(name))
			}
			if q.r.URL.RawQuery != "" {
				target += "?" + q.r.URL.RawQuery
			}
			if out := q.forward(w, s.url(role, target), nil); out.err != nil {
				reply(w, http.StatusBadGateway, object{"error": "no_answer", "upstream": s.sc.name(role)})
			}
		}
	}
	return routes{
		"GET /{$}": func(w http.ResponseWriter, q *query) {
			if c, err := q.r.Cookie("session"); err == nil {
				p.redis(q.ctx, "GET", "session:"+c.Value)
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<!doctype html><title>Shop</title><h1>Teas and pots</h1>")
		},
		"GET /products":      to("product-service", "/v1/products"),
		"GET /products/{id}": to("product-service", "/v1/products/{id}"),
		"GET /search":        to("product-service", "/v1/search"),
		"POST /api/cart":     to("cart", "/v1/carts"),
		"POST /api/checkout": to("checkout", "/v1/checkout"),
		"POST /api/express":  to("payment-service", "/v1/payments"),
		"GET /api/profile":   to("user-service", "/v1/users/"+s.sc.text("user")+"/profile"),
		"GET /api/dashboard": s.dashboard,
		"GET /api/preferences": func(w http.ResponseWriter, q *query) {
			// Three widgets of one page make the same request.
			done := make(chan answer, 3)
			for range 3 {
				go func() {
					done <- p.http(q.ctx, ask{method: "GET", url: s.url("user-service", "/v1/users/"+s.sc.text("user")+"/preferences"), header: auth(q.r)})
				}()
			}
			var out answer
			for range 3 {
				out = <-done
			}
			reply(w, 200, out.json())
		},
	}
}

func auth(r *http.Request) []string {
	if v := r.Header.Get("Authorization"); v != "" {
		return []string{"Authorization", v}
	}
	return nil
}

// dashboard calls four services one after another, although the calls are independent.
func (s *shop) dashboard(w http.ResponseWriter, q *query) {
	id := s.sc.text("user")
	all := object{}
	for _, u := range []string{s.url("product-service", "/v1/featured"), s.url("inventory", "/v1/nearby"), s.url("cart", "/v1/summary"), s.url("user-service", "/v1/users/"+id+"/badges")} {
		out := q.p.http(q.ctx, ask{method: "GET", url: u, header: auth(q.r)})
		all[endpointOf(strings.TrimPrefix(u, "http://"))] = out.json()
	}
	reply(w, 200, all)
}

// slow responds after the time of one of the dashboard's calls.
func (s *shop) slow(name string) func(http.ResponseWriter, *query) {
	return func(w http.ResponseWriter, _ *query) {
		time.Sleep(s.sc.ms("sync_call"))
		reply(w, 200, object{name: []string{"a", "b"}})
	}
}

// auth is the middleware of orders: it accepts requests with a valid token.
func (s *shop) auth(p *pod) routes {
	return routes{"/": func(w http.ResponseWriter, q *query) {
		user, problem := s.checkToken(q.r.Header.Get("Authorization"))
		if problem != "" {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="`+problem+`"`)
			reply(w, http.StatusUnauthorized, object{"error": problem})
			return
		}
		out := q.forward(w, s.url("order-service", "/v1"+strings.TrimPrefix(q.r.URL.RequestURI(), "/api")), func(a *ask) {
			a.header = append(a.header, "X-User-Id", user, "X-User-Roles", "customer", "X-Auth-Checked-At", s.clock.now().Format(time.RFC3339))
		})
		if out.err != nil {
			reply(w, http.StatusGatewayTimeout, object{"error": "no_answer", "upstream": s.sc.name("order-service")})
		}
	}}
}

// product responds from its database; its caching depends on the endpoint.
func (s *shop) product(p *pod) routes {
	db := func() *database { return p.db("product-database") }
	return routes{
		"GET /v1/products": func(w http.ResponseWriter, q *query) {
			time.Sleep(s.productSpan())
			rows, err := db().rows(q.ctx, "select id, name, price from products order by id limit 5")
			if err != nil {
				reply(w, 500, object{"error": "no_products"})
				return
			}
			if s.today() { // the new version queries the stars of each product separately
				for _, r := range rows {
					stars, err := db().rows(q.ctx, "select avg(stars)::int as stars from reviews where product = $1", r["id"])
					if err == nil && len(stars) == 1 {
						r["stars"] = stars[0]["stars"]
					}
				}
			}
			reply(w, 200, object{"products": rows})
		},
		"GET /v1/products/{id}": func(w http.ResponseWriter, q *query) {
			id := q.r.PathValue("id")
			w.Header().Set("Cache-Control", "public, max-age=60")
			s.cached(w, q, "product:"+id, func() (any, error) {
				return db().rows(q.ctx, "select id, name, price from products where id::text = $1", id)
			})
		},
		"GET /v1/search": func(w http.ResponseWriter, q *query) {
			// The key contains the time of the request, so it never repeats.
			s.cached(w, q, "search:"+q.r.URL.Query().Get("q")+":"+q.r.URL.Query().Get("ts"), func() (any, error) {
				return db().rows(q.ctx, "select id, name from products where name like $1", "%"+q.r.URL.Query().Get("q")+"%")
			})
		},
		"GET /v1/featured": s.slow("featured"),
	}
}

func (s *shop) productSpan() time.Duration {
	if s.today() {
		return s.sc.ms("product_today")
	}
	return s.sc.ms("product_yesterday")
}

// today reports whether it is the day of the new version.
func (s *shop) today() bool { return !s.clock.now().Before(s.sc.time("rollout")) }

// cached responds from Redis, and fills the cache.
func (s *shop) cached(w http.ResponseWriter, q *query, key string, load func() (any, error)) {
	began := time.Now()
	if v, found, err := q.p.redis(q.ctx, "GET", key); err == nil && found {
		time.Sleep(s.sc.ms("warm") - time.Since(began))
		w.Header().Set("X-Cache", "hit")
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(v))
		return
	}
	rows, err := load()
	if err != nil {
		reply(w, 500, object{"error": "no_rows"})
		return
	}
	b, content := encode(object{"result": rows})
	q.p.redis(q.ctx, "SET", key, string(b), "EX", "60")
	time.Sleep(s.sc.ms("cold") - time.Since(began))
	w.Header().Set("X-Cache", "miss")
	w.Header().Set("Content-Type", content)
	w.Write(b)
}
