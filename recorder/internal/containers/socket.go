//go:build linux

package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"
)

// socket uses Docker's API, which Podman supports too.
type socket struct {
	runtime string
	path    string
	client  *http.Client
	away    time.Duration
	until   time.Time // when it is used again after a failure
}

func newSocket(runtime, path string, o *Options) *socket {
	d := net.Dialer{Timeout: o.Timeout}
	return &socket{runtime: runtime, path: path, away: o.Away, client: &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
			MaxConnsPerHost: 1, MaxIdleConns: 1, IdleConnTimeout: 10 * time.Second, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *socket) name() string { return s.path }

func (s *socket) find(ctx context.Context, id string, _ []string) (*facts, error) {
	now := time.Now()
	if now.Before(s.until) {
		return nil, nil
	}
	if info, err := os.Stat(s.path); err != nil || info.Mode()&fs.ModeSocket == 0 {
		return nil, nil
	}
	f, err := s.ask(ctx, id)
	if err != nil && ctx.Err() == nil {
		s.until = time.Now().Add(s.away)
		return nil, fmt.Errorf("naming containers: asking %s: %w", s.path, err)
	}
	return f, nil
}

func (s *socket) ask(ctx context.Context, id string) (*facts, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/containers/"+id+"/json", nil)
	if err != nil {
		return nil, err
	}
	r, err := s.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	switch {
	case r.StatusCode == http.StatusNotFound:
		_, err := io.Copy(io.Discard, io.LimitReader(r.Body, 64<<10)) // so that the connection can be reused
		return nil, err
	case r.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d", r.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, errors.New("the response is too long")
	}
	var c dockerConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	return c.facts(s.runtime, id), nil
}
