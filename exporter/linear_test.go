package exporter

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/samples/frames"
)

// crowd is n/5 connections of which each has sent its request before the first has its response.
func crowd(n int) io.Reader {
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\norder 000000"
	conns := n / 5
	return newFrames(5*conns, func(i int, to []byte) []byte {
		c, step := i/3, i%3
		if i >= 3*conns {
			c, step = rounds(i, conns)
		}
		a, p := client(c)
		ask := fmt.Appendf(nil, "GET /orders/%05d HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: crowd/1\r\nAccept: */*\r\n\r\n", c)
		switch step {
		case 0:
			return frames.AppendTCP(to, a, server, p, 8080, 99, 0, 2, i, nil)
		case 1:
			return frames.AppendTCP(to, server, a, 8080, p, 499, 100, 18, i, nil)
		case 2:
			return frames.AppendTCP(to, a, server, p, 8080, 100, 500, 16, i, nil)
		case 3:
			return frames.AppendTCP(to, a, server, p, 8080, 100, 500, 24, i, ask)
		}
		return frames.AppendTCP(to, server, a, 8080, p, 500, 100+uint32(len(ask)), 24, i, []byte(answer))
	})
}

// TestFloodsCostIsLinear compares the processor time of floods with four times as many packets.
func TestFloodsCostIsLinear(t *testing.T) {
	for _, name := range []string{"datagrams of one conversation", "connections of one request"} {
		cost := func(n int) time.Duration {
			began := processorTime()
			made(t, Options{Jobs: 1, Stdin: floods[name].make(n)}, "-")
			return processorTime() - began
		}
		cost(2_000) // what is made once
		small, large := cost(15_000), cost(60_000)
		t.Logf("%s: %v and %v", name, small, large)
		if large > 8*small {
			t.Errorf("%s: four times the packets take %v instead of %v", name, large, small)
		}
	}
}
