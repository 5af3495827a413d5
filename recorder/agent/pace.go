package agent

import (
	"context"
	"net"
	"time"

	"golang.org/x/time/rate"
)

// piece is the largest write that is paced as a whole.
const piece = 64 << 10

// newPace limits bytes per second; 0: nil, no limit.
func newPace(perSecond int64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), piece)
}

// patient sets a separate deadline for each write of its connections. pace limits the bytes of all together, so that a
// snapshot leaves the node's network and disk to others; nil: no limit.
type patient struct {
	net.Listener
	pace *rate.Limiter
}

func (p *patient) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &patientConn{c, p.pace}, nil
}

type patientConn struct {
	net.Conn
	pace *rate.Limiter
}

func (c *patientConn) Write(b []byte) (n int, err error) {
	for {
		part := b[n:min(n+piece, len(b))]
		if c.pace != nil {
			if err := c.pace.WaitN(context.Background(), len(part)); err != nil {
				return n, err
			}
		}
		if err := c.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			return n, err
		}
		k, err := c.Conn.Write(part)
		if n += k; err != nil || n == len(b) {
			return n, err
		}
	}
}
