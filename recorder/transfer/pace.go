package transfer

import (
	"context"
	"net"
	"time"

	"golang.org/x/time/rate"
)

// piece is the largest write that is paced as a whole.
const piece = 64 << 10

// Pace returns a listener whose connections have a separate deadline for each write. All together send at most
// perSecond bytes, so that they leave the node's network and disk, and the recorder's buffer, to others; 0: no limit.
func Pace(l net.Listener, perSecond int64) net.Listener {
	if perSecond == 0 {
		return &patient{l, nil}
	}
	return &patient{l, rate.NewLimiter(rate.Limit(perSecond), piece)}
}

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
