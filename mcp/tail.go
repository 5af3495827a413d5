package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/queue"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// Limits of a stream of calls.
const (
	tailQueue = 1 << 20          // bytes of events that wait for the client
	tailAlive = 15 * time.Second // between comments on a stream without events
)

// limited refuses a stream above the number of open streams.
func (h *handler) limited(s *Server, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if h.streams.Add(1) > int64(h.o.MaxStreams) {
			h.streams.Add(-1)
			w.Header().Set("Retry-After", "5")
			s.restError(w, fmt.Errorf("%d streams are open: %w", h.o.MaxStreams, queue.ErrBusy))
			return
		}
		defer h.streams.Add(-1)
		next(w, r)
	}
}

// tailEnd is the last event of a stream that the server ends.
type tailEnd struct {
	Reason  string `json:"reason"` // slow, error or shutdown
	Message string `json:"message"`
}

// restTail streams the calls that the live run finishes from now on, as server-sent events (WHATWG HTML, section 9.2).
// Events wait for a slow client up to a limit; then the stream ends with an event that states this, so nothing is left
// out silently.
func (s *Server) restTail(w http.ResponseWriter, r *http.Request) {
	begin, who, x := time.Now(), restCaller(r), &question{r: r, q: r.URL.Query()}
	t := &tail{s: s, who: who, kfl: x.get("kfl"), page: tools.ShapedPage{Limit: tools.MaxRows, Format: x.get("format")}}
	err := t.next(r.Context(), 0) // a filter with an error is an error of the request
	if werr := s.logged(who, begin, "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), &accessNote{}, err); werr != nil {
		err = werr
	}
	if err != nil {
		s.restError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set(trustHeader, tools.TrustNote)
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	out := &eventQueue{wake: make(chan struct{}, 1)}
	out.add(": the stream begins\n\n")
	var ended sync.WaitGroup
	ended.Go(func() { t.run(ctx, out) })
	err = out.write(ctx, w)
	stop()
	ended.Wait()
	if t.why != nil || err != nil {
		_ = s.logged(who, begin, "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), &accessNote{rows: t.rows}, fmt.Errorf("the stream ended: %w", firstOf(t.why, err))) // nothing can be held back
	}
}

func firstOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// tail is one stream.
type tail struct {
	s      *Server
	who    caller
	kfl    string
	page   tools.ShapedPage
	cut    int64
	rows   int
	events []byte // of the last cut
	why    error  // it ended
	shown  seenCalls
	stated map[string]bool // gaps of the last cut
}

// run makes events until the client is gone or too slow.
func (t *tail) run(ctx context.Context, out *eventQueue) {
	defer out.close()
	alive := time.Now()
	for {
		err := t.next(ctx, t.cut)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.why = err
			out.end(tailEnd{"error", t.s.hide(err.Error())})
			return
		}
		if len(t.events) == 0 && time.Since(alive) > tailAlive {
			t.events = append(t.events, ": nothing new\n\n"...)
		}
		if len(t.events) == 0 {
			continue
		}
		if alive = time.Now(); !out.add(string(t.events)) {
			t.why = fmt.Errorf("the client reads too slowly: %d bytes of events waited for it", tailQueue)
			out.end(tailEnd{"slow", t.why.Error() + "; later calls are not sent; connect again"})
			return
		}
	}
}

// next waits for a cut after one, and makes the events of its calls.
func (t *tail) next(ctx context.Context, after int64) error {
	c, cut, release, err := t.s.cases.LiveAfter(ctx, after)
	if err != nil {
		return t.s.explain(nil, err)
	}
	defer release()
	if t.cut, t.events = cut, t.events[:0]; c == nil {
		return nil
	}
	return t.s.withSlot(ctx, t.who, "", short, c, func(ctx context.Context, _ *tools.Invocation) error {
		return t.make(ctx, c)
	})
}

func (t *tail) make(ctx context.Context, c *forensics.Case) error {
	a := t.s.invocation(c)
	a.Max = tools.MaxBytes
	page := t.page
	for {
		v, err := a.ShapeCalls(ctx, t.kfl, 0, 0, "", page)
		if err != nil {
			return err
		}
		raw, err := object.Marshal(v)
		if err == nil {
			raw, err = t.s.masked(ctx, c, raw)
		}
		if err != nil {
			return err
		}
		var list struct {
			Calls    []json.RawMessage
			Coverage ask.Coverage
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		for _, call := range list.Calls {
			if t.s.o.Live != nil && t.shown.again(call) {
				continue
			}
			t.event("call", call)
			t.rows++
		}
		if !v.Truncated || len(t.events) > tailQueue {
			return t.gaps(list.Coverage)
		}
		page.Cursor = v.Cursor
	}
}

// gaps makes an event for traffic that was not recorded, or not read. A gap that lasts is stated
// when it begins.
func (t *tail) gaps(c ask.Coverage) error {
	now := map[string]bool{}
	c.Holes = slices.DeleteFunc(c.Holes, func(h ask.Hole) bool {
		key := h.Source + "\x00" + h.Reason + "\x00" + h.From
		now[key] = true
		return t.stated[key]
	})
	if t.stated = now; len(c.Holes) == 0 {
		return nil
	}
	raw, err := object.Marshal(c)
	if err == nil {
		t.event("gap", raw)
	}
	return err
}

func (t *tail) event(kind string, data []byte) {
	t.events = fmt.Appendf(t.events, "event: %s\nid: %d\ndata: %s\n\n", kind, t.cut, data)
}

// eventQueue has the events that wait for a client.
type eventQueue struct {
	mu      sync.Mutex
	waiting []byte
	over    bool
	wake    chan struct{} // has room for one
}

// add adds events. It returns false if the client is too far behind.
func (q *eventQueue) add(text string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 && len(q.waiting)+len(text) > tailQueue {
		return false
	}
	q.put(text)
	return true
}

// end adds the last event, even if others wait.
func (q *eventQueue) end(e tailEnd) {
	raw, _ := object.Marshal(e) // two strings always marshal
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(fmt.Sprintf("event: end\ndata: %s\n\n", raw))
}

func (q *eventQueue) put(text string) {
	q.waiting = append(q.waiting, text...)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *eventQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	q.put("")
}

// write sends events until the queue is closed and empty.
func (q *eventQueue) write(ctx context.Context, w http.ResponseWriter) error {
	flush := http.NewResponseController(w)
	for {
		q.mu.Lock()
		text, over := q.waiting, q.over
		q.waiting = nil
		q.mu.Unlock()
		if len(text) > 0 {
			if _, err := w.Write(text); err != nil {
				return fmt.Errorf("the client does not read: %w", err)
			}
			if err := flush.Flush(); err != nil {
				return fmt.Errorf("the client does not read: %w", err)
			}
			continue
		}
		if over {
			return nil
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil
		}
	}
}
