package ws

import (
	"unicode"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// What detection requires of a connection whose handshake was not captured.
const (
	detectFrames = 4       // messages in a row, each in one frame, if none is a text
	detectText   = 8       // bytes of a text in one frame
	maxDetect    = 8 << 10 // bytes that it waits for
)

// detect accepts frames whose heads follow each other, masked as their sender must, if one is a text or if there are
// several.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	messages, unfinished, text := 0, false, false
	for rest := head; len(rest) > 0; {
		f, need, err := parseFrame(rest)
		switch {
		case err != nil || !plausible(dir, &f) || !f.control() && (f.op == opContinue) != unfinished:
			return dissect.No
		case need > 0:
			return more(head)
		}
		whole := int64(len(rest)-f.head) >= f.left
		payload := rest[f.head:]
		if whole {
			payload = payload[:f.left]
		}
		if f.op == opText && f.rsv == 0 {
			if !readable(&f, payload, whole && f.fin) {
				return dissect.No
			}
			text = text || f.fin && len(payload) >= detectText
		}
		if whole && f.fin && f.op != opContinue && f.left > 0 {
			messages++
		}
		switch {
		case text || messages == detectFrames:
			return dissect.Likely
		case !whole:
			return more(head)
		}
		if !f.control() {
			unfinished = !f.fin
		}
		rest = rest[f.head+int(f.left):]
	}
	return more(head)
}

// more waits for bytes, up to the limit.
func more(head []byte) dissect.Verdict {
	if len(head) > maxDetect {
		return dissect.No
	}
	return dissect.More
}

// plausible reports whether the side may send a frame after an unknown handshake, as far as its head is known.
func plausible(dir dissect.Dir, f *frame) bool {
	if f.rsv&rsv23 != 0 || f.rsv != 0 && (f.control() || f.op == opContinue) {
		return false
	}
	return f.head == 0 || f.masked == (dir == dissect.ToServer) && !f.long
}

// readable reports whether the bytes of a text, or its first ones, are characters that people read.
func readable(f *frame, payload []byte, whole bool) bool {
	var buf [64]byte
	n := min(len(payload), len(buf))
	g := *f
	p := g.unmask(buf[:], payload[:n])
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size <= 1 {
			return !(whole && n == len(payload)) && !utf8.FullRune(p)
		}
		if !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		p = p[size:]
	}
	return true
}
