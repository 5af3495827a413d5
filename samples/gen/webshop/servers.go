package webshop

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
	"github.com/pcapsule/pcapsule/samples/gen/store"
	"github.com/pcapsule/pcapsule/samples/gen/web"
)

const correlation = "X-Correlation-Id"

// cardTimeout is payment's timeout for the external card gateway.
const cardTimeout = 500 * time.Millisecond

func newID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// caller makes the requests of one service and forwards the correlation id.
type caller struct{ c *http.Client }

func newCaller(name string) *caller {
	t := &http.Transport{MaxIdleConnsPerHost: 4}
	return &caller{&http.Client{Transport: agent{name, t}, Timeout: 5 * time.Second}}
}

// agent sets the User-Agent.
type agent struct {
	name string
	next http.RoundTripper
}

func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", a.name)
	return a.next.RoundTrip(r)
}

func (c *caller) json(ctx context.Context, method, url, id string, in any, header ...string) (int, map[string]any, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if id != "" {
		req.Header.Set(correlation, id)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	out := map[string]any{}
	err = json.NewDecoder(res.Body).Decode(&out)
	if err == io.EOF {
		err = nil
	}
	return res.StatusCode, out, err
}

// probes adds the endpoints for the kubelet.
func probes(mux *http.ServeMux, ready func() bool) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

func always() bool { return true }

func shopGateway(ctx context.Context, _ []string) error {
	to := &url.URL{Scheme: "http", Host: "frontend:8080"}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.SetXForwarded()
			if !strings.HasPrefix(r.In.URL.Path, "/api/profile") { // the one route that drops it
				r.Out.Header.Set(correlation, newID())
			}
		},
		ModifyResponse: func(r *http.Response) error { r.Header.Set("Via", "1.1 gateway"); return nil },
		Transport:      &http.Transport{MaxIdleConnsPerHost: 2},
	}
	mux := http.NewServeMux()
	probes(mux, always)
	mux.Handle("/", p)
	return lab.Listen(ctx, ":8080", mux)
}

func shopFrontend(ctx context.Context, _ []string) error {
	conn, err := grpc.NewClient("dns:///inventory:50051", grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	f := &frontend{newCaller("frontend/1.14.2"), conn, redis.NewClient(&redis.Options{Addr: "redis:6379", Protocol: 3, PoolSize: 2})}
	mux := http.NewServeMux()
	probes(mux, always)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html><title>Shop</title><h1>Teas and pots</h1>")
	})
	mux.HandleFunc("GET /products", f.pass("/v1/products"))
	mux.HandleFunc("GET /products/{id}", func(w http.ResponseWriter, r *http.Request) { f.pass("/v1/products/"+r.PathValue("id"))(w, r) })
	mux.HandleFunc("GET /api/profile", func(w http.ResponseWriter, r *http.Request) { f.pass("/v1/reviews/1")(w, r) })
	mux.HandleFunc("POST /api/cart", f.cart)
	mux.HandleFunc("POST /api/checkout", f.checkout)
	return lab.Listen(ctx, ":8080", mux)
}

type frontend struct {
	*caller
	stock *grpc.ClientConn
	carts *redis.Client
}

func (f *frontend) pass(path string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		status, out, err := f.json(r.Context(), "GET", "http://catalogue:8080"+path, r.Header.Get(correlation), nil)
		if err != nil {
			lab.WriteJSON(w, http.StatusBadGateway, map[string]string{"error": "catalogue does not answer"})
			return
		}
		lab.WriteJSON(w, status, out)
	}
}

func (f *frontend) cart(w http.ResponseWriter, r *http.Request) {
	var in struct {
		User, SKU string
		Count     int64
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.SKU == "" {
		lab.WriteJSON(w, http.StatusBadRequest, map[string]string{"error": "sku is missing"})
		return
	}
	n, err := f.carts.HIncrBy(r.Context(), "cart:"+in.User, in.SKU, in.Count).Result()
	if err != nil {
		lab.WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": "no cart"})
		return
	}
	lab.WriteJSON(w, http.StatusOK, map[string]any{"sku": in.SKU, "count": n})
}

type order struct {
	Order       string `json:"order"`
	User        string `json:"user"`
	SKU         string `json:"sku"`
	Card        string `json:"card"`
	AmountCents int    `json:"amount_cents"`
}

func (f *frontend) checkout(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		lab.WriteJSON(w, http.StatusBadRequest, map[string]string{"error": "not an order"})
		return
	}
	id, ctx := r.Header.Get(correlation), r.Context()
	if err := f.stock.Invoke(ctx, "/"+web.StockService+"/Reserve", web.Item(o.SKU, 1), new(structpb.Struct)); err != nil {
		lab.WriteJSON(w, http.StatusConflict, map[string]string{"error": "not in stock", "order": o.Order})
		return
	}
	status, out := 0, map[string]any(nil)
	for try := range 3 { // twice more, after 50 and 100 ms
		if try > 0 {
			time.Sleep(time.Duration(25<<try) * time.Millisecond)
		}
		var err error
		status, out, err = f.json(ctx, "POST", "http://payment:8080/v1/payments", id, o, "Authorization", r.Header.Get("Authorization"))
		if err != nil {
			status = http.StatusBadGateway
		}
		if status != http.StatusServiceUnavailable {
			break
		}
	}
	switch {
	case status == http.StatusCreated:
		f.json(ctx, "POST", "http://notification:8080/v1/send", id, map[string]string{"to": o.User + "@example.net", "order": o.Order})
		lab.WriteJSON(w, http.StatusCreated, out)
	case status == http.StatusServiceUnavailable:
		lab.WriteJSON(w, status, map[string]any{"error": "payment is not available", "order": o.Order})
	default:
		lab.WriteJSON(w, http.StatusBadGateway, map[string]any{"error": "payment failed", "order": o.Order, "cause": out["error"]})
	}
}

