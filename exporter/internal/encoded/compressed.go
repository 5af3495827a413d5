package encoded

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// Kinds of compressed texts.
type packed int

const (
	notPacked packed = iota
	gzipped
	zlibbed
	zipped
	zstandard
)

// packing is how something begins.
func packing(b []byte) packed {
	switch {
	case len(b) < 4:
	case b[0] == 0x1f && b[1] == 0x8b && b[2] == 8:
		return gzipped
	case b[0] == 0x78 && binary.BigEndian.Uint16(b)%31 == 0 && b[1]&0x20 == 0:
		return zlibbed
	case b[0] == 'P' && b[1] == 'K' && b[2] == 3 && b[3] == 4:
		return zipped
	case b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd:
		return zstandard
	}
	return notPacked
}

// firsts are the bytes with which something compressed may begin.
var firsts = [256]bool{0x1f: true, 0x78: true, 'P': true, 0x28: true}

// unpacker decompresses texts.
type unpacker struct {
	bits  io.Reader // of deflate
	zstd  *zstd.Decoder
	input bytes.Reader
}

// compressed searches what is compressed. All of it goes if a value is in it.
func (f *Finder) compressed(b []byte, depth int) {
	for i := 0; i+4 <= len(b) && f.left > 0; i++ {
		if !firsts[b[i]] {
			continue
		}
		head, foot := 0, 0
		switch packing(b[i:]) {
		case notPacked:
			continue
		case gzipped:
			head, foot = gzipHead(b[i:]), 8
		case zlibbed:
			head, foot = 2, 4
		case zipped:
			if len(b)-i < 30 || b[i+8] != 8 { // of others the content is plain
				continue
			}
			head = 30 + int(binary.LittleEndian.Uint16(b[i+26:])) + int(binary.LittleEndian.Uint16(b[i+28:]))
		case zstandard:
			f.unzstd(b, i, depth)
			continue
		}
		if head == 0 || i+head >= len(b) {
			f.unfinished(depth, i)
			continue
		}
		n := f.inflate(b[i+head:], depth)
		if n == 0 {
			continue
		}
		if n == len(b)-i-head {
			f.unfinished(depth, i)
		}
		l, before := &f.levels[depth+1], f.count
		l.from, l.end = i, min(len(b), i+head+n+foot)
		end := l.end
		f.unpacked(depth)
		if f.count > before {
			i = end - 1
		}
	}
}

// unfinished notes that a compressed text continues behind the searched one.
func (f *Finder) unfinished(depth, at int) {
	if depth == 0 && (f.open < 0 || at < f.open) {
		f.open = at
	}
}

// unpacked searches the text that the next level has.
func (f *Finder) unpacked(depth int) {
	f.raw(f.levels[depth+1].text)
	f.within(depth)
}

// gzipHead is the size of a header, RFC 1952 section 2.3; 0 if it is not complete.
func gzipHead(b []byte) int {
	at := 10
	if len(b) < at {
		return 0
	}
	if b[3]&4 != 0 && len(b) >= at+2 {
		at += 2 + int(binary.LittleEndian.Uint16(b[at:]))
	}
	for _, flag := range []byte{8, 16} { // name and comment
		if b[3]&flag != 0 {
			end := bytes.IndexByte(b[min(at, len(b)):], 0)
			if end < 0 {
				return 0
			}
			at += end + 1
		}
	}
	if b[3]&2 != 0 {
		at += 2
	}
	return at
}

// inflate makes the next level of what b decompresses to, and returns how many bytes of b that took; 0 if it is not
// compressed.
func (f *Finder) inflate(b []byte, depth int) int {
	f.input.Reset(b)
	if f.bits == nil {
		f.bits = flate.NewReader(&f.input)
	} else if err := f.bits.(flate.Resetter).Reset(&f.input, nil); err != nil {
		return 0
	}
	if !f.read(f.bits, f.next(depth, whole, 0, 0)) {
		return 0
	}
	return len(b) - f.input.Len()
}

// read reads a text that is decompressed, or its beginning.
func (f *Finder) read(r io.Reader, l *level) bool {
	most := min(mostPlain, max(f.left, 1))
	if cap(l.text) == 0 {
		l.text = make([]byte, 0, 4<<10)
	}
	for {
		n, err := r.Read(l.text[len(l.text):min(cap(l.text), most)])
		l.text = l.text[:len(l.text)+n]
		if err != nil || len(l.text) >= most {
			return len(l.text) >= leastValue && (err == nil || err == io.EOF || len(l.text) > 64 || err == io.ErrUnexpectedEOF)
		}
		if len(l.text) == cap(l.text) {
			l.text = append(l.text, 0)[:len(l.text)]
		}
	}
}

// unzstd searches frames of RFC 8878 at b[at:], and what is behind them, which it cannot tell from them.
func (f *Finder) unzstd(b []byte, at, depth int) {
	if f.zstd == nil {
		var err error
		if f.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(mostPlain)); err != nil {
			return
		}
	}
	size, complete := zstdFrame(b[at:])
	if !complete {
		f.unfinished(depth, at)
	}
	f.input.Reset(b[at : at+size])
	if f.zstd.Reset(&f.input) == nil && f.read(f.zstd, f.next(depth, whole, at, at+size)) {
		f.unpacked(depth)
	}
}

// zstdFrame is the size of a frame, RFC 8878 section 3.1.1, or of what is there of it.
func zstdFrame(b []byte) (size int, complete bool) {
	if len(b) < 6 {
		return len(b), false
	}
	flags := b[4]
	at := 5
	if flags&0x20 == 0 {
		at++
	}
	at += []int{0, 1, 2, 4}[flags&3]
	if flags>>6 == 0 && flags&0x20 != 0 {
		at++
	}
	at += []int{0, 2, 4, 8}[flags>>6]
	for at+3 <= len(b) {
		h := int(b[at]) | int(b[at+1])<<8 | int(b[at+2])<<16
		n := h >> 3
		if h>>1&3 == 1 { // one byte, repeated
			n = 1
		}
		at += 3 + n
		if h&1 != 0 {
			if flags&4 != 0 {
				at += 4
			}
			return min(at, len(b)), at <= len(b)
		}
	}
	return len(b), false
}
