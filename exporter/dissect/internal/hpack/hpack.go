// Package hpack decodes header blocks compressed by RFC 7541, as an observer must.
//
// An endpoint may give up at the first index that its table does not contain, but an observer may
// have missed the block that added the entry. A Decoder therefore never fails because of a missing
// entry: such a field has Unknown set, and everything after it is still correct, because indices
// count from the newest entry. It only rejects what no table could decode: bad integers, bad
// Huffman codes and truncated strings. Memory is limited regardless of the peer's announcements.
package hpack

import (
	"errors"
	"fmt"
	"unsafe"
)

// Limits of one decoder.
const (
	defaultTable = 4096     // bytes of the dynamic table before any size update, RFC 9113 section 6.5.2
	maxTable     = 64 << 10 // bytes of it that are kept, whatever the peer announced
	MaxFields    = 4096     // fields returned for one block
	MaxList      = 1 << 20  // bytes of names and values returned for one block, plus 32 for each field
	entryCost    = 32       // RFC 7541 section 4.1
	maxInteger   = 1 << 30
)

// UnknownText replaces a name or value in an entry that the decoder has not seen.
const UnknownText = "(unknown)"

// Errors of a block.
var (
	ErrShort   = errors.New("the header block ends early")
	ErrInteger = errors.New("the integer exceeds the limit")
	ErrIndex   = errors.New("index 0 is invalid")
)

// Field is one header field.
type Field struct {
	Name, Value string
	Unknown     bool // name, or name and value, were in an unseen table entry
	Never       bool // sent as never indexed: the sender considers it a secret
}

// Decoder holds the dynamic table of one direction. New makes one.
type Decoder struct {
	ring    []entry // entries, oldest at start
	start   int
	count   int
	size    int // of all entries, RFC 7541 section 4.1
	max     int // size allowed now
	partial bool

	Output      // of the last block
	Update int  // largest table size update in it, -1 if there was none
	Late   bool // one came after a field, RFC 7541 section 4.2
	begun  bool // a field of the block was read
}

type entry struct {
	name, value string
	unknown     bool
}

func (e *entry) cost() int { return len(e.name) + len(e.value) + entryCost }

// New returns a decoder for a connection captured from its start.
func New() Decoder { return Decoder{max: defaultTable} }

// Lose clears the table: blocks were missed, or the connection began before the capture. Indices
// of later entries stay correct.
func (d *Decoder) Lose() {
	clear(d.ring)
	// The true size is unknown. Keeping entries too long is harmless, because a
	// valid index always means the same entry; dropping them too early is not.
	d.start, d.count, d.size, d.max, d.partial = 0, 0, 0, maxTable, true
}

// Memory is the decoder's memory in addition to its own size, in bytes: its table and the last
// block.
func (d *Decoder) Memory() int {
	return d.size + len(d.ring)*int(unsafe.Sizeof(entry{})) + d.Output.Memory()
}

// Partial reports whether the table may lack entries that the peer has.
func (d *Decoder) Partial() bool { return d.partial }

// Decode decodes a complete header block. With an error it returns the fields before the error,
// and the table is no longer reliable, see Lose. Fields are valid until the next call; their
// strings stay valid.
func (d *Decoder) Decode(block []byte) ([]Field, error) {
	d.Begin()
	d.Update, d.Late, d.begun = -1, false, false
	var err error
	for p := block; len(p) > 0 && err == nil; {
		p, err = d.field(p)
	}
	return d.Fields(), err
}

// field reads one representation, RFC 7541 section 6, and returns the bytes after it.
func (d *Decoder) field(p []byte) ([]byte, error) {
	update := p[0]&0xe0 == 0x20
	d.Late, d.begun = d.Late || update && d.begun, d.begun || !update
	switch b := p[0]; {
	case b&0x80 != 0:
		i, p, err := integer(p, 7)
		if err != nil || i == 0 {
			return p, orIndex(err)
		}
		e := d.at(i)
		d.emit(Field{Name: e.name, Value: e.value, Unknown: e.unknown})
		return p, nil
	case b&0xc0 == 0x40:
		return d.literal(p, 6, true, false)
	case update:
		n, p, err := integer(p, 5)
		if err == nil {
			d.Update = max(d.Update, n)
			d.resize(n)
		}
		return p, err
	default:
		return d.literal(p, 4, false, b&0x10 != 0)
	}
}

func orIndex(err error) error {
	if err == nil {
		return ErrIndex
	}
	return err
}

