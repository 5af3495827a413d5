package check

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// scope is the set of calls that a rule selects.
type scope struct {
	c        *forensics.Case
	from, to int64 // 0 means unlimited
	where    string
	args     []any
}

func newScope(ctx context.Context, c *forensics.Case, r *Rule) (*scope, error) {
	s := &scope{c: c, where: "true"}
	var err error
	if s.from, err = ask.ReadTime(c, "from", r.From); err != nil {
		return nil, err
	}
	if s.to, err = ask.ReadTime(c, "to", r.To); err != nil {
		return nil, err
	}
	if s.from != 0 && s.to != 0 && s.from > s.to {
		return nil, ask.After("from", s.from, "to", s.to)
	}
	if s.from != 0 {
		s.where, s.args = s.where+" AND ts_ns >= ?", append(s.args, s.from)
	}
	if s.to != 0 {
		s.where, s.args = s.where+" AND ts_ns <= ?", append(s.args, s.to)
	}
	if r.Calls == "" {
		return s, nil
	}
	return s.and(ctx, r.Calls)
}

// and narrows the scope to calls that match KFL.
func (s *scope) and(ctx context.Context, kfl string) (*scope, error) {
	cond, err := s.c.Condition(ctx, kfl)
	if err != nil {
		return nil, err
	}
	return s.with("("+cond.SQL+")", cond.Args...), nil
}

// butNot narrows the scope to calls that do not match KFL.
func (s *scope) butNot(ctx context.Context, kfl string) (*scope, error) {
	cond, err := s.c.Condition(ctx, kfl)
	if err != nil {
		return nil, err
	}
	return s.with("NOT coalesce(("+cond.SQL+"), false)", cond.Args...), nil
}

func (s *scope) with(cond string, args ...any) *scope {
	out := *s
	out.where = s.where + " AND " + cond
	out.args = append(append([]any(nil), s.args...), args...)
	return &out
}

// count counts the calls in the scope.
func (s *scope) count(ctx context.Context) (int64, error) {
	row, err := s.numbers(ctx, "count(*)")
	if err != nil {
		return 0, err
	}
	n, _ := row[0].(int64)
	return n, nil
}

// numbers returns one row of aggregates over the scope.
func (s *scope) numbers(ctx context.Context, list string) ([]any, error) {
	r, err := s.c.Query(ctx, forensics.Query{SQL: "SELECT " + list + " FROM calls WHERE " + s.where, Args: s.args, Limit: 1})
	if err != nil {
		return nil, err
	}
	return r.Rows[0], nil
}

// calls lists calls of the scope by time.
func (s *scope) calls(ctx context.Context, limit int) ([]ask.Call, error) {
	list, _, err := ask.CallsWhere(ctx, s.c, limit, s.where, s.args...)
	return list, err
}

// breakAll reports every call of the scope as a violation.
func (s *scope) breakAll(ctx context.Context, o *Outcome, expected string, got func(*ask.Call) string) error {
	n, err := s.count(ctx)
	if err != nil || n == 0 {
		return err
	}
	list, err := s.calls(ctx, maxListed)
	if err != nil {
		return err
	}
	for i := range list {
		o.fail(&list[i], expected, "%s", got(&list[i]))
	}
	o.More += n - int64(len(list))
	return nil
}
