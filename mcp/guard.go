package mcp

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// guarded lets only those requests through that name this server, come from no foreign
// page and, where tokens are asked for, bring one.
func guarded(next http.Handler, o HTTPOptions, s *Server) http.Handler {
	next = authorized(next, o, s)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		t := &timely{ResponseWriter: w, rc: http.NewResponseController(w), patience: o.patience}
		t.extend()
		awaited(t, r)
		defer heard(r.Context(), false)
		r.Header.Set(remoteHeader, hostOf(r.RemoteAddr))
		refused := func(text string) {
			s.refused(r, begin, text)
			refuse(t, http.StatusForbidden, nil, jsonrpc.CodeInvalidRequest, text)
		}
		if !o.ours(r, hostOf(r.Host)) {
			refused(fmt.Sprintf("Host %q is not this server's name; serve --host allows others", clip(r.Host, 100)))
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !slices.Contains(o.Origins, origin) {
			u, err := url.Parse(origin)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || !o.ours(r, u.Hostname()) {
				refused(fmt.Sprintf("pages of origin %q may not ask this server; serve --origin allows others", clip(origin, 100)))
				return
			}
		}
		t.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(t, r)
	})
}

// refused writes a request that was not let through into the access log.
func (s *Server) refused(r *http.Request, begin time.Time, text string) {
	if s == nil || s.o.AccessLog == nil {
		return
	}
	t := &told{err: text}
	// There is no answer that could be held back.
	_ = s.logged(caller{remote: r.Header.Get(remoteHeader)}, begin, "http "+r.Method, r.URL.Path, nil, t, nil)
}

// ours reports whether a host is a name of this server. A page whose name was rebound to
// our address has its own name there still.
func (o *HTTPOptions) ours(r *http.Request, host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if slices.Contains(o.Hosts, host) {
		return true
	}
	var local netip.Addr
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if ap, err := netip.ParseAddrPort(a.String()); err == nil {
			local = ap.Addr().Unmap()
		}
	}
	if host == "localhost" {
		return !local.IsValid() || local.IsLoopback()
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return ip.IsLoopback() && (!local.IsValid() || local.IsLoopback()) || ip == local
}

// hostOf is an address without its port and brackets.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return strings.Trim(addr, "[]")
}

// timely gives a client a time to take each piece of an answer.
type timely struct {
	http.ResponseWriter
	rc       *http.ResponseController
	patience time.Duration
}

func (t *timely) extend() {
	_ = t.rc.SetWriteDeadline(time.Now().Add(t.patience)) // a transport without deadlines has none to keep
}

// Write implements io.Writer.
func (t *timely) Write(p []byte) (int, error) {
	t.extend()
	return t.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (t *timely) Flush() {
	t.extend()
	_ = t.rc.Flush() // an error shows with the next write
}

// Unwrap is for http.ResponseController.
func (t *timely) Unwrap() http.ResponseWriter { return t.ResponseWriter }
