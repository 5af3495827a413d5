package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/queue"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// kind selects the queue of a question, so that one that takes milliseconds does not wait for
// those that take seconds.
type kind uint8

const (
	long  kind = iota
	short      // reads little
	aside      // needs no case: waits for a recorder, copies packets
)

// How many short and aside answers are made at once. Options.Parallel limits the long ones.
const (
	shortSlots = 2
	asideSlots = 8
)

// kindOf returns the queue in which the questions to a tool wait.
func kindOf(t tools.Tool) kind {
	switch {
	case t.Free:
		return aside
	case t.Short:
		return short
	}
	return long
}

// line returns the queue of a kind.
func (s *Server) line(k kind) *queue.Fair {
	switch k {
	case short:
		return s.short
	case aside:
		return s.aside
	}
	return s.long
}

// topic is everything that an answer depends on. It contains the case itself, so that a later
// case cannot be mistaken for it.
type topic struct {
	c        *forensics.Case
	verified bool
	tool     string
	args     string // normalized
	most     int    // bytes
	db       string
	whole    bool // all rows of the lists, from which pages are cut
}

// Size implements queue.Topic.
func (t topic) Size() int { return len(t.args) }

// invocation returns a call of a tool about a case.
func (s *Server) invocation(c *forensics.Case) *tools.Invocation {
	return &tools.Invocation{Env: s.env, Case: c, Max: tools.AnswerBytes}
}

// handler answers tools/call for one tool.
func (s *Server) handler(e *tools.Entry) mcp.ToolHandler {
	return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		ctx, st := queue.WithStage(ctx)
		ctx, stop := progress(ctx, req)
		defer stop()
		raw, err := s.Call(ctx, callerOf(req), e.Name, req.Params.Arguments)
		if err != nil {
			var r mcp.CallToolResult
			r.SetError(err)
			// The error may quote text of the traffic.
			r.Content, r.Meta = append(r.Content, &mcp.TextContent{Text: tools.TrustNote}), mcp.Meta{"pcapsule/trust": tools.TrustNote}
			return &r, nil
		}
		meta := mcp.Meta{"pcapsule/trust": tools.TrustNote}
		if st.WasKept() {
			meta["pcapsule/kept"] = true
		}
		return &mcp.CallToolResult{StructuredContent: raw, Content: []mcp.Content{&mcp.TextContent{Text: string(raw)}}, Meta: meta}, nil
	}
}

// errUnknownTool reports an unknown tool name.
var errUnknownTool = errors.New("unknown tool")

// Call runs one tool: it checks the arguments, waits for a slot, queries the case, and returns
// an answer that is masked and fits max_bytes. The text of an error is safe to send to the
// client.
func (s *Server) Call(ctx context.Context, who caller, name string, args json.RawMessage) (json.RawMessage, error) {
	e := s.env.Every[name]
	if e == nil {
		return nil, fmt.Errorf("%w %q", errUnknownTool, ask.Clip(name, 60))
	}
	raw, err := s.ask(ctx, who, e, args)
	rows := 0
	if err == nil {
		rows = tools.RowsIn(raw)
	}
	noteAnswer(ctx, rows, len(raw), err)
	return raw, err
}

func (s *Server) ask(ctx context.Context, who caller, e *tools.Entry, args json.RawMessage) (json.RawMessage, error) {
	args, more, err := e.Check(args)
	if err != nil {
		return nil, &publicError{s.hide(err.Error()), tools.ErrArguments}
	}
	if e.Sealed && s.kept != nil && !strings.HasPrefix(more.DB, "live") {
		return s.askSealed(ctx, who, e, args, more)
	}
	return s.make(ctx, who, e, args, more, nil)
}

// askSealed answers from the cache if it can.
func (s *Server) askSealed(ctx context.Context, who caller, e *tools.Entry, args json.RawMessage, more tools.Common) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Deadline)
	defer cancel()
	c, done, err := s.cases.OfDB(ctx, s.cases.Pinned(more.DB, object.Text(args, "cursor")))
	if err != nil {
		return nil, s.explain(nil, err)
	}
	defer done()
	if missingBundle(c) != "" { // the answer is an error, even if one is kept
		return s.make(ctx, who, e, args, more, nil)
	}
	t := topic{c: c, verified: c.Verified(), tool: e.Name, args: string(args), most: more.Most, db: more.DB}
	raw, err := s.kept.Get(ctx, t, func() (json.RawMessage, error) { return s.make(ctx, who, e, args, more, c) })
	if err != nil && err == ctx.Err() {
		err = s.explain(c, err)
	}
	return raw, err
}

