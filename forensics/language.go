package forensics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/kfl"
)

// Findings returns the calls behind findings, like kfl.Findings, within the context of a query. It
// must be safe for concurrent use. Its numbers are those of CallNumber.
type Findings interface {
	Names() []string
	Calls(ctx context.Context, name string) ([]int64, error)
}

// UseFindings makes findings available in KFL, as in finding == "plaintext-credentials". They are
// computed when a filter names one.
func (c *Case) UseFindings(f Findings) { c.findings.Store(&f) }

// named has the findings for one query.
type named struct {
	Findings
	ctx context.Context
	err error // error that ended a search
}

// Calls implements kfl.Findings.
func (n *named) Calls(name string) ([]int64, error) {
	list, err := n.Findings.Calls(n.ctx, name)
	n.err = err
	return list, err
}

// CallNumber is the number of a call in the case: its call_no, combined with the bundle's index if
// there are several bundles.
func (c *Case) CallNumber(bundle int, callNo int64) int64 {
	if !c.several() {
		return callNo
	}
	return int64(bundle)<<48 + callNo
}

// compile checks KFL against the columns that the tables have in this case.
func (c *Case) compile(ctx context.Context, src string, macros map[string]string) (*kfl.Query, error) {
	env := c.Language(ctx, macros)
	k, err := kfl.Compile(src, env)
	n, _ := env.Findings.(*named)
	if err == nil || n == nil || n.err == nil {
		return k, err
	}
	// The filter is valid, but a finding could not be computed.
	switch cut := ctx.Err(); {
	case errors.Is(n.err, ErrDeadline), errors.Is(n.err, ErrMemory):
		return nil, n.err
	case errors.Is(cut, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w: %w", ErrDeadline, n.err)
	case cut != nil:
		return nil, cut
	}
	return nil, err
}

// Language returns the KFL environment of this case, with macros in addition to the case's own.
// Reading the case for it ends with ctx.
func (c *Case) Language(ctx context.Context, macros map[string]string) kfl.Env {
	_, now, _ := c.Window()
	env := kfl.Env{Now: now, Bodies: bodies{ctx, c}, Tables: map[string]map[string]string{}}
	env.Protocol = func(name string) bool { return c.hasProtocol(ctx, name) }
	if env.Macros = c.options.Macros; len(macros) > 0 {
		env.Macros = map[string]string{}
		maps.Copy(env.Macros, c.options.Macros)
		maps.Copy(env.Macros, macros)
	}
	if f := c.findings.Load(); f != nil {
		env.Findings = &named{Findings: *f, ctx: ctx}
	}
	for name, v := range c.views {
		if v.rows.protocols == nil {
			env.Tables[name], env.Tables[name+"_raw"] = columnTypes(v.all()), columnTypes(v.stored())
		}
	}
	env.Columns = env.Tables["calls"]
	if v := c.views["calls"]; v != nil {
		env.Absent = columnTypes(v.absent)
	}
	return env
}

// hasProtocol reports whether calls have a protocol.
func (c *Case) hasProtocol(ctx context.Context, name string) bool {
	if c.views["calls"] == nil {
		return false
	}
	list, err := c.structs(ctx, "SELECT protocol FROM calls_raw WHERE protocol = ?", 1, name)
	return err == nil && len(list) > 0 // an error shows in the query itself
}

func columnTypes(list []duck.Column) map[string]string {
	out := make(map[string]string, len(list))
	for _, col := range list {
		out[col.Name] = col.Type
	}
	return out
}

// Explanation shows how a query is run.
type Explanation struct {
	KFL   string   `json:"kfl,omitempty"` // normalized
	SQL   string   `json:"sql"`           // complete, with ? for values
	Args  []any    `json:"args"`          // values of the ?, in order
	Reads []string `json:"reads"`         // columns of calls that KFL uses
	Notes []string `json:"notes"`

	query *kfl.Query
}

// Text describes the query for people, in lines of at most width columns where that is possible.
func (e *Explanation) Text(width int) string {
	return e.query.Explain(width) + kfl.ExplainLine("asked", e.SQL, width)
}

// Explain returns how a query would be run. It runs nothing itself except queries that conditions
// on XML need. Its errors are those of Query.
func (c *Case) Explain(ctx context.Context, q Query) (*Explanation, error) {
	if q.SQL != "" {
		return nil, usagef("SQL has its own explanation: write EXPLAIN before it")
	}
	p, err := c.planRows(ctx, &q, nil)
	if err != nil {
		return nil, err
	}
	k, err := c.compile(ctx, q.KFL, q.Macros)
	if err != nil {
		return nil, err
	}
	formatted, err := kfl.Format(q.KFL)
	if err != nil {
		return nil, err
	}
	e := &Explanation{KFL: formatted, SQL: p.sql, Args: p.args, Reads: k.Columns(), Notes: p.notes, query: k}
	if e.Notes == nil {
		e.Notes = []string{}
	}
	if e.Args == nil {
		e.Args = []any{}
	}
	return e, nil
}

// Condition is KFL as an SQL condition for table calls.
type Condition struct {
	SQL     string
	Args    []any    // values of its ?, in order
	Columns []string // columns of calls that it uses
	Now     int64    // value of now(); 0 if it was not used
	Notes   []string // notes for the user

	Connections bool // rows of connections have these columns too
}

// Condition compiles KFL for use in SQL. It returns a *kfl.Error with the place, or ErrUsage if the
// case has no calls.
func (c *Case) Condition(ctx context.Context, src string) (Condition, error) {
	if c.views["calls"] == nil {
		return Condition{}, usagef("the case has no table calls")
	}
	k, err := c.compile(ctx, src, nil)
	if err != nil {
		return Condition{}, err
	}
	out := Condition{Columns: k.Columns(), Notes: k.Notes()}
	out.SQL, out.Args = k.SQL()
	conns := c.views["connections"]
	out.Connections = conns != nil && !slices.ContainsFunc(out.Columns, func(name string) bool {
		return name == "ts" || !hasColumn(conns.columns, name) // a connection begins before its calls
	})
	if k.UsesNow() {
		_, out.Now, _ = c.Window()
	}
	return out, nil
}

// AsMasked makes a condition for a query to c.Unmasked() apply to the masked values of c, so that a
// user's condition cannot confirm a guessed secret. The condition must not use aliases.
func (c *Case) AsMasked(cond string) string {
	if !c.mask {
		return cond
	}
	key := "call_no"
	if c.several() {
		key = "bundle, call_no"
	}
	return fmt.Sprintf("(%s) IN (SELECT (%s) FROM %s.calls WHERE %s)", key, key, maskedSchema, cond)
}

// Several reports whether the case has more than one bundle; then every table has a
// column bundle, and numbers such as call_no and flow_id are unique only with it.
func (c *Case) Several() bool { return c.several() }
