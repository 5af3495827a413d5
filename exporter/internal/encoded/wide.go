package encoded

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// LeastWide is the number of characters of the shortest text in UTF-16 or UTF-32 that is searched.
const LeastWide = 6

// wide searches UTF-16 of the characters of ISO 8859-1, and UTF-32, in both byte orders.
func (f *Finder) wide(b []byte, depth int) {
	for i := 0; f.left > 0; {
		zero := bytes.IndexByte(b[i:], 0)
		if zero < 0 {
			return
		}
		zero += i
		for i = zero; i < len(b) && b[i] == 0; {
			i++
		}
		end := 0
		try := func(from int, w width) {
			if from >= 0 { // what is one order may be the other, too, up to its last character
				end = max(end, f.wideAt(b, from, w, depth))
			}
		}
		switch i - zero {
		case 1:
			try(zero-1, width{2, binary.LittleEndian})
		case 3:
			try(zero-1, width{4, binary.LittleEndian})
		}
		if i-zero >= 3 {
			try(i-3, width{4, binary.BigEndian})
		}
		try(i-1, width{2, binary.BigEndian})
		i = max(i, end)
	}
}

// width is how wide characters are, and their byte order.
type width struct {
	size  int
	order binary.ByteOrder
}

// at is the character at the beginning of b.
func (w width) at(b []byte) (c rune, ok bool) {
	if len(b) < w.size {
		return 0, false
	}
	n, most := uint32(w.order.Uint16(b)), uint32(0xff)
	if w.size == 4 {
		n, most = w.order.Uint32(b), utf8.MaxRune
	}
	return rune(n), n <= most && (n >= ' ' || n == '\n' || n == '\r' || n == '\t')
}

// wideAt searches a text of wide characters that begins at a place, and returns its end; 0 if the text is no such text.
func (f *Finder) wideAt(b []byte, from int, w width, depth int) (end int) {
	for i := range LeastWide {
		if _, ok := w.at(b[min(len(b), from+i*w.size):]); !ok {
			return 0
		}
	}
	l := f.next(depth, listed, from, 0)
	i := from
	for ; ; i += w.size {
		c, ok := w.at(b[i:])
		if !ok {
			break
		}
		l.text = utf8.AppendRune(l.text, c)
		for len(l.at) < len(l.text) {
			l.at = append(l.at, int32(i))
		}
	}
	l.end = i
	f.within(depth)
	return i
}
