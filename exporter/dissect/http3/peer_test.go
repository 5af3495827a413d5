package http3

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	ctls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	peer "github.com/quic-go/quic-go/http3"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/quic"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// tap is the client's port with its traffic and the keys.
type tap struct {
	net.PacketConn
	mu   sync.Mutex
	keys bytes.Buffer
	list []dissecttest.Chunk
}

func (c *tap) note(dir dissect.Dir, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, dissecttest.Chunk{Dir: dir, Data: bytes.Clone(b)})
}

func (c *tap) WriteTo(b []byte, a net.Addr) (int, error) {
	c.note(up, b)
	return c.PacketConn.WriteTo(b, a)
}

func (c *tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, a, err := c.PacketConn.ReadFrom(b)
	if err == nil {
		c.note(down, b[:n])
	}
	return n, a, err
}

func (c *tap) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys.Write(p)
}

func port(t *testing.T) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// answer is the handler of the peer's server.
func answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/missing":
		http.NotFound(w, r)
	case "/gzip":
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, strings.Repeat("text ", 1000))
		z.Close()
	case "/early":
		w.Header().Set("Link", "</s.css>")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "late")
	case "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "body")
		w.Header().Set("X-Sum", "4")
	case "/abort":
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		time.Sleep(100 * time.Millisecond) // otherwise the written bytes are dropped
		panic(http.ErrAbortHandler)
	default:
		fmt.Fprintf(w, "%s %d %x", r.Method, len(body), sha256.Sum256(body))
	}
}

// talk lets a quic-go client send requests to a quic-go server.
func talk(t *testing.T) *tap {
	t.Helper()
	t.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := &peer.Server{Handler: http.HandlerFunc(answer), TLSConfig: peer.ConfigureTLSConfig(&ctls.Config{
		Certificates: []ctls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})}
	at := port(t)
	go server.Serve(at)
	defer server.Close()
	from := &tap{PacketConn: port(t)}
	client := &peer.Transport{TLSClientConfig: &ctls.Config{InsecureSkipVerify: true, KeyLogWriter: from}, DisableCompression: true,
		Dial: func(ctx context.Context, _ string, tc *ctls.Config, qc *quicgo.Config) (*quicgo.Conn, error) {
			return quicgo.Dial(ctx, from, at.LocalAddr(), tc, qc)
		}}
	for _, path := range []string{"/", "/missing?x=1", "/gzip", "/early", "/trailers", "/post", "/abort", "/big"} {
		var body io.Reader
		method := "GET"
		if path == "/post" || path == "/big" {
			method, body = "POST", bytes.NewReader(bytes.Repeat([]byte("0123456789"), 10+9990*(len(path)&1^1)))
		}
		req, err := http.NewRequest(method, "https://peer.example"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Path", path)
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	client.Close()
	from.mu.Lock()
	defer from.mu.Unlock()
	return from
}

// read plays the datagrams with the keys.
func (c *tap) read(t *testing.T, chunks []dissecttest.Chunk) *dissecttest.Result {
	t.Helper()
	keys := secrets.NewStore()
	if err := keys.AddLog("test", bytes.NewReader(c.keys.Bytes()), int64(c.keys.Len())); err != nil {
		t.Fatal(err)
	}
	if err := keys.Ready(); err != nil {
		t.Fatal(err)
	}
	return dissecttest.Play(t, dissecttest.Options{Transport: dissect.UDP, ServerPort: 443, End: dissect.EndTimeout, Roles: true,
		Protocols: append(protocols(), quic.Protocol(keys), tls.Protocol(nil))}, chunks...)
}

func requests(r *dissecttest.Result) (rows []*Row) {
	for _, e := range r.Emissions {
		if row, ok := e.Row.(*Row); ok {
			rows = append(rows, row)
		}
	}
	return rows
}

func header(c *table.Call, name, kind string) string {
	for _, x := range c.Headers {
		if x.Name == name && x.Kind == kind {
			return x.Value
		}
	}
	return ""
}

// TestPeer reads HTTP/3 from the packets of quic-go.
func TestPeer(t *testing.T) {
	c := talk(t)
	r := c.read(t, c.list)
	var got []string
	for _, row := range requests(r) {
		got = append(got, fmt.Sprintf("%s %s complete=%v %s %d/%d", row.Summary, header(&row.Call, "x-path", "request"), row.Complete, row.Interim.V,
			row.RequestBodySize.V, row.ResponseBodySize.V))
		if row.Path.V == "/trailers" && header(&row.Call, "x-sum", "response_trailer") != "4" {
			t.Errorf("trailers of %v", row.Headers)
		}
		if row.Host.V != "peer.example" || row.Scheme.V != "https" || row.DecryptedBy.V != "quic" || row.Transport != "quic" {
			t.Errorf("host %q, scheme %q, by %q, transport %q", row.Host.V, row.Scheme.V, row.DecryptedBy.V, row.Transport)
		}
	}
	want := []string{
		"GET / → 200 / complete=true  0/70",
		"GET /missing → 404 /missing?x=1 complete=true  0/19",
		"GET /gzip → 200 /gzip complete=true  0/5000",
		"GET /early → 200 /early complete=true 103 0/4",
		"GET /trailers → 200 /trailers complete=true  0/4",
		"POST /post → 200 /post complete=true  100/73",
		"GET /abort → 200, reset H3_INTERNAL_ERROR /abort complete=false  0/4",
		"POST /big → 200 /big complete=true  100000/76",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, a := range r.Anomalies {
		t.Errorf("anomaly %s %s: %s", a.Source, a.Kind, a.Detail)
	}
}

// TestPeerDisturbed drops packets of the capture and starts in mid-connection; the remaining
// columns must be correct.
func TestPeerDisturbed(t *testing.T) {
	c := talk(t)
	for seed := range int64(40) {
		rnd := mrand.New(mrand.NewSource(seed))
		var list []dissecttest.Chunk
		skip := 0
		if seed%4 == 0 {
			skip = rnd.Intn(len(c.list))
		}
		for i, x := range c.list {
			if i >= skip && (seed%4 == 0 || rnd.Intn(20) != 0) {
				list = append(list, x)
			}
		}
		for _, row := range requests(c.read(t, list)) {
			path := row.Path.V
			if row.Query.OK {
				path += "?" + row.Query.V
			}
			if row.Path.OK && header(&row.Call, "x-path", "request") != path || row.Complete && row.Path.V == "/big" && row.RequestBodySize.V != 100_000 {
				t.Errorf("seed %d: %s with %v", seed, row.Summary, row.Headers)
			}
		}
	}
}
