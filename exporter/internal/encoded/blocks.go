package encoded

import (
	"bytes"
	"encoding/binary"
)

// Frames of DNP3, IEEE 1815 clause 9: a head with its checksum, and blocks of at most 16 bytes, each with its checksum.
const (
	blockHead = 10
	blockSize = 16
	blockSum  = 2
)

// blocks searches what frames of DNP3 carry. All of that goes with its checksums if a value is in it.
func (f *Finder) blocks(b []byte, depth int) {
	for i := 0; f.left > 0; i++ {
		n := bytes.Index(b[i:], []byte{0x05, 0x64})
		if n < 0 {
			return
		}
		i += n
		if len(b)-i < blockHead || b[i+2] <= 5 || blocksSum(b[i:i+8]) != binary.LittleEndian.Uint16(b[i+8:]) {
			continue
		}
		at, left := i+blockHead, int(b[i+2])-5
		l := f.next(depth, whole, at, 0)
		for left > 0 && at < len(b) {
			size := min(left, blockSize, len(b)-at)
			l.text = append(l.text, b[at:at+size]...)
			left -= size
			at = min(len(b), at+size+blockSum)
		}
		l.end = at
		f.within(depth)
		i = at - 1
	}
}

// blocksSum is the checksum of DNP3, clause 9.2.4.
func blocksSum(b []byte) (c uint16) {
	for _, x := range b {
		c ^= uint16(x)
		for range 8 {
			c = c>>1 ^ c&1*0xa6bc
		}
	}
	return ^c
}
