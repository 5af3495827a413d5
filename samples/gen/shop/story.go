package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// step is an event at a time of the scenario.
type step struct {
	at    time.Time
	plant string // what it plants; empty for ordinary traffic
	do    func(context.Context) error
}

// story is the list of all steps, and the state that services need.
type story struct {
	s     *shop
	steps []step
	rng   *rand.Rand

	mu     sync.Mutex
	picked int // requests that were assigned to a replica
	in     *nats.Conn
	out    *nats.Conn
	wait   sync.WaitGroup // messages in flight

	stale        atomic.Bool // the token service does not fetch a new token
	slowGateway  atomic.Bool
	charges      atomic.Int64 // charges received by the slow gateway
	parcelFails  atomic.Int64 // requests that the parcel service will still reject
	storageFails atomic.Bool
	ailing       atomic.Bool // the worker is not ready
	orders       int

	events []event
	facts  map[string]string // values that were chosen while the story ran
}

// event is an event of Kubernetes or the system.
type event struct {
	at                           time.Time
	pod                          *pod
	kind                         string // k8s, oom_kill or exit
	typ, reason, message, object string
	count                        int64
}

// on adds a step.
func (t *story) on(at time.Time, plant string, do func(context.Context) error) {
	t.steps = append(t.steps, step{at, plant, func(ctx context.Context) error {
		err := do(ctx)
		t.wait.Wait()
		return err
	}})
}

// spread adds n steps, spread evenly over a span.
func (t *story) spread(from, to time.Time, n int, plant string, do func(context.Context, int) error) {
	for i := range n {
		at := from.Add(to.Sub(from) * time.Duration(i) / time.Duration(n)).Add(time.Duration(t.rng.IntN(1500)) * time.Millisecond)
		t.on(at, plant, func(ctx context.Context) error { return do(ctx, i) })
	}
}

// disconnect ends the broker's connections; the next order opens them again.
func (t *story) disconnect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range []**nats.Conn{&t.in, &t.out} {
		if *c != nil {
			(*c).Close()
			*c = nil
		}
	}
}

func (t *story) customer() *pod {
	list := t.s.pods[customerRole]
	return list[t.rng.IntN(len(list))]
}

// want fails the story if a response differs from the scenario.
func want(a answer, status int) error {
	if a.err != nil || a.status != status {
		return fmt.Errorf("status %d (%v), want %d: %s", a.status, a.err, status, a.body)
	}
	return nil
}

// buy is a customer's checkout.
func (t *story) buy(ctx context.Context, path, order, user string, more ...any) answer {
	body := object{"order": order, "user": user, "sku": t.s.sc.text("sku"), "amount_cents": 1999, "currency": "EUR", "card": t.s.sc.text("card")}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	return t.customer().http(ctx, ask{method: "POST", url: t.s.url("gateway", path), body: body, header: []string{"Authorization", t.s.bearer(user)}})
}

func (t *story) nextOrder() string {
	t.orders++
	return fmt.Sprintf("%s%04d", t.s.sc.text("order")[:1], 6000+t.orders)
}

func (t *story) someUser() string { return fmt.Sprintf("u%d", 1+t.rng.IntN(40)) }

// journey is a customer who browses and buys.
func (t *story) journey(ctx context.Context) error {
	c, user := t.customer(), t.someUser()
	cookie := []string{"Cookie", "session=s" + fmt.Sprint(1+t.rng.IntN(50))}
	for _, path := range []string{"/", "/products", fmt.Sprintf("/products/%d", 1+t.rng.IntN(5))} {
		if err := want(c.http(ctx, ask{method: "GET", url: t.s.url("gateway", path), header: cookie}), 200); err != nil {
			return err
		}
	}
	if err := want(c.http(ctx, ask{method: "POST", url: t.s.url("gateway", "/api/cart"), header: append(cookie, "Authorization", t.s.bearer(user)), body: object{"user": user, "sku": t.s.sc.text("sku")}}), 200); err != nil {
		return err
	}
	return want(t.buy(ctx, "/api/checkout", t.nextOrder(), user), 201)
}

// probe is the kubelet's readiness probe of the worker.
func (t *story) probe(ctx context.Context) {
	w := t.s.pod("worker")
	for _, k := range t.s.pods[kubeletRole] {
		if strings.HasSuffix(k.name, w.node) {
			k.http(ctx, ask{method: "GET", url: fmt.Sprintf("http://%s:%d/readyz", w.ip, w.svc.Port), timeout: time.Second})
		}
	}
}

