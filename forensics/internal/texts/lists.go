package texts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// entries iterates over the entries of a column, row by row.
type entries struct {
	col  *column
	at   int // next entry
	next int // next value
	row  int // of the last entry; -1 before the first
}

// value returns the next value of a row, or -1 if it has no more. Rows must be requested in order.
func (e *entries) value(row int) int {
	for e.at < int(e.col.values) {
		if len(e.col.reps) == 0 || e.col.reps[e.at] == 0 {
			if e.row == row {
				return -1
			}
			e.row++
		}
		e.at++
		if len(e.col.defs) == 0 || int8(e.col.defs[e.at-1]) == e.col.maxDef {
			e.next++
			return e.next - 1
		}
	}
	return -1
}

// fits returns an error if a column does not have this number of rows.
func (col *column) fits(rows int) error {
	n := int(col.values)
	if len(col.reps) > 0 {
		n = 0
		for _, r := range col.reps {
			if r == 0 {
				n++
			}
		}
		if col.reps[0] != 0 {
			return errors.New("its first entry continues a row")
		}
	}
	if n != rows {
		return fmt.Errorf("%d rows, expected %d", n, rows)
	}
	return nil
}

// join searches the joined values of each row.
func (w *worker) join(ctx context.Context, place, rows int, cols []*column) error {
	walks := make([]entries, len(cols))
	for i, col := range cols {
		if err := w.data(col); err != nil {
			return err
		}
		if err := col.fits(rows); err != nil {
			return err
		}
		walks[i] = entries{col: col, row: -1}
	}
	sep := w.s.Places[place].Join
	j := &w.joined
	j.block, j.ends, w.rows = j.block[:0], j.ends[:0], w.rows[:0]
	for row := range rows {
		from, n := len(j.block), 0
		for i := range walks {
			for k := walks[i].value(row); k >= 0; k = walks[i].value(row) {
				if n++; n > 1 {
					j.block = append(j.block, sep...)
				}
				if j.block = append(j.block, cols[i].text(k)...); len(j.block) > maxPage {
					return fmt.Errorf("row %d has more than %d bytes of text", row, maxPage)
				}
			}
		}
		if len(j.block) > from {
			j.ends, w.rows = append(j.ends, uint32(from), uint32(len(j.block))), append(w.rows, int32(row))
		}
		if len(j.block) < maxJoined && row < rows-1 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		w.judged(place, j, func(k int, v Verdict) { w.hit(place, int(w.rows[k]), v) })
		j.block, j.ends, w.rows = j.block[:0], j.ends[:0], w.rows[:0]
	}
	return nil
}

// headers searches lists of headers: values first, then names and kinds if a value has a verdict.
func (w *worker) headers(place, rows int, cols []*column) error {
	value, name, kind := cols[0], cols[1], cols[2]
	all := &value.plain
	if value.coded {
		all = &value.dict
	}
	if !w.dictionary(place, all) {
		return nil
	}
	if err := w.data(value); err != nil {
		return err
	}
	for _, col := range cols[1:] {
		if err := w.begin(col, &col.chunk); err != nil {
			return err
		}
		if err := w.data(col); err != nil {
			return err
		}
		if col.count != value.count || !bytes.Equal(col.reps, value.reps) || !bytes.Equal(col.defs, value.defs) {
			return errors.New("names, values and kinds differ in length")
		}
	}
	if err := value.fits(rows); err != nil {
		return err
	}
	w.pairs = slices.Grow(w.pairs[:0], all.len())[:all.len()]
	clear(w.pairs)
	clear(w.others)
	walk := entries{col: value, row: -1}
	for row := range rows {
		for k := walk.value(row); k >= 0; k = walk.value(row) {
			at := value.place(k)
			v := w.verdicts[at]
			if v == 0 {
				continue
			}
			n, o := name.place(k)+1, kind.place(k)+1
			if p := &w.pairs[at]; p.name == n && p.kind == o {
				v = p.v
			} else {
				v = w.header([3]int32{at, n, o}, func() Verdict {
					return w.judge.Header(place, name.text(k), value.text(k), kind.text(k), v)
				})
			}
			if v != 0 {
				w.hit(place, row, v)
			}
		}
	}
	return nil
}

// place is the index of the k-th value among the distinct ones.
func (col *column) place(k int) int32 {
	if col.coded {
		return int32(col.idx[k])
	}
	return int32(k)
}

// maxOthers is the size of the verdict cache for values with several names.
const maxOthers = 1 << 14

// header returns the verdict for a name, value and kind. It caches a limited number of them.
func (w *worker) header(key [3]int32, judge func() Verdict) Verdict {
	if p := &w.pairs[key[0]]; p.name == 0 {
		*p = pair{key[1], key[2], judge()}
		return p.v
	}
	v, known := w.others[key]
	if !known {
		if w.others == nil || len(w.others) >= maxOthers {
			w.others = map[[3]int32]Verdict{}
		}
		v = judge()
		w.others[key] = v
	}
	return v
}
