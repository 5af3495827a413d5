package ask

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Key names a row of calls, or of another table, by its number within a bundle.
type Key struct {
	Bundle int64 `json:"bundle"` // place of the bundle in the case, from 0
	No     int64 `json:"call_no"`
}

// Pick finds the first limit calls of a condition in an order, which may name ts_ns, bundle
// and call_no. To read no more than these of the wide columns they are read by their numbers.
func Pick(ctx context.Context, c *forensics.Case, from, where, order string, limit int, args ...any) ([]Key, bool, error) {
	return Rows[Key](ctx, c, limit, fmt.Sprintf("SELECT bundle, call_no FROM (SELECT %s, call_no, ts_ns FROM %s WHERE %s) ORDER BY %s LIMIT %d", terms.BundleOf(c, ""), from, where, order, limit+1), args...)
}

// Arrange gives the rows of keys in the keys' order; others are left out.
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

// Runs cuts sorted numbers where they are more than gap apart. What lies near together is
// read with few pieces of the tables; where there would be more than most runs, there is
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

// ByRuns asks for calls by their numbers, run by run.
func ByRuns(c *forensics.Case, keys []Key, ask func(where string, nos string) error) error {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.No, b.No) })
	all := make([]int64, len(keys))
	for i, key := range keys {
		all[i] = key.No
	}
	for _, r := range Runs(all, nearCalls, MaxRuns) {
		from, _ := slices.BinarySearch(all, r[0])
		to, _ := slices.BinarySearch(all, r[1]+1)
		bundles, nos := Split(keys[from:to])
		where := fmt.Sprintf("k.call_no BETWEEN %d AND %d AND k.call_no IN (SELECT no FROM %s) %s", r[0], r[1], terms.Zip("no"), OfBundles(c, bundles))
		if err := ask(where, nos); err != nil {
			return err
		}
	}
	return nil
}

// Split gives the bundles of keys, each once, and the numbers as terms.Zip reads them.
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

// OfBundles is the condition, after others, that rows of k are of some bundles.
func OfBundles(c *forensics.Case, bundles []int64) string {
	if !c.Several() {
		return ""
	}
	return "AND k.bundle IN (" + terms.Numbers(bundles) + ")"
}

// nearCalls is how far apart numbers of calls may be that are read together.
const nearCalls = 100_000

// MaxRuns is how many stretches are read one by one.
const MaxRuns = 16
