package door

import (
	"container/list"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// limitedListener limits the open connections. At the limit, a new connection replaces the oldest one
// without a complete request, so that a thousand slow clients cannot lock out the others. If
// all of them are being answered, the new connection is closed.
type limitedListener struct {
	net.Listener
	most int

	mu      sync.Mutex
	open    int
	waiting list.List // of *limitedConn, without a complete request, the oldest first
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		var oldest *limitedConn
		if l.open >= l.most {
			if e := l.waiting.Front(); e != nil {
				oldest, _ = e.Value.(*limitedConn)
			}
		}
		if l.open >= l.most && oldest == nil {
			l.mu.Unlock()
			_ = c.Close() // nothing was sent on it
			continue
		}
		conn := &limitedConn{Conn: c, l: l}
		conn.place = l.waiting.PushBack(conn)
		l.open++
		l.mu.Unlock()
		if oldest != nil {
			_ = oldest.Close() // its client has not sent a whole request
		}
		return conn, nil
	}
}

// Listen returns a listener with at most most open connections.
func Listen(l net.Listener, most int) net.Listener { return &limitedListener{Listener: l, most: most} }

// limitedConn is a connection of limitedListener.
type limitedConn struct {
	net.Conn
	l     *limitedListener
	place *list.Element // in waiting, or nil
	done  bool
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.l.mu.Lock()
	if !c.done {
		c.done = true
		c.l.open--
		c.leave()
	}
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite ends what the server sends, but still reads. Without it, net/http resets a connection with a request that
// it refused and did not read, and the client may lose the answer.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *limitedConn) leave() {
	if c.place != nil {
		c.l.waiting.Remove(c.place)
		c.place = nil
	}
}

// answers records whether a request of this connection is complete and being answered.
func (c *limitedConn) answers(yes bool) {
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

// WithConn makes the connection available to its handlers.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// isTLS reports whether a request came over TLS. net/http does not see it through limitedConn.
func isTLS(r *http.Request) bool {
	c, _ := r.Context().Value(connKey{}).(*limitedConn)
	if c == nil {
		return r.TLS != nil
	}
	_, yes := c.Conn.(*tls.Conn)
	return yes
}

// markRequest records that a request is complete (whole) or answered.
func markRequest(ctx context.Context, whole bool) {
	if c, ok := ctx.Value(connKey{}).(*limitedConn); ok {
		c.answers(whole)
	}
}

// limitBodyTime limits the time to send a body, even one that no handler reads.
func limitBodyTime(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		markRequest(r.Context(), true)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // a transport may have no deadlines
}

// bodyTime is how long a client may take to send a body.
const bodyTime = 15 * time.Second

// ReadBody reads a request's body of at most most bytes.
func ReadBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err == nil {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // see limitBodyTime
		markRequest(r.Context(), true)
	}
	return body, err
}
