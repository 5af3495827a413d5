package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

func (s *shop) inventory(p *pod) routes {
	return routes{
		"GET /v1/stock": func(w http.ResponseWriter, q *query) {
			sku := q.r.URL.Query().Get("sku")
			if sku == "" { // a misspelt parameter counts as missing
				reply(w, 200, object{"items": []any{}})
				return
			}
			out := p.http(q.ctx, ask{method: "GET", url: s.url("data-access", "/v1/rows/stock?sku="+sku)})
			if out.err != nil || out.status != 200 {
				reply(w, http.StatusBadGateway, object{"error": "stock_unknown"})
				return
			}
			reply(w, 200, object{"items": out.json()["rows"]})
		},
		"GET /v1/nearby":  s.slow("nearby"),
		"GET /v1/recount": s.slow("recount"),
	}
}

func (s *shop) cart(p *pod) routes {
	key := func(user string) string { return "cart:" + user }
	return routes{
		"POST /v1/carts": func(w http.ResponseWriter, q *query) {
			if q.str("sku") == "" {
				reply(w, http.StatusBadRequest, object{"error": "sku_missing"})
				return
			}
			n, _, err := p.redis(q.ctx, "HINCRBY", key(q.str("user")), q.str("sku"), "1")
			if err != nil {
				reply(w, 500, object{"error": "no_cart"})
				return
			}
			reply(w, 200, object{"sku": q.str("sku"), "count": n})
		},
		"GET /v1/carts/{id}": func(w http.ResponseWriter, q *query) {
			v, _, err := p.redis(q.ctx, "HGETALL", key(q.r.PathValue("id")))
			if err != nil {
				reply(w, 500, object{"error": "no_cart"})
				return
			}
			reply(w, 200, object{"items": strings.Fields(v)})
		},
		"DELETE /v1/carts/{id}": func(w http.ResponseWriter, q *query) {
			p.redis(q.ctx, "DEL", key(q.r.PathValue("id")))
			w.WriteHeader(http.StatusNoContent)
		},
		"GET /v1/summary": s.slow("summary"),
	}
}

// checkout makes the calls for an order one after another.
func (s *shop) checkout(p *pod) routes {
	stock := &stockClient{p: p}
	return routes{"POST /v1/checkout": func(w http.ResponseWriter, q *query) {
		order, user := q.str("order"), q.str("user")
		if err := stock.reserve(q.ctx, order, q.str("sku"), 1); err != nil {
			reply(w, http.StatusConflict, object{"error": "not_in_stock", "order": order})
			return
		}
		p.http(q.ctx, ask{method: "GET", url: s.url("cart", "/v1/carts/"+user)})
		pay := p.http(q.ctx, ask{method: "POST", url: s.url("payment-service", "/v1/payments"), body: q.json(), header: auth(q.r)})
		if pay.err != nil || pay.status >= 300 {
			reply(w, http.StatusBadGateway, object{"error": "payment_failed", "order": order, "user": user, "cause": pay.json()})
			return
		}
		placed := p.http(q.ctx, ask{method: "POST", url: s.url("order-service", "/v1/orders"), header: auth(q.r),
			body: object{"order": order, "user": user, "sku": q.str("sku"), "quantity": 1, "placed_on": s.clock.now().Format(time.DateOnly)}})
		if placed.err != nil || placed.status >= 300 {
			reply(w, http.StatusBadGateway, object{"error": "order_not_placed", "order": order})
			return
		}
		p.http(q.ctx, ask{method: "DELETE", url: s.url("cart", "/v1/carts/"+user)})
		reply(w, http.StatusCreated, object{"order": order, "receipt": pay.json()["receipt"]})
	}}
}

