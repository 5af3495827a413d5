package clickhouse

import (
	"encoding/binary"
	"errors"
)

// step is the next element of a block.
type step struct {
	what  what
	n     uint64 // values, or bytes of skip
	at    uint64 // values that are read
	last  uint64
	inner uint64 // bytes of the text that is being skipped
	kind  *kind
	shown *cells // where values go; nil if they are not shown
	keys  *cells // of a dictionary
}

// what is the kind of a step.
type what uint8

const (
	skipBytes what = iota
	values         // of fixed size
	texts
	nulls
	offsets
	dictHead
	dictPlaces
	sparse
)

// cells are the first values of a column.
type cells struct {
	most int // values
	text []string
	size int // bytes
	null [maxShown]bool
}

func newCells(n uint64, most int) *cells { return &cells{most: int(min(n, uint64(most)))} }

// full reports whether no other value is wanted. c may be nil.
func (c *cells) full() bool { return c == nil || len(c.text) == c.most }

// add adds a value, or a null in its place.
func (c *cells) add(s string) {
	if n := len(c.text); n < maxShown && c.null[n] {
		s = `\N`
	}
	c.text = append(c.text, s)
	c.size += len(s) + 16
}

// step reads values of the next step. It returns 0 if it needs more bytes.
func (d *decoder) step(b []byte) (n int, err error) {
	s := &d.steps[len(d.steps)-1]
	switch s.what {
	case skipBytes:
		n = int(min(s.n, uint64(len(b))))
		s.n -= uint64(n)
	case values:
		n = s.values(b)
	case texts:
		n, err = s.texts(b)
	case nulls:
		n = int(min(s.n, uint64(len(b))))
		for i, c := range b[:n] {
			if s.shown != nil && s.at+uint64(i) < maxShown {
				s.shown.null[s.at+uint64(i)] = c != 0
			}
		}
		s.n, s.at = s.n-uint64(n), s.at+uint64(n)
	case offsets:
		return d.offsets(s, b)
	case dictHead:
		return d.dictionary(s, b)
	case dictPlaces:
		n = s.places(b)
	case sparse:
		return d.sparse(s, b)
	}
	d.rest()
	return n, err
}

// values reads values of fixed size.
func (s *step) values(b []byte) int {
	size := uint64(s.kind.size)
	if s.inner > 0 { // the rest of a long value
		n := min(s.inner, uint64(len(b)))
		if s.inner -= n; s.inner == 0 {
			s.n--
		}
		return int(n)
	}
	m := min(s.n, uint64(len(b))/size)
	if m == 0 && size > maxStored {
		s.inner = size - uint64(len(b))
		if !s.shown.full() {
			s.shown.add("…")
		}
		return len(b)
	}
	for i := uint64(0); i < m && !s.shown.full(); i++ {
		s.shown.add(s.kind.format(b[i*size : (i+1)*size]))
	}
	s.n -= m
	return int(m * size)
}

// texts reads texts.
func (s *step) texts(b []byte) (n int, err error) {
	for s.n > 0 && n < len(b) {
		if s.inner > 0 {
			m := min(s.inner, uint64(len(b)-n))
			if s.inner -= m; s.inner == 0 {
				s.n--
			}
			n += int(m)
			continue
		}
		size, m := binary.Uvarint(b[n:])
		if m < 0 || size > 1<<40 || m == 0 && len(b)-n >= binary.MaxVarintLen64 {
			return n, errBytes
		}
		if m == 0 {
			return n, nil
		}
		have := uint64(len(b) - n - m)
		show := !s.shown.full()
		if show && have < min(size, maxStored) {
			return n, nil
		}
		if show {
			s.shown.add(field(b[n+m : n+m+int(min(size, maxStored+1, have))]))
		}
		n += m
		if have >= size {
			n += int(size)
			s.n--
		} else {
			n, s.inner = len(b), size-have
		}
	}
	return n, nil
}

// offsets reads where each array ends. The last one is the number of elements.
func (d *decoder) offsets(s *step, b []byte) (int, error) {
	m := min(s.n, uint64(len(b))/8)
	if m == 0 {
		return 0, nil
	}
	s.last = binary.LittleEndian.Uint64(b[(m-1)*8:])
	if s.last > maxRows {
		return 0, errBytes
	}
	s.n -= m
	if s.n == 0 {
		k, n := s.kind.inner[0], s.last
		d.steps = d.steps[:len(d.steps)-1]
		d.add(k, n, nil)
	}
	d.rest()
	return int(m * 8), nil
}

// Flags of a dictionary (src/DataTypes/Serializations/SerializationLowCardinality.cpp).
const (
	placeSize  = 0xff
	globalDict = 1 << 8
	moreKeys   = 1 << 9
)

// dictionary reads the head of a dictionary: flags, and the number of its keys.
func (d *decoder) dictionary(s *step, b []byte) (int, error) {
	r := &cursor{b: b}
	flags := r.u64()
	keys := uint64(0)
	if flags&moreKeys != 0 {
		keys = r.u64()
	}
	if errors.Is(r.err, errShort) {
		return 0, nil
	}
	if flags&placeSize > 3 || keys > maxRows {
		return 0, errBytes
	}
	if flags&globalDict != 0 {
		return 0, errUnread
	}
	k, n, shown := s.kind, s.n, s.shown
	d.steps = d.steps[:len(d.steps)-1]
	d.push(step{what: dictPlaces, n: 1, last: n, kind: k, shown: shown, at: 1 << (flags & placeSize)})
	d.keys = nil
	if !shown.full() {
		d.keys = newCells(keys, maxKeys)
	}
	d.steps[len(d.steps)-1].keys = d.keys
	d.add(k.inner[0], keys, d.keys)
	return r.at, nil
}

// places reads the number of values of a dictionary's column, which the step has, and then their places.
func (s *step) places(b []byte) int {
	if s.inner == 0 {
		if len(b) < 8 {
			return 0
		}
		s.inner = s.at // the size of a place
		if s.n = binary.LittleEndian.Uint64(b); s.n > s.last {
			s.n = s.last
		}
		return 8
	}
	m := min(s.n, uint64(len(b))/s.inner)
	for i := uint64(0); i < m && !s.shown.full(); i++ {
		s.shown.add(s.key(b[i*s.inner : (i+1)*s.inner]))
	}
	s.n -= m
	return int(m * s.inner)
}

// key is the value at a place of a dictionary.
func (s *step) key(b []byte) string {
	at := uint64(0)
	for i := len(b) - 1; i >= 0; i-- {
		at = at<<8 | uint64(b[i])
	}
	switch {
	case at == 0 && s.kind.scale == 1:
		return `\N`
	case s.keys != nil && at < uint64(len(s.keys.text)):
		return s.keys.text[at]
	}
	return "…"
}

const lastGroup = 1 << 62 // a flag: no other group of default values follows

// sparse counts the values that are not the default.
func (d *decoder) sparse(s *step, b []byte) (n int, err error) {
	for n < len(b) {
		v, m := binary.Uvarint(b[n:])
		if m < 0 || m == 0 && len(b)-n >= binary.MaxVarintLen64 {
			return n, errBytes
		}
		if m == 0 {
			return n, nil
		}
		n += m
		if v&lastGroup != 0 {
			k, count := s.kind, s.at
			d.steps = d.steps[:len(d.steps)-1]
			d.add(k, count, nil)
			d.rest()
			return n, nil
		}
		if s.at++; s.at > d.rows {
			return n, errBytes
		}
	}
	return n, nil
}
