// Package qpack decodes field sections compressed by RFC 9204, as an observer must.
//
// A Decoder is one direction: the table filled by one side's encoder stream, the sections that
// refer to it, and the other side's acknowledgements. An observer may have missed parts of any of
// them. References are absolute numbers, so an entry is either the correct one or absent: a field
// with an unseen entry has Unknown set, and no field ever gets a value that may belong to another
// entry. The decoder only rejects what no table could decode. Memory is limited regardless of the
// peers' announcements.
package qpack

import (
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
	"unsafe"
)

// Limits of one decoder.
const (
	maxTable   = 64 << 10  // bytes of the dynamic table that are kept, whatever the peer announced
	maxString  = 256 << 10 // bytes of a string in an instruction of the encoder stream
	maxUnacked = 4096      // sections kept until they are acknowledged
	entryCost  = 32        // RFC 9204 section 3.2.1
	maxInteger = 1<<62 - 1 // RFC 9204 section 4.1.1

	// LIMIT: the number of insertions that a section needs is sent modulo twice the maximum
	// number of entries. For tables of at least this many entries, the decoder assumes that no
	// full table of insertions was lost without a trace.
	sureEntries = 64
)

// UnknownText replaces a name or value in an entry that the decoder has not seen.
const UnknownText = hpack.UnknownText

// Unresolved is the result of Need if the number of insertions is ambiguous.
const Unresolved = int64(-1)

// Errors of a section or an instruction.
var (
	ErrShort    = errors.New("the field section ends early")
	ErrInteger  = errors.New("the integer exceeds the limit")
	ErrIndex    = errors.New("the index has no entry")
	ErrBase     = errors.New("the base is below zero")
	ErrCapacity = errors.New("the entry is larger than the table")
	ErrLimit    = errors.New("the string exceeds the limit")
)

// Field is one field line.
type Field = hpack.Field

// Decoder holds the dynamic table of one direction. The zero value is ready to use.
type Decoder struct {
	table
	max      int64 // largest table size that the other side allows
	maxKnown bool
	lost     bool // a part of the encoder stream is missing: entries from count on are unknown

	// From the other side's decoder stream.
	acked    int64 // insertions known to have been received, at least
	ackLost  bool  // acked may be too low
	unacked  map[int64][]int64
	nUnacked int
	highest  int64 // largest number of insertions that a section needed

	hpack.Output // of the last section
}

// SetMax sets the SETTINGS_QPACK_MAX_TABLE_CAPACITY that the decoding side announced.
func (d *Decoder) SetMax(capacity int64) { d.max, d.maxKnown = capacity, true }

// Max returns the announced capacity, if it was seen.
func (d *Decoder) Max() (capacity int64, seen bool) { return d.max, d.maxKnown }

// Capacity is the capacity that the encoder set last.
func (d *Decoder) Capacity() int64 { return d.capacity }

// Memory is the decoder's memory in addition to its own size, in bytes: its table, the last
// section and the unacknowledged sections.
func (d *Decoder) Memory() int {
	const entrySize, unackedCost = int(unsafe.Sizeof(entry{})), 64
	return int(d.size) + len(d.ring)*entrySize + d.Output.Memory() + d.nUnacked*unackedCost
}

// Count is the number of insertions seen.
func (d *Decoder) Count() int64 { return d.count }

// Lose records that a part of the encoder stream is missing and no more of it will be read.
// Earlier entries stay known.
func (d *Decoder) Lose() { d.lost = true }

// Lost reports whether a part of the encoder stream is missing.
func (d *Decoder) Lost() bool { return d.lost }

// LoseAcks records that a part of the other side's decoder stream is missing.
func (d *Decoder) LoseAcks() {
	d.ackLost, d.unacked, d.nUnacked = true, nil, 0
}

// Ready reports whether a section that needs this number of insertions is as complete as it will
// ever be.
func (d *Decoder) Ready(need int64) bool { return need <= d.count || d.lost }

