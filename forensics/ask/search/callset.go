package search

import (
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// callSet is a set of calls: a sparse bitmap with words of 32 bits in ascending order.
type callSet struct {
	bundles map[int64]*callBits
}

type callBits struct {
	at   []int64
	bits []uint32
	last int // index of the last lookup: lookups mostly ascend
}

func (s *callSet) has(bundle, no int64) bool {
	b := s.bundles[bundle]
	if b == nil {
		return false
	}
	word := no >> 5
	for _, i := range [2]int{b.last, b.last + 1} {
		if i < len(b.at) && b.at[i] == word {
			b.last = i
			return b.bits[i]>>(no&31)&1 != 0
		}
	}
	i, ok := slices.BinarySearch(b.at, word)
	b.last = i
	return ok && b.bits[i]>>(no&31)&1 != 0
}

// readSet reads the calls of a window, or those of them with the given numbers. A call in several
// bundles is in the set once.
func readSet(ctx context.Context, c *forensics.Case, w *ask.Window, nos []int64) (*callSet, error) {
	where, args := w.Where, w.Args
	if len(nos) > 0 {
		where = fmt.Sprintf("call_no BETWEEN %d AND %d AND call_no IN (SELECT no FROM %s) AND %s", slices.Min(nos), slices.Max(nos), terms.Zip("no"), w.Where)
		args = append([]any{terms.Numbers(nos)}, w.Args...)
	}
	set := &callSet{bundles: map[int64]*callBits{}}
	_, err := c.Each(ctx, forensics.Query{Args: args, SQL: fmt.Sprintf(`SELECT bundle, word, bit_or(bit) FROM (SELECT %s, call_no >> 5 AS word, 1::BIGINT << (call_no & 31) AS bit FROM %s WHERE %s)
		GROUP BY 1, 2 ORDER BY 1, 2`, terms.BundleOf(c, ""), "calls", where)}, nil, func(_ []forensics.Column, row []any) error {
		bundle, ok1 := row[0].(int64)
		word, ok2 := row[1].(int64)
		bits, ok3 := row[2].(int64)
		if !ok1 || !ok2 || !ok3 {
			return fmt.Errorf("reading calls: %T, %T, %T are not numbers", row[0], row[1], row[2])
		}
		b := set.bundles[bundle]
		if b == nil {
			b = &callBits{}
			set.bundles[bundle] = b
		}
		b.at, b.bits = append(b.at, word), append(b.bits, uint32(bits))
		return nil
	})
	return set, err
}
