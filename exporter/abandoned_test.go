package exporter

import (
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// seg is a segment of a dialogue. It acknowledges all that the other side sent before it, unless stale is set.
type seg struct {
	server  bool
	ms      int64
	flags   byte
	payload string
	stale   bool // acknowledges nothing new
	again   bool // has the bytes of the segment before
	partly  int  // acknowledges so many bytes more than before; 0: all
}

const (
	finFlag, rstFlag, ackFlag = 1, 4, 16

	eventStream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	slowAnswer  = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
)

func fromClient(ms int64, flags byte, payload string) seg {
	return seg{ms: ms, flags: flags, payload: payload}
}
func fromServer(ms int64, flags byte, payload string) seg {
	return seg{server: true, ms: ms, flags: flags, payload: payload}
}

// rejects is a RST without ACK, as a closed socket answers data (RFC 9293 section 3.10.7.1).
func rejects(ms int64) seg { return seg{ms: ms, flags: rstFlag, stale: true} }

// dialogue makes a TCP connection of segments.
func dialogue(segs []seg) *conversation {
	ends := [2]netip.AddrPort{netip.MustParseAddrPort("10.1.1.1:40000"), netip.MustParseAddrPort("10.1.1.2:80")}
	c := &conversation{name: "dialogue"}
	seq, acked := [2]uint32{1000, 9000}, [2]uint32{}
	add := func(s seg) {
		d := 0
		if s.server {
			d = 1
		}
		switch {
		case s.partly > 0:
			acked[d] += uint32(s.partly)
		case !s.stale:
			acked[d] = seq[1-d]
		}
		if s.again {
			seq[d] -= uint32(len(s.payload))
		}
		at := s.ms * 1e6
		p := piece{no: len(c.pieces), at: at, order: at, proto: 6, ttl: 64, id: uint16(len(c.pieces) + 1), src: ends[d], dst: ends[1-d], flags: s.flags, seq: seq[d], window: 65000, payload: s.payload}
		if s.flags&ackFlag != 0 {
			p.ack = acked[d]
		}
		c.pieces = append(c.pieces, p)
		seq[d] += uint32(len(s.payload))
		if s.flags&(finFlag|2) != 0 {
			seq[d]++
		}
	}
	for _, s := range append([]seg{fromClient(0, 2, ""), fromServer(0, 2|ackFlag, ""), fromClient(0, ackFlag, "")}, segs...) {
		add(s)
	}
	return c
}

// TestCallerGone has callers that close the connection before, during and after the response, and callers that
// only end their side of it.
func TestCallerGone(t *testing.T) {
	ask := func(path string) string { return "GET /" + path + " HTTP/1.1\r\nHost: shop\r\n\r\n" }
	for _, c := range []struct {
		name, want string
		segs       []seg
	}{
		{"the response is rejected", "200 no_answer abandoned 200000 complete 3-6",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(200, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer), rejects(601)}},
		{"the same, with data in two segments", "200 no_answer abandoned 200000 complete 3-7",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(200, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer[:20]), fromServer(600, ackFlag, slowAnswer[20:]), rejects(601)}},
		{"a reset before the response", "200 no_answer abandoned 200000 complete 3-5",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(200, rstFlag|ackFlag, ""), fromServer(201, ackFlag, slowAnswer)}},
		{"no response after a FIN", "NULL no_answer no_response 200000 incomplete 3",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(200, finFlag|ackFlag, ""), fromServer(600, finFlag|ackFlag, ""), fromClient(600, ackFlag, "")}},
		{"no response after a reset", "NULL no_answer reset 200000 incomplete 3",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(200, rstFlag|ackFlag, "")}},
		{"a part of the response is rejected", "200 no_answer abandoned 200000 incomplete 3-6",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(200, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer[:40]), rejects(601)}},
		{"a half-closed caller acknowledges", "200 ok NULL 600000 complete 3,5",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(0, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer), fromClient(600, ackFlag, ""), fromServer(601, finFlag|ackFlag, ""), rejects(602)}},
		{"a half-closed caller whose acknowledgment was not captured", "200 ok NULL 600000 complete 3,5",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(0, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer)}},
		{"a forged reset: the caller continues", "200 ok NULL 600000 complete 3,5",
			[]seg{fromClient(0, ackFlag, ask("a")), {ms: 200, flags: rstFlag, stale: true}, fromServer(600, ackFlag, slowAnswer), fromClient(600, ackFlag, "")}},
		{"the response came before the FIN", "200 ok NULL 100000 complete 3-4",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(100, ackFlag, slowAnswer), fromClient(200, finFlag|ackFlag, ""), rejects(201)}},
		{"a reset with what it took", "200 ok NULL 600000 complete 3,5",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(200, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer), fromClient(601, rstFlag|ackFlag, "")}},
		{"the server ended first", "NULL no_answer no_response 300000 incomplete 3",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(200, finFlag|ackFlag, ""), fromClient(300, finFlag|ackFlag, "")}},
		{"the server reset a half-closed caller", "NULL no_answer reset 600000 incomplete 3",
			[]seg{fromClient(0, ackFlag, ask("a")), fromClient(0, finFlag|ackFlag, ""), fromServer(600, rstFlag|ackFlag, "")}},
		{"one of two answers was taken", "200 ok NULL 100000 complete 3-4; 200 no_answer abandoned 300000 complete 3,6-8",
			[]seg{fromClient(0, ackFlag, ask("a")+ask("b")), fromServer(100, ackFlag, slowAnswer), fromClient(100, ackFlag, ""), fromClient(300, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer), rejects(601)}},
		{"one of two answers was taken after the FIN", "200 ok NULL 400000 complete 3,5; 200 no_answer abandoned 300000 complete 3-4,7-8",
			[]seg{fromClient(0, ackFlag, ask("a")+ask("b")), fromClient(300, finFlag|ackFlag, ""), fromServer(400, ackFlag, slowAnswer), fromClient(400, ackFlag, ""), fromServer(600, ackFlag, slowAnswer), rejects(601)}},
		{"the rest of the response is rejected", "200 no_answer abandoned 200000 complete 3-7",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(100, ackFlag, slowAnswer[:40]), fromClient(200, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer[40:]), rejects(601)}},
		{"the rest of the response is taken", "200 ok NULL 600000 complete 3-4,6",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(100, ackFlag, slowAnswer[:40]), fromClient(200, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer[40:]), fromClient(600, ackFlag, "")}},
		{"a part of the rest is rejected", "200 no_answer abandoned 200000 incomplete 3-7",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(100, ackFlag, slowAnswer[:40]), fromClient(200, finFlag|ackFlag, ""), fromServer(600, ackFlag, slowAnswer[40:41]), rejects(601)}},
		{"no rest follows a FIN", "200 no_answer cut 200000 incomplete 3-4",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(100, ackFlag, slowAnswer[:40]), fromClient(200, finFlag|ackFlag, ""), fromServer(600, finFlag|ackFlag, ""), fromClient(600, ackFlag, "")}},
		{"the server ended first, in the response", "200 no_answer cut 300000 incomplete 3-4",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(100, ackFlag, slowAnswer[:40]), fromServer(200, finFlag|ackFlag, ""), fromClient(300, finFlag|ackFlag, "")}},
		{"a stream of events that the caller ended", "200 ok cut 100000 incomplete 3-5",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(50, ackFlag, eventStream), fromServer(100, ackFlag, "d\r\ndata: now\n\n\r\n"), fromClient(300, finFlag|ackFlag, ""), fromServer(300, finFlag|ackFlag, "")}},
		{"the same, with an event under way", "200 ok reset 100000 incomplete 3-5",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(50, ackFlag, eventStream), fromServer(100, ackFlag, "d\r\ndata: now\n\n\r\n"), fromClient(300, rstFlag|ackFlag, "")}},
		{"the same, with an event that is rejected", "200 ok reset 600000 incomplete 3-5,7",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(50, ackFlag, eventStream), fromServer(100, ackFlag, "d\r\ndata: now\n\n\r\n"), fromClient(300, finFlag|ackFlag, ""), fromServer(600, ackFlag, "\r\nb\r\ndata: new\n\n\r\n"), rejects(601)}},
		{"a stream of events that the server ended", "200 no_answer cut 300000 incomplete 3-5",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(50, ackFlag, eventStream), fromServer(100, ackFlag, "d\r\ndata: now\n\n\r\n"), fromServer(300, finFlag|ackFlag, ""), fromClient(300, finFlag|ackFlag, "")}},
		{"another stream that the caller ended", "200 no_answer cut 300000 incomplete 3-5",
			[]seg{fromClient(0, ackFlag, ask("a")), fromServer(50, ackFlag, strings.Replace(eventStream, "event-stream", "plain", 1)), fromServer(100, ackFlag, "d\r\ndata: now\n\n\r\n"), fromClient(300, finFlag|ackFlag, ""), fromServer(300, finFlag|ackFlag, "")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, _ := composed([]*conversation{dialogue(c.segs)})
			path := filepath.Join(t.TempDir(), "a.pcapng")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			rows := answersOf(t, []string{path}, Options{},
				"select string_agg(concat_ws(' ', coalesce(status_code::varchar, 'NULL'), outcome, coalesce(error, 'NULL'), waited_us, case when complete then 'complete' else 'incomplete' end, array_to_string(list_transform(cites, lambda r: case when r.first = r.last then r.first::varchar else r.first || '-' || r.last end), ',')), '; ' order by ts, path) from calls")
			if got := strings.Join(rows, ""); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestResponseLostBeforeTheServersFIN has a server that ends its side while the caller keeps its own open until the end
// of the capture. If the FIN shows that bytes before it are missing, they may be the response.
func TestResponseLostBeforeTheServersFIN(t *testing.T) {
	const request = "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
	for _, c := range []struct {
		name, want string
		lost       bool
		segs       []seg
	}{
		{"nothing is missing", "no_answer cut", false,
			[]seg{fromClient(0, ackFlag, request), fromServer(600, finFlag|ackFlag, ""), fromClient(600, ackFlag, "")}},
		{"the response is missing", "unread gap", true,
			[]seg{fromClient(0, ackFlag, request), fromServer(600, ackFlag, slowAnswer), fromServer(601, finFlag|ackFlag, ""), fromClient(601, ackFlag, "")}},
		{"nobody acknowledged it", "unread gap", true,
			[]seg{fromClient(0, ackFlag, request), fromServer(600, ackFlag, slowAnswer), fromServer(601, finFlag|ackFlag, "")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dialogue(c.segs)
			if c.lost {
				d.pieces = slices.DeleteFunc(d.pieces, func(p piece) bool { return p.payload == slowAnswer })
			}
			data, _ := composed([]*conversation{d})
			path := filepath.Join(t.TempDir(), "a.pcapng")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			rows := answersOf(t, []string{path}, Options{}, "select outcome || ' ' || error from calls")
			if got := strings.Join(rows, ""); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestWatchThatItsClientLeaves has a gRPC call that only its client ends. The client has what it waited for, whether it
// ends the stream or the connection.
func TestWatchThatItsClientLeaves(t *testing.T) {
	frame := func(kind, flags byte, payload string) string {
		stream := byte(1)
		if kind == 4 {
			stream = 0
		}
		return string([]byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream}) + payload
	}
	fields := func(list ...string) (block string) { // literals without indexing (RFC 7541 section 6.2.2)
		for i, s := range list {
			if i%2 == 0 {
				block += "\x00"
			}
			block += string([]byte{byte(len(s))}) + s
		}
		return block
	}
	const settings, headers, data, reset, message = 4, 1, 0, 3, "\x00\x00\x00\x00\x02\x08\x01"
	asks := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, "") + frame(headers, 4, fields(":method", "POST", ":scheme", "http", ":path", "/grpc.health.v1.Health/Watch", ":authority", "h",
		"content-type", "application/grpc", "te", "trailers")) + frame(data, 1, message)
	answers := frame(settings, 0, "") + frame(headers, 4, fields(":status", "200", "content-type", "application/grpc")) + frame(data, 0, message)
	for _, c := range []struct {
		name, want string
		then       []seg
	}{
		{"the client ends the stream", "ok", []seg{fromClient(300, ackFlag, frame(reset, 0, "\x00\x00\x00\x08"))}},
		{"the client closes the connection", "ok", []seg{fromClient(300, finFlag|ackFlag, ""), fromServer(300, finFlag|ackFlag, ""), fromClient(300, ackFlag, "")}},
		{"the client resets the connection", "ok", []seg{fromClient(300, rstFlag|ackFlag, "")}},
		{"the server ends the stream", "no_answer", []seg{fromServer(300, ackFlag, frame(reset, 0, "\x00\x00\x00\x08"))}},
		{"the server closes the connection", "no_answer", []seg{fromServer(300, finFlag|ackFlag, ""), fromClient(300, finFlag|ackFlag, ""), fromServer(300, ackFlag, "")}},
		{"the server resets the connection", "no_answer", []seg{fromServer(300, rstFlag|ackFlag, "")}},
		{"the capture ends", "cut", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			packets, _ := composed([]*conversation{dialogue(append([]seg{fromClient(0, ackFlag, asks), fromServer(50, ackFlag, answers), fromClient(50, ackFlag, "")}, c.then...))})
			path := filepath.Join(t.TempDir(), "a.pcapng")
			if err := os.WriteFile(path, packets, 0o600); err != nil {
				t.Fatal(err)
			}
			rows := answersOf(t, []string{path}, Options{}, "select outcome from calls")
			if got := strings.Join(rows, ""); got != c.want {
				t.Errorf("got %q, want %s", got, c.want)
			}
		})
	}
}

// TestShuffledConnection writes the packets of an answered request in any order: the capture has the answer, so no row
// says that there was none.
func TestShuffledConnection(t *testing.T) {
	segs := []seg{fromClient(1, ackFlag, "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"), fromServer(2, ackFlag, ""), fromServer(3, ackFlag, slowAnswer[:20]), fromServer(4, ackFlag, slowAnswer[20:]),
		fromClient(5, ackFlag, ""), fromClient(6, finFlag|ackFlag, ""), fromServer(7, finFlag|ackFlag, ""), fromClient(8, ackFlag, "")}
	rnd := rand.New(rand.NewSource(1))
	var all []*conversation
	for i := range 300 {
		d := dialogue(segs)
		for at, to := range rnd.Perm(len(d.pieces)) {
			p := &d.pieces[at]
			p.order = int64(i*len(segs)*2 + to)
			if port := uint16(20000 + i); p.dst.Port() == 80 {
				p.src = netip.AddrPortFrom(p.src.Addr(), port)
			} else {
				p.dst = netip.AddrPortFrom(p.dst.Addr(), port)
			}
		}
		all = append(all, d)
	}
	data, _ := composed(all)
	path := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	rows := answersOf(t, []string{path}, Options{}, "select count(*) from calls where status_code = 200 and complete",
		"select coalesce(string_agg(src_port || ' ' || summary, '; '), '') from calls where outcome = 'no_answer'")
	if n, _ := strconv.Atoi(rows[0]); n < 100 || rows[1] != "" {
		t.Errorf("%d complete calls; without an answer: %s", n, rows[1])
	}
}
