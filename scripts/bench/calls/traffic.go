package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

const (
	fin, syn, psh, ack = 1, 2, 8, 16

	begin   = 1_772_000_000_000_000_000 // start of day 0, nanoseconds since 1970
	network = 150_000                   // latency between two pods, nanoseconds
	perConn = 200                       // calls of a connection before it is closed

	callsPerTrace = 42 // approximate, for the rate
)

type pair struct{ from, to [4]byte }

// conn is a connection that is kept open for further calls.
type conn struct {
	client, server end
	seq, ack       uint32
	calls          int
	free           int64 // time of its last response
	ready          bool  // the database has answered the start-up message
}

type pool struct{ conns []*conn }

type traffic struct {
	wire
	*cluster
	pools  map[pair]*pool
	port   int
	trace  int
	calls  int
	want   int
	length int64
	day    int64
}

func (t *traffic) run() error {
	t.header()
	mean := float64(t.length) / (float64(t.want) / callsPerTrace)
	begin := begin + t.day*86400e9
	at := begin
	for t.calls < t.want && t.err == nil {
		// More by day than by night.
		day := 1 + 0.7*math.Sin(2*math.Pi*float64(at-begin)/86400e9)
		at += int64(t.rnd.ExpFloat64() * mean / day)
		t.flush(at)
		t.trace++
		customer := [4]byte{198, 51, byte(100 + t.rnd.Intn(2)), byte(1 + t.rnd.Intn(250))}
		t.http(at, customer, t.gateway, 0, false)
	}
	t.flush(math.MaxInt64)
	return t.err
}

// on returns a connection to a server: a free one, or a new one.
func (t *traffic) on(at int64, from, to [4]byte, port int, keep bool) (*conn, int64) {
	key := pair{from, to}
	p := t.pools[key]
	if p == nil {
		p = &pool{}
		t.pools[key] = p
	}
	if keep {
		for _, c := range p.conns {
			if c.free < at {
				return c, at
			}
		}
	}
	t.port = (t.port + 1) % 28000
	c := &conn{client: end{from, 32768 + t.port}, server: end{to, port}, seq: t.rnd.Uint32(), ack: t.rnd.Uint32()}
	t.tcp(at, c.client, c.server, c.seq, 0, syn, "")
	t.tcp(at+network, c.server, c.client, c.ack, c.seq+1, syn|ack, "")
	c.seq, c.ack = c.seq+1, c.ack+1
	t.tcp(at+2*network, c.client, c.server, c.seq, c.ack, ack, "")
	if keep {
		p.conns = append(p.conns, c)
	}
	return c, at + 2*network + 1000
}

// exchange sends a request and its response.
func (t *traffic) exchange(c *conn, at, done int64, request, response string, keep bool) {
	t.tcp(at, c.client, c.server, c.seq, c.ack, psh|ack, request)
	c.seq += uint32(len(request))
	if response != "" {
		t.tcp(done, c.server, c.client, c.ack, c.seq, psh|ack, response)
		c.ack += uint32(len(response))
	}
	c.calls, c.free = c.calls+1, done+1000
	if keep && c.calls < perConn {
		return
	}
	t.tcp(done+2000, c.client, c.server, c.seq, c.ack, fin|ack, "")
	t.tcp(done+network, c.server, c.client, c.ack, c.seq+1, fin|ack, "")
	t.tcp(done+2*network, c.client, c.server, c.seq+1, c.ack+1, ack, "")
	if p := t.pools[pair{c.client.ip, c.server.ip}]; p != nil {
		for i, x := range p.conns {
			if x == c {
				p.conns = append(p.conns[:i], p.conns[i+1:]...)
				break
			}
		}
	}
}

func (t *traffic) pod(s *service) [4]byte { return s.pods[t.rnd.Intn(len(s.pods))] }

