package ask

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
)

// What follows is for questions that live in packages of their own, such as findings and
// checks: a question there is made, reads its scope and its rows as those here do.

// New makes a Question of a function. In embeds Scope, and Out embeds Frame.
func New[In, Out any](name, title, doc string, core bool, f func(context.Context, *forensics.Case, In) (*Out, error)) Question {
	return question(name, title, doc, core, f)
}

// Asked is a scope that was read against a case.
type Asked struct {
	From, To int64 // nanoseconds since 1970 UTC, both included; the whole case where nothing was asked
	Windowed bool  // From or To was asked
	Where    string
	Args     []any // of Where, a condition on rows of the table calls
	Limit    int
	Frame    Frame // of the answer, complete but for Matched
}

// Read checks a scope against a case. Its error is an *InputError or one of KFL.
func (s Scope) Read(ctx context.Context, c *forensics.Case) (*Asked, error) {
	w, err := s.read(ctx, c)
	if err != nil {
		return nil, err
	}
	f, err := w.frame(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Asked{w.from, w.to, w.asked, w.where, w.args, w.limit, f}, nil
}

// Match states in the answer whether there was anything, and Note adds a remark.
func (f *Frame) Match(n int) { f.matched(n) }

// Note adds a remark for whoever asked.
func (f *Frame) Note(format string, args ...any) { f.note(format, args...) }

// Rows runs SQL whose columns are named as the JSON fields of T; see readRows.
func Rows[T any](ctx context.Context, c *forensics.Case, limit int, sql string, args ...any) ([]T, bool, error) {
	return readRows[T](ctx, c, limit, sql, args...)
}

// Wrong is an *InputError.
func Wrong(field, format string, args ...any) error { return wrong(field, format, args...) }

// Who is the SQL for the name of one end of a row, "src_" or "dst_"; see who.
func Who(prefix string) string { return who(prefix) }

// Either is the condition that one of the two ends is name.
func Either(c *forensics.Case, name string) (string, []any) { return either(c, name) }

// Took is the SQL for how long a call took for its caller, also one that got no answer; null
// where nobody knows.
func Took() string { return took }

// PathTemplate is the SQL for a path without what differs from call to call, empty where there
// is none.
func PathTemplate() string { return pathTemplate }

// Stamp writes a time as RFC 3339 with nine digits and Z.
func Stamp(ns int64) string { return stamp(ns) }

// Clip shortens a text from the traffic, and says so.
func Clip(s string, n int) string { return clip(s, n) }
