package forensics

import (
	"context"
	"fmt"
)

// Condition is KFL as an SQL condition for table calls.
type Condition struct {
	SQL     string
	Args    []any    // values of its ?, in order
	Columns []string // columns of calls that it uses
	Now     int64    // value of now(); 0 if it was not used
	Notes   []string // notes for the user
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
