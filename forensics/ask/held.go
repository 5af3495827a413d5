package ask

import (
	"context"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
)

// heldMost is how many rows are held for the queries of one question.
const heldMost = 750_000

// rowsOf are calls that several queries of one question look at: where there are not too many
// they are read once and held, as a table, until end is called.
type rowsOf struct {
	c     *forensics.Case // asks from
	from  string
	where string
	args  []any
	held  bool
	end   func()
}

// hold reads the calls of a condition with some columns, which are all that is asked for.
func hold(ctx context.Context, c *forensics.Case, columns, where string, args []any) (*rowsOf, error) {
	return holdUpTo(ctx, c, heldMost, columns, where, args)
}

// unheld are the calls of a condition as the case has them.
func unheld(c *forensics.Case, where string, args []any) *rowsOf {
	return &rowsOf{c: c, from: "calls", where: where, args: args, end: func() {}}
}

func holdUpTo(ctx context.Context, c *forensics.Case, most int64, columns, where string, args []any) (*rowsOf, error) {
	all := unheld(c, where, args)
	aside, end, err := c.Aside(ctx)
	if err != nil {
		return nil, err
	}
	sql := fmt.Sprintf("SELECT %s%s FROM %s WHERE %s LIMIT %d", key(c, ""), columns, all.from, where, most+1)
	err = aside.Keep(ctx, "held", forensics.Query{SQL: sql, Args: args, Named: true})
	n := int64(0)
	if err == nil {
		n, err = count(ctx, aside, "SELECT count(*) AS n FROM held")
	}
	if err == nil && n <= most {
		return &rowsOf{c: aside, from: "held", where: "true", held: true, end: end}, nil
	}
	end()
	if err == nil || errors.Is(err, forensics.ErrMemory) {
		return all, nil
	}
	return nil, err
}

// values are the arguments of where, followed by others.
func (r *rowsOf) values(more ...any) []any { return append(append([]any(nil), r.args...), more...) }

// list lists the calls by time.
func (r *rowsOf) list(ctx context.Context, c *forensics.Case, limit int) ([]Call, bool, error) {
	type row struct {
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
	}
	some, more, err := readRows[row](ctx, r.c, limit, fmt.Sprintf("SELECT bundle, call_no FROM (SELECT %s, call_no, ts_ns, call_id FROM %s WHERE %s) ORDER BY ts_ns, call_id, bundle LIMIT %d", bundleOf(c, ""), r.from, r.where, limit+1), r.args...)
	if err != nil {
		return nil, false, err
	}
	keys := make([]rowKey, len(some))
	for i, s := range some {
		keys[i] = rowKey{s.Bundle, s.No}
	}
	list, err := callsAt(ctx, c, keys)
	return list, more, err
}
