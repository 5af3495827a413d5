package ask

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
)

// Limits of an answer.
const (
	defaultRows  = 50
	maxRows      = 1000
	defaultBytes = 24 << 10 // of a list in an answer
)

// Scope narrows every question. It is embedded in each question's input.
type Scope struct {
	From  string `json:"from,omitempty" jsonschema:"start: RFC 3339 such as 2026-01-31T14:15:00Z, or a length such as 15m before the end of the recording"`
	To    string `json:"to,omitempty" jsonschema:"end, included; as from"`
	KFL   string `json:"kfl,omitempty" jsonschema:"only calls for which this KFL condition holds, such as http && dst.namespace == \"shop\""`
	Limit int    `json:"limit,omitempty" jsonschema:"rows of each list, 1 to 1000; 50 where not given"`
}

// window is a scope that was read.
type window struct {
	from, to int64  // nanoseconds since 1970 UTC, both included; never 0
	where    string // condition on rows of calls, with its arguments
	args     []any
	kept     string // table that has the window's calls as ends numbers them; where is a condition on it then
	limit    int
	kfl      string
	asked    bool  // a window was given
	since    int64 // what was given of it; else as far as times go
	until    int64
	narrowed bool // where says more than the time
	notes    []string
	now      int64
}

// read checks a scope against a case.
func (s Scope) read(ctx context.Context, c *forensics.Case) (*window, error) {
	first, last, _ := c.Window()
	w := &window{from: first, to: last, kfl: s.KFL, asked: s.From != "" || s.To != "", since: math.MinInt64, until: math.MaxInt64, narrowed: s.KFL != ""}
	var err error
	if w.from, err = readTime("from", s.From, first, last); err != nil {
		return nil, err
	}
	if w.to, err = readTime("to", s.To, last, last); err != nil {
		return nil, err
	}
	if w.from > w.to {
		return nil, After("from", w.from, "to", w.to)
	}
	switch {
	case s.Limit < 0:
		return nil, wrong("limit", "%d, want 1 to %d", s.Limit, maxRows)
	case s.Limit == 0:
		w.limit = defaultRows
	default:
		w.limit = min(s.Limit, maxRows)
	}
	conds := []string{"true"}
	if s.From != "" {
		conds, w.args, w.since = append(conds, "ts_ns >= ?"), append(w.args, w.from), w.from
	}
	if s.To != "" {
		conds, w.args, w.until = append(conds, "ts_ns <= ?"), append(w.args, w.to), w.to
	}
	if s.KFL != "" {
		cond, err := c.Condition(ctx, s.KFL)
		if err != nil {
			return nil, err
		}
		conds, w.args = append(conds, "("+cond.SQL+")"), append(w.args, cond.Args...)
		w.notes, w.now = cond.Notes, cond.Now
	}
	w.where = strings.Join(conds, " AND ")
	return w, nil
}

// and adds a condition on rows of calls.
func (w *window) and(cond string, args ...any) {
	w.narrowed = true
	w.where += " AND (" + cond + ")"
	w.args = append(w.args, args...)
}

// values are the window's arguments followed by others, for SQL that has the window once
// and first.
func (w *window) values(more ...any) []any { return append(append([]any(nil), w.args...), more...) }

// readTime reads a time: RFC 3339, or a length that counts back from last.
func readTime(field, text string, missing, last int64) (int64, error) {
	if text == "" {
		return missing, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return last - int64(d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, wrong(field, "%q, want RFC 3339 such as 2026-01-31T14:15:00Z, or a length such as 15m before the end of the recording", text)
	}
	return t.UnixNano(), nil
}

// stamp writes a time as RFC 3339 with nine digits and Z.
func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z") }

// frame begins an answer: what was asked and how much of it was recorded.
func (w *window) frame(_ context.Context, c *forensics.Case) (Frame, error) {
	var from, to int64
	if w.asked {
		from, to = w.from, w.to
	}
	cov, err := c.Coverage(from, to)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Coverage: CoverageOf(cov), Notes: w.notes, recorded: cov.State != forensics.None}
	f.Verified = verified(c)
	if w.now != 0 {
		f.Now = stamp(w.now)
	}
	return f, nil
}

func verified(c *forensics.Case) bool {
	for _, b := range c.Bundles() {
		if b.State != bundle.Verified {
			return false
		}
	}
	return true
}
