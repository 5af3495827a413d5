package hpack

import "errors"

// ErrHuffman is a string that is invalid in the Huffman code of RFC 7541 section 5.2: it
// contains the end-of-string symbol, or its padding is too long or not all ones.
var ErrHuffman = errors.New("bad Huffman code")

// codeBits is the code length of each byte, RFC 7541 appendix B. The code is canonical (shorter
// first, then by byte), so the lengths define it completely. The end-of-string symbol is thirty
// ones.
const codeBits = "" +
	"\x0d\x17\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x18\x1e\x1c\x1c\x1e\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1e\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c" +
	"\x06\x0a\x0a\x0c\x0d\x06\x08\x0b\x0a\x0a\x08\x0b\x08\x06\x06\x06\x05\x05\x05\x06\x06\x06\x06\x06\x06\x06\x07\x08\x0f\x06\x0c\x0a" +
	"\x0d\x06\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x08\x07\x08\x0d\x13\x0d\x0e\x06" +
	"\x0f\x05\x06\x05\x06\x05\x06\x06\x06\x05\x07\x07\x06\x06\x06\x05\x06\x07\x06\x05\x05\x06\x07\x07\x07\x07\x07\x0f\x0b\x0e\x0d\x1c" +
	"\x14\x16\x14\x14\x16\x16\x16\x17\x16\x17\x17\x17\x17\x17\x18\x17\x18\x18\x16\x17\x18\x17\x17\x17\x17\x15\x16\x17\x16\x17\x17\x18" +
	"\x16\x15\x14\x16\x16\x17\x17\x15\x17\x16\x16\x18\x15\x16\x17\x17\x15\x15\x16\x15\x17\x16\x17\x17\x14\x16\x16\x16\x17\x16\x16\x17" +
	"\x1a\x1a\x14\x13\x16\x17\x16\x19\x1a\x1a\x1a\x1b\x1b\x1a\x18\x19\x13\x15\x1a\x1b\x1b\x1a\x1b\x18\x15\x15\x1a\x1a\x1c\x1b\x1b\x1b" +
	"\x14\x18\x14\x15\x16\x15\x15\x17\x16\x16\x19\x19\x18\x18\x1a\x17\x1a\x1b\x1a\x1a\x1b\x1b\x1b\x1b\x1b\x1c\x1b\x1b\x1b\x1b\x1b\x1a"

const (
	quickBits = 9  // codes up to this length need one lookup
	maxBits   = 30 // longest code
	eos       = 256
)

// codes is the inverse Huffman code, computed once from codeBits.
type codes struct {
	quick [1 << quickBits]uint16 // byte<<4 | length; 0 if the code is longer
	limit [maxBits + 1]uint32    // first code after those of this length, left-aligned to 32 bits; 0 if there is none of this length
	base  [maxBits + 1]int32     // index into order of the first code of this length, less that code
	order [257]uint16            // symbols ordered by code
}

var huffman = newCodes()

func newCodes() *codes {
	t := &codes{}
	code, k := uint32(0), 0
	for n := 1; n <= maxBits; n++ {
		code <<= 1
		t.base[n] = int32(k) - int32(code)
		first := code
		for s := 0; s <= eos; s++ {
			if bits := symbolBits(s); bits != n {
				continue
			}
			t.order[k] = uint16(s)
			if n <= quickBits {
				for i := range uint32(1) << (quickBits - n) {
					t.quick[code<<(quickBits-n)|i] = uint16(s)<<4 | uint16(n)
				}
			}
			code++
			k++
		}
		if code > first {
			t.limit[n] = uint32(uint64(code)<<(32-n) - 1) // inclusive: the last one would overflow
		}
	}
	return t
}

func symbolBits(s int) int {
	if s == eos {
		return maxBits
	}
	return int(codeBits[s])
}

// AppendHuffman decodes src and appends the result to dst. With ErrHuffman it returns the text
// before the error. A byte needs at least 5 bits, so at most 8/5 of len(src) bytes are added.
func AppendHuffman(dst, src []byte) ([]byte, error) {
	t := huffman
	var acc uint64 // bits not yet used, left-aligned
	n := 0         // how many
	for {
		for n <= 56 && len(src) > 0 {
			acc |= uint64(src[0]) << (56 - n)
			src = src[1:]
			n += 8
		}
		if n >= maxBits { // no code can be incomplete: several may be decoded without a refill
			for n >= maxBits {
				if q := t.quick[acc>>(64-quickBits)]; q != 0 {
					dst = append(dst, byte(q>>4))
					acc <<= q & 15
					n -= int(q & 15)
					continue
				}
				sym, bits := t.long(uint32(acc >> 32))
				if sym == eos {
					return dst, ErrHuffman
				}
				dst = append(dst, byte(sym))
				acc <<= bits
				n -= bits
			}
			continue
		}
		if n == 0 {
			return dst, nil
		}
		// The last bits: missing bits are read as ones, which padding must consist of.
		sym, bits := t.long(uint32((acc | ^uint64(0)>>n) >> 32))
		if bits > n {
			if n > 7 || ^acc>>(64-n) != 0 {
				return dst, ErrHuffman
			}
			return dst, nil
		}
		dst = append(dst, byte(sym))
		acc <<= bits
		n -= bits
	}
}

// long finds the symbol with the code at the start of w.
func (t *codes) long(w uint32) (sym, bits int) {
	if q := t.quick[w>>(32-quickBits)]; q != 0 {
		return int(q >> 4), int(q & 15)
	}
	for bits = quickBits + 1; bits < maxBits; bits++ {
		if t.limit[bits] != 0 && w <= t.limit[bits] {
			break
		}
	}
	return int(t.order[int32(w>>(32-bits))+t.base[bits]]), bits
}
