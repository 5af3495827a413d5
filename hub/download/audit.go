package download

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Request is a request for the access log.
type Request struct {
	At                   time.Time
	Client, User, Remote string // User is empty if the token was not valid
	Method, Path, Query  string
	Error                string // status, if it was refused or failed
	Took                 time.Duration
}

// audited writes a line to the access log for every request, with its result, before the answer begins. If the line
// cannot be written, the answer is an error.
func (h *handler) audited(next http.Handler) http.Handler {
	if h.Record == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &audit{ResponseWriter: w, h: h, r: r, begin: time.Now()}
		next.ServeHTTP(a, r.WithContext(context.WithValue(r.Context(), auditKey{}, a)))
		a.WriteHeader(http.StatusOK) // of an answer without content
	})
}

type auditKey struct{}

// audit is the answer to a request.
type audit struct {
	http.ResponseWriter
	h     *handler
	r     *http.Request
	begin time.Time
	user  string // known when the token was reviewed
	code  int    // 0: the answer has not begun
	none  bool   // the line was not written
}

// by records who asks.
func by(r *http.Request, user string) {
	if a, ok := r.Context().Value(auditKey{}).(*audit); ok {
		a.user = user
	}
}

// WriteHeader writes the line, and then begins the answer.
func (a *audit) WriteHeader(code int) {
	if a.code != 0 {
		return
	}
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols { // another one follows
		a.ResponseWriter.WriteHeader(code)
		return
	}
	a.code = code
	e := Request{At: a.begin, Client: a.r.UserAgent(), User: a.user, Remote: a.r.RemoteAddr, Method: "http " + a.r.Method, Path: a.r.URL.Path, Query: a.r.URL.RawQuery, Took: time.Since(a.begin)}
	if code >= http.StatusBadRequest {
		e.Error = fmt.Sprintf("%d %s", code, http.StatusText(code))
	}
	if err := a.h.Record(e); err != nil {
		a.h.Log.Error("the access log cannot be written, so nothing is answered", "error", err)
		a.none = true
		for name := range a.Header() {
			a.Header().Del(name)
		}
		http.Error(a.ResponseWriter, "the access log cannot be written", http.StatusServiceUnavailable)
		return
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write writes content, if the request is in the log.
func (a *audit) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.none {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// Flush sends what was written, for streams.
func (a *audit) Flush() {
	a.WriteHeader(http.StatusOK)
	if f, ok := a.ResponseWriter.(http.Flusher); ok && !a.none {
		f.Flush()
	}
}
