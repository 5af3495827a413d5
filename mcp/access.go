package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/mcp/door"
)

// caller identifies the client that asks.
type caller struct{ client, user, remote, session string }

// key identifies a client to the fair queues: its session or, without one, its user, address
// and name.
func (c caller) key() string {
	if c.session != "" {
		return "session " + c.session
	}
	return c.user + "|" + c.remote + "|" + c.client
}

// callerOf identifies the client of a request.
func callerOf(req mcp.Request) caller {
	var c caller
	if extra := req.GetExtra(); extra != nil {
		c.remote = extra.Header.Get(door.RemoteHeader)
		if extra.TokenInfo != nil {
			c.user = extra.TokenInfo.UserID
		}
	}
	if r, ok := req.(interface{ ClientInfo() *mcp.Implementation }); ok {
		if info := r.ClientInfo(); info != nil {
			c.client = ask.Clip(info.Name, 100) + " " + ask.Clip(info.Version, 50)
		}
	}
	if session, ok := req.GetSession().(*mcp.ServerSession); ok {
		c.session = shortHash(session.ID())
		if c.client == "" {
			if p := session.InitializeParams(); p != nil && p.ClientInfo != nil {
				c.client = ask.Clip(p.ClientInfo.Name, 100) + " " + ask.Clip(p.ClientInfo.Version, 50)
			}
		}
	}
	return c
}

func shortHash(s string) string {
	if s == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// accessNote has the fields that an answer adds to its line in the access log.
type accessNote struct {
	mu    sync.Mutex
	rows  int
	bytes int
	err   string
}

type accessNoteKey struct{}

// noteAnswer records the size of an answer for the access log.
func noteAnswer(ctx context.Context, rows, bytes int, err error) {
	t, _ := ctx.Value(accessNoteKey{}).(*accessNote)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows, t.bytes = rows, bytes
	if err != nil {
		t.err = err.Error()
	}
}

// recorded writes every question to the access log before its answer is sent. If the log cannot
// be written, the answer is an error.
func (s *Server) recorded(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if s.o.AccessLog == nil || strings.HasPrefix(method, "notifications/") || method == "ping" {
			return next(ctx, method, req)
		}
		t := &accessNote{}
		begin := time.Now()
		res, err := next(context.WithValue(ctx, accessNoteKey{}, t), method, req)
		name, args := whatOf(req)
		if werr := s.logged(callerOf(req), begin, method, name, args, t, err); werr != nil {
			return nil, werr
		}
		return res, err
	}
}

// logged writes one line.
func (s *Server) logged(who caller, begin time.Time, method, name string, args []byte, t *accessNote, err error) error {
	if s.o.AccessLog == nil {
		return nil
	}
	t.mu.Lock()
	e := accesslog.Entry{Time: when.Stamp(begin.UnixNano()), Client: who.client, User: who.user, Remote: who.remote, Session: who.session, Method: method,
		Name: s.hide(ask.Clip(name, 200)), Rows: t.rows, Bytes: t.bytes, Ms: float64(time.Since(begin).Microseconds()) / 1000, Error: t.err}
	t.mu.Unlock()
	if err != nil {
		e.Error = s.hide(err.Error())
	}
	e.Error = ask.Clip(e.Error, 500)
	e.Ask(args, s.hide)
	return s.o.AccessLog.Write(e)
}

// whatOf returns the name and arguments of a request.
func whatOf(req mcp.Request) (name string, args []byte) {
	switch p := req.GetParams().(type) {
	case *mcp.CallToolParamsRaw:
		return p.Name, p.Arguments
	case *mcp.ReadResourceParams:
		return p.URI, nil
	case *mcp.GetPromptParams:
		args, _ = json.Marshal(p.Arguments) // a map of strings always marshals
		return p.Name, args
	case *mcp.CompleteParams:
		args, _ = json.Marshal(p.Argument)
		if p.Ref != nil {
			name = p.Ref.Name + p.Ref.URI
		}
		return name, args
	case *mcp.SubscribeParams:
		return p.URI, nil
	}
	return "", nil
}

// refused writes a refused request to the access log.
func (s *Server) refused(r *http.Request, begin time.Time, text string) {
	t := &accessNote{err: text}
	// An error cannot stop anything: there is no answer to hold back.
	_ = s.logged(caller{remote: r.Header.Get(door.RemoteHeader)}, begin, "http "+r.Method, r.URL.Path, nil, t, nil)
}
