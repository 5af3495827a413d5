package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxArguments is how many bytes of the arguments the audit log keeps; the hash covers all.
const maxArguments = 4 << 10

// AuditEntry is one line of the audit log: who asked what, and the size of the answer.
type AuditEntry struct {
	Time      string  `json:"time"`              // arrival of the question
	Client    string  `json:"client"`            // name and version, as stated by the client
	User      string  `json:"user,omitempty"`    // holder of the token
	Remote    string  `json:"remote,omitempty"`  // address; empty on standard streams
	Session   string  `json:"session,omitempty"` // hash of the session id, which is a secret
	Method    string  `json:"method"`
	Name      string  `json:"name,omitempty"`      // tool, prompt or URI
	Arguments string  `json:"arguments,omitempty"` // with secrets masked, at most 4 KiB
	SHA256    string  `json:"arguments_sha256,omitempty"`
	Rows      int     `json:"rows"`
	Bytes     int     `json:"bytes"`
	Ms        float64 `json:"duration_ms"`
	Error     string  `json:"error,omitempty"`
}

// Audit is a log of JSON lines. If a log rotation program renames the file, Audit creates a
// new one.
type Audit struct {
	mu   sync.Mutex
	path string
	f    *os.File
}

// OpenAudit opens an audit log for appending.
func OpenAudit(path string) (*Audit, error) {
	a := &Audit{path: path}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("opening audit log: %w", err)
	}
	return a, nil
}

func (a *Audit) open() error {
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	a.f = f
	return nil
}

// Write appends a line.
func (a *Audit) Write(e AuditEntry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.follow(); err != nil {
		return fmt.Errorf("writing audit log: %w", err)
	}
	if _, err := a.f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing audit log: %w", err)
	}
	return nil
}

// follow reopens the log if its path now names another file.
func (a *Audit) follow() error {
	if a.f != nil {
		named, err := os.Stat(a.path)
		if err == nil {
			if open, err := a.f.Stat(); err == nil && os.SameFile(named, open) {
				return nil
			}
		}
		_ = a.f.Close() // all lines are already written
		a.f = nil
	}
	return a.open()
}

// Close closes the log.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil {
		return nil
	}
	f := a.f
	a.f = nil
	return f.Close()
}

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

// remoteHeader carries the address of a client from the HTTP handler to the tools; the server
// drops such a header from a client.
const remoteHeader = "Pcapsule-Remote"

// callerOf identifies the client of a request.
func callerOf(req mcp.Request) caller {
	var c caller
	if extra := req.GetExtra(); extra != nil {
		c.remote = extra.Header.Get(remoteHeader)
		if extra.TokenInfo != nil {
			c.user = extra.TokenInfo.UserID
		}
	}
	if r, ok := req.(interface{ ClientInfo() *mcp.Implementation }); ok {
		if info := r.ClientInfo(); info != nil {
			c.client = clip(info.Name, 100) + " " + clip(info.Version, 50)
		}
	}
	if session, ok := req.GetSession().(*mcp.ServerSession); ok {
		c.session = shortHash(session.ID())
		if c.client == "" {
			if p := session.InitializeParams(); p != nil && p.ClientInfo != nil {
				c.client = clip(p.ClientInfo.Name, 100) + " " + clip(p.ClientInfo.Version, 50)
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

// auditNote is what an answer adds to its line in the audit log.
type auditNote struct {
	mu    sync.Mutex
	rows  int
	bytes int
	err   string
}

type auditNoteKey struct{}

// noteAnswer records the size of an answer for the audit log.
func noteAnswer(ctx context.Context, rows, bytes int, err error) {
	t, _ := ctx.Value(auditNoteKey{}).(*auditNote)
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

// recorded writes every question to the audit log before its answer is sent. If the log cannot
// be written, the answer is an error.
func (s *Server) recorded(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if s.o.Audit == nil || strings.HasPrefix(method, "notifications/") || method == "ping" {
			return next(ctx, method, req)
		}
		t := &auditNote{}
		begin := time.Now()
		res, err := next(context.WithValue(ctx, auditNoteKey{}, t), method, req)
		name, args := whatOf(req)
		if werr := s.audit(callerOf(req), begin, method, name, args, t, err); werr != nil {
			return nil, werr
		}
		return res, err
	}
}

// audit writes one line.
func (s *Server) audit(who caller, begin time.Time, method, name string, args []byte, t *auditNote, err error) error {
	if s.o.Audit == nil {
		return nil
	}
	t.mu.Lock()
	e := AuditEntry{Time: stamp(begin.UnixNano()), Client: who.client, User: who.user, Remote: who.remote, Session: who.session, Method: method,
		Name: s.hide(clip(name, 200)), Rows: t.rows, Bytes: t.bytes, Ms: float64(time.Since(begin).Microseconds()) / 1000, Error: t.err}
	t.mu.Unlock()
	if err != nil {
		e.Error = s.hide(err.Error())
	}
	e.Error = clip(e.Error, 500)
	if len(args) > 0 {
		sum := sha256.Sum256(args)
		e.SHA256 = hex.EncodeToString(sum[:])
		e.Arguments = clip(s.hide(string(args)), maxArguments)
	}
	return s.o.Audit.Write(e)
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
