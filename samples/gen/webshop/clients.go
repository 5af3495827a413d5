package webshop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const (
	shopFront  = "http://10.244.0.11:8080" // the gateway, as customers reach it
	probeEvery = 700 * time.Millisecond
)

// shopCustomer visits the shop; the second customer runs into the failures.
func shopCustomer(ctx context.Context, args []string) error {
	c := newCaller("Mozilla/5.0 (sample browser)")
	steps := firstCustomer
	if args[0] == "customer2" {
		steps = secondCustomer
	}
	return steps(ctx, c)
}

func expect(status, want int, err error) error {
	if err == nil && status != want {
		err = fmt.Errorf("status %d, want %d", status, want)
	}
	return err
}

func get(ctx context.Context, c *caller, path string, want int) error {
	req, err := http.NewRequestWithContext(ctx, "GET", shopFront+path, nil)
	if err != nil {
		return err
	}
	res, err := c.c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := expect(res.StatusCode, want, nil); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	_, err = fmt.Fscan(res.Body, new(string))
	return err
}

func checkout(ctx context.Context, c *caller, o order, token string, want int) error {
	status, _, err := c.json(ctx, "POST", shopFront+"/api/checkout", "", o, "Authorization", token)
	if err := expect(status, want, err); err != nil {
		return fmt.Errorf("checkout of order %s: %w", o.Order, err)
	}
	return nil
}

func firstCustomer(ctx context.Context, c *caller) error {
	for _, path := range []string{"/", "/products", "/products", "/products/3", "/products/7"} {
		if err := get(ctx, c, path, http.StatusOK); err != nil {
			return err
		}
	}
	if err := get(ctx, c, "/products/999", http.StatusNotFound); err != nil {
		return err
	}
	for _, sku := range []string{"tea-pot", "cup", "cup"} {
		status, _, err := c.json(ctx, "POST", shopFront+"/api/cart", "", map[string]any{"user": "77", "sku": sku, "count": 1})
		if err := expect(status, http.StatusOK, err); err != nil {
			return err
		}
	}
	status, _, err := c.json(ctx, "POST", shopFront+"/api/cart", "", map[string]any{"user": "77"})
	if err := expect(status, http.StatusBadRequest, err); err != nil {
		return err
	}
	if err := checkout(ctx, c, order{"5001", "77", "tea-pot", "4111111111111111", 1999}, "Bearer sample-77", http.StatusCreated); err != nil {
		return err
	}
	if err := checkout(ctx, c, order{"5002", "77", "none", "4111111111111111", 500}, "Bearer sample-77", http.StatusConflict); err != nil {
		return err
	}
	// Three parallel requests for one page, and six profiles without a correlation id.
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	for range 3 {
		wg.Go(func() { errs <- get(ctx, c, "/products/5", http.StatusOK) })
	}
	wg.Wait()
	for range 3 {
		if err := <-errs; err != nil {
			return err
		}
	}
	for range 6 {
		if err := get(ctx, c, "/api/profile", http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

func secondCustomer(ctx context.Context, c *caller) error {
	if err := get(ctx, c, "/products", http.StatusOK); err != nil {
		return err
	}
	for _, o := range []struct {
		o     order
		token string
		want  int
	}{
		{order{"5003", "88", "cup", "4111111111111111", 450}, "Bearer sample-88", http.StatusCreated},
		{order{"12345", "12345", "bowl", "4111111111111111", 700}, "Bearer expired-12345", http.StatusBadGateway},
		{order{"5005", "88", "bowl", "4000000000000002", 700}, "Bearer sample-88", http.StatusBadGateway},
		{order{"5006", "88", "tea-pot", "4000000000000119", 1999}, "Bearer sample-88", http.StatusServiceUnavailable}, // three tries of 500 ms
		{order{"5007", "88", "cup", "4000000000000119", 450}, "Bearer sample-88", http.StatusServiceUnavailable},
		{order{"5008", "88", "cup", "4111111111111111", 450}, "Bearer sample-88", http.StatusCreated},
	} {
		if err := checkout(ctx, c, o.o, o.token, o.want); err != nil {
			return err
		}
	}
	return get(ctx, c, "/products/4", http.StatusOK)
}

// probeFailure is a failed probe, which the kubelet reports as an event.
type probeFailure struct {
	Pod    string    `json:"pod"`
	At     time.Time `json:"at"`
	Status int       `json:"status"`
}

// shopKubelet runs liveness and readiness probes on each pod with an HTTP port until it is stopped, and
// then writes the failures.
func shopKubelet(ctx context.Context, args []string) error {
	failed := []probeFailure{}
	c := &http.Client{Transport: agent{"kube-probe/1.31", &http.Transport{DisableKeepAlives: true}}, Timeout: time.Second}
	for ctx.Err() == nil {
		for _, p := range shopPods() {
			if p.port != 8080 {
				continue
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				res, _, err := lab.Send(c, "GET", fmt.Sprintf("http://%s:8080%s", p.ip, path), nil)
				if err == nil && res.StatusCode != http.StatusOK {
					failed = append(failed, probeFailure{p.full(), time.Now(), res.StatusCode})
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(probeEvery):
		}
	}
	b, err := json.Marshal(failed)
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], b, 0o644)
}
