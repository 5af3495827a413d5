package forensics

import (
	"context"
	"fmt"
)

// Condition is KFL as a condition of SQL on rows of the table calls.
type Condition struct {
	SQL     string
	Args    []any    // values of its ?, in order
	Columns []string // of calls that it names
	Now     int64    // what now() meant; 0 where it was not used
	Notes   []string // remarks for the person who asked
}

// Condition compiles KFL for a question that is SQL. Its error is a *kfl.Error with the
// place, or ErrUsage where the case has no calls.
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

// AsMasked is a condition on calls for a question to c.Unmasked() that is asked of what c shows,
// so that a condition of somebody else confirms no guess. It names its columns alone.
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
