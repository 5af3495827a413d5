package http1

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// counting is a Sink that only counts.
type counting struct {
	calls, complete, cut int
	large                int // bodies that were not kept
	evicted              map[*dissect.Conn]int
}

func (c *counting) Call(e dissect.Emission) {
	c.calls++
	if b := e.Row.Base(); b.Complete {
		c.complete++
	} else if b.Error.V == "cut" {
		c.cut++
	}
	for _, b := range [...]*dissect.Body{e.ReqBody, e.RespBody} {
		if b != nil {
			if b.Large {
				c.large++
			}
			b.Release()
		}
	}
}

func (c *counting) Anomaly(conn *dissect.Conn, a table.Anomaly) {
	if a.Kind == "evicted" {
		c.evicted[conn]++
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// crowd makes many connections of one engine.
func crowd(t *testing.T, sink dissect.Sink, n, budget int) (*dissect.Engine, []*dissect.Conn) {
	t.Helper()
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, sink, true)
	if err != nil {
		t.Fatal(err)
	}
	e.SetBudget(budget)
	conns := make([]*dissect.Conn, n)
	for i := range conns {
		conns[i] = e.NewConn(dissect.Info{ClientPort: uint16(i), ServerPort: 80, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	}
	return e, conns
}

// TestUnansweredRequestsStayInTheBudget sends requests without answers over many connections.
// Held memory must be charged, and the oldest calls must be cut.
func TestUnansweredRequestsStayInTheBudget(t *testing.T) {
	const budget, conns, rounds = 16 << 20, 1000, 40
	for _, tc := range []struct{ name, request string }{
		{"small heads", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"heads of 8 KiB", "GET /a HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("c", 8<<10) + "\r\n\r\n"},
		{"short header lines", "GET /a HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("a:\r\n", 300) + "\r\n"},
		{"bodies", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + strings.Repeat("b", 5000)},
		{"half a body each", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + strings.Repeat("b", 5000)},
		{"half a head each", "GET /a HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("c", 8<<10)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sink := &counting{evicted: map[*dissect.Conn]int{}}
			before := heap()
			e, list := crowd(t, sink, conns, budget)
			no := int64(0)
			for range rounds {
				for _, c := range list {
					no++
					c.Data(dissect.ToServer, []byte(tc.request), dissect.Packet{No: no, Time: no})
				}
			}
			if e.Held() > budget {
				t.Errorf("%d bytes held, the budget is %d", e.Held(), budget)
			}
			const idle = 4 << 10
			if used := heap() - before; used > budget*5/4+conns*idle {
				t.Errorf("%d bytes of memory in use for %d held", used, e.Held())
			}
			for c, n := range sink.evicted {
				if n != 1 {
					t.Errorf("%d anomalies at %d, want 1", n, c.Info.ClientPort)
				}
			}
			for _, c := range list {
				c.Close(dissect.EndCapture, dissect.Packet{No: no})
			}
			if e.Held() != 0 {
				t.Errorf("%d bytes held after the end", e.Held())
			}
			t.Logf("%d calls, %d cut, %d connections gave some up", sink.calls, sink.cut, len(sink.evicted))
		})
	}
}

// TestKeepAliveConnectionsPairAllCalls uses one engine's share of 30,000 connections that wait
// at the same time, and its share of 256 MiB.
func TestKeepAliveConnectionsPairAllCalls(t *testing.T) {
	const conns, rounds = 30_000 / 16, 3
	sink := &counting{evicted: map[*dissect.Conn]int{}}
	_, list := crowd(t, sink, conns, 8<<20)
	no := int64(0)
	send := func(dir dissect.Dir, s string) {
		for _, c := range list {
			no++
			c.Data(dir, []byte(s), dissect.Packet{No: no, Time: no})
		}
	}
	for i := range rounds {
		send(dissect.ToServer, fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n", i))
		send(dissect.ToClient, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi")
	}
	if sink.complete != rounds*conns || len(sink.evicted) > 0 {
		t.Errorf("%d of %d calls are complete, %d connections gave calls up", sink.complete, rounds*conns, len(sink.evicted))
	}
}

// TestIdleConnectionIsSmall measures a keep-alive connection between two calls.
func TestIdleConnectionIsSmall(t *testing.T) {
	const conns, most = 4000, 1200
	sink := &counting{evicted: map[*dissect.Conn]int{}}
	before := heap()
	_, list := crowd(t, sink, conns, 64<<20)
	for i, c := range list {
		no := int64(2 * i)
		c.Data(dissect.ToServer, []byte("GET /a HTTP/1.1\r\nHost: a\r\n\r\n"), dissect.Packet{No: no})
		c.Data(dissect.ToClient, []byte("HTTP/1.1 200 OK\r\nContent-Len"), dissect.Packet{No: no})
		c.Data(dissect.ToClient, []byte("gth: 2\r\n\r\nhi"), dissect.Packet{No: no + 1})
	}
	if each := (heap() - before) / conns; each > most {
		t.Errorf("%d bytes of memory for an idle connection, want at most %d", each, most)
	} else {
		t.Logf("%d bytes for an idle connection", each)
	}
	runtime.KeepAlive(list)
}

// TestCitationsStayInTheBudget reads a body that arrives one byte per packet, among other
// packets.
func TestCitationsStayInTheBudget(t *testing.T) {
	const budget, packets = 1 << 20, 200_000
	sink := &counting{evicted: map[*dissect.Conn]int{}}
	e, list := crowd(t, sink, 1, budget)
	c := list[0]
	c.Data(dissect.ToServer, []byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"), dissect.Packet{})
	for i := range packets {
		c.Data(dissect.ToServer, []byte("b"), dissect.Packet{No: int64(2*i + 2), Time: int64(i)})
		if e.Held() > budget {
			t.Fatalf("%d bytes held after packet %d", e.Held(), i)
		}
	}
	c.Data(dissect.ToServer, []byte("GET /next HTTP/1.1\r\nHost: a\r\n\r\n"), dissect.Packet{No: 2*packets + 2})
	c.Data(dissect.ToClient, []byte("HTTP/1.1 204 No\r\n\r\n"), dissect.Packet{No: 2*packets + 4, Seq: 0})
	c.Close(dissect.EndCapture, dissect.Packet{No: 2*packets + 6})
	if e.Held() != 0 || sink.calls < 2 || c.RowBytes+c.AnomalyBytes < packets {
		t.Errorf("%d bytes held after the end, %d rows", e.Held(), sink.calls)
	}
}

// TestFattestConnectionGivesUpFirst fills the budget with one connection's requests. Requests of
// small connections must be kept, and the large connection must continue with its next call.
func TestFattestConnectionGivesUpFirst(t *testing.T) {
	sink := &counting{evicted: map[*dissect.Conn]int{}}
	_, list := crowd(t, sink, 20, 1<<20)
	fat, no := list[0], int64(0)
	data := func(c *dissect.Conn, dir dissect.Dir, s string, seq, ack uint32) {
		no++
		c.Data(dir, []byte(s), dissect.Packet{No: no, Time: no, Seq: seq, Ack: ack})
	}
	for range 200 {
		data(fat, dissect.ToServer, "GET /fat HTTP/1.1\r\nHost: a\r\nCookie: "+strings.Repeat("c", 8<<10)+"\r\n\r\n", 0, 0)
	}
	for _, c := range list[1:] {
		data(c, dissect.ToServer, "POST /thin HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n"+strings.Repeat("b", 5000), 0, 0)
	}
	for _, c := range list[1:] {
		data(c, dissect.ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+strings.Repeat("b", 5000), 0, 0)
	}
	if sink.complete != len(list)-1 || len(sink.evicted) != 1 || sink.evicted[fat] != 1 || sink.large > 0 {
		t.Errorf("%d calls of small connections are complete, want %d, %d bodies are lost; calls were given up at %d connections",
			sink.complete, len(list)-1, sink.large, len(sink.evicted))
	}
}
