// Package kfl is the language in which people ask for calls: a superset of Kubeshark's
// KFL2, which is a part of CEL, and of the older forms that people still write. It
// parses a text, checks names and types, and answers in two ways that mean the same:
// as a condition in DuckDB's SQL and as a matcher of single rows. What may be absent is
// never an error at run time: a comparison with it is false. The package imports
// nothing of ours; its names stand in names.tsv, its language in docs/kfl.md. It
// refuses, with the place, what it does not understand.
package kfl

import (
	"slices"
)

// Query is a checked query. It may be used by several goroutines.
type Query struct {
	src     string
	expr    *Expr
	root    *node
	usesNow bool
	now     int64
	columns []string
	notes   []string
	limit   int
	where   frag
	fault   error // of Env.Bodies
}

// Compile parses and checks src. An empty src asks for every call. The error is an
// *Error, or what Env.Bodies answered.
func Compile(src string, env Env) (*Query, error) {
	q, err := compile(src, env)
	switch {
	case err != nil:
		return nil, suggest(src, env, err)
	case q.fault != nil:
		return nil, q.fault
	}
	return q, nil
}

func compile(src string, env Env) (*Query, *Error) {
	e, err := parse(src)
	if err != nil {
		return nil, err
	}
	q := &Query{src: src, expr: e, root: boolNode(true), now: env.Now}
	c := &checker{work: &work{env: env, columns: map[string]bool{}}, src: src}
	if e.root != nil {
		if q.root, err = c.condition(e.root); err != nil {
			return nil, err
		}
	}
	if c.xml != nil && misplaced(q.root) {
		return nil, c.xml
	}
	w := &writer{bodies: env.Bodies}
	q.where, q.fault = w.cond(q.root), w.fault
	if w.tooLong {
		err := errorAt(src, 0, len(src), "ask for less at once", "the query makes more than %d bytes of SQL", maxSQL)
		err.Limit = true
		return nil, err
	}
	q.usesNow, q.notes, q.limit = c.usesNow, c.notes, c.limit
	if c.xml != nil && env.Bodies == nil {
		q.notes = append(q.notes, "xml() is worked out over the bodies of a bundle, and there is no bundle here, so the SQL fails if it is run")
	}
	for name := range c.columns {
		q.columns = append(q.columns, name)
	}
	slices.Sort(q.columns)
	return q, nil
}

// SQL is the query as a condition over the view calls of a bundle, TRUE or FALSE and
// never NULL, with the arguments of its ? in order. Every text of the query is in args.
// A query about bodies also reads the table bodies. The columns of calls must be
// visible without a prefix.
func (q *Query) SQL() (where string, args []any) {
	return q.where.sql, slices.Clone(q.where.args)
}

// Match reports whether the query matches row, as SQL does.
func (q *Query) Match(row Row) bool {
	m := matcher{row: row}
	return m.cond(q.root)
}

// Columns are the columns of the view calls that the query reads, sorted.
func (q *Query) Columns() []string { return slices.Clone(q.columns) }

// Limit is how many calls limit() asks for at most, 0 where it does not stand in the query.
func (q *Query) Limit() int { return q.limit }

// UsesNow says that the answer depends on Env.Now.
func (q *Query) UsesNow() bool { return q.usesNow }

// Notes are remarks for the person who asked, such as a literal read as a pattern.
func (q *Query) Notes() []string { return slices.Clone(q.notes) }
