package mcp

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// failure is a status of an answer that is an error.
type failure struct {
	status int
	text   string
	causes []error // any of them, or what is says
	is     func(error) bool
}

// failures lists what an error is answered with: the first that fits, or else the last.
var failures = []failure{
	{http.StatusBadRequest, "a parameter, filter, cursor or body is wrong", []error{forensics.ErrUsage, forensics.ErrCursor, errArguments}, wronglyAsked},
	{http.StatusNotFound, "there is no such snapshot or dissection", []error{store.ErrNoSnapshot, fs.ErrNotExist}, nil},
	{http.StatusConflict, "the name is taken, or the snapshot or dissection is not ready, or this needs a ring", []error{store.ErrNameTaken, store.ErrNotReady, errClosed, errNoRing}, nil},
	{http.StatusForbidden, "another host or origin, or packets that would show what is masked", []error{errMasked}, nil},
	{http.StatusServiceUnavailable, "too many questions are waiting", []error{errBusy}, nil},
	{http.StatusGatewayTimeout, "the answer took too long", []error{forensics.ErrDeadline}, nil},
	{http.StatusInsufficientStorage, "the answer needs too much memory", []error{forensics.ErrMemory}, nil},
	{http.StatusBadGateway, "the database stopped; other questions still work", []error{forensics.ErrCrashed}, nil},
	{http.StatusInternalServerError, "an error of the server", nil, nil},
}

// wrong is an error of whoever asked.
func wrong(format string, args ...any) error {
	return &store.RequestError{Text: fmt.Sprintf(format, args...)}
}

// wronglyAsked reports whether other words would have had an answer.
func wronglyAsked(err error) bool {
	var bad *store.RequestError
	var input *ask.InputError
	var syntax *kfl.Error
	var sql *forensics.SyntaxError
	return errors.As(err, &bad) || errors.As(err, &input) || errors.As(err, &syntax) || errors.As(err, &sql)
}

// statusOf is the status of an error.
func statusOf(err error) int {
	for _, f := range failures {
		if f.is != nil && f.is(err) || slices.ContainsFunc(f.causes, func(cause error) bool { return errors.Is(err, cause) }) {
			return f.status
		}
	}
	return http.StatusInternalServerError
}

// restFailure is the answer that says why there is no other.
type restFailure struct {
	Error string `json:"error" jsonschema:"why there is no answer"`
	Trust string `json:"trust" jsonschema:"what the text in error is"`
}

// restError answers with why there is no other answer.
func (s *Server) restError(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(trustHeader, trustNote)
	w.WriteHeader(statusOf(err))
	raw, _ := marshal(restFailure{s.hide(err.Error()), trustNote}) // two texts always marshal
	_, _ = w.Write(raw)                                            // the client may be gone
}

// errMasked says that packets would show what answers mask.
var errMasked = errors.New("packets are as they were recorded, with all that is masked in answers: pcapsule serve --packets lets them leave, and export_snapshot_pcap writes them on the server's machine")

// errArguments says that a tool does not take what was given.
var errArguments = errors.New("wrong arguments")
