package pcapng

import (
	"encoding/binary"
	"math/bits"
)

// The byte order is a flag and not a binary.ByteOrder: a call through an interface
// for each field would cost more than the rest of the walk.

func u16(b []byte, be bool) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if be {
		return bits.ReverseBytes16(v)
	}
	return v
}

func u32(b []byte, be bool) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if be {
		return bits.ReverseBytes32(v)
	}
	return v
}

func u64(b []byte, be bool) uint64 {
	v := binary.LittleEndian.Uint64(b)
	if be {
		return bits.ReverseBytes64(v)
	}
	return v
}

func put16(b []byte, v uint16, be bool) []byte {
	if be {
		return binary.BigEndian.AppendUint16(b, v)
	}
	return binary.LittleEndian.AppendUint16(b, v)
}

func put32(b []byte, v uint32, be bool) []byte {
	if be {
		return binary.BigEndian.AppendUint32(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, v)
}

func put64(b []byte, v uint64, be bool) []byte {
	if be {
		return binary.BigEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint64(b, v)
}

// pad4 is n rounded up to a multiple of four.
func pad4(n int) int { return (n + 3) &^ 3 }
