package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// facts are the state that the probes report.
type facts struct {
	Leader  string `json:"leader"`  // the active hub
	Leading bool   `json:"leading"` // this one
	Ready   bool   `json:"ready"`   // it serves
}

type state struct {
	mu sync.Mutex
	facts
}

func (s *state) set(change func(*facts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.facts)
}

func (s *state) get() facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.facts
}

// health serves the probes, /healthz while the program runs and /readyz if this hub serves, and /metrics. It returns
// a function that stops it.
func (h *hub) health() (stop func(), err error) {
	l, err := net.Listen("tcp", h.Health)
	if err != nil {
		return nil, fmt.Errorf("listening for probes: %w", err)
	}
	server := &http.Server{Handler: h.probes(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			h.Log.Error("serving probes ended", "error", err)
		}
	}()
	return func() { server.Close() }, nil
}

func (h *hub) probes() http.Handler {
	mux := http.NewServeMux()
	probe := func(good func(facts) bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			f := h.state.get()
			w.Header().Set("Content-Type", "application/json")
			if !good(f) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_ = json.NewEncoder(w).Encode(f) // the client may have gone
		}
	}
	mux.Handle("GET /healthz", probe(func(facts) bool { return true }))
	mux.Handle("GET /readyz", probe(func(f facts) bool { return f.Ready }))
	mux.Handle("GET /metrics", h.metrics())
	return mux
}
