package texts

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
)

var (
	errShort = errors.New("the values are cut short")
	errDelta = errors.New("invalid header of DELTA_BINARY_PACKED")
	errWidth = errors.New("too many bits per number")
)

// window64 returns the 8 bytes at i, with zeros after the end.
func window64(b []byte, i int) uint64 {
	if len(b)-i >= 8 {
		return binary.LittleEndian.Uint64(b[i:])
	}
	var last [8]byte
	if i < len(b) {
		copy(last[:], b[i:])
	}
	return binary.LittleEndian.Uint64(last[:])
}

// hybrid reads n numbers of width bits, at most 32, from runs and packed groups (Parquet's
// RLE), and adds them to out.
func hybrid[T byte | uint32](out []T, b []byte, width, n int) ([]T, error) {
	if width > 32 {
		return out, errWidth
	}
	end := len(out) + n
	mask := uint64(1)<<width - 1
	for len(out) < end {
		head, used := uvarint(b)
		if used <= 0 {
			return out, errShort
		}
		b = b[used:]
		left := end - len(out)
		if head&1 == 0 {
			size := (width + 7) / 8
			if len(b) < size {
				return out, errShort
			}
			v := T(window64(b, 0) & mask)
			b = b[size:]
			count := left
			if run := head >> 1; run < uint64(left) {
				count = int(run)
			}
			for range count {
				out = append(out, v)
			}
			if head == 0 {
				return out, errShort // an empty run would loop forever
			}
			continue
		}
		if head>>1 == 0 || width > 0 && head>>1 > uint64(len(b)/width) {
			return out, errShort
		}
		count := left
		if groups := head >> 1; groups < uint64(left) { // otherwise groups*8 is certainly more
			count = min(left, int(groups)*8)
		}
		for at := 0; at < count*width; at += width {
			out = append(out, T(window64(b, at>>3)>>(at&7)&mask))
		}
		for len(out) < end-left+count { // of no bits
			out = append(out, 0)
		}
		b = b[int(head>>1)*width:]
	}
	return out, nil
}

// delta reads DELTA_BINARY_PACKED numbers, appends them to out, and returns the rest of b. There must
// be n numbers, or at most most if n is negative.
func delta(out []int64, b []byte, n, most int) ([]int64, []byte, error) {
	var head [4]uint64 // block size, miniblocks per block, number of values, first value
	for i := range head {
		v, used := uvarint(b)
		if used <= 0 {
			return out, nil, errShort
		}
		head[i], b = v, b[used:]
	}
	block, minis, count := head[0], head[1], head[2]
	if block == 0 || block > 1<<16 || minis == 0 || minis > block/32 || block%(minis*32) != 0 || count > uint64(most) || n >= 0 && count != uint64(n) {
		return out, nil, errDelta
	}
	if count == 0 {
		return out, b, nil
	}
	last := unzigzag(head[3])
	out = append(slices.Grow(out, int(count)), last)
	size, left := int(block/minis), int(count)-1
	for left > 0 {
		v, used := uvarint(b)
		if used <= 0 || len(b)-used < int(minis) {
			return out, nil, errShort
		}
		least, widths := unzigzag(v), b[used:used+int(minis)]
		b = b[used+int(minis):]
		for _, width := range widths {
			if left == 0 {
				break
			}
			w := int(width)
			if w > 64 {
				return out, nil, errWidth
			}
			if len(b) < size*w/8 {
				return out, nil, errShort
			}
			for i := range min(size, left) {
				last += least + int64(packed(b, i*w, w))
				out = append(out, last)
			}
			left -= min(size, left)
			b = b[size*w/8:]
		}
	}
	return out, b, nil
}

// packed returns the number with width bits, at most 64, that begins at bit at.
func packed(b []byte, at, width int) uint64 {
	if width == 0 {
		return 0
	}
	v := window64(b, at>>3) >> (at & 7)
	if over := at&7 + width - 64; over > 0 {
		v |= uint64(b[at>>3+8]) << (64 - at&7)
	}
	return v & (^uint64(0) >> (64 - width))
}

// widthOf is the number of bits for levels up to n.
func widthOf(n int) int { return bits.Len(uint(n)) }
