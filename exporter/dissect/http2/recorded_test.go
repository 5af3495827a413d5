package http2

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
)

// recorder records the bytes of a client's connection in order.
type recorder struct {
	net.Conn
	mu     sync.Mutex
	chunks []dissecttest.Chunk
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.note(dissect.ToClient, p[:n])
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) {
	r.note(dissect.ToServer, p) // before the server can answer
	return r.Conn.Write(p)
}

func (r *recorder) note(dir dissect.Dir, p []byte) {
	if len(p) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chunks = append(r.chunks, dissecttest.Chunk{Dir: dir, Data: bytes.Clone(p)})
}

// record runs the client function exchange against a real server and returns the bytes of one
// connection.
func record(t testing.TB, handler http.HandlerFunc, exchange func(c *http.Client)) []dissecttest.Chunk {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip("needs the loopback interface")
	}
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: handler, Protocols: &h2c}
	go srv.Serve(l)
	defer srv.Close()
	var rec *recorder
	tr := &http.Transport{Protocols: &h2c, DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			return nil, err
		}
		rec = &recorder{Conn: c}
		return rec, nil
	}}
	exchange(&http.Client{Transport: tr})
	tr.CloseIdleConnections()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.chunks
}

func fetch(t testing.TB, c *http.Client, method, path string, body io.Reader, header ...string) string {
	req, err := http.NewRequest(method, "http://shop.test"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

func shop(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch {
	case strings.HasPrefix(r.URL.Path, "/big"):
		w.Write(bytes.Repeat([]byte("0123456789abcdef"), 20_000))
	case strings.HasPrefix(r.URL.Path, "/gzip"):
		w.Header().Set("Content-Encoding", "gzip")
		z := kgzip.NewWriter(w)
		io.WriteString(z, "packed "+r.URL.Path)
		z.Close()
	case strings.HasPrefix(r.URL.Path, "/missing"):
		http.Error(w, "no such thing", http.StatusNotFound)
	default:
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
		w.Header().Set("X-Sum", "1")
	}
}

// shopTalk is a conversation between a real client and a real server.
func shopTalk(t testing.TB) []dissecttest.Chunk {
	return record(t, shop, func(c *http.Client) {
		fetch(t, c, "GET", "/orders?id=1", nil)
		fetch(t, c, "POST", "/orders", strings.NewReader(strings.Repeat("x", 1000)), "Content-Type", "text/plain")
		fetch(t, c, "GET", "/missing", nil)
		fetch(t, c, "GET", "/gzip", nil, "Accept-Encoding", "gzip")
		fetch(t, c, "HEAD", "/orders", nil)
	})
}

func TestRealPeers(t *testing.T) {
	r := play(t, dissect.EndFin, shopTalk(t)...)
	want := "1 GET /orders → 200 complete got=\"GET /orders 0\"\n" +
		"3 POST /orders → 200 complete sent=\"" + strings.Repeat("x", 1000) + "\" got=\"POST /orders 1000\"\n" +
		"5 GET /missing → 404 complete failed got=\"no such thing\\n\"\n" +
		"7 GET /gzip → 200 complete got=\"packed /gzip\"\n" +
		"9 HEAD /orders → 200 complete\n"
	if got := dissecttest.Lines(r); got != want || len(r.Anomalies) > 0 {
		t.Errorf("got\n%swant\n%s%v", got, want, r.Anomalies)
	}
}

func TestManyStreamsAtOnce(t *testing.T) {
	const n = 60
	chunks := record(t, shop, func(c *http.Client) {
		fetch(t, c, "GET", "/first", nil) // one connection for all that follow
		var wg sync.WaitGroup
		for i := range n {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if i%10 == 0 {
					fetch(t, c, "GET", fmt.Sprint("/big", i), nil)
				} else {
					fetch(t, c, "PUT", fmt.Sprint("/o", i), strings.NewReader(strings.Repeat("y", i)))
				}
			}()
		}
		wg.Wait()
	})
	r := play(t, dissect.EndFin, chunks...)
	if len(r.Emissions) != n+1 || len(r.Anomalies) > 0 {
		t.Fatalf("%d rows, %v", len(r.Emissions), r.Anomalies)
	}
	for _, e := range r.Emissions {
		row := e.Row.(*Row)
		if !row.Complete || row.Failed {
			t.Errorf("%s: %v", row.Summary, row.Error)
		}
		want := fmt.Sprintf("%s %s %d", row.Method.V, row.Path.V, row.RequestBodySize.V)
		if strings.HasPrefix(row.Path.V, "/big") {
			want = strings.Repeat("0123456789abcdef", 20_000)
		}
		if string(e.RespBody.Decoded) != want {
			t.Errorf("%s: %d bytes", row.Summary, len(e.RespBody.Decoded))
		}
	}
}

// message is a length-prefixed message with one string field.
func message(s string, packed bool) []byte {
	b := append([]byte{0x0a, byte(len(s))}, s...)
	flag := byte(0)
	if packed {
		var z bytes.Buffer
		w := kgzip.NewWriter(&z)
		w.Write(b)
		w.Close()
		b, flag = z.Bytes(), 1
	}
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(b))), b...)
}