// literal reads a field with a literal value, and possibly a literal name. Strings for the table
// are allocated separately, so that none keeps a longer one in memory; the other strings of a
// block share one.
func (d *Decoder) literal(p []byte, prefix uint, add, never bool) ([]byte, error) {
	i, p, err := integer(p, prefix)
	if err != nil {
		return p, err
	}
	from := len(d.Scratch)
	f := Field{Never: never}
	if i != 0 {
		e := d.at(i)
		f.Name, f.Unknown = e.name, e.unknown
	} else if p, err = d.text(p); err != nil {
		return p, err
	}
	mid := len(d.Scratch)
	if p, err = d.text(p); err != nil {
		return p, err
	}
	end := len(d.Scratch)
	if add {
		if i == 0 {
			f.Name = string(d.Scratch[from:mid])
		}
		f.Value = string(d.Scratch[mid:end])
		d.Scratch = d.Scratch[:from]
		d.add(entry{f.Name, f.Value, f.Unknown})
		d.emit(f)
		return p, nil
	}
	if !d.Fits(len(f.Name) + end - from) {
		d.Scratch = d.Scratch[:from]
		return p, nil
	}
	if i == 0 {
		d.Name(from, mid)
	}
	d.Value(mid, end)
	d.Put(f)
	return p, nil
}

// text appends a string, RFC 7541 section 5.2, to Scratch.
func (d *Decoder) text(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return p, ErrShort
	}
	coded := p[0]&0x80 != 0
	n, p, err := integer(p, 7)
	if err != nil {
		return p, err
	}
	if n > len(p) {
		return p, fmt.Errorf("a string of %d bytes with %d left: %w", n, len(p), ErrShort)
	}
	if coded {
		d.Scratch, err = AppendHuffman(d.Scratch, p[:n])
	} else {
		d.Scratch = append(d.Scratch, p[:n]...)
	}
	return p[n:], err
}

// emit appends a field to the result unless the block's limits are reached.
func (d *Decoder) emit(f Field) {
	if d.Fits(len(f.Name) + len(f.Value)) {
		d.Put(f)
	}
}

// integer reads a number with an n-bit prefix, RFC 7541 section 5.1.
func integer(p []byte, n uint) (int, []byte, error) {
	if len(p) == 0 {
		return 0, p, ErrShort
	}
	mask := byte(1<<n - 1)
	v := int(p[0] & mask)
	p = p[1:]
	if v < int(mask) {
		return v, p, nil
	}
	for shift := uint(0); ; shift += 7 {
		if len(p) == 0 {
			return 0, p, ErrShort
		}
		b := p[0]
		p = p[1:]
		if shift > 28 && b != 0 || shift > 56 {
			return 0, p, ErrInteger
		}
		if shift <= 28 {
			v += int(b&0x7f) << shift
		}
		if v > maxInteger {
			return 0, p, ErrInteger
		}
		if b&0x80 == 0 {
			return v, p, nil
		}
	}
}

// at returns the entry with an index from 1 on; a missing entry is unknown.
func (d *Decoder) at(i int) entry {
	if i <= len(static) {
		s := &static[i-1]
		return entry{name: s.name, value: s.value}
	}
	i -= len(static) + 1 // 0 is the newest
	if i >= d.count {
		return entry{UnknownText, UnknownText, true}
	}
	return d.ring[(d.start+d.count-1-i)&(len(d.ring)-1)]
}

func (d *Decoder) add(e entry) {
	cost := e.cost()
	d.shrink(d.max - cost)
	if cost > d.max {
		return // RFC 7541 section 4.4: an entry too large empties the table
	}
	if d.count == len(d.ring) {
		d.grow()
	}
	d.ring[(d.start+d.count)&(len(d.ring)-1)] = e
	d.count++
	d.size += cost
}

// grow doubles the ring; its length is a power of two.
func (d *Decoder) grow() {
	ring := make([]entry, max(16, 2*len(d.ring)))
	for i := range d.count {
		ring[i] = d.ring[(d.start+i)&(len(d.ring)-1)]
	}
	d.ring, d.start = ring, 0
}

// shrink drops the oldest entries until the table has at most n bytes.
func (d *Decoder) shrink(n int) {
	for d.count > 0 && d.size > n {
		e := &d.ring[d.start]
		d.size -= e.cost()
		*e = entry{}
		d.start = (d.start + 1) & (len(d.ring) - 1)
		d.count--
	}
}

func (d *Decoder) resize(n int) {
	if n == 0 {
		d.partial = false // an empty table is complete
	}
	if n > maxTable {
		n, d.partial = maxTable, true
	}
	d.max = n
	d.shrink(n)
}
