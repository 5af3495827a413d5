package texts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// levels reads the levels at the head of a page.
func levels(page, to []byte, width, n int) (rest, out []byte, err error) {
	if len(page) < 4 {
		return nil, to, errShort
	}
	size := binary.LittleEndian.Uint32(page)
	if uint64(size) > uint64(len(page)-4) {
		return nil, to, errShort
	}
	out, err = hybrid(to[:0], page[4:4+size], width, n)
	return page[4+size:], out, err
}

var errEncoding = errors.New("not supported")

// decode reads the values of a data page.
func (col *column) decode(encoding int64, b []byte) (err error) {
	coded := encoding == encRLEDict || encoding == encDict
	if coded != col.coded {
		return errors.New("the dictionary is missing, or another page uses it")
	}
	switch {
	case coded:
		if col.count == 0 {
			return nil
		}
		if len(b) == 0 {
			return errShort
		}
		if col.idx, err = hybrid(col.idx[:0], b[1:], int(b[0]), col.count); err != nil {
			return err
		}
		for _, k := range col.idx {
			if int(k) >= col.dict.len() {
				return fmt.Errorf("place %d in a dictionary of %d", k, col.dict.len())
			}
		}
		return nil
	case encoding == encPlain && col.typ == typeBool:
		if len(b) < (col.count+7)/8 {
			return errShort
		}
		col.nums = slices.Grow(col.nums[:0], col.count)
		for k := range col.count {
			col.nums = append(col.nums, int64(b[k>>3]>>(k&7)&1))
		}
		return nil
	case encoding == encPlain:
		col.plain.block = b
		return col.plain.plain(col.leaf, col.count)
	case encoding == encDelta && (col.typ == typeInt64 || col.typ == typeInt32):
		if col.count > 0 {
			col.nums, _, err = delta(col.nums[:0], b, col.count, col.count)
		}
		return err
	case encoding == encDeltaLength && col.typ == typeBytes:
		if col.count == 0 {
			return nil
		}
		var sizes []int64
		if sizes, b, err = delta(col.nums[:0], b, col.count, col.count); err != nil {
			return err
		}
		col.nums = sizes
		return col.plain.lengths(b, sizes)
	}
	return errEncoding
}

// lengths sets values that follow each other in a block.
func (v *values) lengths(block []byte, sizes []int64) error {
	v.block = block
	v.ends = slices.Grow(v.ends[:0], 2*len(sizes))
	at := int64(0)
	for _, n := range sizes {
		if n < 0 || n > int64(len(block))-at {
			return errShort
		}
		v.ends = append(v.ends, uint32(at), uint32(at+n))
		at += n
	}
	return nil
}

// text is the k-th value.
func (col *column) text(k int) []byte {
	if col.coded {
		return col.dict.at(int(col.idx[k]))
	}
	return col.plain.at(k)
}

// numbers reads a chunk of INT64 without nulls.
func (r *reader) numbers(to []int64, c *chunk, rows int) ([]int64, error) {
	var col column
	if err := r.begin(&col, c); err != nil {
		return to, err
	}
	if err := r.data(&col); err != nil {
		return to, err
	}
	if col.typ != typeInt64 || col.maxRep > 0 || col.count != rows || int(col.values) != rows {
		return to, fmt.Errorf("%d numbers, expected %d", col.count, rows)
	}
	for k := range rows {
		to = append(to, col.number(k))
	}
	return to, nil
}

// number is the k-th value of a column of numbers or booleans.
func (col *column) number(k int) int64 {
	if !col.coded && len(col.plain.ends) == 0 {
		if col.typ == typeInt32 { // differences of 32 bits wrap around
			return int64(int32(col.nums[k]))
		}
		return col.nums[k]
	}
	if b := col.text(k); col.typ == typeInt32 {
		return int64(int32(binary.LittleEndian.Uint32(b)))
	} else {
		return int64(binary.LittleEndian.Uint64(b))
	}
}

// fixed reads a chunk of fixed-length values without nulls.
func (r *reader) fixed(to []byte, c *chunk, rows int) ([]byte, error) {
	var col column
	if err := r.begin(&col, c); err != nil {
		return to, err
	}
	if err := r.data(&col); err != nil {
		return to, err
	}
	if col.typ != typeFixed || col.maxRep > 0 || col.count != rows || int(col.values) != rows {
		return to, fmt.Errorf("%d values of one length, expected %d", col.count, rows)
	}
	for k := range rows {
		to = append(to, col.text(k)...)
	}
	return to, nil
}
