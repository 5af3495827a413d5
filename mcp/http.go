package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/mcp/door"
	"github.com/pcapsule/pcapsule/mcp/queue"
	"github.com/pcapsule/pcapsule/mcp/rpc"
	"github.com/pcapsule/pcapsule/web"
)

// Limits of the HTTP server.
const (
	maxHeader       = 32 << 10
	headerTime      = 10 * time.Second // to send a request's header
	writeTime       = 30 * time.Second // to accept one piece of an answer
	idleTime        = 2 * time.Minute  // between the requests of a connection
	sessionIdle     = 30 * time.Minute
	replayBytes     = 8 << 20 // of answers kept for clients whose stream broke
	defaultRequest  = 1 << 20 // of a request
	defaultSessions = 64
	defaultRequests = 128  // being answered at once
	defaultStreams  = 128  // open event streams
	defaultConns    = 4096 // open connections
)

// HTTPOptions configure the HTTP server. The zero value suits loopback.
type HTTPOptions struct {
	Hosts   []string     // accepted values of Host besides loopback and the server's address
	Origins []string     // accepted origins of pages besides the scheme, host and port of the request
	Tokens  []door.Token // bearer tokens; none: no token is required
	OAuth   *door.OAuth  // accepts the tokens of an authorization server; nil: none

	MaxBody     int64 // bytes of a request; 0: 1 MiB
	MaxSessions int   // for the revisions with sessions; 0: 64
	MaxRequests int   // being answered at once; 0: 128
	MaxStreams  int   // open event streams; 0: 128
	MaxConns    int   // open connections; 0: 4096
}

func (o *HTTPOptions) fill() {
	set := func(n *int, to int) {
		if *n <= 0 {
			*n = to
		}
	}
	if o.MaxBody <= 0 {
		o.MaxBody = defaultRequest
	}
	set(&o.MaxSessions, defaultSessions)
	set(&o.MaxRequests, defaultRequests)
	set(&o.MaxStreams, defaultStreams)
	set(&o.MaxConns, defaultConns)
}

// door returns who may ask.
func (o *HTTPOptions) door() door.Options {
	return door.Options{Hosts: o.Hosts, Origins: o.Origins, Tokens: o.Tokens, OAuth: o.OAuth, Patience: writeTime,
		Refuse: func(w http.ResponseWriter, text string) {
			refuse(w, http.StatusForbidden, nil, jsonrpc.CodeInvalidRequest, text)
		}}
}

// handler serves MCP at /mcp. Requests of the newest revision are handled without sessions, all
// others with.
type handler struct {
	o        HTTPOptions
	sdk      *mcp.Server
	sessions http.Handler
	plain    http.Handler
	requests chan struct{}
	streams  atomic.Int64
}

// Handler serves any SDK server at /mcp with the guards, limits and error codes of
// Server.Handler. It is for programs with their own tools.
func Handler(m *mcp.Server, o HTTPOptions) http.Handler {
	o.fill()
	mux := http.NewServeMux()
	mux.Handle("/mcp", newHandler(m, o))
	return door.Guard(mux, o.door())
}

func newHandler(m *mcp.Server, o HTTPOptions) *handler {
	get := func(*http.Request) *mcp.Server { return m }
	kept := mcp.NewMemoryEventStore(nil)
	kept.SetMaxBytes(replayBytes)
	// door.Guard has already checked Host and Origin, against names that the SDK does not know.
	return &handler{o: o, sdk: m,
		sessions: mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{DisableLocalhostProtection: true, EventStore: kept, SessionTimeout: sessionIdle, MaxRequestBodyBytes: o.MaxBody}),
		plain:    mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{DisableLocalhostProtection: true, Stateless: true, PropagateRequestCancellation: true, MaxRequestBodyBytes: o.MaxBody}),
		requests: make(chan struct{}, o.MaxRequests)}
}

const versionHeader = "Mcp-Protocol-Version"

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	modern := r.Header.Get(versionHeader) >= rpc.Newest
	switch r.Method {
	case http.MethodPost:
		h.post(w, r, modern)
	case http.MethodGet:
		if modern {
			h.plain.ServeHTTP(w, r) // it answers with the allowed methods
			return
		}
		if h.streams.Add(1) > int64(h.o.MaxStreams) {
			h.streams.Add(-1)
			refuse(w, http.StatusServiceUnavailable, nil, codeBusy, "too many open streams")
			return
		}
		defer h.streams.Add(-1)
		h.sessions.ServeHTTP(w, r)
	case http.MethodDelete:
		if modern {
			h.plain.ServeHTTP(w, r)
			return
		}
		h.sessions.ServeHTTP(w, r)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		refuse(w, http.StatusMethodNotAllowed, nil, jsonrpc.CodeInvalidRequest, "the method must be POST, GET or DELETE")
	}
}

// codeBusy is from the range that JSON-RPC reserves for servers.
const codeBusy = -32000

// refuse answers with a JSON-RPC error.
func refuse(w http.ResponseWriter, status int, id json.RawMessage, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write((&rpc.Error{ID: id, Code: code, Text: text}).Wire()) // the client may be gone
}

