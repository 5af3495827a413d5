package ask

import (
	"context"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// heldMost is how many rows are held for the queries of one question.
const heldMost = 750_000

// Held are calls that several queries of one question look at: where there are not too many
// they are read once and held, as a table, until Release is called.
type Held struct {
	Case     *forensics.Case // which has the table From
	From     string          // table of the calls
	Where    string          // condition on its rows, with Args
	Args     []any
	InMemory bool   // they were read and are held
	Release  func() // must be called once
}

// Hold reads the calls of a condition with some columns, which are all that is asked for.
func Hold(ctx context.Context, c *forensics.Case, columns, where string, args []any) (*Held, error) {
	return holdUpTo(ctx, c, heldMost, columns, where, args)
}

// Unheld are the calls of a condition as the case has them.
func Unheld(c *forensics.Case, where string, args []any) *Held {
	return &Held{Case: c, From: "calls", Where: where, Args: args, Release: func() {}}
}

func holdUpTo(ctx context.Context, c *forensics.Case, most int64, columns, where string, args []any) (*Held, error) {
	all := Unheld(c, where, args)
	aside, end, err := c.Aside(ctx)
	if err != nil {
		return nil, err
	}
	sql := fmt.Sprintf("SELECT %s%s FROM %s WHERE %s LIMIT %d", terms.Key(c, ""), columns, all.From, where, most+1)
	err = aside.Keep(ctx, "held", forensics.Query{SQL: sql, Args: args, Named: true})
	n := int64(0)
	if err == nil {
		n, err = Count(ctx, aside, "SELECT count(*) AS n FROM held")
	}
	if err == nil && n <= most {
		return &Held{Case: aside, From: "held", Where: "true", InMemory: true, Release: end}, nil
	}
	end()
	if err == nil || errors.Is(err, forensics.ErrMemory) {
		return all, nil
	}
	return nil, err
}

// Values are the arguments of where, followed by others.
func (r *Held) Values(more ...any) []any { return append(append([]any(nil), r.Args...), more...) }

// List lists the calls by time after a place, and the place of the last if there are more.
func (r *Held) List(ctx context.Context, c *forensics.Case, after Cursor, limit int) (list []Call, next string, err error) {
	type row struct {
		Key
		Ns int64 `json:"ts_ns"`
	}
	rows, more, err := Rows[row](ctx, r.Case, limit, fmt.Sprintf("SELECT bundle, call_no, ts_ns FROM (SELECT %s, call_no, ts_ns FROM %s WHERE %s) %s ORDER BY ts_ns, bundle, call_no LIMIT %d", terms.BundleOf(c, ""), r.From, r.Where, after.After("WHERE "), limit+1), r.Args...)
	if err != nil {
		return nil, "", err
	}
	keys := make([]Key, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	if more && len(rows) > 0 {
		last := rows[len(rows)-1]
		next = Cursor{TS: last.Ns, Bundle: last.Bundle, No: last.No}.String()
	}
	list, err = callsAt(ctx, c, keys)
	return list, next, err
}
