// Package sha computes SHA-256 of large files at the speed of the machine, also in a browser: Go's code for WebAssembly needs
// fourteen times the processor time of C's.
package sha

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
)

// The form of a marshaled crypto/sha256: an identifier, the state, an incomplete block of 64 bytes, and the number of bytes.
const (
	stateAt  = 4
	lengthAt = stateAt + sha256.Size + sha256.BlockSize
)

// State is the state of a SHA-256 after whole blocks (FIPS 180-4, section 6.2).
type State [sha256.Size]byte

func marshal(h hash.Hash) []byte {
	data, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || len(data) != lengthAt+8 {
		panic(fmt.Sprintf("crypto/sha256: a state of %d bytes: %v", len(data), err)) // a test finds it
	}
	return data
}

// StateOf returns the state of a hash of New and how many bytes were written to it.
func StateOf(h hash.Hash) (s State, n uint64) {
	data := marshal(h)
	return State(data[stateAt:]), binary.BigEndian.Uint64(data[lengthAt:])
}

// Resume makes a hash of New continue after n bytes, whole blocks, that ended in a state.
func Resume(h hash.Hash, s State, n uint64) {
	data := marshal(h)
	copy(data[stateAt:], s[:])
	binary.BigEndian.PutUint64(data[lengthAt:], n)
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(data); err != nil {
		panic("crypto/sha256: " + err.Error())
	}
}

// fast writes whole blocks by a function that is faster than Go's.
type fast struct {
	hash.Hash
	blocks func(s State, blocks []byte) State
}

// worth is from how many bytes on a call of the function costs less than it saves.
const worth = 4 << 10

func (f *fast) Write(p []byte) (int, error) {
	total := len(p)
	if len(p) < worth {
		return f.Hash.Write(p)
	}
	s, n := StateOf(f.Hash)
	if part := int(n % sha256.BlockSize); part != 0 {
		part = sha256.BlockSize - part
		f.Hash.Write(p[:part]) // a hash takes everything
		p = p[part:]
		s, n = StateOf(f.Hash)
	}
	whole := len(p) / sha256.BlockSize * sha256.BlockSize
	Resume(f.Hash, f.blocks(s, p[:whole]), n+uint64(whole))
	f.Hash.Write(p[whole:])
	return total, nil
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (f *fast) MarshalBinary() ([]byte, error) { return marshal(f.Hash), nil }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (f *fast) UnmarshalBinary(data []byte) error {
	return f.Hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(data)
}
