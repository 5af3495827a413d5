package terms

import (
	"strconv"
	"strings"
)

// Several is a case, as far as SQL depends on it: whether it has several bundles, whose rows
// have a column bundle.
type Several interface{ Several() bool }

// Key is SQL columns that name a row of calls or of another table beside its number:
// "bundle, " where the case has several.
func Key(c Several, alias string) string {
	if !c.Several() {
		return ""
	}
	if alias != "" {
		alias += "."
	}
	return alias + "bundle, "
}

// NumberOf is SQL for one number that names a row of calls in the case.
func NumberOf(c Several) string {
	if c.Several() {
		return "(bundle::BIGINT * 4398046511104 + call_no)"
	}
	return "call_no"
}

// BundleOf is the SQL for the column bundle, which a case of one bundle lacks.
func BundleOf(c Several, alias string) string {
	if !c.Several() {
		return "0 AS bundle"
	}
	return alias + "bundle AS bundle"
}

// SameBundle is the SQL that ties two tables' bundles together.
func SameBundle(c Several, a, b string) string {
	if !c.Several() {
		return ""
	}
	return " AND " + a + ".bundle = " + b + ".bundle"
}

// Numbers writes numbers for SQL that splits them again: one argument, however many.
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

// Zip is the SQL for a table of numbers, each column one argument.
func Zip(columns ...string) string {
	for i, c := range columns {
		columns[i] = "unnest(string_split(?, ',')::BIGINT[]) AS " + c
	}
	return "(SELECT " + strings.Join(columns, ", ") + ")"
}
