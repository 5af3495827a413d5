package http2

import (
	"bytes"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// gapIn removes n bytes at offset at from a chunk.
func gapIn(c dissecttest.Chunk, at, n int) []dissecttest.Chunk {
	return []dissecttest.Chunk{
		{Dir: c.Dir, Data: c.Data[:at]},
		{Dir: c.Dir, Gap: int64(n), Data: c.Data[at+n:]},
	}
}

func join(parts ...[]dissecttest.Chunk) (all []dissecttest.Chunk) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func one(c dissecttest.Chunk) []dissecttest.Chunk { return []dissecttest.Chunk{c} }

func TestGaps(t *testing.T) {
	for _, tc := range []struct {
		name string
		talk func(c, s *peer) []dissecttest.Chunk
		want string
	}{
		{"inside a DATA frame: only the body is affected", func(c, s *peer) []dissecttest.Chunk {
			a := c.get(1, "/1").get(3, "/3").flush()
			s.headers(1, false, ":status", "200").headers(3, false, ":status", "200")
			b := s.flush()
			d := s.data(1, true, "0123456789").data(3, true, "whole").flush()
			return join(one(a), one(b), gapIn(d, frameHead+2, 5))
		}, "1 GET /1 → 200, gap error=gap got=\"01789\"\n3 GET /3 → 200 complete got=\"whole\"\n"},
		{"the rest of a DATA frame exactly", func(c, s *peer) []dissecttest.Chunk {
			a := c.get(1, "/1").flush()
			b := s.headers(1, false, ":status", "200").flush()
			d := s.data(1, true, "0123456789").flush()
			e := s.headers(3, true, ":status", "204").flush()
			d.Data = d.Data[:frameHead+2]
			e.Gap = 8
			return []dissecttest.Chunk{a, b, d, e, c.get(3, "/3").flush()}
		}, "1 GET /1 → 200, gap error=gap got=\"01\"\n3 GET /3 → 204 complete\n"},
		{"inside a HEADERS frame: only its stream and its block's table entries are affected", func(c, s *peer) []dissecttest.Chunk {
			a := c.headers(1, true, ":method", "GET", ":scheme", "http", ":path", "/1", ":authority", "h", "x-first", "one").flush()
			b := c.headers(3, true, ":method", "GET", ":scheme", "http", ":path", "/3", ":authority", "h", "x-first", "one").flush()
			return join(one(c.flush()), gapIn(a, len(a.Data)-15, 10), one(b), one(s.ok(1, "x").ok(3, "y").flush()))
		}, "1 ? ? → 200, gap error=gap got=\"x\"\n3 GET /3 → 200, gap error=gap got=\"y\"\n"},
		{"between frames: ended streams are not affected", func(c, s *peer) []dissecttest.Chunk {
			a := c.get(1, "/1").get(3, "/3").get(5, "/5").flush()
			b := s.headers(1, false, ":status", "200").data(1, false, "part").flush()
			lost := s.data(1, false, " lost").flush()
			d := s.data(1, true, " end").headers(3, true, ":status", "204").flush()
			d.Gap = int64(len(lost.Data))
			return []dissecttest.Chunk{a, b, d}
		}, "1 GET /1 → 200, gap error=gap got=\"part end\"\n3 GET /3 → 204 complete\n5 GET /5 → gap error=gap\n"},
		{"between frames: a content length shows that nothing was lost", func(c, s *peer) []dissecttest.Chunk {
			a := c.get(1, "/1").get(3, "/3").flush()
			b := s.headers(1, false, ":status", "200", "content-length", "8").data(1, false, "part").flush()
			lost := s.ok(3, "gone").flush()
			d := s.data(1, true, " end").flush()
			d.Gap = int64(len(lost.Data))
			return []dissecttest.Chunk{a, b, d}
		}, "1 GET /1 → 200 complete got=\"part end\"\n3 GET /3 → gap error=gap\n"},
		{"the end of a request is lost", func(c, s *peer) []dissecttest.Chunk {
			a := c.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/1", ":authority", "h").data(1, false, "abc").flush()
			lost := c.data(1, true, "def").flush()
			b := c.get(3, "/3").flush()
			b.Gap = int64(len(lost.Data))
			return []dissecttest.Chunk{a, b, s.ok(1, "x").ok(3, "y").flush()}
		}, "1 POST /1 → 200, gap error=gap sent=\"abc\" got=\"x\"\n3 GET /3 → 200 complete got=\"y\"\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := begin()
			r := play(t, dissect.EndFin, tc.talk(c, s)...)
			if got := dissecttest.Lines(r); got != tc.want {
				t.Errorf("got\n%swant\n%s%v", got, tc.want, r.Anomalies)
			}
		})
	}
}

