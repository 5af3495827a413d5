package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

type routes map[string]func(http.ResponseWriter, *query)

// handler reads each request completely, stores its correlation and sets the scenario's date.
func (p *pod) handler(list routes) http.Handler {
	mux := http.NewServeMux()
	if p.inside() {
		mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, map[string]any{"status": "ok"}) })
	}
	for pattern, fn := range list {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<20))
			if err != nil {
				return
			}
			c := correlation{requestID: r.Header.Get("X-Request-Id"), lost: r.Header.Get("X-Request-Id") == ""}
			if parts := strings.Split(r.Header.Get("Traceparent"), "-"); len(parts) == 4 {
				c.traceID = parts[1]
			}
			// A service finishes its work even if the client is gone.
			ctx := withCorrelation(context.WithoutCancel(r.Context()), c)
			fn(w, &query{ctx, p, r, body})
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.shop.log.served1(p.role)
		w.Header().Set("Date", p.shop.clock.now().Format(http.TimeFormat))
		rec := &statusWriter{ResponseWriter: w}
		mux.ServeHTTP(rec, r)
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && rec.status != 0 {
			p.shop.log.answered(r.RemoteAddr, local.String(), r.URL.RequestURI(), rec.status)
		}
	})
}

// statusWriter records the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Hijack returns the connection; its data is not an HTTP response.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

// serve listens in every pod of a role; make returns the routes of one pod.
func (s *shop) serve(role string, make func(*pod) routes) error {
	for _, p := range s.pods[role] {
		port := 80
		if p.svc != nil {
			port = p.svc.Port
		}
		ln, err := p.listen(fmt.Sprintf("%s:%d", p.ip, port))
		if err != nil {
			return err
		}
		go p.server(make(p)).Serve(ln)
	}
	return nil
}

func (p *pod) server(list routes) *http.Server {
	srv := &http.Server{Handler: p.handler(list), ReadHeaderTimeout: time.Minute, ErrorLog: quietLog()}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	return srv
}

// reply responds with JSON.
func reply(w http.ResponseWriter, status int, body any) {
	b, content := encode(body)
	if content != "" {
		w.Header().Set("Content-Type", content)
	}
	w.WriteHeader(status)
	w.Write(b)
}

type object = map[string]any

// forward forwards a request and returns the response, as gateways do.
func (q *query) forward(w http.ResponseWriter, to string, change func(*ask)) answer {
	a := ask{method: q.r.Method, url: to, body: q.body}
	if len(q.body) == 0 {
		a.body = nil
	}
	for name, values := range q.r.Header {
		switch name {
		case "User-Agent", "Connection", "Accept-Encoding", "Content-Length", "X-Request-Id", "Traceparent":
		default:
			a.header = append(a.header, name, strings.Join(values, ", "))
		}
	}
	host, _, _ := net.SplitHostPort(q.r.RemoteAddr)
	a.header = append(a.header, "X-Forwarded-For", host)
	if change != nil {
		change(&a)
	}
	out := q.p.http(q.ctx, a)
	if out.err != nil {
		return out
	}
	for _, name := range []string{"Content-Type", "Cache-Control", "Www-Authenticate", "Retry-After", "Location"} {
		if v := out.header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.Header().Set("Via", "1.1 "+q.p.svc.Name)
	w.WriteHeader(out.status)
	w.Write(out.body)
	return out
}
