package frames

import (
	"bytes"
	"encoding/binary"
)

// File builds a PCAPNG file of packets with any link type and any tags around them.
type File struct {
	Buf bytes.Buffer
}

// Block writes a block of PCAPNG.
func (w *File) Block(kind uint32, body []byte) {
	body = append(body, make([]byte, -len(body)&3)...)
	size := uint32(12 + len(body))
	b := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, kind), size)
	w.Buf.Write(binary.LittleEndian.AppendUint32(append(b, body...), size))
}

// NewFile begins a file with an interface for each link type.
func NewFile(links ...uint16) *File {
	w := &File{}
	w.Block(0x0a0d0d0a, append([]byte{0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 8)...))
	for _, l := range links {
		w.Block(1, []byte{byte(l), byte(l >> 8), 0, 0, 0, 0, 0, 0})
	}
	return w
}

// Add writes a packet; cut is how many of its bytes were not captured.
func (w *File) Add(link int, us int64, data []byte, cut int) {
	t := uint64(1_700_000_000_000_000 + us)
	var body []byte
	for _, v := range []uint32{uint32(link), uint32(t >> 32), uint32(t), uint32(len(data) - cut), uint32(len(data))} {
		body = binary.LittleEndian.AppendUint32(body, v)
	}
	w.Block(6, append(body, data[:len(data)-cut]...))
}
