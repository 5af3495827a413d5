package engine

import (
	"hash/maphash"
	"strings"
	"sync"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/pcapsule/pcapsule/forensics/redact"
)

// masks is a masker with a cache for short texts, because columns repeat them.
type masks struct {
	*redact.Masker
	seed  maphash.Seed
	memos sync.Pool // of *memo, each used by one call at a time
}

func newMasks(m *redact.Masker) *masks {
	return &masks{Masker: m, seed: maphash.MakeSeed(), memos: sync.Pool{New: func() any { return new(memo) }}}
}

// Limits of a memo.
const (
	memoTexts = 1 << 12 // a power of two
	memoText  = 256     // bytes of a text, and of its name
	memoTries = 64      // texts of a chunk after which a memo with few hits is no longer used
)

// memo is a cache of masked texts.
type memo [memoTexts]struct{ as, name, text, masked string }

// maskCall masks one chunk.
type maskCall struct {
	*masks
	memo            *memo
	n               int
	bytes           bool // not text
	as, name, texts vector
	in, out         duckdb.Vector

	lookups, hits int // of the memo
}

// masked returns the masked text of a row of texts, with the names in row of. A null name counts as
// empty.
func (c *maskCall) masked(of, row int) string {
	name := ""
	if !c.name.null(of) {
		name = c.name.place(of)
	}
	s := c.texts.place(row)
	if c.bytes {
		return c.Bytes(name, s)
	}
	return c.text(c.as.place(of), name, s)
}

// text masks a text, or returns the cached result.
func (c *maskCall) text(as, name, s string) string {
	if len(s) > memoText || len(name) > memoText || c.lookups >= memoTries && c.hits < c.lookups/4 {
		return c.Text(as, name, s)
	}
	c.lookups++
	slot := &c.memo[maphash.String(c.seed, s)%memoTexts]
	if slot.text == s && slot.as == as && slot.name == name {
		c.hits++
		return slot.masked
	}
	// Strings in a chunk do not outlive it, so copy them.
	slot.as, slot.name, slot.text = strings.Clone(as), strings.Clone(name), strings.Clone(s)
	slot.masked = c.Text(slot.as, slot.name, slot.text)
	return slot.masked
}

// each masks a text in every row.
func (c *maskCall) each() {
	same := 0 // number of rows that masking does not change
	for same < c.n && (c.texts.null(same) || c.masked(same, same) == c.texts.place(same)) {
		same++
	}
	if same == c.n { // true for most chunks: nothing to copy
		duckdb.VectorReferenceVector(c.out, c.in)
		return
	}
	nulls := nullsOf(c.out)
	for row := range c.n {
		switch {
		case c.texts.null(row):
			nulls(row)
		case row < same:
			duckdb.VectorAssignStringElement(c.out, duckdb.IdxT(row), c.texts.place(row))
		default:
			duckdb.VectorAssignStringElement(c.out, duckdb.IdxT(row), c.masked(row, row))
		}
	}
}

// lists masks a list of texts in every row.
func (c *maskCall) lists() {
	child, out := duckdb.ListVectorGetChild(c.in), duckdb.ListVectorGetChild(c.out)
	lists := c.texts
	c.texts = vector{data: duckdb.VectorGetData(child), valid: duckdb.VectorGetValidity(child)}
	size := uint64(0) // sum over all rows; rows may share elements
	for row := range c.n {
		if !lists.null(row) {
			size += get[[2]uint64](&lists, row)[1]
		}
	}
	duckdb.ListVectorReserve(c.out, duckdb.IdxT(size))
	duckdb.ListVectorSetSize(c.out, duckdb.IdxT(size))
	spans := unsafe.Slice((*[2]uint64)(duckdb.VectorGetData(c.out)), c.n)
	nulls, none := nullsOf(c.out), nullsOf(out)
	var at uint64
	for row := range c.n {
		if lists.null(row) {
			nulls(row)
			spans[row] = [2]uint64{at, 0}
			continue
		}
		span := get[[2]uint64](&lists, row)
		spans[row] = [2]uint64{at, span[1]}
		for i, s := range c.list(row, int(span[0]), int(span[1])) {
			if to := int(at) + i; c.texts.null(int(span[0]) + i) {
				none(to)
			} else {
				duckdb.VectorAssignStringElement(out, duckdb.IdxT(to), s)
			}
		}
		at += span[1]
	}
}

// list returns the masked list of a row. Null elements become empty.
func (c *maskCall) list(row, from, n int) []string {
	list := make([]string, n)
	for i := range list {
		if !c.texts.null(from + i) {
			list[i] = c.texts.place(from + i)
		}
	}
	name := ""
	if !c.name.null(row) {
		name = c.name.place(row)
	}
	return c.List(c.as.place(row), name, list)
}

// place returns a string of a vector without copying: it is valid as long as the chunk.
func (v *vector) place(row int) string {
	b := v.bytes(row)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// nullsOf returns a function that sets a row of a vector to null.
func nullsOf(v duckdb.Vector) func(row int) {
	var valid unsafe.Pointer
	return func(row int) {
		if valid == nil {
			duckdb.VectorEnsureValidityWritable(v)
			valid = duckdb.VectorGetValidity(v)
		}
		duckdb.ValiditySetRowInvalid(valid, duckdb.IdxT(row))
	}
}