// Need reads the start of a stream's section and returns the number of insertions that it needs:
// 0 for none, or Unresolved. Call it once for each section, as early as possible: the number on
// the wire wraps around (RFC 9204 section 4.5.1.1), and the longer the delay, the less certain
// its value.
func (d *Decoder) Need(stream int64, block []byte) (int64, error) {
	coded, _, err := integer(block, 8)
	if err != nil || coded == 0 {
		return 0, err
	}
	need := d.unwrap(coded)
	if need == Unresolved {
		d.LoseAcks() // an acknowledgement of this section will be ambiguous
		return need, nil
	}
	d.highest = max(d.highest, need)
	if !d.ackLost {
		d.remember(stream, need)
	}
	return need, nil
}

// unwrap determines the required insert count. The encoder can be at most a full table of
// entries ahead of the acknowledged ones, and its reference at most as far behind.
func (d *Decoder) unwrap(coded int64) int64 {
	if d.lost && d.ackLost {
		return Unresolved
	}
	at := max(d.count, d.acked, d.highest)
	low := coded - 1 // without wrapping
	if !d.maxKnown {
		// The range is at least that of the current capacity: if low is inside it, a wrap would
		// lead beyond what the encoder may have.
		if low > 0 && low > at-d.largest/entryCost {
			return low
		}
		return Unresolved
	}
	entries := d.max / entryCost
	if d.ackLost && entries < sureEntries {
		return Unresolved // a section was missed, and possibly enough insertions for a wrap
	}
	if entries == 0 || coded > 2*entries {
		return Unresolved
	}
	most := at + entries
	need := most/(2*entries)*(2*entries) + low
	if need > most {
		need -= 2 * entries
	}
	if need <= 0 {
		return Unresolved
	}
	return need
}

// Decode decodes a complete section with the current table; need is the result of Need. With an
// error it returns the fields before the error. Fields are valid until the next call; their
// strings stay valid.
func (d *Decoder) Decode(block []byte, need int64) ([]Field, error) {
	d.Begin()
	s := section{need: need}
	p, err := s.prefix(block)
	for len(p) > 0 && err == nil {
		p, err = d.field(p, &s)
	}
	return d.Fields(), err
}

// section is a section's prefix.
type section struct {
	need, base int64
}

// prefix reads the encoded section prefix, RFC 9204 section 4.5.1.
func (s *section) prefix(p []byte) ([]byte, error) {
	coded, p, err := integer(p, 8)
	if err != nil {
		return p, err
	}
	if coded == 0 {
		s.need = 0
	}
	if len(p) == 0 {
		return p, ErrShort
	}
	before := p[0]&0x80 != 0
	delta, p, err := integer(p, 7)
	switch {
	case err != nil:
		return p, err
	case s.need == Unresolved:
	case before && delta >= s.need && coded != 0:
		return p, ErrBase
	case before:
		s.base = s.need - delta - 1
	default:
		s.base = s.need + delta
	}
	return p, nil
}

// field reads one representation, RFC 9204 section 4.5.2 to 4.5.6.
func (d *Decoder) field(p []byte, s *section) ([]byte, error) {
	b := p[0]
	switch {
	case b&0x80 != 0: // indexed
		i, p, err := integer(p, 6)
		if err != nil {
			return p, err
		}
		return p, d.indexed(s, i, b&0x40 != 0, false)
	case b&0xc0 == 0x40: // literal with name reference
		return d.literal(p, 4, s, b&0x10 != 0, false, b&0x20 != 0)
	case b&0xe0 == 0x20: // literal with literal name
		return d.spelled(p, b&0x10 != 0)
	case b&0xf0 == 0x10: // indexed, after the base
		i, p, err := integer(p, 4)
		if err != nil {
			return p, err
		}
		return p, d.indexed(s, i, false, true)
	default: // literal with name reference after the base
		return d.literal(p, 3, s, false, true, b&0x08 != 0)
	}
}