// greeter answers like a gRPC server.
func greeter(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	body, _ := io.ReadAll(r.Body)
	trailer := func(status, text string) {
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", text)
	}
	switch r.URL.Path {
	case "/helloworld.Greeter/SayHello":
		w.Write(message("Hello world", false))
		trailer("0", "")
	case "/helloworld.Greeter/Stream":
		w.Header().Set("Grpc-Encoding", "gzip")
		for m := range grpc.Messages(body, r.Header.Get("Grpc-Encoding")) {
			w.Write(message("got "+string(m.Data[2:]), true))
			w.(http.Flusher).Flush()
		}
		trailer("0", "")
	case "/helloworld.Greeter/Fail":
		w.Header().Set("Grpc-Status", "5")
		w.Header().Set("Grpc-Message", "no %22such%22 gr%C3%BC%C3%9Fe")
	case "/helloworld.Greeter/Proxy":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, "<html>")
	}
}

func greetTalk(t testing.TB) []dissecttest.Chunk {
	return record(t, greeter, func(c *http.Client) {
		head := []string{"Content-Type", "application/grpc+proto", "Te", "trailers", "Grpc-Timeout", "1500m"}
		fetch(t, c, "POST", "/helloworld.Greeter/SayHello", bytes.NewReader(message("world", false)), head...)
		fetch(t, c, "POST", "/helloworld.Greeter/Stream", io.MultiReader(bytes.NewReader(message("one", true)), bytes.NewReader(message("two", true)), bytes.NewReader(message("three", false))),
			append(head, "Grpc-Encoding", "gzip")...)
		fetch(t, c, "POST", "/helloworld.Greeter/Fail", bytes.NewReader(message("x", false)), head...)
		fetch(t, c, "POST", "/helloworld.Greeter/Proxy", bytes.NewReader(message("x", false)), head...)
	})
}

