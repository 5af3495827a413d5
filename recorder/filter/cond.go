package filter

// cond is a condition on a packet. A load past the captured bytes makes the whole filter
// false at once, even below a negation, so the order of conditions matters.
type cond struct {
	kind condKind
	kids []*cond // of and, or; the first of not
	test test
}

type condKind uint8

const (
	condTest condKind = iota
	condTrue
	condFalse
	condAnd
	condOr
	condNot
)

// test compares a load with a number or an expression.
type test struct {
	load  load
	op    compare
	k     uint32
	right *expr // instead of k
}

type compare uint8

const (
	equal compare = iota
	greater
	atLeast
	anyBit // the load and k have a bit in common
)

func (op compare) compare(v, k uint32) bool {
	switch op {
	case equal:
		return v == k
	case greater:
		return v > k
	case atLeast:
		return v >= k
	}
	return v&k != 0
}

// load reads a number from a packet. Loads that are == read the same number.
type load struct {
	kind loadKind
	size uint8  // bytes: 1, 2 or 4
	off  uint32 // from the start of the packet; loadPastIP4 adds the length of the IPv4 header
	ip   uint32 // where the IPv4 header starts, of loadPastIP4
	mask uint32
	expr *expr
}

type loadKind uint8

const (
	loadBytes   loadKind = iota
	loadPastIP4          // bytes counted from the end of an IPv4 header with options
	loadLength           // of the packet on the wire
	loadExpr
)

func always(b bool) *cond {
	if b {
		return &cond{kind: condTrue}
	}
	return &cond{kind: condFalse}
}

func and(cs ...*cond) *cond { return chain(condAnd, cs) }
func or(cs ...*cond) *cond  { return chain(condOr, cs) }

// chain joins equal operators into one list, so that a thousand of them do not nest a thousand
// deep.
func chain(kind condKind, cs []*cond) *cond {
	if cs[0].kind == kind {
		first := cs[0]
		first.kids = append(first.kids, cs[1:]...)
		return first
	}
	return &cond{kind: kind, kids: append([]*cond(nil), cs...)}
}

func not(c *cond) *cond { return &cond{kind: condNot, kids: []*cond{c}} }

func is(l load, k uint32) *cond { return &cond{test: test{load: l, op: equal, k: k}} }
func isAbove(l load, k uint32) *cond {
	return &cond{test: test{load: l, op: greater, k: k}}
}
func isAtLeast(l load, k uint32) *cond {
	return &cond{test: test{load: l, op: atLeast, k: k}}
}
func hasBit(l load, k uint32) *cond { return &cond{test: test{load: l, op: anyBit, k: k}} }

func (l load) masked(mask uint32) load {
	l.mask &= mask
	return l
}

// areBytes compares a run of bytes with v, in words, starting at its end.
func areBytes(at func(off int, size uint8) load, off int, v []byte) *cond {
	var cs []*cond
	n := len(v)
	for ; n >= 4; n -= 4 {
		cs = append(cs, is(at(off+n-4, 4), be32(v[n-4:])))
	}
	for ; n >= 2; n -= 2 {
		cs = append(cs, is(at(off+n-2, 2), uint32(v[n-2])<<8|uint32(v[n-1])))
	}
	if n == 1 {
		cs = append(cs, is(at(off, 1), uint32(v[0])))
	}
	return and(cs...)
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
