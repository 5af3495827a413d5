package mcp

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/pairs"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// countAgain is how long counting waits after an error.
const countAgain = time.Second

// counting counts the calls of the live run for Prometheus, from the first scrape on.
type counting struct {
	mu      sync.Mutex
	table   *pairs.Table // nil before the first scrape
	handler http.Handler
	stop    context.CancelFunc
	running sync.WaitGroup
	over    bool
}

// restMetrics answers a scrape.
func (s *Server) restMetrics(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	handler, err := s.counted(r.Context())
	if werr := s.logged(restCaller(r), begin, "http "+r.Method, r.URL.Path, nil, &accessNote{}, err); werr != nil {
		err = werr
	}
	if err != nil {
		s.restError(w, err)
		return
	}
	w.Header().Set(trustHeader, tools.TrustNote)
	handler.ServeHTTP(w, r)
}

// counted returns the handler of scrapes. The first call begins to count.
func (s *Server) counted(ctx context.Context) (http.Handler, error) {
	c := &s.counting
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table != nil {
		return c.handler, nil
	}
	_, cut, release, err := s.cases.LiveAfter(ctx, 0)
	if err != nil {
		return nil, s.explain(nil, err)
	}
	release()
	c.table = pairs.New()
	all := prometheus.NewRegistry()
	all.MustRegister(c.table, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	c.handler = promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 20 * time.Second})
	if ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx)); c.over {
		c.stop()
	}
	c.running.Go(func() { s.count(ctx, cut) })
	return c.handler, nil
}

// end ends counting.
func (c *counting) end() {
	c.mu.Lock()
	c.over = true
	if c.stop != nil {
		c.stop()
	}
	c.mu.Unlock()
	c.running.Wait()
}

// count counts the calls of each cut after one. Those of a cut that failed are counted with the next one.
func (s *Server) count(ctx context.Context, after int64) {
	for {
		cut, err := s.countCut(ctx, after)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			after = cut
			continue
		}
		s.counting.table.Fail()
		select {
		case <-time.After(countAgain):
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) countCut(ctx context.Context, after int64) (int64, error) {
	c, cut, release, err := s.cases.LiveAfter(ctx, after)
	if err != nil {
		return 0, err
	}
	defer release()
	return cut, s.withSlot(ctx, caller{client: "metrics"}, "", short, c, func(ctx context.Context, _ *tools.Invocation) error {
		rows, err := s.pairsOf(ctx, c)
		if err != nil {
			return err
		}
		coverage, err := c.Coverage(0, 0)
		if err != nil {
			return err
		}
		var gaps []string
		for _, h := range coverage.Holes {
			gaps = append(gaps, h.Reason)
		}
		s.counting.table.Add(rows, gaps)
		return nil
	})
}

// pairsOf counts the calls of a case by pair, with masked names.
func (s *Server) pairsOf(ctx context.Context, c *forensics.Case) (rows []pairs.Row, err error) {
	_, err = c.Each(ctx, forensics.Query{SQL: pairs.SQL, Args: pairs.Bounds(), Named: true}, nil, func(_ []forensics.Column, values []any) error {
		row, err := pairs.RowOf(values)
		rows = append(rows, row)
		return err
	})
	if err != nil || len(rows) == 0 || s.o.Policy == nil {
		return rows, err
	}
	names := make([]pairs.Pair, len(rows))
	for i := range rows {
		names[i] = rows[i].Pair
	}
	raw, err := object.Marshal(names)
	if err == nil {
		raw, err = s.masked(ctx, c, raw)
	}
	if err == nil {
		err = json.Unmarshal(raw, &names)
	}
	for i := range rows {
		rows[i].Pair = names[i]
	}
	return rows, err
}