// orders stores orders through the data-access service, and publishes them for processing.
func (s *shop) orders(p *pod) routes {
	rows := func(q *query, method, path string, body any) answer {
		return p.http(q.ctx, ask{method: method, url: s.url("data-access", "/v1/rows"+path), body: body})
	}
	place := func(w http.ResponseWriter, q *query) {
		in := q.json()
		order, _ := in["order"].(string)
		on, _ := in["placed_on"].(string)
		if _, err := time.Parse(time.DateOnly, on); err != nil {
			reply(w, http.StatusBadRequest, object{"error": "bad_date", "field": "placed_on", "got": on, "want": "YYYY-MM-DD"})
			return
		}
		if order == "" || in["sku"] == nil {
			reply(w, http.StatusUnprocessableEntity, object{"error": "field_missing", "field": "sku"})
			return
		}
		out := rows(q, "POST", "/orders", in)
		if out.status == http.StatusConflict {
			reply(w, http.StatusConflict, object{"error": "order_exists", "order": order})
			return
		}
		if out.err != nil || out.status >= 300 {
			reply(w, http.StatusBadGateway, object{"error": "order_not_kept", "order": order})
			return
		}
		s.announce(p, q, in)
		time.Sleep(s.sc.ms("order"))
		reply(w, http.StatusCreated, object{"order": order, "status": "placed", "quantity": in["quantity"]})
	}
	return routes{
		"POST /v1/orders": place,
		"GET /v1/orders/{id}": func(w http.ResponseWriter, q *query) {
			out := rows(q, "GET", "/orders/"+q.r.PathValue("id"), nil)
			if out.err != nil || out.status != 200 {
				reply(w, http.StatusNotFound, object{"error": "no_such_order", "order": q.r.PathValue("id")})
				return
			}
			reply(w, 200, out.json())
		},
		"GET /v1/orders": func(w http.ResponseWriter, q *query) {
			limit := q.r.URL.Query().Get("limit")
			path := "/orders?limit=" + limit
			if q.r.URL.Query().Get("archive") != "" {
				path = "/archive"
			}
			out := rows(q, "GET", path, nil)
			if out.err != nil || out.status != 200 {
				reply(w, http.StatusBadGateway, object{"error": "orders_unknown"})
				return
			}
			reply(w, 200, out.json())
		},
	}
}

// announce publishes an order for order-processing.
func (s *shop) announce(p *pod, q *query, order object) {
	if err := s.subscribe(); err != nil {
		return
	}
	s.story.mu.Lock()
	if s.story.out == nil {
		s.story.out, _ = p.messages()
	}
	out := s.story.out
	s.story.mu.Unlock()
	if out == nil {
		return
	}
	b, err := json.Marshal(order)
	if err != nil {
		return
	}
	m := &nats.Msg{Data: b, Header: nats.Header{}}
	if c, ok := q.ctx.Value(correlationKey{}).(correlation); ok && !c.lost {
		m.Header.Set("X-Request-Id", c.requestID)
		m.Header.Set("Traceparent", "00-"+c.traceID+"-"+random(8)+"-01")
	}
	s.story.wait.Add(1)
	if err := p.publish(out, "orders.created", m); err != nil {
		s.story.wait.Done()
	}
}

// subscribe connects order-processing, unless it is already connected.
func (s *shop) subscribe() error {
	s.story.mu.Lock()
	defer s.story.mu.Unlock()
	if s.story.in != nil {
		return nil
	}
	c, err := s.pod("order-processing").messages()
	if err != nil {
		return err
	}
	if _, err := c.Subscribe("orders.created", s.process); err != nil {
		return err
	}
	s.story.in = c
	return c.FlushTimeout(5 * time.Second)
}

// process processes an order in order-processing.
func (s *shop) process(m *nats.Msg) {
	defer s.story.wait.Done()
	p := s.pod("order-processing")
	var in object
	if json.Unmarshal(m.Data, &in) != nil {
		return
	}
	order, _ := in["order"].(string)
	sku, _ := in["sku"].(string)
	user, _ := in["user"].(string)
	ctx := context.Background()
	if id := m.Header.Get("X-Request-Id"); id != "" {
		c := correlation{requestID: id}
		if parts := strings.Split(m.Header.Get("Traceparent"), "-"); len(parts) == 4 {
			c.traceID = parts[1]
		}
		ctx = withCorrelation(ctx, c)
	}
	p.http(ctx, ask{method: "GET", url: s.url("inventory", "/v1/stock?sku="+sku)})
	p.http(ctx, ask{method: "PATCH", url: s.url("data-access", "/v1/rows/orders/"+order), body: object{"status": "processing"}})
	s.label(ctx, p, order)
	p.http(ctx, ask{method: "POST", url: s.url("notification", "/v1/send"), body: object{"template": "order_confirmed", "order": order, "user": user, "to": s.emailOf(user)}})
}

