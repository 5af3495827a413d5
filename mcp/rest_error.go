package mcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/kfl/nearest"
	"github.com/pcapsule/pcapsule/mcp/cases"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/queue"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// failure is an error status and its causes.
type failure struct {
	status int
	text   string
	causes []error // any of them, or is returns true
	is     func(error) bool
}

// failures maps errors to statuses: the first that fits, or else the last.
var failures = []failure{
	{http.StatusRequestEntityTooLarge, "the body is too large", []error{errLongBody}, nil},
	{http.StatusUnsupportedMediaType, "the body is not declared to be JSON", []error{errNotJSON}, nil},
	{http.StatusBadRequest, "a parameter, filter, cursor or body is invalid", []error{forensics.ErrUsage, forensics.ErrCursor, tools.ErrArguments}, isBadRequest},
	{http.StatusNotFound, "there is no such call, snapshot or dissection", []error{store.ErrNoSnapshot, fs.ErrNotExist, forensics.ErrNotFound}, nil},
	{http.StatusConflict, "the name is taken, or the snapshot or dissection is not ready, or this needs a ring", []error{store.ErrNameTaken, store.ErrNotReady, cases.ErrClosed, cases.ErrNoRing}, nil},
	{http.StatusForbidden, "the host or origin is not allowed, or the packets would reveal masked values", []error{errMasked}, nil},
	{http.StatusServiceUnavailable, "too many questions are waiting", []error{queue.ErrBusy}, nil},
	{http.StatusGatewayTimeout, "the answer took too long", []error{forensics.ErrDeadline, context.DeadlineExceeded}, nil},
	{http.StatusInsufficientStorage, "the answer needs too much memory", []error{forensics.ErrMemory}, nil},
	{http.StatusBadGateway, "the database stopped; other questions still work", []error{forensics.ErrCrashed}, nil},
	{http.StatusInternalServerError, "an error of the server", nil, nil},
}

// isBadRequest reports whether the client can correct its request.
func isBadRequest(err error) bool {
	var bad *store.RequestError
	var input *ask.InputError
	var syntax *kfl.Error
	var sql *forensics.SyntaxError
	return errors.As(err, &bad) || errors.As(err, &input) || errors.As(err, &syntax) || errors.As(err, &sql)
}

// statusOf returns the HTTP status of an error.
func statusOf(err error) int {
	for _, f := range failures {
		if f.is != nil && f.is(err) || slices.ContainsFunc(f.causes, func(cause error) bool { return errors.Is(err, cause) }) {
			return f.status
		}
	}
	return http.StatusInternalServerError
}

// restFailure is the body of an error.
type restFailure struct {
	Error string `json:"error" jsonschema:"why there is no answer"`
	Trust string `json:"trust" jsonschema:"the origin of the text in error"`
}

// restError answers with an error.
func (s *Server) restError(w http.ResponseWriter, err error) {
	s.restFail(w, statusOf(err), err.Error())
}

func (s *Server) restFail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(trustHeader, tools.TrustNote)
	w.WriteHeader(status)
	raw, _ := object.Marshal(restFailure{s.hide(text), tools.TrustNote}) // two strings always marshal
	_, _ = w.Write(raw)                                                  // the client may be gone
}

// astray answers requests for paths and methods that the server does not have as other errors are
// answered. It leaves the others to mux.
func (s *Server) astray(mux *http.ServeMux) http.HandlerFunc {
	var paths []string
	for _, rt := range s.routes() {
		if !slices.Contains(paths, rt.Path) {
			paths = append(paths, rt.Path)
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		miss, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		m := headOnly{header: http.Header{}}
		miss.ServeHTTP(&m, r)
		path := ask.Clip(r.URL.Path, 100)
		switch m.status {
		case http.StatusMethodNotAllowed:
			allowed := m.header.Get("Allow")
			w.Header().Set("Allow", allowed)
			s.restFail(w, m.status, fmt.Sprintf("the method of %s must be %s", path, allowed))
		case http.StatusNotFound:
			s.restFail(w, m.status, fmt.Sprintf("there is no path %q; %s", path, cmp.Or(nearest.Hint(path, paths), "GET /mcp lists the paths")))
		default:
			mux.ServeHTTP(w, r)
		}
	}
}

// headOnly keeps the status and the header of an answer, without its text.
type headOnly struct {
	header http.Header
	status int
}

func (m *headOnly) Header() http.Header    { return m.header }
func (m *headOnly) WriteHeader(status int) { m.status = cmp.Or(m.status, status) }
func (m *headOnly) Write(p []byte) (int, error) {
	m.status = cmp.Or(m.status, http.StatusOK)
	return len(p), nil
}

// errMasked reports that packets would reveal masked values.
var errMasked = errors.New("packets contain everything that answers mask: allow them with pcapsule serve --packets, or write them on the server's machine with export_snapshot_pcap")