// tell adds all steps. The facts link them to questions.
func (s *shop) tell() {
	t := s.story
	t.rng = rand.New(rand.NewPCG(s.sc.Seed, 17))
	t.facts = map[string]string{}
	t.week()
	t.security()
	t.periods()
	t.development()
	t.incidents()
	t.lastHour()
	t.crash()
	t.on(s.sc.time("now"), "", func(ctx context.Context) error {
		return want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/")}), 200)
	})
}

// week adds daily traffic, and calls to external hosts.
func (t *story) week() {
	s := t.s
	for day := -6; day <= 0; day++ {
		for i := range 2 {
			t.on(s.sc.day(day).Add(time.Duration(8*60+20+i*37)*time.Minute), "", t.journey)
		}
		t.on(s.sc.day(day).Add(7*time.Hour+50*time.Minute), "vendors", func(ctx context.Context) error {
			user := t.someUser()
			a := s.pod("tester").http(withCorrelation(ctx, newCorrelation()), ask{method: "PUT", url: s.url("user-service", "/v1/users/"+user), body: object{"phone": s.sc.text("phone")}})
			return want(a, 200)
		})
		if day%2 == 0 {
			t.on(s.sc.day(day).Add(7*time.Hour+40*time.Minute), "vendors", func(ctx context.Context) error {
				a := s.pod("worker").http(ctx, ask{method: "PUT", url: s.url("storage", fmt.Sprintf("/thumbnails/day%d.png", -day)), body: []byte(strings.Repeat("png", 300))})
				return want(a, 200)
			})
		}
		t.on(s.sc.day(day).Add(7*time.Hour+45*time.Minute), "basic_auth", func(ctx context.Context) error {
			a := s.pod("report").http(ctx, ask{method: "POST", url: s.url("legacy", "/sync"), body: object{"day": s.clock.now().Format(time.DateOnly)},
				header: []string{"Authorization", basic(s.sc.text("basic_user"), s.sc.text("basic_password"))}})
			return want(a, 200)
		})
	}
}

// periods adds two days that differ.
func (t *story) periods() {
	s := t.s
	for _, day := range []int{-1, 0} {
		shift := time.Duration(day) * 24 * time.Hour
		n := s.sc.count("nine_today")
		if day < 0 {
			n = s.sc.count("nine_yesterday")
		}
		t.spread(s.sc.time("nine_from").Add(shift), s.sc.time("nine_to").Add(shift-time.Minute), n, "nine", func(ctx context.Context, i int) error {
			user := t.someUser()
			path, status := "/api/orders/old-"+fmt.Sprint(1+i), 200
			if day == 0 && i%8 == 7 { // new today: clients request missing orders
				path, status = "/api/orders/gone-"+fmt.Sprint(i), 404
			}
			return want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", path), header: []string{"Authorization", s.bearer(user)}}), status)
		})
		t.spread(s.sc.time("latency").Add(shift), s.sc.time("latency").Add(shift+20*time.Minute), s.sc.count("product_calls")/5, "periods", func(ctx context.Context, i int) error {
			for range 5 {
				if err := want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/products")}), 200); err != nil {
					return err
				}
			}
			user := t.someUser() // unchanged
			return want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/api/users/"+user), header: []string{"Authorization", s.bearer(user)}}), 200)
		})
		t.spread(s.sc.time("latency").Add(shift+25*time.Minute), s.sc.time("latency").Add(shift+45*time.Minute), s.sc.count("journeys"), "", func(ctx context.Context, _ int) error { return t.journey(ctx) })
	}
	for i, p := range s.pods["product-service"] {
		for k, e := range []event{
			{reason: "Killing", message: "Container " + p.svc.Name + " definition changed, will be restarted"},
			{reason: "Pulled", message: "Successfully pulled image \"" + p.svc.Image + "\""},
			{reason: "Started", message: "Started container " + p.svc.Name},
		} {
			e.at, e.pod, e.kind, e.typ, e.object = s.sc.time("rollout").Add(time.Duration(i*4+k)*time.Second), p, "k8s", "Normal", "Pod"
			t.events = append(t.events, e)
		}
	}
}