// make computes an answer once the client gets a slot. The answer is about c, a sealed case whose answers may
// be cached, or, if c is nil, about the case that more.DB names.
func (s *Server) make(ctx context.Context, who caller, e *tools.Entry, args json.RawMessage, more tools.Common, c *forensics.Case) (json.RawMessage, error) {
	var raw json.RawMessage
	err := s.withSlot(ctx, who, s.cases.Pinned(more.DB, object.Text(args, "cursor")), kindOf(e.Tool), c, func(ctx context.Context, a *tools.Invocation) error {
		a.Max = more.Most
		if c != nil {
			a.Keep = s.keepWhole(c)
		}
		v, err := e.Answer(ctx, a, args)
		if err != nil {
			return err
		}
		raw, err = s.finished(ctx, a, v)
		s.cases.Pin(more.DB, object.Text(raw, "next_cursor"), a.Case)
		if err == nil && more.DB != "" {
			raw = object.Join(append(object.Fields(raw), object.Field{Name: "db", Value: object.Quoted(more.DB)}))
		}
		return err
	})
	return raw, err
}

// keepWhole returns a function that keeps whole answers about a sealed case.
func (s *Server) keepWhole(c *forensics.Case) tools.Keeping {
	return func(ctx context.Context, question, args string, make func() (json.RawMessage, error)) (json.RawMessage, error) {
		return s.kept.Get(ctx, topic{c: c, verified: c.Verified(), tool: question, args: args, whole: true}, make)
	}
}

// finished returns an answer ready to send: marked, cut to fit, and masked.
func (s *Server) finished(ctx context.Context, a *tools.Invocation, v any) (json.RawMessage, error) {
	raw, err := tools.Sealed(v, a.Max)
	if err != nil {
		return nil, err
	}
	return s.masked(ctx, a.Case, raw)
}

// withCase waits for a slot, and runs do with the open case and a deadline.
func (s *Server) withCase(ctx context.Context, who caller, do func(context.Context, *tools.Invocation) error) error {
	return s.withDB(ctx, who, "", long, do)
}

// withDB is withCase in the queue of a kind, with the case that db names or, if k is aside, without one.
func (s *Server) withDB(ctx context.Context, who caller, db string, k kind, do func(context.Context, *tools.Invocation) error) error {
	return s.withSlot(ctx, who, db, k, nil, do)
}

// withSlot is withDB with c if it is not nil; the caller keeps c open.
func (s *Server) withSlot(ctx context.Context, who caller, db string, k kind, c *forensics.Case, do func(context.Context, *tools.Invocation) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Deadline)
	defer cancel()
	release, err := s.line(k).Acquire(ctx, who.key())
	if errors.Is(err, context.DeadlineExceeded) {
		err = queue.ErrBusy
	}
	if err != nil {
		return err
	}
	defer release()
	a := s.invocation(c)
	if k != aside && c == nil {
		c, done, err := s.cases.OfDB(ctx, db)
		if err != nil {
			return s.explain(a.Case, err)
		}
		defer done()
		a.Case = c
	}
	return s.explain(a.Case, do(ctx, a))
}

// explain rewrites an error so that an assistant can correct its question.
func (s *Server) explain(c *forensics.Case, err error) error {
	if err == nil {
		return nil
	}
	var bad *kfl.Error
	whole := err
	switch {
	case errors.As(err, &bad):
		err = fmt.Errorf("KFL: %s", bad.Pretty())
	case errors.Is(err, forensics.ErrRefused):
		err = fmt.Errorf("%w; run_sql runs a single query that only reads the bundle's tables", err)
	case errors.Is(err, forensics.ErrDeadline), errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w; narrow the question, for example to a shorter time", forensics.ErrDeadline)
	case errors.Is(err, forensics.ErrMemory):
		err = fmt.Errorf("%w; ask for fewer columns or rows, or narrow the question, for example to a shorter time", err)
	case errors.Is(err, forensics.ErrCrashed):
		err = fmt.Errorf("%w; other questions still work, so ask this one differently", err)
	case errors.Is(err, forensics.ErrCursor) && !errors.Is(err, forensics.ErrMoved) && !errors.Is(err, forensics.ErrNoCursor):
		err = fmt.Errorf("%w; use a cursor only with the question that returned it", err)
	}
	if gone := missingBundle(c); gone != "" {
		err = fmt.Errorf("%s was removed, moved or became unreadable while it was open; restore it, or call close_case and open_case", gone)
	}
	return &publicError{ask.Clip(s.hide(err.Error()), maxError), whole}
}

// maxError limits the length of an error in bytes, because it may quote a long question.
const maxError = 1500

// publicError is an error with the text that the client may see.
type publicError struct {
	text string
	err  error
}

func (e *publicError) Error() string { return e.text }
func (e *publicError) Unwrap() error { return e.err }

// missingBundle names a bundle of the case that no longer exists, or returns "".
func missingBundle(c *forensics.Case) string {
	if c == nil {
		return ""
	}
	for _, b := range c.Bundles() {
		if _, err := os.Stat(filepath.Join(b.Dir, "data", "bundle.json")); err != nil {
			return "the bundle " + b.Path
		}
	}
	return ""
}