// http makes one call with all calls that it causes, and returns its end.
func (t *traffic) http(at int64, from [4]byte, s *service, depth int, outside bool) int64 {
	pod := t.pod(s)
	keep := depth > 0
	c, start := t.on(at, from, pod, s.port, keep)
	done := start + network + int64(t.rnd.ExpFloat64()*2e6*s.slow)
	if !outside {
		for _, next := range s.next {
			if t.rnd.Float64() < 0.55 {
				done = t.http(done, pod, next, depth+1, false)
			}
		}
		for range t.rnd.Intn(3) {
			done = t.query(done, pod)
		}
		if t.rnd.Intn(3) == 0 {
			done = t.cache(done, pod)
		}
		if t.rnd.Intn(25) == 0 {
			far := t.outside[t.rnd.Intn(len(t.outside))]
			done = t.http(t.lookup(done, pod, far), pod, far, depth+1, true)
		}
	}
	done += network
	status, body := "200 OK", fmt.Sprintf(`{"ok":true,"count":%d}`, t.rnd.Intn(400))
	switch r := t.rnd.Intn(400); {
	case r == 0:
		status, body = "503 Service Unavailable", `{"error":"upstream timed out"}`
		done += 5e9
	case r < 4:
		status, body = "404 Not Found", `{"error":"no such thing"}`
	}
	path := s.paths[t.rnd.Intn(len(s.paths))]
	if t.rnd.Intn(2) == 0 {
		path = fmt.Sprintf("%s/%d", path, t.rnd.Intn(5000))
	}
	method, load := "GET", ""
	if t.rnd.Intn(4) == 0 {
		method, load = "POST", fmt.Sprintf(`{"order":%d,"qty":%d}`, t.rnd.Intn(20000), t.rnd.Intn(9))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: client/1.0\r\nAccept: application/json\r\nX-Request-Id: req-%08d\r\ntraceparent: 00-%032x-%016x-01\r\n", method, path, s.name, t.trace, t.trace, t.calls)
	if load != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(load))
	}
	b.WriteString("\r\n" + load)
	response := fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nServer: shop\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	t.exchange(c, start, done, b.String(), response, keep)
	t.calls++
	return done
}

// query queries one of the databases in PostgreSQL's simple protocol.
func (t *traffic) query(at int64, from [4]byte) int64 {
	s := t.postgres[t.rnd.Intn(len(t.postgres))]
	c, start := t.on(at, from, s.pods[0], s.port, true)
	if !c.ready {
		c.ready = true
		body := "user\x00app\x00database\x00shop\x00\x00"
		hello := string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + "\x00\x03\x00\x00" + body
		t.tcp(start, c.client, c.server, c.seq, c.ack, psh|ack, hello)
		c.seq += uint32(len(hello))
		ok := "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"
		t.tcp(start+network, c.server, c.client, c.ack, c.seq, psh|ack, ok)
		c.ack += uint32(len(ok))
		start += 2 * network
	}
	sql := fmt.Sprintf("SELECT id, name FROM %s WHERE id = %d", words[t.rnd.Intn(len(words))], t.rnd.Intn(100000))
	done := start + network + int64(t.rnd.ExpFloat64()*8e5)
	if t.rnd.Intn(500) == 0 {
		done += 3e8
	}
	request := "Q" + string(binary.BigEndian.AppendUint32(nil, uint32(5+len(sql)))) + sql + "\x00"
	t.exchange(c, start, done, request, "C\x00\x00\x00\x0dSELECT 0\x00Z\x00\x00\x00\x05I", true)
	t.calls++
	return done
}

func (t *traffic) cache(at int64, from [4]byte) int64 {
	c, start := t.on(at, from, t.pod(t.redis), t.redis.port, true)
	key := fmt.Sprintf("item:%d", t.rnd.Intn(3000))
	done := start + network + int64(t.rnd.ExpFloat64()*1e5)
	t.exchange(c, start, done, fmt.Sprintf("*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key), "$5\r\nvalue\r\n", true)
	t.calls++
	return done
}

// lookup resolves an outside name.
func (t *traffic) lookup(at int64, from [4]byte, far *service) int64 {
	t.port = (t.port + 1) % 28000
	client, server := end{from, 32768 + t.port}, end{t.pod(t.dns), 53}
	q := binary.BigEndian.AppendUint16(nil, uint16(t.rnd.Uint32()))
	q = append(q, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	for _, label := range strings.Split(far.name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0, 0, 1, 0, 1)
	a := append([]byte(nil), q...)
	a[2], a[3], a[7] = 0x81, 0x80, 1
	a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
	a = append(a, far.pods[0][:]...)
	done := at + network + int64(t.rnd.ExpFloat64()*3e5)
	t.udp(at, client, server, q)
	t.udp(done, server, client, a)
	t.calls++
	return done + 1000
}