func TestRealGRPC(t *testing.T) {
	r := play(t, dissect.EndFin, greetTalk(t)...)
	if len(r.Emissions) != 4 || len(r.Anomalies) > 0 {
		t.Fatalf("%s%v", dissecttest.Lines(r), r.Anomalies)
	}
	var got strings.Builder
	for _, e := range r.Emissions {
		g, ok := e.Row.(*grpc.Row)
		if !ok {
			t.Fatalf("%T", e.Row)
		}
		fmt.Fprintf(&got, "%s | %s %s %v %v %q %d %d %s/%s %d | %s | %s | %v\n", g.Summary, g.Service.V, g.RPC.V, g.Status, g.StatusName.V, g.Message.V,
			g.RequestCount.V, g.ResponseCount.V, g.Encoding.V, g.AnswerEncoding.V, g.TimeoutUs.V, strings.ReplaceAll(g.RequestText.V, "\n", "; "),
			strings.ReplaceAll(g.ResponseText.V, "\n", "; "), g.Failed)
	}
	want := `/helloworld.Greeter/SayHello → OK | helloworld.Greeter SayHello {0 true} OK "" 1 1 / 1500000 | {1: "world"} | {1: "Hello world"} | false
/helloworld.Greeter/Stream → OK | helloworld.Greeter Stream {0 true} OK "" 3 3 gzip/gzip 1500000 | {1: "one"}; {1: "two"}; {1: "three"} | {1: "got one"}; {1: "got two"}; {1: "got three"} | false
/helloworld.Greeter/Fail → NOT_FOUND | helloworld.Greeter Fail {5 true} NOT_FOUND "no \"such\" grüße" 1 0 / 1500000 | {1: "x"} |  | true
/helloworld.Greeter/Proxy → HTTP 502 | helloworld.Greeter Proxy {0 false}  "" 1 0 / 1500000 | {1: "x"} |  | true
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestConformance(t *testing.T) {
	c, s := begin()
	c.get(1, "/a").headers(3, false, ":method", "POST", ":scheme", "http", ":path", "/b", ":authority", "h").data(3, false, "abc")
	b := s.blockOf(":status", "200", "x-long", strings.Repeat("z", 200))
	s.fr.WriteSettingsAck()
	s.headers(1, false, ":status", "103")
	talk := []dissecttest.Chunk{c.flush(), s.flush()}
	c.data(3, true, "def")
	s.fr.WriteRawFrame(frameHeaders, 0, 1, b[:20])
	s.fr.WriteContinuation(1, true, b[20:])
	s.fr.WriteDataPadded(1, true, []byte("body"), make([]byte, 9))
	talk = append(talk, c.flush(), s.headers(3, true, ":status", "204").flush())
	c.fr.WriteGoAway(0, 0, nil)
	talk = append(talk, c.flush())
	first := append([]dissecttest.Chunk{{Dir: dissect.ToClient, Data: []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00")}}, talk...)
	dissecttest.Run(t, Protocol(),
		dissecttest.Sample{Name: "by hand", Chunks: talk, Rows: 2, Needs: []*dissect.Protocol{grpc.Protocol()}},
		dissecttest.Sample{Name: "the server speaks first", Chunks: first, Rows: 2, Needs: []*dissect.Protocol{grpc.Protocol()}},
		dissecttest.Sample{Name: "real peers", Chunks: shopTalk(t), Rows: 5, Needs: []*dissect.Protocol{grpc.Protocol()}})
	dissecttest.Run(t, grpc.Protocol(), dissecttest.Sample{Name: "real peers", Chunks: greetTalk(t), Rows: 4, Needs: []*dissect.Protocol{Protocol()}})
}

// TestGRPCMidConnection reads a long-lived connection without its start: content type, path and
// status refer to table entries that were not captured.
func TestGRPCMidConnection(t *testing.T) {
	c, s := begin()
	call := func(id uint32) {
		c.headers(id, false, ":method", "POST", ":scheme", "http", ":path", "/a.B/C", ":authority", "h", "content-type", "application/grpc").data(id, true, string(message("q", false)))
		s.headers(id, false, ":status", "200", "content-type", "application/grpc").data(id, false, string(message("a", false))).headers(id, true, "grpc-status", "0")
	}
	call(1)
	c.flush()
	s.flush()
	call(3)
	r := playMidway(t, c.flush(), s.flush())
	if len(r.Emissions) != 1 {
		t.Fatal(dissecttest.Lines(r))
	}
	g, ok := r.Emissions[0].Row.(*grpc.Row)
	if !ok || !g.Guessed || g.Failed || g.Error.V != "gap" || g.RequestText.V != `{1: "q"}` || g.ResponseText.V != `{1: "a"}` || g.RequestCount.V != 1 || g.ResponseCount.V != 1 {
		t.Errorf("%+v", r.Emissions[0].Row)
	}
}