// post checks a message before the SDK does, so that an invalid one gets the code that JSON-RPC specifies.
func (h *handler) post(w http.ResponseWriter, r *http.Request, modern bool) {
	if !isJSON(r) {
		refuse(w, http.StatusUnsupportedMediaType, nil, jsonrpc.CodeInvalidRequest, errNotJSON.Error())
		return
	}
	body, err := door.ReadBody(w, r, h.o.MaxBody)
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		refuse(w, http.StatusRequestEntityTooLarge, nil, jsonrpc.CodeInvalidRequest, fmt.Sprintf("the request is larger than %d bytes", long.Limit))
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, nil, jsonrpc.CodeParseError, "the request is incomplete")
		return
	}
	list, batch, bad := rpc.Read(body)
	if bad != nil {
		status := http.StatusBadRequest
		switch {
		case bad.Code == jsonrpc.CodeMethodNotFound && modern:
			status = http.StatusNotFound
		case bad.ID != nil && !modern && bad.Code != jsonrpc.CodeInvalidRequest:
			status = http.StatusOK // the earlier revisions answer a request with 200
		}
		refuse(w, status, bad.ID, bad.Code, bad.Text)
		return
	}
	first := &list[0]
	modern = modern || !batch && first.Revision() >= rpc.Newest
	if !batch && first.Method != nil && first.ID == nil && !rpc.KnownNotification(first.Name()) {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if !modern && !batch && first.Name() == "initialize" && r.Header.Get("Mcp-Session-Id") == "" && h.inSession() >= h.o.MaxSessions {
		refuse(w, http.StatusServiceUnavailable, first.ID, codeBusy, fmt.Sprintf("%d sessions are open; end one, or use revision %s, which has no sessions", h.o.MaxSessions, rpc.Newest))
		return
	}
	if early := first.Early(); early != nil && !modern && r.Header.Get("Mcp-Session-Id") == "" {
		refuse(w, http.StatusBadRequest, first.ID, early.Code, early.Text)
		return
	}
	if modern && first.Name() == "subscriptions/listen" {
		if h.streams.Add(1) > int64(h.o.MaxStreams) {
			h.streams.Add(-1)
			refuse(w, http.StatusServiceUnavailable, first.ID, codeBusy, "too many open streams")
			return
		}
		defer h.streams.Add(-1)
	} else {
		select {
		case h.requests <- struct{}{}:
			defer func() { <-h.requests }()
		default:
			refuse(w, http.StatusServiceUnavailable, first.ID, codeBusy, queue.ErrBusy.Error())
			return
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if modern {
		h.plain.ServeHTTP(w, r)
		return
	}
	h.sessions.ServeHTTP(w, r)
}

// inSession counts the sessions with an id.
func (h *handler) inSession() (n int) {
	for s := range h.sdk.Sessions() {
		if s.ID() != "" {
			n++
		}
	}
	return n
}

// Handler serves MCP at /mcp, the REST paths, the page at / and, at /connect, how to connect.
func (s *Server) Handler(o HTTPOptions) http.Handler {
	o.fill()
	d := o.door()
	d.Log = s.refused
	d.Public, d.IsPublic = web.Handler(), web.Has
	return door.Guard(s.within(s.routed(o), o), d)
}

// routed serves what the door lets in.
func (s *Server) routed(o HTTPOptions) http.Handler {
	inner := newHandler(s.sdk, o)
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && !accepts(r, "text/event-stream") {
			s.discover(w)
			return
		}
		inner.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /connect", func(w http.ResponseWriter, r *http.Request) {
		s.serveFirst(w, r, len(o.Tokens) > 0 || o.OAuth != nil)
	})
	for _, rt := range s.routes() {
		if rt.stream {
			rt.handle = inner.limited(s, rt.handle)
		}
		if rt.handle != nil {
			mux.HandleFunc(rt.Method+" "+rt.Path, s.strict(rt))
		}
	}
	return s.astray(mux)
}

// errNotJSON reports a body of another type. Without a question to the user, a browser sends such bodies for pages of
// other sites, but none with application/json.
var errNotJSON = errors.New("the body must be JSON: send the header Content-Type: application/json")

// isJSON reports whether a request states that its body is JSON.
func isJSON(r *http.Request) bool {
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return false
	}
	media, _, err := mime.ParseMediaType(types[0])
	return err == nil && media == "application/json"
}

// accepts reports whether Accept names a media type; */* does not.
func accepts(r *http.Request, media string) bool {
	for _, v := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), media) {
				return true
			}
		}
	}
	return false
}

// Serve answers on a listener until ctx is done.
func (s *Server) Serve(ctx context.Context, ln net.Listener, o HTTPOptions) error {
	o.fill()
	srv := &http.Server{Handler: s.Handler(o), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx }, ConnContext: door.WithConn}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(door.Listen(ln, o.MaxConns)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	// Let answers finish; streams would never end.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if srv.Shutdown(late) != nil {
		_ = srv.Close() // only streams are left, and their clients reconnect
	}
	return nil
}
