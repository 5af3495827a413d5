package terms

import (
	"fmt"
	"strings"
)

// IsSearched reports whether a resolver with a search list asked for one name before it found the other: for
// name.domain before name, or in Kubernetes for web.shop.shop.svc.cluster.local before web.shop.svc.cluster.local. Both
// are in lower case.
func IsSearched(asked, found string) bool {
	for end := len(found); end > 0; end = strings.LastIndexByte(found[:end], '.') {
		if rest, ok := strings.CutPrefix(asked, found[:end]+"."); ok {
			return end == len(found) || strings.HasSuffix(rest, found[end:])
		}
	}
	return false
}

// maxLabels is the highest number of labels of a name that Searched compares.
const maxLabels = 12

// Searched is SQL for the rows of asked whose name IsSearched with a name of found. Both are SQL sources with the
// lower-case column name and the columns in by, each with a comma, which must be equal too.
func Searched(asked, found, by string) string {
	pair := func(to string) string {
		return "array_to_string(l[1:i], '.') || '|' || array_to_string(l[" + to + ":], '.')"
	}
	rows := func(from string) string {
		return fmt.Sprintf("(SELECT *, string_split(name, '.') AS l FROM (SELECT DISTINCT %sname FROM %s)) WHERE len(l) <= %d", by, from, maxLabels)
	}
	return fmt.Sprintf(`SELECT DISTINCT %[1]sa.name FROM (SELECT %[1]sname, unnest(flatten(list_transform(range(1, len(l)), i -> list_transform(range(0, len(l) - i), k -> %[2]s)))) AS pair FROM %[3]s) a
		JOIN (SELECT %[1]sname, unnest(list_transform(range(1, len(l) + 1), i -> %[4]s)) AS pair FROM %[5]s) b USING (%[1]spair)`, by, pair("len(l) - k + 1"), rows(asked), pair("i + 1"), rows(found))
}
