package ask

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// Key identifies a row of calls, or of another table, by its number within a bundle.
type Key struct {
	Bundle int64 `json:"bundle"` // index of the bundle in the case, from 0
	No     int64 `json:"call_no"`
}

// Pick returns the keys of the first limit calls that match a condition. The order may use ts_ns,
// bundle and call_no. The caller then reads wide columns for these keys only.
func Pick(ctx context.Context, c *forensics.Case, from, where, order string, limit int, args ...any) ([]Key, bool, error) {
	return Rows[Key](ctx, c, limit, fmt.Sprintf("SELECT bundle, call_no FROM (SELECT %s, call_no, ts_ns FROM %s WHERE %s) ORDER BY %s LIMIT %d", terms.BundleOf(c, ""), from, where, order, limit+1), args...)
}

// Arrange returns the rows in the order of their keys and omits rows without a key.
func Arrange[T any](keys []Key, rows []T, of func(T) Key) []T {
	by := make(map[Key]T, len(rows))
	for _, r := range rows {
		by[of(r)] = r
	}
	out := make([]T, 0, len(keys))
	for _, key := range keys {
		if r, ok := by[key]; ok {
			out = append(out, r)
		}
	}
	return out
}

// Runs splits sorted numbers into ranges wherever two are more than gap apart. Reading a short
// range touches few row groups of the tables. If there would be more than most ranges, it returns
// one.
func Runs(list []int64, gap int64, most int) [][2]int64 {
	if len(list) == 0 {
		return nil
	}
	out := [][2]int64{{list[0], list[0]}}
	for _, n := range list[1:] {
		if last := &out[len(out)-1]; n-last[1] <= gap {
			last[1] = n
		} else if out = append(out, [2]int64{n, n}); len(out) > most {
			return [][2]int64{{list[0], list[len(list)-1]}}
		}
	}
	return out
}

// ByRuns calls ask with a condition for each run of call numbers, or more than one for a long run.
//
// A few numbers are literals, because DuckDB filters by literals where it reads a table. It joins a table of
// numbers only after the columns of all rows between them were masked.
func ByRuns(c *forensics.Case, keys []Key, ask func(where string) error) error {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.No, b.No) })
	all := make([]int64, len(keys))
	for i, key := range keys {
		all[i] = key.No
	}
	for _, r := range Runs(all, nearCalls, MaxRuns) {
		from, _ := slices.BinarySearch(all, r[0])
		to, _ := slices.BinarySearch(all, r[1]+1)
		for some := range slices.Chunk(keys[from:to], maxNumbers) {
			bundles, nos := Split(some)
			if len(some) > maxLiterals {
				nos = "SELECT unnest(string_split('" + nos + "', ',')::BIGINT[])"
			}
			if err := ask(fmt.Sprintf("k.call_no BETWEEN %d AND %d AND k.call_no IN (%s) %s", some[0].No, some[len(some)-1].No, nos, OfBundles(c, bundles))); err != nil {
				return err
			}
		}
	}
	return nil
}

// Split returns the distinct bundles of keys, and the call numbers, separated by commas.
func Split(keys []Key) (bundles []int64, nos string) {
	var list []int64
	for _, key := range keys {
		if !slices.Contains(bundles, key.Bundle) {
			bundles = append(bundles, key.Bundle)
		}
		list = append(list, key.No)
	}
	return bundles, terms.Numbers(list)
}

// OfBundles returns an AND condition that limits rows of k to some bundles.
func OfBundles(c *forensics.Case, bundles []int64) string {
	if !c.Several() {
		return ""
	}
	return "AND k.bundle IN (" + terms.Numbers(bundles) + ")"
}

// OfProtocols returns an AND condition that limits rows of k to some protocols, or nothing without any.
func OfProtocols(names []string) string {
	if len(names) == 0 {
		return ""
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote.SQL(name)
	}
	return " AND k.protocol IN (" + strings.Join(quoted, ", ") + ")"
}

// nearCalls is the largest distance between two call numbers that are read together.
const nearCalls = 100_000

// Limits of the numbers in a condition.
const (
	maxLiterals = 1_000  // parsing more takes longer than masking
	maxNumbers  = 10_000 // their text is shorter than Gate's limit
)

// MaxRuns is the highest number of ranges that are read one by one.
const MaxRuns = 16
