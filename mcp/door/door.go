// Package door decides which HTTP requests are accepted: by host, origin and token, by the number
// of connections, and by the time that a client needs to send and to read. It does not look at
// questions and answers.
package door

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options select the clients that may ask. The zero value suits loopback.
type Options struct {
	Hosts    []string      // accepted values of Host besides loopback and the server's address
	Origins  []string      // accepted origins of pages besides the scheme, host and port of the request
	Tokens   []Token       // bearer tokens; none: no token is required
	OAuth    *OAuth        // accepts the tokens of an authorization server; nil: none
	Patience time.Duration // for a client to accept one piece of an answer

	// Public answers GET requests for which IsPublic is true without a token: it has nothing of a case. nil: there is none.
	Public   http.Handler
	IsPublic func(path string) bool

	// Refuse answers a request that may not ask; text says why.
	Refuse func(w http.ResponseWriter, text string)
	// Log records a refused request; nil: there is no log.
	Log func(r *http.Request, begin time.Time, text string)
}

func (o *Options) log(r *http.Request, begin time.Time, text string) {
	if o.Log != nil {
		o.Log(r, begin, text)
	}
}

// RemoteHeader carries the address of a client from Guard to the handlers behind it. Guard drops
// such a header from a client.
const RemoteHeader = "Pcapsule-Remote"

// Guard accepts only requests that name this server as their host, do not come from another
// site's page and, if tokens are required, carry a valid one.
func Guard(next http.Handler, o Options) http.Handler {
	next = o.public(authorized(next, o))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		t := &timedWriter{ResponseWriter: w, rc: http.NewResponseController(w), patience: o.Patience}
		t.extend()
		limitBodyTime(t, r)
		defer markRequest(r.Context(), false)
		r.Header.Set(RemoteHeader, hostOf(r.RemoteAddr))
		refused := func(text string) {
			o.log(r, begin, text)
			o.Refuse(t, text)
		}
		if !o.isOwnHost(r, hostOf(r.Host)) {
			refused(fmt.Sprintf("host %.100q is not a name of this server; allow it with serve --host", r.Host))
			return
		}
		origins := r.Header.Values("Origin")
		for _, origin := range origins {
			if len(origins) > 1 || !slices.Contains(o.Origins, origin) && !isOwnOrigin(r, origin) {
				refused(fmt.Sprintf("pages of origin %.100q must not query this server; allow them with serve --origin", origin))
				return
			}
		}
		if len(origins) == 0 && isEmbedded(r) {
			refused("pages of other sites must not query this server; allow their origin with serve --origin")
			return
		}
		t.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(t, r)
	})
}

// public passes requests that need no token to o.Public.
func (o *Options) public(next http.Handler) http.Handler {
	if o.Public == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.Method == http.MethodGet || r.Method == http.MethodHead) && o.IsPublic(r.URL.Path) {
			o.Public.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isEmbedded reports whether a page of another site made the browser send a request, such as for an image, for
// which browsers send no Origin. The page cannot read the answer, but the server would compute it. A link that
// a person follows is not embedded.
func isEmbedded(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Dest") != "document"
}

// isOwnOrigin reports whether an origin has the scheme, host and port of the request itself. Another port of this machine
// may be a page of another user.
func isOwnOrigin(r *http.Request, origin string) bool {
	scheme, port := "http", "80"
	if isTLS(r) {
		scheme, port = "https", "443"
	}
	full := func(host string) string {
		if u, err := url.Parse("//" + host); err == nil && u.Port() == "" {
			host = strings.TrimSuffix(host, ":") + ":" + port
		}
		return strings.ToLower(host)
	}
	host, same := strings.CutPrefix(origin, scheme+"://")
	return same && host != "" && full(host) == full(r.Host)
}

// isOwnHost reports whether a host is a name of this server. A page that uses DNS rebinding to reach
// our address still sends its own name.
func (o *Options) isOwnHost(r *http.Request, host string) bool {
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
