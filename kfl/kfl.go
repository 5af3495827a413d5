// Package kfl implements KFL, the filter language for calls: a superset of Kubeshark's KFL2,
// which is a subset of CEL, and of the older forms that people still use. It parses a query,
// checks names and types, and compiles it to a condition in DuckDB's SQL and to an equivalent matcher for single rows, which
// needs no database. An absent value is never an error
// at run time: a comparison with it is false. An invalid query is refused with the position of the error. The
// names are those of names.tsv and the columns of protocols in exporter/table; docs/kfl.md describes the
// language.
package kfl

import (
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/foreign"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// Error describes why a query is invalid, with the position.
type Error = parse.Error

// Expr is a parsed text.
type Expr = parse.Expr

// Parse parses src. It checks only the syntax; Compile also checks names and types. The error
// is an *Error.
func Parse(src string) (*Expr, error) {
	e, err := parsed(src)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// parsed is Parse with a typed error. A word that looks like an operator gets that as a hint.
func parsed(src string) (*Expr, *Error) {
	e, err := parse.Parse(src)
	if err != nil && err.Hint == "" && err.Word != "" {
		err.Hint = nearest.Hint(err.Word, parse.InfixWords[:])
	}
	return e, err
}

// Format writes src in canonical form: && || ! instead of words, methods instead of infix words,
// one space around operators, comments first. It keeps names, text and the meaning.
func Format(src string) (string, error) {
	e, err := parsed(src)
	if err != nil {
		return "", err
	}
	return e.String(), nil
}

// Query is a compiled query. It is safe for concurrent use.
type Query struct {
	src     string
	expr    *Expr
	root    *node
	usesNow bool
	now     int64
	columns []string
	absent  []string
	inner   []string
	notes   []string
	limit   int
	where   frag
	fault   error // of Env.Bodies
}

// Compile parses and checks src. An empty src matches every call. The error is an *Error, or
// the error of Env.Bodies.
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

// suggest adds to an error what a filter of Wireshark or tcpdump is in KFL.
func suggest(src string, env Env, err *Error) *Error {
	if err.Macro != "" || err.Limit {
		return err
	}
	problem := func(e *Error) *foreign.Problem {
		return &foreign.Problem{Offset: e.Offset, Unknown: strings.HasPrefix(e.Msg, "unknown name"), Hinted: e.Hint != ""}
	}
	k := foreign.Language{
		IsField:    func(word string) bool { return names().byName[word] != nil },
		IsOperator: func(word string) bool { return slices.Contains(parse.InfixWords[:], word) },
		Address:    parse.QuotedAddress,
		Compile: func(text string) *foreign.Problem {
			if _, bad := compile(text, env); bad != nil {
				return problem(bad)
			}
			return nil
		},
	}
	hint := k.Hint(src, *problem(err))
	if hint == "" {
		return err
	}
	out := *err
	out.Hint = hint
	return &out
}

func compile(src string, env Env) (*Query, *Error) {
	e, err := parsed(src)
	if err != nil {
		return nil, err
	}
	q := &Query{src: src, expr: e, root: boolNode(true), now: env.Now}
	c := &checker{work: &work{env: env, columns: map[string]bool{}, absent: map[string]bool{}}, src: src}
	if e.Root != nil {
		if q.root, err = c.condition(e.Root); err != nil {
			return nil, err
		}
	}
	if c.xml != nil && misplaced(q.root) {
		return nil, c.xml
	}
	w := &writer{d: &duckDB, src: src, bodies: env.Bodies}
	q.where, q.fault = w.cond(q.root), w.fault
	if w.tooLong {
		err := parse.ErrorAt(src, 0, len(src), "split the query", "the query compiles to more than %d bytes of SQL", maxSQL)
		err.Limit = true
		return nil, err
	}
	q.inner, q.usesNow, q.notes, q.limit = c.inner, c.usesNow, c.notes, c.limit
	if c.xml != nil && env.Bodies == nil {
		q.notes = append(q.notes, "xml() is evaluated on the bodies of a bundle, and there is no bundle here, so the SQL fails when it is run")
	}
	q.columns, q.absent = slices.Sorted(maps.Keys(c.columns)), slices.Sorted(maps.Keys(c.absent))
	return q, nil
}

// SQL returns the query as a condition on the view calls of a bundle, which is TRUE or FALSE and
// never NULL, with the arguments for its ? in order. All text of the query is in args. A query
// about bodies also reads the table bodies. The columns of calls must be visible without a
// prefix.
func (q *Query) SQL() (where string, args []any) {
	return q.where.sql, slices.Clone(q.where.args)
}

// Match reports whether the query matches row, as SQL does.
func (q *Query) Match(row Row) bool {
	m := matcher{row: row}
	return m.cond(q.root)
}

// Columns returns the columns of the view calls that the query reads, sorted.
func (q *Query) Columns() []string { return slices.Clone(q.columns) }

// Inner returns the columns that the query reads of other rows of calls, those of the same connection.
func (q *Query) Inner() []string { return slices.Clone(q.inner) }

// Absent returns the columns in Env.Absent that the query names, sorted.
func (q *Query) Absent() []string { return slices.Clone(q.absent) }

// Limit returns the argument of limit(), the maximum number of calls, or 0 without it.
func (q *Query) Limit() int { return q.limit }

// UsesNow reports whether the answer depends on Env.Now.
func (q *Query) UsesNow() bool { return q.usesNow }

// Notes returns remarks for the user, such as that a literal is used as a pattern.
func (q *Query) Notes() []string { return slices.Clone(q.notes) }
