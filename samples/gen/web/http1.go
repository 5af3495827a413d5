package web

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const nginxConf = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr notice;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream app { server 10.1.1.20:8080; keepalive 4; }
	server {
		listen 10.1.1.10:80;
		location /static/ { root %[1]s; add_header Cache-Control "public, max-age=60"; }
		location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $remote_addr; }
	}
}
`

func makeHTTP1(ctx context.Context, out string) error {
	l, err := lab.New("http1", "", lab.At("client", "10.1.1.5"), lab.At("nginx", "10.1.1.10"), lab.At("app", "10.1.1.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.MkdirAll(filepath.Join(l.Tmp, "static"), 0o755); err != nil {
		return err
	}
	page := strings.Repeat("<p>A page that does not change.</p>\n", 40)
	if err := os.WriteFile(filepath.Join(l.Tmp, "static/page.html"), []byte(page), 0o644); err != nil {
		return err
	}
	conf := filepath.Join(l.Tmp, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, l.Tmp), 0o644); err != nil {
		return err
	}
	if err := l.Serve("app", "http1-server", "10.1.1.20:8080"); err != nil {
		return err
	}
	if _, err := l.Start("nginx", "", "nginx", "-p", l.Tmp, "-c", conf); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", "10.1.1.10:80"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "http1.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "http1-client"); err != nil {
		return err
	}
	return r.Stop()
}

func http1Server(ctx context.Context, args []string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/items/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "999" {
			lab.WriteJSON(w, http.StatusNotFound, map[string]string{"error": "no item 999"})
			return
		}
		lab.WriteJSON(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "name": "tea pot", "price_cents": 1999})
	})
	mux.HandleFunc("POST /api/items", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Location", "/api/items/7")
		lab.WriteJSON(w, http.StatusCreated, map[string]any{"id": 7, "stored_bytes": len(body)})
	})
	mux.HandleFunc("GET /api/encoded", serveEncoded)
	mux.HandleFunc("GET /api/stream", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Lines")
		for i := range 5 {
			fmt.Fprintf(w, "line %d\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
		w.Header().Set("X-Lines", "5")
	})
	mux.HandleFunc("GET /api/slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond)
		lab.WriteJSON(w, http.StatusOK, map[string]bool{"slow": true})
	})
	mux.HandleFunc("PUT /api/upload", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		lab.WriteJSON(w, http.StatusOK, map[string]int64{"received_bytes": n})
	})
	mux.HandleFunc("GET /api/broken", func(w http.ResponseWriter, _ *http.Request) {
		lab.WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": "null pointer in price list"})
	})
	mux.HandleFunc("GET /api/busy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		lab.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "try again"})
	})
	mux.HandleFunc("DELETE /api/items/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /old", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/api/items/1", http.StatusFound) })
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, _ *http.Request) { upgrade(w) })
	mux.HandleFunc("GET /noupgrade", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, "no websocket here", http.StatusUpgradeRequired)
	})
	return lab.Listen(ctx, args[0], mux)
}

// serveEncoded responds with the first content coding that the client accepts.
func serveEncoded(w http.ResponseWriter, r *http.Request) {
	text := []byte(strings.Repeat(`{"city":"Lisbon","country":"Portugal"},`, 60))
	coding := r.Header.Get("Accept-Encoding")
	var b bytes.Buffer
	var z io.WriteCloser
	switch coding {
	case "gzip":
		z = gzip.NewWriter(&b)
	case "deflate":
		z = zlib.NewWriter(&b)
	case "x-deflate-raw": // what some servers send under the name deflate
		coding = "deflate"
		z, _ = flate.NewWriter(&b, flate.BestSpeed)
	case "br":
		z = brotli.NewWriter(&b)
	case "zstd":
		z, _ = zstd.NewWriter(&b)
	}
	z.Write(text)
	z.Close()
	w.Header().Set("Content-Encoding", coding)
	w.Header().Set("Content-Type", "application/json")
	w.Write(b.Bytes())
}

// upgrade answers as a WebSocket server, sends one text frame, and closes.
func upgrade(w http.ResponseWriter) {
	c, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	// The accept value belongs to the example key of RFC 6455, section 1.3.
	buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	buf.Write([]byte{0x81, 5, 'h', 'e', 'l', 'l', 'o'})
	buf.Flush()
	in := make([]byte, 64)
	buf.Read(in)
	c.Write([]byte{0x88, 2, 0x03, 0xe8}) // close, 1000
}

func http1Client(context.Context, []string) error {
	t := &http.Transport{ExpectContinueTimeout: time.Second, DisableCompression: true}
	c := &http.Client{Transport: t}
	const app, proxy = "http://10.1.1.20:8080", "http://10.1.1.10"
	for _, q := range []struct {
		method, url, body string
		header            []string
	}{
		{"GET", app + "/api/items/1", "", nil},
		{"GET", app + "/api/items/2?verbose=1&tag=a%20b", "", []string{"Authorization", "Bearer sample-token-1"}},
		{"GET", app + "/api/items/999", "", nil},
		{"POST", app + "/api/items", `{"name":"cup","price_cents":450}`, []string{"Content-Type", "application/json"}},
		{"GET", app + "/api/encoded", "", []string{"Accept-Encoding", "gzip"}},
		{"GET", app + "/api/encoded", "", []string{"Accept-Encoding", "deflate"}},
		{"GET", app + "/api/encoded", "", []string{"Accept-Encoding", "x-deflate-raw"}},
		{"GET", app + "/api/encoded", "", []string{"Accept-Encoding", "br"}},
		{"GET", app + "/api/encoded", "", []string{"Accept-Encoding", "zstd"}},
		{"GET", app + "/api/stream", "", nil},
		{"GET", app + "/api/slow", "", nil},
		{"PUT", app + "/api/upload", strings.Repeat("0123456789abcdef", 1024), []string{"Expect", "100-continue", "Content-Type", "application/octet-stream"}},
		{"GET", app + "/api/broken", "", nil},
		{"GET", app + "/api/busy", "", nil},
		{"DELETE", app + "/api/items/2", "", nil},
		{"HEAD", app + "/api/items/1", "", nil},
		{"GET", app + "/old", "", nil},
		{"GET", proxy + "/static/page.html", "", nil},
		{"GET", proxy + "/static/page.html", "", []string{"Range", "bytes=0-99"}},
		{"GET", proxy + "/static/none.html", "", nil},
		{"GET", proxy + "/api/items/3", "", []string{"Cookie", "session=abc123; theme=dark"}},
		{"GET", proxy + "/api/busy", "", nil},
	} {
		var body io.Reader
		if q.body != "" {
			body = strings.NewReader(q.body)
		}
		if _, _, err := lab.Send(c, q.method, q.url, body, q.header...); err != nil {
			return err
		}
	}
	res, _, err := lab.Send(c, "GET", proxy+"/static/page.html", nil)
	if err != nil {
		return err
	}
	if _, _, err := lab.Send(c, "GET", proxy+"/static/page.html", nil, "If-None-Match", res.Header.Get("Etag")); err != nil {
		return err
	}
	// A body of unknown length is sent in chunks.
	if _, _, err := lab.Send(c, "POST", app+"/api/items", io.MultiReader(strings.NewReader(`{"name":`), strings.NewReader(`"bowl"}`))); err != nil {
		return err
	}
	t.CloseIdleConnections()
	return http1ByHand()
}

// http1ByHand sends what Go's client cannot: pipelined requests, WebSocket upgrades, HTTP/1.0, a
// request that is not HTTP, and an upload aborted by a reset.
func http1ByHand() error {
	const key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	pipelined := ""
	for i := 1; i <= 4; i++ {
		pipelined += fmt.Sprintf("GET /api/items/%d HTTP/1.1\r\nHost: app\r\n\r\n", i)
	}
	for _, s := range []struct {
		text  string
		reply int // bytes to wait for at least
	}{
		{pipelined, 400},
		{"GET /noupgrade HTTP/1.1\r\nHost: app\r\n" + key, 100},
		{"GET /ws HTTP/1.1\r\nHost: app\r\n" + key, 130},
		{"GET /api/items/1 HTTP/1.0\r\n\r\n", 100},
		{"GET /api/items/1\r\nnot http at all\r\n\r\n", 50},
	} {
		if err := talk("10.1.1.20:8080", s.text, s.reply); err != nil {
			return err
		}
	}
	c, err := net.Dial("tcp", "10.1.1.20:8080")
	if err != nil {
		return err
	}
	fmt.Fprintf(c, "PUT /api/upload HTTP/1.1\r\nHost: app\r\nContent-Length: 5000\r\n\r\n%s", strings.Repeat("x", 1200))
	time.Sleep(50 * time.Millisecond)
	c.(*net.TCPConn).SetLinger(0)
	return c.Close()
}

func talk(addr, text string, reply int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	if _, err := io.ReadFull(r, make([]byte, reply)); err != nil && err != io.ErrUnexpectedEOF {
		return err
	}
	if strings.Contains(text, "GET /ws") {
		// "hi" as a masked text frame, then close with 1000.
		c.Write([]byte{0x81, 0x82, 1, 2, 3, 4, 'h' ^ 1, 'i' ^ 2})
		c.Write([]byte{0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2})
	}
	time.Sleep(100 * time.Millisecond) // the rest of the response
	return nil
}
