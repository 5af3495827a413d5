package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// countEvery is the time between counts if nobody scrapes. The live run keeps its cuts for a minute.
const countEvery = 20 * time.Second

// counting counts the calls of the live run for Prometheus, from the first scrape on.
type counting struct {
	mu      sync.Mutex
	table   *pairs.Table // nil before the first scrape
	cut     int64        // the last one whose calls were counted
	handler http.Handler
	begin   func() // counts from time to time until stop
	stop    context.CancelFunc
	running sync.WaitGroup
	seen    seenCalls       // with several rings
	stated  map[string]bool // gaps of the last cut
}

// prepareCounting makes what the first scrape begins.
func (s *Server) prepareCounting() {
	ctx, stop := context.WithCancel(context.Background())
	s.counting.begin = func() { s.counting.running.Go(func() { s.count(ctx) }) }
	s.counting.stop = stop
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

// counted counts the calls up to now, and returns the handler of scrapes. The first call begins to count.
func (s *Server) counted(ctx context.Context) (http.Handler, error) {
	c := &s.counting
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table != nil {
		s.countCuts(ctx)
		return c.handler, nil
	}
	_, cut, release, err := s.cases.LiveAfter(ctx, 0)
	if err != nil {
		return nil, s.explain(nil, err)
	}
	release()
	c.cut = cut
	c.table = pairs.New()
	all := prometheus.NewRegistry()
	all.MustRegister(c.table, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	c.handler = promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 20 * time.Second})
	c.begin()
	return c.handler, nil
}

// end ends counting.
func (c *counting) end() {
	c.stop()
	c.running.Wait()
}

// count counts from time to time.
func (s *Server) count(ctx context.Context) {
	for {
		select {
		case <-time.After(countEvery):
		case <-ctx.Done():
			return
		}
		s.counting.mu.Lock()
		s.countCuts(ctx)
		s.counting.mu.Unlock()
	}
}

// countCuts counts the calls that were finished since its last call. If it fails, the next call counts them.
func (s *Server) countCuts(ctx context.Context) {
	n := &s.counting
	ctx, cancel := context.WithTimeout(ctx, s.o.Deadline)
	defer cancel()
	c, cut, release, err := s.cases.LiveAfter(ctx, n.cut)
	if err == nil && c == nil {
		n.cut = cut
	} else if err == nil {
		defer release()
		err = s.withSlot(ctx, caller{client: "metrics"}, "", short, c, func(ctx context.Context, _ *tools.Invocation) error {
			ids, err := s.idsOf(ctx, c)
			if err != nil {
				return err
			}
			rows, err := s.pairsOf(ctx, c, ids)
			if err != nil {
				return err
			}
			coverage, err := c.Coverage(0, 0)
			if err == nil {
				n.table.Add(rows, n.newGaps(coverage.Holes))
				n.cut = cut
				for _, id := range ids {
					n.seen.add(id)
				}
			}
			return err
		})
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		n.table.Fail()
	}
}

// idsOf lists the identities of a case's calls if there are several rings, which see some calls between them.
func (s *Server) idsOf(ctx context.Context, c *forensics.Case) (ids []string, err error) {
	if s.o.Live == nil {
		return nil, nil
	}
	_, err = c.Each(ctx, forensics.Query{SQL: "SELECT hex(call_id) FROM calls WHERE call_id IS NOT NULL", Named: true}, nil, func(_ []forensics.Column, values []any) error {
		id, _ := values[0].(string)
		ids = append(ids, id)
		return nil
	})
	return ids, err
}

// pairsOf counts the calls of a case by pair, with masked names. ids are those of its calls, of which some may have
// been counted already.
func (s *Server) pairsOf(ctx context.Context, c *forensics.Case, ids []string) (rows []pairs.Row, err error) {
	q := forensics.Query{SQL: pairs.SQL, Args: pairs.Bounds(), Named: true}
	if but := s.counting.seen.among(ids); len(but) > 0 {
		q.SQL, q.Args = pairs.SQLBut, append(q.Args, but)
	}
	_, err = c.Each(ctx, q, nil, func(_ []forensics.Column, values []any) error {
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

// newGaps lists the reasons of the gaps that the cut before did not have.
func (c *counting) newGaps(holes []forensics.Hole) (reasons []string) {
	now := map[string]bool{}
	for _, h := range holes {
		key := fmt.Sprint(h.Source, "\x00", h.Reason, "\x00", h.From)
		if now[key] = true; !c.stated[key] {
			reasons = append(reasons, h.Reason)
		}
	}
	c.stated = now
	return reasons
}