func shopCatalogue(ctx context.Context, _ []string) error {
	db, err := pgx.Connect(ctx, store.PgURL("postgres"))
	if err != nil {
		return err
	}
	c := &catalogue{newCache(), make(chan *pgx.Conn, 1)}
	c.db <- db
	if err := shopTables(ctx, db); err != nil {
		return err
	}
	mux := http.NewServeMux()
	probes(mux, always)
	mux.HandleFunc("GET /v1/products", c.list)
	mux.HandleFunc("GET /v1/products/{id}", c.one)
	mux.HandleFunc("GET /v1/reviews/{id}", c.reviews)
	return lab.Listen(ctx, ":8080", mux)
}

func newCache() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: "redis:6379", Protocol: 2, PoolSize: 2})
}

type catalogue struct {
	cache *redis.Client
	db    chan *pgx.Conn // one connection, shared in turn
}

func shopTables(ctx context.Context, db *pgx.Conn) error {
	_, err := db.PgConn().Exec(ctx, `create table products (id int primary key, name text, price_cents int);
		create table reviews (product int, stars int, words text);
		create table orders (id text primary key, user_id text, amount_cents int, at timestamptz default now());
		insert into products select i, 'product ' || i, i * 125 from generate_series(1, 30) i;
		insert into reviews select i % 30 + 1, i % 5 + 1, 'review ' || i from generate_series(1, 90) i`).ReadAll()
	return err
}

type product struct {
	ID         int    `json:"id"`
	Name       string `json:"name"`
	PriceCents int    `json:"price_cents"`
	Stars      int    `json:"stars,omitempty"`
}

// list caches its response for a while, and compresses it if the client accepts gzip.
func (c *catalogue) list(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	text, err := c.cache.Get(ctx, "products:all").Bytes()
	if errors.Is(err, redis.Nil) {
		db := <-c.db
		rows, qerr := db.Query(ctx, "select id, name, price_cents, 0 as stars from products order by id")
		var list []product
		if qerr == nil {
			list, qerr = pgx.CollectRows(rows, pgx.RowToStructByPos[product])
		}
		c.db <- db
		if qerr != nil {
			lab.WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": "no products"})
			return
		}
		text, _ = json.Marshal(map[string]any{"products": list})
		c.cache.Set(ctx, "products:all", text, 30*time.Second)
		w.Header().Set("X-Cache", "miss")
	} else {
		w.Header().Set("X-Cache", "hit")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=30")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(text)
		z.Close()
		return
	}
	w.Write(text)
}

// one queries the database once for the product and once for each related one.
func (c *catalogue) one(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	db := <-c.db
	defer func() { c.db <- db }()
	var p product
	err := db.QueryRow(ctx, "select id, name, price_cents from products where id::text = $1", r.PathValue("id")).Scan(&p.ID, &p.Name, &p.PriceCents)
	if errors.Is(err, pgx.ErrNoRows) {
		lab.WriteJSON(w, http.StatusNotFound, map[string]string{"error": "no product " + r.PathValue("id")})
		return
	}
	if err != nil {
		lab.WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": "no products"})
		return
	}
	related := []int{}
	for i := 1; i <= 5; i++ {
		var stars int
		if err := db.QueryRow(ctx, "select coalesce(avg(stars), 0)::int from reviews where product = $1", p.ID+i).Scan(&stars); err == nil {
			related = append(related, stars)
		}
	}
	lab.WriteJSON(w, http.StatusOK, map[string]any{"product": p, "related_stars": related})
}

// reviews opens a new connection for every request.
func (c *catalogue) reviews(w http.ResponseWriter, r *http.Request) {
	db, err := pgx.Connect(r.Context(), store.PgURL("postgres"))
	if err != nil {
		lab.WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": "no database"})
		return
	}
	defer db.Close(context.Background())
	var n int
	if err := db.QueryRow(r.Context(), "select count(*) from reviews where product::text = $1", r.PathValue("id")).Scan(&n); err != nil {
		lab.WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": "no reviews"})
		return
	}
	lab.WriteJSON(w, http.StatusOK, map[string]int{"reviews": n})
}
