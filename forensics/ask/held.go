package ask

import (
	"context"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// maxCallTable is the highest number of rows that one question loads for its queries.
const maxCallTable = 750_000

// CallTable are calls that several queries of one question read. Up to maxCallTable of them are loaded
// into a table once, which exists until Release is called.
type CallTable struct {
	Case     *forensics.Case // has the table From
	From     string          // name of the table with the calls
	Where    string          // condition for its rows, with Args
	Args     []any
	InMemory bool   // the calls were loaded
	Release  func() // must be called once
}

// LoadCalls loads the calls that match a condition. Later queries may use only these columns.
func LoadCalls(ctx context.Context, c *forensics.Case, columns, where string, args []any) (*CallTable, error) {
	return loadUpTo(ctx, c, maxCallTable, columns, where, args)
}

// CaseCalls are the calls of the case that match a condition, without loading them.
func CaseCalls(c *forensics.Case, where string, args []any) *CallTable {
	return &CallTable{Case: c, From: "calls", Where: where, Args: args, Release: func() {}}
}

func loadUpTo(ctx context.Context, c *forensics.Case, most int64, columns, where string, args []any) (*CallTable, error) {
	all := CaseCalls(c, where, args)
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
		return &CallTable{Case: aside, From: "held", Where: "true", InMemory: true, Release: end}, nil
	}
	end()
	if err == nil || errors.Is(err, forensics.ErrMemory) {
		return all, nil
	}
	return nil, err
}

// Values are the arguments of Where, followed by more.
func (r *CallTable) Values(more ...any) []any { return append(append([]any(nil), r.Args...), more...) }

// List returns up to limit calls after a cursor, by time, and the next cursor if there are more.
func (r *CallTable) List(ctx context.Context, c *forensics.Case, after Cursor, limit int) (list []Call, next string, err error) {
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
