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

// guarded accepts only requests that name this server as their host, do not come from another
// site's page and, if tokens are required, carry a valid one.
func guarded(next http.Handler, o HTTPOptions, s *Server) http.Handler {
	next = authorized(next, o, s)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		t := &timedWriter{ResponseWriter: w, rc: http.NewResponseController(w), patience: o.patience}
		t.extend()
		limitBodyTime(t, r)
		defer markRequest(r.Context(), false)
		r.Header.Set(remoteHeader, hostOf(r.RemoteAddr))
		refused := func(text string) {
			s.refused(r, begin, text)
			refuse(t, http.StatusForbidden, nil, jsonrpc.CodeInvalidRequest, text)
		}
		if !o.isOwnHost(r, hostOf(r.Host)) {
			refused(fmt.Sprintf("host %q is not a name of this server; allow it with serve --host", clip(r.Host, 100)))
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !slices.Contains(o.Origins, origin) {
			u, err := url.Parse(origin)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || !o.isOwnHost(r, u.Hostname()) {
				refused(fmt.Sprintf("pages of origin %q must not query this server; allow them with serve --origin", clip(origin, 100)))
				return
			}
		}
		t.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(t, r)
	})
}

// refused writes a refused request to the access log.
func (s *Server) refused(r *http.Request, begin time.Time, text string) {
	if s == nil || s.o.AccessLog == nil {
		return
	}
	t := &accessNote{err: text}
	// An error cannot stop anything: there is no answer to hold back.
	_ = s.logged(caller{remote: r.Header.Get(remoteHeader)}, begin, "http "+r.Method, r.URL.Path, nil, t, nil)
}

// isOwnHost reports whether a host is a name of this server. A page that uses DNS rebinding to reach
// our address still sends its own name.
func (o *HTTPOptions) isOwnHost(r *http.Request, host string) bool {
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

// hostOf returns an address without port and brackets.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return strings.Trim(addr, "[]")
}

// timedWriter limits the time in which a client must accept each piece of an answer.
type timedWriter struct {
	http.ResponseWriter
	rc       *http.ResponseController
	patience time.Duration
}

func (t *timedWriter) extend() {
	_ = t.rc.SetWriteDeadline(time.Now().Add(t.patience)) // a transport may have no deadlines
}

// Write implements io.Writer.
func (t *timedWriter) Write(p []byte) (int, error) {
	t.extend()
	return t.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (t *timedWriter) Flush() {
	t.extend()
	_ = t.rc.Flush() // the next write returns the error
}

// Unwrap supports http.ResponseController.
func (t *timedWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }
