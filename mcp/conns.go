package mcp

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// fewConns bounds the open connections. One more than that takes the place of the oldest
// whose client still has to say what it wants, so that a thousand which send a byte now and
// then lock nobody out. If all are being answered the new one is closed.
type fewConns struct {
	net.Listener
	most int

	mu      sync.Mutex
	open    int
	waiting list.List // of *counted: what the client wants is not known, the oldest first
}

// Accept implements net.Listener.
func (l *fewConns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		var oldest *counted
		if l.open >= l.most {
			if e := l.waiting.Front(); e != nil {
				oldest, _ = e.Value.(*counted)
			}
		}
		if l.open >= l.most && oldest == nil {
			l.mu.Unlock()
			_ = c.Close() // nothing was said on it
			continue
		}
		mine := &counted{Conn: c, l: l}
		mine.place = l.waiting.PushBack(mine)
		l.open++
		l.mu.Unlock()
		if oldest != nil {
			_ = oldest.Close() // its client said too little for too long
		}
		return mine, nil
	}
}

// counted is a connection of fewConns.
type counted struct {
	net.Conn
	l     *fewConns
	place *list.Element // among those that wait, or nil
	done  bool
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.l.mu.Lock()
	if !c.done {
		c.done = true
		c.l.open--
		c.leave()
	}
	c.l.mu.Unlock()
	return c.Conn.Close()
}

func (c *counted) leave() {
	if c.place != nil {
		c.l.waiting.Remove(c.place)
		c.place = nil
	}
}

// answers says whether the client has said what it wants and has its answer made.
func (c *counted) answers(yes bool) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	switch {
	case yes:
		c.leave()
	case c.place == nil && !c.done:
		c.place = c.l.waiting.PushBack(c)
	}
}

type connKey struct{}

// withConn lets the handlers of a connection know it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// heard says that a request has come whole, or that its answer is made.
func heard(ctx context.Context, whole bool) {
	if c, ok := ctx.Value(connKey{}).(*counted); ok {
		c.answers(whole)
	}
}

// awaited bounds the time of a body, also of one that no handler reads.
func awaited(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		heard(r.Context(), true)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // a transport without deadlines has none to keep
}
