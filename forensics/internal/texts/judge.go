package texts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
)

// maxJoined is the number of bytes of joined texts that are judged at a time.
const maxJoined = 1 << 18

// worker searches row groups. It must be used by one goroutine only.
type worker struct {
	*reader
	s     *Scan
	judge Judge
	out   Group

	cols     []*column // of one place
	verdicts []Verdict
	joined   values
	rows     []int32 // of joined texts
	pairs    []pair
	others   map[[3]int32]Verdict
}

// pair is the verdict for a value with its first name.
type pair struct {
	name, kind int32 // plus 1; 0 if there is none yet
	v          Verdict
}

// group searches one row group.
func (w *worker) group(ctx context.Context, j job) error {
	w.p, w.f = j.p, j.f
	w.out.Rows, w.out.Hits = int(j.g.rows), w.out.Hits[:0]
	for i, leaves := range j.read {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.place(ctx, i, j.g, leaves); err != nil {
			return w.fail(w.s.Places[i].Columns[0], err)
		}
	}
	if w.s.Done != nil {
		w.s.Done(j.g.bytes(w.s, j.read))
	}
	w.out.Numbers = slices.Grow(w.out.Numbers[:0], len(w.s.Numbers))[:len(w.s.Numbers)]
	w.out.Fixed = slices.Grow(w.out.Fixed[:0], len(w.s.Fixed))[:len(w.s.Fixed)]
	if len(w.out.Hits) == 0 {
		return nil
	}
	for i, name := range w.s.Numbers {
		c, err := j.whole(name)
		if err == nil {
			w.out.Numbers[i], err = w.numbers(w.out.Numbers[i][:0], c, int(j.g.rows))
		}
		if err != nil {
			return w.fail(name, err)
		}
	}
	for i, name := range w.s.Fixed {
		c, err := j.whole(name)
		if err == nil {
			w.out.Fixed[i], err = w.fixed(w.out.Fixed[i][:0], c, int(j.g.rows))
		}
		if err != nil {
			return w.fail(name, err)
		}
	}
	return nil
}

// whole returns the chunk of a column without nulls.
func (j *job) whole(name string) (*chunk, error) {
	if at, ok := j.p.names[name]; ok {
		if c := j.g.find(at); c != nil {
			return c, nil
		}
	}
	return nil, errors.New("it has no values")
}

// column returns the buffer for the i-th column.
func (w *worker) column(i int) *column {
	for len(w.cols) <= i {
		w.cols = append(w.cols, &column{})
	}
	return w.cols[i]
}

// place searches the texts of one place.
func (w *worker) place(ctx context.Context, i int, g *group, leaves []int) error {
	place := &w.s.Places[i]
	var there []*column
	for _, l := range leaves {
		c := g.find(l)
		if place.Headers && c == nil {
			return nil
		}
		if c == nil {
			continue
		}
		col := w.column(len(there))
		if place.Headers && len(there) > 0 { // names and kinds are only read if a value has a verdict
			col.leaf, col.chunk = w.p.leaves[c.leaf], *c
		} else if err := w.begin(col, c); err != nil {
			return err
		}
		there = append(there, col)
	}
	switch {
	case len(there) == 0:
		return nil
	case place.Headers:
		return w.headers(i, int(g.rows), there)
	case len(place.Columns) > 1 || there[0].maxRep > 0:
		return w.join(ctx, i, int(g.rows), there)
	}
	return w.scalar(i, int(g.rows), there[0])
}

// judged calls do for each text that may have a verdict.
func (w *worker) judged(place int, v *values, do func(k int, verdict Verdict)) {
	n := v.len()
	if n == 0 {
		return
	}
	w.judge.Begin(place, v.block)
	for k := 0; k < n; k++ {
		at := w.judge.Next(int(v.ends[2*k]))
		if at < 0 {
			return
		}
		if at >= int(v.ends[2*k+1]) { // in a later text, or between texts
			k += sort.Search(n-k, func(i int) bool { return at < int(v.ends[2*(k+i)+1]) })
			if k >= n {
				return
			}
			if at < int(v.ends[2*k]) {
				k--
				continue
			}
		}
		if verdict := w.judge.Text(place, v.at(k)); verdict != 0 {
			do(k, verdict)
		}
	}
}

func (w *worker) hit(place, row int, v Verdict) {
	w.out.Hits = append(w.out.Hits, Hit{Verdict: v, Row: int32(row), Place: int32(place)})
}

// dictionary judges the entries of a column's dictionary and reports whether any has a verdict.
func (w *worker) dictionary(place int, v *values) bool {
	w.verdicts = slices.Grow(w.verdicts[:0], v.len())[:v.len()]
	clear(w.verdicts)
	any := false
	w.judged(place, v, func(k int, verdict Verdict) { w.verdicts[k], any = verdict, true })
	return any
}

// scalar searches a column with at most one text per row.
func (w *worker) scalar(place, rows int, col *column) error {
	if int(col.values) != rows {
		return fmt.Errorf("%d values in %d rows", col.values, rows)
	}
	if col.coded {
		if !w.dictionary(place, &col.dict) {
			return nil
		}
		if err := w.data(col); err != nil {
			return err
		}
	}
	row, next := 0, 0 // row is that of the value next
	rowOf := func(k int) int {
		if col.count == rows {
			return k
		}
		for ; ; row++ {
			if int8(col.defs[row]) != col.maxDef {
				continue
			}
			if next == k {
				return row
			}
			next++
		}
	}
	if !col.coded {
		w.judged(place, &col.plain, func(k int, v Verdict) { w.hit(place, rowOf(k), v) })
		return nil
	}
	for k, at := range col.idx {
		if v := w.verdicts[at]; v != 0 {
			w.hit(place, rowOf(k), v)
		}
	}
	return nil
}
