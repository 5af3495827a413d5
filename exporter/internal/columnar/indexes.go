package columnar

import "encoding/binary"

// minRun is how many equal indexes in a row are written as a run.
const minRun = 8

// appendIndexes appends dictionary indexes in Parquet's hybrid of runs and bit-packed groups of
// eight, preceded by the width (Encodings.md, "Dictionary Encoding"). It does not use the
// library's encoder because that finds runs with processor instructions: its bytes differ
// between arm64 and amd64.
func appendIndexes(dst []byte, index []int32, width int) []byte {
	dst = append(dst, byte(width))
	for i := 0; i < len(index); {
		if n := runAt(index[i:], len(index)); n >= minRun {
			dst = binary.AppendUvarint(dst, uint64(n)<<1)
			for shift := 0; shift < width; shift += 8 {
				dst = append(dst, byte(index[i]>>shift))
			}
			i += n
			continue
		}
		j := i + 8
		for j < len(index) && runAt(index[j:], minRun) < minRun {
			j += 8
		}
		j = min(j, len(index))
		dst = binary.AppendUvarint(dst, uint64((j-i+7)/8)<<1|1)
		dst = appendPacked(dst, index[i:j], width)
		i = j
	}
	return dst
}

// runAt is the number of equal values at the start of v, at most limit.
func runAt(v []int32, limit int) int {
	n := 1
	for n < min(len(v), limit) && v[n] == v[0] {
		n++
	}
	return n
}

// appendPacked appends values of width bits, the first in the lowest bits, padded to a complete
// group of eight.
func appendPacked(dst []byte, v []int32, width int) []byte {
	var bits uint64
	n := 0
	for i := range (len(v) + 7) &^ 7 {
		if i < len(v) {
			bits |= uint64(v[i]) << n
		}
		for n += width; n >= 8; n -= 8 {
			dst = append(dst, byte(bits))
			bits >>= 8
		}
	}
	return dst
}