func TestMidConnection(t *testing.T) {
	c, s := begin()
	c.get(1, "/old").get(3, "/waits")
	s.ok(1, "x")
	c.flush()
	s.flush() // not captured
	r := playMidway(t, s.ok(3, "answer").flush(), c.get(5, "/5").flush(), s.ok(5, "y").flush(),
		c.get(7, "/5").flush(), s.ok(7, "z").flush())
	want := "3 ? ? → 200, no request error=no_request got=\"answer\"\n5 GET /5 → 200, gap error=gap got=\"y\"\n7 GET /5 → 200, gap error=gap got=\"z\"\n"
	if got := dissecttest.Lines(r); got != want {
		t.Fatalf("got\n%swant\n%s%v", got, want, r.Anomalies)
	}
	row := r.Emissions[1].Row.(*Row)
	if row.UnknownHeaders != 3 || row.Headers[0].Name != "(unknown)" || row.Headers[0].Value != "(unknown)" || row.Host.OK {
		t.Errorf("%d unknown headers: %v", row.UnknownHeaders, row.Headers)
	}
	if !strings.Contains(dissecttest.Kinds(r), "hpack_unknown") {
		t.Errorf("anomalies %s", dissecttest.Kinds(r))
	}
}

func TestDetect(t *testing.T) {
	c, s := begin()
	prefaced := c.flush().Data
	settings := s.flush().Data
	c.get(1, "/x")
	request := c.flush().Data
	s.ok(1, "x")
	answer := s.flush().Data
	const high = maxStream + 5
	late := c.get(high, "/x").flush().Data
	lateAnswer := s.ok(high, "x").flush().Data
	ping := []byte("\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678")
	for _, tc := range []struct {
		name string
		dir  dissect.Dir
		head []byte
		want dissect.Verdict
	}{
		{"the preface", dissect.ToServer, prefaced, dissect.Yes},
		{"half a preface", dissect.ToServer, prefaced[:10], dissect.More},
		{"a preface from a server", dissect.ToClient, prefaced, dissect.No},
		{"HTTP/1.1", dissect.ToServer, []byte("PUT / HTTP/1.1\r\n\r\n"), dissect.No},
		{"SETTINGS, which both sides send", dissect.ToClient, settings, dissect.More},
		{"SETTINGS, which the client sends after its preface", dissect.ToServer, settings, dissect.More},
		{"a part of SETTINGS", dissect.ToClient, settings[:4], dissect.More},
		{"SETTINGS and an answer", dissect.ToClient, slices.Concat(settings, answer), dissect.Yes},
		{"SETTINGS and an answer from a client", dissect.ToServer, slices.Concat(settings, answer), dissect.No},
		{"SETTINGS and a request", dissect.ToServer, slices.Concat(settings, request), dissect.Likely},
		{"SETTINGS and a request from a server", dissect.ToClient, slices.Concat(settings, request), dissect.No},
		{"SETTINGS and something else", dissect.ToClient, append(bytes.Clone(settings), "0123456789"...), dissect.No},
		{"empty SETTINGS alone", dissect.ToClient, []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"), dissect.More},
		{"empty SETTINGS and an ACK", dissect.ToClient, []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00"), dissect.More},
		{"PRIORITY_UPDATE from a server", dissect.ToClient, []byte("\x00\x00\x01\x10\x00\x00\x00\x00\x03\x00"), dissect.No},
		{"PRIORITY_UPDATE on a stream", dissect.ToServer, []byte("\x00\x00\x05\x10\x00\x00\x00\x00\x03\x00\x00\x00\x03u"), dissect.No},
		{"PRIORITY_UPDATE that names a stream, and a PING", dissect.ToServer, []byte("\x00\x00\x07\x10\x00\x00\x00\x00\x00\x00\x00\x00\x03u=1\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"), dissect.Likely},
		{"HEADERS of a client on an even stream", dissect.ToServer, []byte("\x00\x00\x01\x01\x05\x00\x00\x00\x02\x82"), dissect.No},
		{"a truncated header block", dissect.ToServer, []byte("\x00\x00\x02\x01\x05\x00\x00\x00\x01\x82\x44"), dissect.No},
		{"an answer on a high stream", dissect.ToClient, lateAnswer, dissect.Likely},
		{"PING and requests on high streams", dissect.ToServer, slices.Concat(ping, late, c.get(high+2, "/x").flush().Data), dissect.Likely},
		{"one frame on a high stream", dissect.ToServer, late, dissect.More},
		{"one frame on a high stream, and a PING", dissect.ToServer, slices.Concat(late, ping), dissect.More},
		{"one frame on a high stream, and the head of another", dissect.ToServer, slices.Concat(late, ping[:4]), dissect.No},
		{"high streams far apart", dissect.ToServer, slices.Concat(late, c.get(high+1<<20, "/x").flush().Data), dissect.No},
		{"a low and a high stream", dissect.ToServer, slices.Concat(request, late), dissect.No},
		{"a DATA frame alone", dissect.ToClient, []byte("\x00\x00\x01\x00\x00\x00\x00\x00\x03x"), dissect.More},
		{"padding longer than its frame", dissect.ToClient, []byte("\x00\x00\x02\x00\x08\x00\x00\x00\x03\x05x\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"), dissect.No},
		{"a request that fills its segment", dissect.ToServer, request, dissect.Likely},
		{"a request from a server", dissect.ToClient, request, dissect.No},
		{"an answer with its body", dissect.ToClient, answer, dissect.Likely},
		{"an answer from a client", dissect.ToServer, answer, dissect.No},
		{"a frame and then something else", dissect.ToClient, append(bytes.Clone(answer[:len(answer)-10]), "0123456789"...), dissect.No},
		{"zeros", dissect.ToClient, make([]byte, 100), dissect.No},
		{"a TLS record", dissect.ToClient, []byte("\x16\x03\x03\x00\x40\x02\x00\x00\x3c\x03\x03"), dissect.No},
		{"nothing", dissect.ToClient, nil, dissect.No},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := detect(tc.dir, tc.head); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestGoAwaysAreLimited(t *testing.T) {
	c, s := begin()
	chunks := []dissecttest.Chunk{c.flush(), s.flush(), c.get(1, "/").flush()}
	for range maxGoAways + 1 {
		s.fr.WriteGoAway(1, 0, nil)
	}
	chunks = append(chunks, s.flush())
	if r := play(t, dissect.EndFin, chunks...); !strings.HasPrefix(dissecttest.Kinds(r), "limit") {
		t.Errorf("%d rows, %s", len(r.Emissions), dissecttest.Kinds(r))
	}
}

func TestBigFramesAreReadInPieces(t *testing.T) {
	const size = 12 << 20
	c, s := begin()
	c.fr.WriteRawFrame(frameSettings, 0, 0, []byte("\x00\x05\x00\xff\xff\xff"))
	chunks := []dissecttest.Chunk{c.flush(), s.flush(), c.get(1, "/big").flush()}
	s.headers(1, false, ":status", "200")
	s.fr.WriteRawFrame(frameData, flagEndStream, 1, make([]byte, size))
	all := s.flush().Data
	for len(all) > 0 {
		n := min(len(all), 1460)
		chunks = append(chunks, dissecttest.Chunk{Dir: dissect.ToClient, Data: all[:n]})
		all = all[n:]
	}
	r := play(t, dissect.EndFin, chunks...)
	if len(r.Emissions) != 1 || r.Emissions[0].Row.Base().ResponseBodySize.V != size || len(r.Anomalies) > 0 {
		t.Errorf("%v", r.Anomalies)
	}
}

// FuzzConn reads random bytes in both directions, split anywhere, with gaps. It must not panic
// and must account for every byte.
func FuzzConn(f *testing.F) {
	c, s := begin()
	c.get(1, "/a").headers(3, false, ":method", "POST", ":scheme", "http", ":path", "/g.S/M", ":authority", "h", "content-type", "application/grpc").
		data(3, true, string(message("hi", true)))
	s.headers(1, false, ":status", "200").headers(3, false, ":status", "200", "content-type", "application/grpc-web-text").data(1, true, "body").
		data(3, false, "AAAAAAMKAXg=").headers(3, true, "grpc-status", "0")
	f.Add(c.flush().Data, s.flush().Data, int64(1))
	f.Add([]byte(preface+"\x00\x00\x02\x01\x01\x00\x00\x00\x01\x82\x84\x00\x00\x01\x09\x04\x00\x00\x00\x01\x86"), []byte("\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"), int64(7))
	f.Add([]byte(preface), []byte("\x00\x00\x06\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02\x82\x84\x00\x00\x01\x01\x05\x00\x00\x00\x02\x88"), int64(3))
	f.Fuzz(func(t *testing.T, a, b []byte, seed int64) {
		rnd := rand.New(rand.NewSource(seed))
		var chunks []dissecttest.Chunk
		left := [2][]byte{a, b}
		for len(left[0])+len(left[1]) > 0 {
			d := rnd.Intn(2)
			if len(left[d]) == 0 {
				continue
			}
			n := 1 + rnd.Intn(len(left[d]))
			ch := dissecttest.Chunk{Dir: dissect.Dir(d), Data: left[d][:n]}
			if rnd.Intn(8) == 0 {
				ch.Gap = int64(1 + rnd.Intn(40))
			}
			chunks, left[d] = append(chunks, ch), left[d][n:]
		}
		r := play(t, dissect.End(rnd.Intn(6)), chunks...)
		if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
			t.Errorf("%d bytes accounted for, want %d; %d held", got, r.Bytes, r.Held)
		}
		for _, e := range r.Emissions {
			if b := e.Row.Base(); b.Summary == "" || len(b.Cites) == 0 {
				t.Errorf("%+v", b)
			}
		}
	})
}