// label calls the parcel service, with up to three retries and growing pauses.
func (s *shop) label(ctx context.Context, p *pod, order string) {
	pause := s.sc.ms("backoff")
	for try := 0; ; try++ {
		out := p.http(ctx, ask{method: "POST", url: "https://" + s.sc.name("shipping") + "/v1/labels", kind: "shipping", body: object{"order": order, "weight_grams": 740}})
		if out.err == nil && out.status < 500 || try == 3 {
			return
		}
		time.Sleep(pause)
		pause *= 2
	}
}

func (s *shop) emailOf(user string) string {
	if user == s.sc.text("user") {
		return s.sc.text("email")
	}
	return "customer" + strings.Trim(user, "u") + "@customers.example"
}

// dataAccess is the layer before the orders' database.
func (s *shop) dataAccess(p *pod) routes {
	db := func() *database { return p.db("orders-database") }
	fail := func(w http.ResponseWriter, err error) bool {
		if err == nil {
			return false
		}
		if strings.Contains(err.Error(), "23505") {
			reply(w, http.StatusConflict, object{"error": "duplicate_key"})
		} else {
			reply(w, 500, object{"error": "query_failed"})
		}
		return true
	}
	return routes{
		"POST /v1/rows/orders": func(w http.ResponseWriter, q *query) {
			in := q.json()
			err := db().exec(q.ctx, "insert into orders (id, user_id, sku, quantity, status, placed_on) values ($1, $2, $3, $4, 'placed', $5)",
				in["order"], text(in["user"]), text(in["sku"]), int(number(in["quantity"])), in["placed_on"])
			if !fail(w, err) {
				reply(w, http.StatusCreated, object{"inserted": 1})
			}
		},
		"GET /v1/rows/orders/{id}": func(w http.ResponseWriter, q *query) {
			rows, err := db().rows(q.ctx, "select id, user_id, sku, quantity, status, placed_on from orders where id = $1", q.r.PathValue("id"))
			if fail(w, err) {
				return
			}
			if len(rows) == 0 {
				reply(w, http.StatusNotFound, object{"error": "no_row"})
				return
			}
			reply(w, 200, rows[0])
		},
		"PATCH /v1/rows/orders/{id}": func(w http.ResponseWriter, q *query) {
			if !fail(w, db().exec(q.ctx, "update orders set status = $2 where id = $1", q.r.PathValue("id"), q.str("status"))) {
				reply(w, 200, object{"updated": 1})
			}
		},
		"GET /v1/rows/orders": func(w http.ResponseWriter, q *query) {
			// One query for the list, and one more for every order in it.
			rows, err := db().rows(q.ctx, "select id from orders order by id limit $1::text::int", limitOf(q.r.URL.Query().Get("limit")))
			if fail(w, err) {
				return
			}
			for _, r := range rows {
				one, err := db().rows(q.ctx, "select sku, quantity, status from orders where id = $1", r["id"])
				if fail(w, err) {
					return
				}
				r["order"] = one
			}
			reply(w, 200, object{"rows": rows})
		},
		"GET /v1/rows/archive": func(w http.ResponseWriter, q *query) {
			rows, err := db().rows(q.ctx, fmt.Sprintf("select id, pg_sleep(%.3f)::text as wait from orders where status = 'archived' or id = 'old-1'", s.sc.ms("slow_query_504").Seconds()))
			if !fail(w, err) {
				reply(w, 200, object{"rows": len(rows)})
			}
		},
		"GET /v1/rows/totals": func(w http.ResponseWriter, q *query) {
			rows, err := db().rows(q.ctx, fmt.Sprintf("select count(*), pg_sleep(%.3f)::text as wait from orders", s.sc.ms("pool_query").Seconds()))
			if !fail(w, err) {
				reply(w, 200, object{"rows": rows})
			}
		},
		"GET /v1/rows/stock": func(w http.ResponseWriter, q *query) {
			rows, err := db().rows(q.ctx, "select sku, count from stock where sku = $1 and count > 0", q.r.URL.Query().Get("sku"))
			if !fail(w, err) {
				reply(w, 200, object{"rows": rows})
			}
		},
	}
}

func limitOf(s string) string {
	if s == "" {
		return "10"
	}
	return s
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// number accepts numbers, and texts that some clients send instead.
func number(v any) float64 {
	switch n := v.(type) {
	case float64:
		return n
	case string:
		var f float64
		fmt.Sscan(n, &f)
		return f
	}
	return math.NaN()
}