// at returns the entry for a section's index.
func (d *Decoder) at(s *section, i int64, isStatic, after bool) (entry, error) {
	if isStatic {
		if i >= int64(len(static)) {
			return entry{}, fmt.Errorf("static index %d: %w", i, ErrIndex)
		}
		e := &static[i]
		return entry{name: e.name, value: e.value}, nil
	}
	if s.need == Unresolved {
		return entry{UnknownText, UnknownText, true}, nil
	}
	abs := s.base - i - 1
	if after {
		abs = s.base + i
	}
	if abs < 0 || abs >= s.need {
		return entry{}, fmt.Errorf("entry %d of a section that needs %d: %w", abs, s.need, ErrIndex)
	}
	return d.get(abs), nil
}

func (d *Decoder) indexed(s *section, i int64, isStatic, after bool) error {
	e, err := d.at(s, i, isStatic, after)
	if err != nil {
		return err
	}
	if d.Fits(len(e.name) + len(e.value)) {
		d.Put(Field{Name: e.name, Value: e.value, Unknown: e.unknown})
	}
	return nil
}

// literal reads a field with an entry's name and a literal value.
func (d *Decoder) literal(p []byte, prefix uint, s *section, isStatic, after, never bool) ([]byte, error) {
	i, p, err := integer(p, prefix)
	if err != nil {
		return p, err
	}
	e, err := d.at(s, i, isStatic, after)
	if err != nil {
		return p, err
	}
	from := len(d.Scratch)
	if p, err = d.text(p, 7); err != nil {
		return p, err
	}
	if !d.Fits(len(e.name) + len(d.Scratch) - from) {
		d.Scratch = d.Scratch[:from]
		return p, nil
	}
	d.Value(from, len(d.Scratch))
	d.Put(Field{Name: e.name, Unknown: e.unknown, Never: never})
	return p, nil
}

// spelled reads a field with a literal name and value.
func (d *Decoder) spelled(p []byte, never bool) ([]byte, error) {
	from := len(d.Scratch)
	p, err := d.text(p, 3)
	if err != nil {
		return p, err
	}
	mid := len(d.Scratch)
	if p, err = d.text(p, 7); err != nil {
		return p, err
	}
	end := len(d.Scratch)
	if !d.Fits(end - from) {
		d.Scratch = d.Scratch[:from]
		return p, nil
	}
	d.Name(from, mid)
	d.Value(mid, end)
	d.Put(Field{Never: never})
	return p, nil
}

// text appends a string whose length has an n-bit prefix to Scratch.
func (d *Decoder) text(p []byte, n uint) ([]byte, error) {
	str, coded, p, err := cutString(p, n)
	if err != nil {
		return p, err
	}
	if coded {
		d.Scratch, err = hpack.AppendHuffman(d.Scratch, str)
	} else {
		d.Scratch = append(d.Scratch, str...)
	}
	return p, err
}

// cutString splits a string off p without decoding its Huffman code; the bit above its n-bit
// length says whether it has one.
func cutString(p []byte, n uint) (str []byte, coded bool, rest []byte, err error) {
	if len(p) == 0 {
		return nil, false, p, ErrShort
	}
	coded = p[0]&(1<<n) != 0
	size, p, err := integer(p, n)
	if err != nil {
		return nil, coded, p, err
	}
	if size > int64(len(p)) {
		return nil, coded, p, fmt.Errorf("a string of %d bytes with %d left: %w", size, len(p), ErrShort)
	}
	return p[:size], coded, p[size:], nil
}

// integer reads a number with an n-bit prefix, RFC 7541 section 5.1.
func integer(p []byte, n uint) (int64, []byte, error) {
	if len(p) == 0 {
		return 0, p, ErrShort
	}
	mask := int64(1)<<n - 1
	v := int64(p[0]) & mask
	p = p[1:]
	if v < mask {
		return v, p, nil
	}
	for shift := uint(0); ; shift += 7 {
		if len(p) == 0 {
			return 0, p, ErrShort
		}
		b := int64(p[0] & 0x7f)
		more := p[0]&0x80 != 0
		p = p[1:]
		if shift > 62 || b<<shift>>shift != b || b<<shift > maxInteger-v {
			return 0, p, ErrInteger
		}
		v += b << shift
		if !more {
			return v, p, nil
		}
	}
}
