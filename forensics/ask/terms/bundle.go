package terms

import (
	"strconv"
	"strings"
)

// Several is the property of a case that SQL depends on: whether it has several bundles. If it
// does, its rows have a column bundle.
type Several interface{ Several() bool }

// Key is the SQL columns that identify a row in addition to its number: "bundle, " if the case has
// several bundles, otherwise nothing.
func Key(c Several, alias string) string {
	if !c.Several() {
		return ""
	}
	if alias != "" {
		alias += "."
	}
	return alias + "bundle, "
}

// BundleStep is the difference of NumberOf between two bundles.
const BundleStep = 1 << 42

// NumberOf is SQL for one number that identifies a row of calls in the case.
func NumberOf(c Several) string {
	if c.Several() {
		return "(bundle::BIGINT * " + strconv.Itoa(BundleStep) + " + call_no)"
	}
	return "call_no"
}

// FlowID is SQL for the text that names a flow in the case: bundle#flow_id if it has several bundles.
func FlowID(c Several) string {
	if c.Several() {
		return "(bundle || '#' || flow_id)"
	}
	return "flow_id::VARCHAR"
}

// BundleOf is the SQL for the column bundle; a case of one bundle has no such column.
func BundleOf(c Several, alias string) string {
	if !c.Several() {
		return "0 AS bundle"
	}
	return alias + "bundle AS bundle"
}

// SameBundle is the SQL for a join of two tables by bundle.
func SameBundle(c Several, a, b string) string {
	if !c.Several() {
		return ""
	}
	return " AND " + a + ".bundle = " + b + ".bundle"
}

// Numbers writes any count of numbers as one argument, for SQL that splits it again.
func Numbers(list []int64) string {
	var b strings.Builder
	for i, n := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
	return b.String()
}

// Zip is the SQL for a table of numbers; each column is one argument written by Numbers.
func Zip(columns ...string) string {
	for i, c := range columns {
		columns[i] = "unnest(string_split(?, ',')::BIGINT[]) AS " + c
	}
	return "(SELECT " + strings.Join(columns, ", ") + ")"
}

// Cites is SQL for the packets that a row cites, which ask.Rows writes as files and frames.
func Cites(c Several, alias string) string {
	if alias != "" {
		alias += "."
	}
	return "{'bundle': " + bundleNo(c, alias) + ", 'cites': " + alias + "cites}"
}

// CitesOne is SQL for one packet by its number, for a list that ask.Rows writes as files and frames.
func CitesOne(c Several, alias, packet string) string {
	if alias != "" {
		alias += "."
	}
	return "{'bundle': " + bundleNo(c, alias) + ", 'first': " + packet + ", 'last': " + packet + "}"
}

func bundleNo(c Several, alias string) string {
	if c.Several() {
		return alias + "bundle"
	}
	return "0"
}
