package http1

import (
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// TestSmallSegmentsStayCheap keeps the cost of hostile traffic near linear: no message may be
// read from its start again with every segment.
func TestSmallSegmentsStayCheap(t *testing.T) {
	each := func(dir func(string) chunks, s string) chunks {
		var c chunks
		for i := range len(s) {
			c = append(c, dir(s[i:i+1])...)
		}
		return c
	}
	c1 := func(s string) chunks { return chunks{client(s)} }
	s1 := func(s string) chunks { return chunks{server(s)} }
	line := strings.Repeat("a", 60<<10)
	for _, row := range []struct {
		name   string
		chunks chunks
	}{
		{"a long request line", each(c1, "GET /"+line)},
		{"a request head of short lines", each(c1, "GET / HTTP/1.1\r\n"+strings.Repeat("a:\n", 20<<10))},
		{"a head that trickles after its answer", append(append(chunks{client("GET /" + line + "\r\nA: "), server("HTTP/1.1 400 No\r\n\r\n")}, each(c1, line)...), client("\r\n\r\n"))},
		{"bytes after CONNECT", append(chunks{client("CONNECT a:1 HTTP/1.1\r\n\r\n")}, each(c1, line)...)},
		{"folded lines", append(chunks{client("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}, each(s1, "HTTP/1.1 200 OK\r\nA: b\r\n"+strings.Repeat(" \n", 20<<10)+"\r\n")...)},
		{"chunks of one byte", append(chunks{client("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}, server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1\r\na\r\n", 100<<10)))},
		{"a chunk extension without end", append(chunks{client("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}, each(s1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"+line)...)},
	} {
		t.Run(row.name, func(t *testing.T) {
			start := time.Now()
			r := play(t, dissect.EndFin, row.chunks...)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
				t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
			}
		})
	}
}
