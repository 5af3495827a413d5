package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"
)

func samplePrivateKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), nil
}

// development adds traffic for questions during development.
func (t *story) development() {
	s := t.s
	at := s.sc.time("new_endpoint")
	t.on(at, "new_endpoint", t.newEndpoint)
	t.on(s.sc.time("tests"), "tests", t.integration)
	t.on(s.sc.time("auth_check"), "auth_check", t.tokensTried)
	for i := range s.sc.count("retry_cases") {
		t.on(s.sc.time("retry_check").Add(time.Duration(i)*20*time.Second), "retries", func(ctx context.Context) error {
			t.parcelFails.Store(3)
			return want(t.buy(ctx, "/api/checkout", t.nextOrder(), t.someUser()), 201)
		})
	}
	// A faulty client: it retries too often, and always after the same pause.
	t.on(s.sc.time("retry_check").Add(3*time.Minute), "wrong_retries", func(ctx context.Context) error {
		t.storageFails.Store(true)
		defer t.storageFails.Store(false)
		ctx = withCorrelation(ctx, newCorrelation())
		for i := range 1 + s.sc.count("wrong_retries") {
			if i > 0 {
				time.Sleep(s.sc.ms("wrong_pause"))
			}
			if err := want(s.pod("media").http(ctx, ask{method: "PUT", url: s.url("storage", "/originals/1.jpg"), body: "a photo"}), 503); err != nil {
				return err
			}
		}
		return nil
	})
	t.on(s.sc.time("cache_check"), "cached", func(ctx context.Context) error {
		for range 1 + s.sc.count("cached") {
			if err := want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/products/77")}), 200); err != nil {
				return err
			}
		}
		return nil
	})
	t.on(s.sc.time("cache_check").Add(90*time.Second), "never_cached", func(ctx context.Context) error {
		for range s.sc.count("never_cached") {
			time.Sleep(3 * time.Millisecond)
			path := fmt.Sprintf("/search?q=cup&ts=%d", s.clock.now().UnixMilli())
			if err := want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", path)}), 200); err != nil {
				return err
			}
		}
		return nil
	})
}

// newEndpoint exercises /api/orders.
func (t *story) newEndpoint(ctx context.Context) error {
	s := t.s
	c, user, order := t.customer(), t.someUser(), t.nextOrder()
	t.facts["new_order"] = order
	good := []string{"Authorization", s.bearer(user)}
	url := s.url("gateway", "/api/orders")
	body := object{"order": order, "user": user, "sku": s.sc.text("sku"), "quantity": 2, "placed_on": s.clock.now().Format(time.DateOnly)}
	for _, x := range []struct {
		q      ask
		status int
	}{
		{ask{method: "POST", url: url, header: good, body: body}, 201},
		{ask{method: "GET", url: url + "/" + order, header: good}, 200},
		{ask{method: "POST", url: url, header: good, body: object{"order": t.nextOrder(), "sku": "sku-2", "placed_on": "tomorrow"}}, 400},
		{ask{method: "POST", url: url, body: body}, 401},
		{ask{method: "GET", url: url + "/nothing-1", header: good}, 404},
	} {
		if err := want(c.http(ctx, x.q), x.status); err != nil {
			return err
		}
	}
	return nil
}

// integration is a test run with planted problems.
func (t *story) integration(ctx context.Context) error {
	s := t.s
	tester, on := s.pod("tester"), s.clock.now().Format(time.DateOnly)
	good := []string{"Authorization", s.bearer("tester-1")}
	do := func(lost bool, q ask, status int) error {
		c := newCorrelation()
		c.lost = lost
		return want(tester.http(withCorrelation(ctx, c), q), status)
	}
	url := s.url("order-service", "/v1/orders")
	for i := range 2 * s.sc.count("drift") { // half of them send the number as text
		var quantity any = 1 + i
		if i%2 == 1 {
			quantity = fmt.Sprint(1 + i)
		}
		body := object{"order": t.nextOrder(), "user": "tester-1", "sku": "sku-3", "quantity": quantity, "placed_on": on}
		if err := do(i == 2 || i == 5, ask{method: "POST", url: url, header: good, body: body}, 201); err != nil {
			return err
		}
	}
	for range 2 { // a date in a national format
		body := object{"order": t.nextOrder(), "user": "tester-1", "sku": "sku-3", "quantity": 1, "placed_on": s.clock.now().Format("01/02/2006")}
		if err := do(false, ask{method: "POST", url: url, header: good, body: body}, 400); err != nil {
			return err
		}
	}
	t.wait.Wait() // so that nothing else queries the database at the same time
	if err := do(false, ask{method: "GET", url: fmt.Sprintf("%s?limit=%d", url, s.sc.count("n_plus_one")), header: good}, 200); err != nil {
		return err
	}
	return do(false, ask{method: "GET", url: url + "?lmit=3", header: good}, 200) // and so gets the default ten
}

// tokensTried sends bad tokens, then a good one.
func (t *story) tokensTried(ctx context.Context) error {
	s := t.s
	user, now := t.someUser(), s.clock.now()
	t.facts["auth_user"] = user
	order := t.facts["new_order"]
	list := []string{"", "Bearer not-a-token", "Bearer " + jwt(user, audience, signWith, now.Add(-time.Hour)), "Bearer " + jwt(user, audience, "another-secret", now.Add(time.Hour)),
		"Bearer " + jwt(user, "other-api", signWith, now.Add(time.Hour)), "Basic dTpw"}
	for i := range s.sc.count("bad_tokens") {
		q := ask{method: "GET", url: s.url("gateway", "/api/orders/"+order)}
		if v := list[i%len(list)]; v != "" {
			q.header = []string{"Authorization", v}
		}
		if err := want(t.customer().http(ctx, q), 401); err != nil {
			return err
		}
	}
	return want(t.customer().http(ctx, ask{method: "GET", url: s.url("gateway", "/api/orders/"+order), header: []string{"Authorization", s.bearer(user)}}), 200)
}
