package clickhouse

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Chunks of a side whose login chose them (src/IO/WriteBufferFromPocoSocketChunked.h): the size in 4 bytes and as many
// bytes, which may be a part of a packet or several packets. A size of 0 ends a message.
const (
	chunkHead = 4
	maxChunk  = 1 << 30 // bytes of a chunk; servers send at most 1 MiB
)

// Words of a login about chunks.
const (
	chunked    = "chunked"
	notChunked = "notchunked"
)

// input is what a side sent from a place on, without the sizes of chunks.
type input struct {
	*dissect.Input
	data      []byte
	parts     []part
	from, end int // data is from Input.Data[from:end]
	left      int // bytes of the last chunk that come later
}

// part is a piece of data: from data[at] on, it was sent as Input.Data[from:]. left are the bytes of its chunk, which
// begins with it or before it.
type part struct {
	at, from, left int
	begins         bool
}

// newInput is in.Data[from:].
func newInput(in *dissect.Input, from int, s *side) (*input, error) {
	x := &input{Input: in, from: from, end: from, left: s.left}
	if !s.chunked {
		x.data, x.parts, x.end = in.Data[from:], []part{{from: from}}, len(in.Data)
		return x, nil
	}
	for at := from; ; {
		begins := x.left == 0
		if begins {
			if len(in.Data)-at < chunkHead {
				return x, nil
			}
			size := binary.LittleEndian.Uint32(in.Data[at:])
			if size > maxChunk {
				return x, fmt.Errorf("reading a chunk: %d bytes", size)
			}
			if at += chunkHead; size == 0 {
				x.end = at
				continue
			}
			x.left = int(size)
		}
		n := min(x.left, len(in.Data)-at)
		if n == 0 { // a size without bytes is read again
			if x.end < at {
				x.left = 0
			}
			return x, nil
		}
		x.parts = append(x.parts, part{len(x.data), at, x.left, begins})
		if piece := in.Data[at : at+n]; len(x.data) == 0 {
			x.data = piece[:n:n] // the next piece makes a copy
		} else {
			x.data = append(x.data, piece...)
		}
		at += n
		x.left -= n
		x.end = at
	}
}

// part is the piece with data[i].
func (x *input) part(i int) part {
	n := sort.Search(len(x.parts), func(n int) bool { return x.parts[n].at > i })
	return x.parts[n-1]
}

// place is where data[i] is in Input.Data, or the size before it.
func (x *input) place(i int) int {
	p := x.part(i)
	if p.begins && p.at == i {
		return p.from - chunkHead
	}
	return p.from + i - p.at
}

// after is the place in Input.Data after data[i].
func (x *input) after(i int) int {
	p := x.part(i)
	return p.from + i - p.at + 1
}

// Seq and Packet are those of data[i], or of the size before it.
func (x *input) Seq(i int) uint32            { return x.Input.Seq(x.place(i)) }
func (x *input) Packet(i int) dissect.Packet { return x.Input.Packet(x.place(i)) }

// add adds data[from:to], with the sizes of its chunks, to a call.
func (x *input) add(e *dissect.Exchange, from, to int) {
	if from < to {
		e.Add(x.Input, x.place(from), x.after(to-1))
	}
}

// need asks for the first n bytes of data.
func (x *input) need(c *dissect.Conn, n int) { c.Need(x.Dir, n+x.end-len(x.data)) }

// read records that data[:n] was read, and returns where the rest of Input.Data begins.
func (x *input) read(n int, s *side) int {
	switch {
	case n == len(x.data):
		s.left = x.left
		return x.end
	case n == 0:
		return x.from
	}
	if p := x.part(n - 1); s.chunked {
		s.left = p.left - (n - p.at)
	}
	return x.after(n - 1)
}

// endsMessage reports whether b is the end of a message in chunks, whose chunk size was not captured. A login differs
// from it by its name.
func (k *conn) endsMessage(dir dissect.Dir, b []byte) bool {
	s := &k.sides[dir]
	if s.chunked || s.never || len(b) < 2 || b[1] != 0 {
		return false
	}
	s.chunked, s.known = true, true
	return true
}

// minStatement is the least size of a chunk with a statement or an error. Without a login, chunks of less than 16 MiB are
// recognized.
const minStatement = 16

// firstChunk returns the size of a chunk that begins here and as much of it as is there; 0 if none does.
func firstChunk(b []byte) (p []byte, size int) {
	if len(b) <= chunkHead || b[3] != 0 {
		return nil, 0
	}
	if size = int(binary.LittleEndian.Uint32(b)); size == 0 {
		return nil, 0
	}
	return b[chunkHead:min(len(b), chunkHead+size)], size
}

// isSize reports whether b may be the size of a first chunk.
func isSize(b []byte) bool {
	return len(b) == chunkHead && b[3] == 0 && binary.LittleEndian.Uint32(b) >= minStatement
}

// inChunks reports whether a side sends chunks, of which b is the beginning, in a connection whose login was not captured.
func inChunks(dir dissect.Dir, b []byte) bool {
	p, size := firstChunk(b)
	if size == 0 || isBlock(b) {
		return false
	}
	if size == 1 {
		return p[0] == clientPing && dir == dissect.ToServer || dir == dissect.ToClient && (p[0] == serverPong || p[0] == serverEnd)
	}
	if dir == dissect.ToServer {
		return p[0] == clientQuery && detectPacket(dir, b) == dissect.No && detect(dir, b) != dissect.No || p[0] == clientData && isBlock(p)
	}
	switch p[0] {
	case serverColumns, serverTimezone:
		return true
	case serverEnd, serverPong:
		return false
	}
	return begins(p)
}

// isBlock reports whether a packet with a block may begin here.
func isBlock(b []byte) bool {
	const plain = "\x01\x00\x02" // the beginning of one that is not compressed
	if len(b) < 3 || b[1] != 0 {
		return false
	}
	n := min(len(b)-2, len(plain))
	return string(b[2:2+n]) == plain[:n] || len(b) > 2+frameSum && methods[b[2+frameSum]] != ""
}
