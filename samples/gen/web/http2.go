package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

func makeHTTP2(ctx context.Context, out string) error {
	l, err := lab.New("http2", "", lab.At("client", "10.1.2.5"), lab.At("app", "10.1.2.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Serve("app", "http2-server", "10.1.2.20:8080"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "http2.pcap"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "http2-client", "10.1.2.20:8080"); err != nil {
		return err
	}
	return r.Stop()
}

func http2Server(ctx context.Context, args []string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Protocol", r.Proto)
		lab.WriteJSON(w, http.StatusOK, map[string]string{"hello": r.PathValue("name")})
	})
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Checked")
		lab.WriteJSON(w, http.StatusOK, map[string]int64{"bytes": n})
		w.Header().Set("X-Checked", "yes")
	})
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for i := range 3000 {
			fmt.Fprintf(w, "row %04d of a large answer\n", i)
		}
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(2 * time.Second):
		case <-r.Context().Done(): // the client gave up
		}
	})
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, _ *http.Request) {
		lab.WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": "no such table"})
	})
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	s := &http.Server{Handler: mux, Protocols: unencryptedHTTP2()}
	context.AfterFunc(ctx, func() { s.Close() })
	if err := s.Serve(ln); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func unencryptedHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func http2Client(ctx context.Context, args []string) error {
	t := &http.Transport{Protocols: unencryptedHTTP2()}
	c := &http.Client{Transport: t}
	base := "http://" + args[0]
	if _, _, err := lab.Send(c, "GET", base+"/hello/first", nil); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for i := range 8 { // parallel streams on one connection
		wg.Go(func() {
			_, _, err := lab.Send(c, "GET", fmt.Sprintf("%s/hello/%d", base, i), nil, "X-Correlation-Id", fmt.Sprintf("h2-%d", i))
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	for _, q := range []struct{ method, path, body string }{
		{"POST", "/sum", strings.Repeat("payload ", 500)},
		{"GET", "/large", ""},
		{"GET", "/broken", ""},
		{"GET", "/nothing-here", ""},
	} {
		if _, _, err := lab.Send(c, q.method, base+q.path, bytes.NewReader([]byte(q.body))); err != nil {
			return err
		}
	}
	// A request canceled after 80 ms: the stream ends with RST_STREAM.
	short, cancel := context.WithTimeout(ctx, 80*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(short, "GET", base+"/slow", nil)
	if err != nil {
		return err
	}
	if res, err := c.Do(req); err == nil {
		res.Body.Close()
		return fmt.Errorf("the slow request was answered")
	}
	time.Sleep(50 * time.Millisecond)
	t.CloseIdleConnections()
	return nil
}
