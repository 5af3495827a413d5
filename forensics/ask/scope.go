package ask

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Limits of an answer. One token of a model is 2.7 bytes of it: 2.69 of o200k_base and 2.60 of Claude's published tokenizer
// over 377 kB of answers (gpt-tokenizer 4.0.0 and @anthropic-ai/tokenizer 0.0.4, 2026-11-30). Text in English has about 4;
// names of fields, ids and times have fewer.
const (
	DefaultRows  = 50
	MaxRows      = 1000
	MaxAll       = 10_000   // rows of a list that is requested in full
	DefaultBytes = 24 << 10 // bytes of a list in an answer
	MinAnswer    = 4 << 10  // bytes
	MaxAnswer    = 1 << 20
	MaxBody      = 16 << 10 // bytes of a body in an answer
)

// Scope narrows every question. It is embedded in each question's input.
type Scope struct {
	From  string `json:"from,omitempty" jsonschema:"start: a time such as 2026-01-31T14:15:00Z or 14:15:00, or a duration such as 15m before the end of the recording"`
	To    string `json:"to,omitempty" jsonschema:"end, inclusive; same forms as from"`
	KFL   string `json:"kfl,omitempty" jsonschema:"only calls that match this KFL filter, such as http && dst.namespace == \"shop\""`
	Limit int    `json:"limit,omitempty" jsonschema:"rows of each list, 1 to 1000; default 50"`

	All bool `json:"-"` // every list in full, up to MaxAll; Limit then limits a page
}

func (s *Scope) askAll() { s.All = true }

// Window is a parsed Scope.
type Window struct {
	From, To int64  // nanoseconds since 1970 UTC, both inclusive; never 0
	Where    string // condition for rows of calls, with Args
	Args     []any
	Kept     string              // table with the window's calls, numbered as by Ends; Where then applies to it
	Limit    int                 // rows of a list, 1 to MaxRows, or MaxAll
	All      bool                // every list was requested in full
	Page     int                 // rows of a page, 1 to MaxRows, for lists with a cursor and lists inside rows
	KFL      string              // the filter of the input
	cond     forensics.Condition // of KFL
	Asked    bool                // the input has from or to
	Since    int64               // from and to of the input, or the lowest and highest time
	Until    int64
	Narrowed bool     // Where filters by more than time
	Notes    []string // about the KFL filter, for the answer
	Now      int64    // the value of now() in the filter, nanoseconds since 1970 UTC; 0 if the filter does not use it
}

// Read resolves a scope for a case. It returns an *InputError or an error of KFL.
func (s Scope) Read(ctx context.Context, c *forensics.Case) (*Window, error) {
	first, last, _ := c.Window()
	w := &Window{From: first, To: last, KFL: s.KFL, Asked: s.From != "" || s.To != "", Since: math.MinInt64, Until: math.MaxInt64, Narrowed: s.KFL != ""}
	var err error
	if w.From, err = ParseTime("from", s.From, first, first, last); err != nil {
		return nil, err
	}
	if w.To, err = ParseTime("to", s.To, last, first, last); err != nil {
		return nil, err
	}
	switch {
	case w.From <= w.To:
	case s.To == "": // a window after the recording, in which nothing was recorded
		w.To = w.From
	case s.From == "": // or before it
		w.From = w.To
	default:
		return nil, After("from", w.From, "to", w.To)
	}
	w.Limit = cmp.Or(s.Limit, DefaultRows)
	w.Page = w.Limit
	if w.All = s.All; w.All {
		w.Limit = MaxAll
	}
	conds := []string{"true"}
	if s.From != "" {
		conds, w.Args, w.Since = append(conds, "ts_ns >= ?"), append(w.Args, w.From), w.From
	}
	if s.To != "" {
		conds, w.Args, w.Until = append(conds, "ts_ns <= ?"), append(w.Args, w.To), w.To
	}
	if s.KFL != "" {
		cond, err := c.Condition(ctx, s.KFL)
		if err != nil {
			return nil, err
		}
		conds, w.Args = append(conds, "("+cond.SQL+")"), append(w.Args, cond.Args...)
		w.Notes, w.Now, w.cond = cond.Notes, cond.Now, cond
	}
	w.Where = strings.Join(conds, " AND ")
	return w, nil
}

// And adds a condition for rows of calls.
func (w *Window) And(cond string, args ...any) {
	w.Narrowed = true
	w.Where += " AND (" + cond + ")"
	w.Args = append(slices.Clip(w.Args), args...) // a copy of the window keeps its own
}

// Values returns the window's arguments followed by more, for SQL that uses the window once, at
// the beginning.
func (w *Window) Values(more ...any) []any { return append(append([]any(nil), w.Args...), more...) }

// ParseTime reads a time in the case that lasts from first to last, in nanoseconds since
// 1970 UTC, in the forms of when.Parse. It returns missing for an empty text.
func ParseTime(field, text string, missing, first, last int64) (int64, error) {
	t, err := when.Parse(text)
	switch {
	case errors.Is(err, when.ErrForm):
		return 0, Malformed(field, when.Forms, text)
	case err != nil:
		return 0, Wrong(field, "%v", err)
	case t.Missing():
		return missing, nil
	}
	return t.In(first, last), nil
}

// Frame returns the Frame of an answer, with the coverage of the window.
func (w *Window) Frame(ctx context.Context, c *forensics.Case) (Frame, error) {
	cov, err := c.Coverage(w.From, w.To)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Coverage: CoverageOf(cov), Notes: slices.Concat(w.Notes, redacted(c)), recorded: cov.State != forensics.None}
	f.Verified = c.Verified()
	if w.Now != 0 {
		f.Now = when.Stamp(w.Now)
	}
	return f, f.noteOwners(ctx, c)
}

// Narrow limits the window to a service, a client and a path. Each may be empty.
func (w *Window) Narrow(c *forensics.Case, service, client, path string) error {
	if service != "" {
		cond, args := terms.EndIs(c, "dst_", service)
		w.And(cond, args...)
	}
	if client != "" {
		cond, args := terms.EndIs(c, "src_", client)
		w.And(cond, args...)
	}
	switch {
	case strings.ContainsAny(path, "*?"):
		w.And(`path LIKE ? ESCAPE '\'`, terms.Pattern(path))
	case path != "":
		w.And(`path = ?`, path)
	}
	return nil
}

// table is the name of the table with the window's calls.
func (w *Window) table() string {
	if w.Kept != "" {
		return w.Kept
	}
	return "calls"
}

// Latest narrows a window to about the last most calls of a kind, for questions that compare
// calls with each other. It returns the start of the new window, or "" if nothing was cut.
func (w *Window) Latest(ctx context.Context, c *forensics.Case, kind string, most int64) (*Window, string, error) {
	n, err := Count(ctx, c, "SELECT count(*) AS n FROM "+w.table()+" WHERE "+w.Where+" AND "+kind, w.Args...)
	if err != nil || n <= most {
		return w, "", err
	}
	at, err := Count(ctx, c, fmt.Sprintf("SELECT quantile_disc(ts_ns, %.6f) AS n FROM %s WHERE %s AND %s", 1-float64(most)/float64(n), w.table(), w.Where, kind), w.Args...)
	if err != nil {
		return nil, "", err
	}
	cut := *w
	cut.Args = w.Values()
	cut.And("ts_ns >= ?", at)
	cut.From, cut.Asked = at, true
	return &cut, when.Stamp(at), nil
}
