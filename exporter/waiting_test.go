package exporter

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
)

// TestWaitingRequestsGetTheirResponses sends 30,000 requests on as many connections before the
// first response. In the default memory limit, none may be given up.
func TestWaitingRequestsGetTheirResponses(t *testing.T) {
	const conns = 30_000
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\norder 000000"
	in := newFrames(5*conns, func(i int, to []byte) []byte {
		c, step := i/3, i%3
		if i >= 3*conns {
			c, step = rounds(i, conns)
		}
		a, p := client(c)
		ask := fmt.Appendf(nil, "GET /orders/%05d HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: crowd/1\r\nAccept: */*\r\n\r\n", c)
		switch step {
		case 0:
			return tcp4(to, a, server, p, 8080, 99, 0, 2, i, nil)
		case 1:
			return tcp4(to, server, a, 8080, p, 499, 100, 18, i, nil)
		case 2:
			return tcp4(to, a, server, p, 8080, 100, 500, 16, i, nil)
		case 3:
			return tcp4(to, a, server, p, 8080, 100, 500, 24, i, ask)
		}
		return tcp4(to, server, a, 8080, p, 500, 100+uint32(len(ask)), 24, i, []byte(answer))
	})
	m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"), Options{Release: "test", Stdin: in, Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Calls["http1"]; got != conns {
		t.Errorf("%d calls of %d connections: requests and responses were not paired; %v", got, conns, m.Accounts)
	}
}
