package forensics

import (
	"context"
	"maps"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/kfl"
)

// UseFindings lets KFL ask for findings, as in finding == "plaintext-credentials". They
// are computed when a question names one; f must be safe for several goroutines. Its
// numbers are those of CallNumber.
func (c *Case) UseFindings(f kfl.Findings) { c.findings.Store(&f) }

// CallNumber is the number of a call among those of all bundles of a case: its call_no,
// and where there are several bundles the bundle's index above it.
func (c *Case) CallNumber(bundle int, callNo int64) int64 {
	if !c.several() {
		return callNo
	}
	return int64(bundle)<<48 + callNo
}

// compile checks KFL against the columns that the tables have in this case.
func (c *Case) compile(ctx context.Context, src string, macros map[string]string) (*kfl.Query, error) {
	return kfl.Compile(src, c.Language(ctx, macros))
}

// Language is what KFL is compiled for in this case, with macros beside the case's own.
// What must be read for that ends with ctx.
func (c *Case) Language(ctx context.Context, macros map[string]string) kfl.Env {
	_, now, _ := c.Window()
	env := kfl.Env{Now: now, Bodies: bodies{ctx, c}, Tables: map[string]map[string]string{}}
	if env.Macros = c.options.Macros; len(macros) > 0 {
		env.Macros = map[string]string{}
		maps.Copy(env.Macros, c.options.Macros)
		maps.Copy(env.Macros, macros)
	}
	if f := c.findings.Load(); f != nil {
		env.Findings = *f
	}
	for name, v := range c.views {
		env.Tables[name], env.Tables[name+"_raw"] = columnTypes(v.columns), columnTypes(v.raw)
	}
	env.Columns = env.Tables["calls"]
	return env
}

func columnTypes(list []duck.Column) map[string]string {
	out := make(map[string]string, len(list))
	for _, col := range list {
		out[col.Name] = col.Type
	}
	return out
}

// Explanation is a question as it is asked of the tables.
type Explanation struct {
	KFL   string   `json:"kfl,omitempty"` // in one form
	SQL   string   `json:"sql"`           // whole, with ? for values
	Args  []any    `json:"args"`          // values of the ?, in order
	Reads []string `json:"reads"`         // columns of calls that KFL names
	Notes []string `json:"notes"`
	Text  string   `json:"-"` // the same for a person
}

// Explain says how a question would be asked, and asks nothing but what conditions on
// XML need. Its errors are those of Query.
func (c *Case) Explain(ctx context.Context, q Query) (*Explanation, error) {
	if q.SQL != "" {
		return nil, usagef("SQL explains itself: write EXPLAIN before it")
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
	e := &Explanation{KFL: formatted, SQL: p.sql, Args: p.args, Reads: k.Columns(), Notes: p.notes, Text: k.Explain() + "asked   " + p.sql + "\n"}
	if e.Notes == nil {
		e.Notes = []string{}
	}
	if e.Args == nil {
		e.Args = []any{}
	}
	return e, nil
}
