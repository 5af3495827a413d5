package encoded

import (
	"bytes"
	"encoding/binary"
)

// LeastRun is the number of characters of the shortest run of base64, base32 or hexadecimal digits that is searched.
const LeastRun = 16

const (
	leastLine = 60 // characters of a line of base64 that others follow
	mostParts = 4  // of a path, in which base64 may begin
	leastPack = 48 // characters of base64 of something compressed without a header
	sampled   = 16 // characters of base64 that tell whether others are worth it
)

// Alphabets.
const (
	of64 = 1 << iota
	of32
	ofSmall32
	ofHex
	ofHalf
)

var alphabets = func() (list [256]byte) {
	for c := range list {
		b := byte(c)
		letter := b|0x20 >= 'a' && b|0x20 <= 'z'
		if letter || b >= '0' && b <= '9' || bytes.IndexByte([]byte("+/-_"), b) >= 0 {
			list[c] |= of64
		}
		if b >= '2' && b <= '7' || b >= 'A' && b <= 'Z' {
			list[c] |= of32
		}
		if b >= '2' && b <= '7' || b >= 'a' && b <= 'z' {
			list[c] |= ofSmall32
		}
		if hexDigit(b) >= 0 {
			list[c] |= ofHex
		}
		if halfDigit(b) >= 0 {
			list[c] |= ofHalf
		}
	}
	return list
}()

// sextets are the bits of the characters of base64.
var sextets = func() (list [256]byte) {
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		list[c] = byte(i)
	}
	list['-'], list['_'] = 62, 63
	return list
}()

// runs searches runs of base64, base32 and hexadecimal digits.
func (f *Finder) runs(b []byte, depth int) {
	lines := 0 // the end of the last lines of base64
	for i := 0; i+LeastRun <= len(b) && f.left > 0; {
		probe := i + LeastRun - 1 // every run has a byte there
		if alphabets[b[probe]]&of64 == 0 {
			i = probe + 1
			continue
		}
		start, end := probe, probe+1
		for start > i && alphabets[b[start-1]]&of64 != 0 {
			start--
		}
		for end < len(b) && alphabets[b[end]]&of64 != 0 {
			end++
		}
		if i = end; end-start < LeastRun {
			continue
		}
		f.known(b, start, end, depth)
		if end-start >= leastLine && start >= lines {
			if l := &f.levels[depth].lines; l.read(b, start, end) {
				lines = int(l.at[len(l.at)-1]) + 1
				f.base64(l.text, l.at, lines, depth)
			}
		}
	}
}

// lines are the characters of base64 in lines of one length, and their places.
type lines struct {
	text []byte
	at   []int32
}

// read reads lines of which the first is b[start:end], and reports whether there are others.
func (l *lines) read(b []byte, start, end int) bool {
	l.text, l.at = l.text[:0], l.at[:0]
	if lineEnd(b[end:]) == 0 {
		return false
	}
	for width := end - start; ; {
		l.text = append(l.text, b[start:end]...)
		for i := start; i < end; i++ {
			l.at = append(l.at, int32(i))
		}
		if end-start != width {
			return true
		}
		gap := lineEnd(b[end:])
		start = end + gap
		for end = start; gap > 0 && end < len(b) && end-start < width && alphabets[b[end]]&of64 != 0; {
			end++
		}
		if start == end {
			return len(l.text) > width
		}
	}
}

// lineEnd is the size of the end of a line at the beginning of b; 0 if there is none.
func lineEnd(b []byte) int {
	for _, sign := range [...]string{"\r\n", "\n", `\r\n`, `\n`} {
		if len(b) >= len(sign) && string(b[:len(sign)]) == sign {
			return len(sign)
		}
	}
	return 0
}

// known searches one run, unless it was searched before and has nothing: many texts are sent again and again.
func (f *Finder) known(b []byte, start, end, depth int) {
	if f.Seen == nil {
		f.run(b, start, end, depth)
		return
	}
	sum := f.Seen.Sum(b[start:end])
	if f.Seen.Has(sum) {
		return
	}
	before := f.count
	if f.run(b, start, end, depth); f.count == before && f.left > 0 && depth == 0 {
		f.Seen.Add(sum)
	}
}

// run searches one run.
func (f *Finder) run(b []byte, start, end, depth int) {
	all := byte(of64 | of32 | ofSmall32 | ofHex | ofHalf)
	for _, c := range b[start:end] {
		if all &= alphabets[c]; all == of64 {
			break
		}
	}
	for shift := range 2 {
		if all&ofHex != 0 {
			f.digits(b, start+shift, end, depth, hexDigit)
		}
		if all&ofHalf != 0 {
			f.digits(b, start+shift, end, depth, halfDigit)
		}
	}
	if all&(of32|ofSmall32) != 0 {
		for shift := range 8 {
			f.base32(b, start+shift, end, depth)
		}
	}
	f.base64(b[start:end], nil, end, depth)
}

// halfDigit is a half byte in a name of NetBIOS, RFC 1001 section 14.1.
func halfDigit(c byte) int {
	if c < 'A' || c > 'P' {
		return -1
	}
	return int(c - 'A')
}

// digits searches bytes of two digits each.
func (f *Finder) digits(b []byte, start, end, depth int, digit func(byte) int) {
	const head = 12
	l := f.next(depth, pairs, start, end)
	for i := start; i+2 <= end; i += 2 {
		l.text = append(l.text, byte(digit(b[i])<<4|digit(b[i+1])))
		if len(l.text) == head && !promising(l.text) {
			return
		}
	}
	if len(l.text) >= head || promising(l.text) {
		f.within(depth)
	}
}

// base32 searches RFC 4648 section 6.
func (f *Finder) base32(b []byte, start, end, depth int) {
	l := f.next(depth, fives, start, end)
	n, bits := uint32(0), 0
	for _, c := range b[start:end] {
		v := c - '2' + 26
		if c > '7' {
			v = c&^0x20 - 'A'
		}
		n, bits = n<<5|uint32(v), bits+5
		if bits >= 8 {
			bits -= 8
			l.text = append(l.text, byte(n>>bits))
		}
	}
	f.within(depth)
}

// append64 decodes characters of base64.
func append64(to, chars []byte) []byte {
	for ; len(chars) >= 4; chars = chars[4:] {
		n := uint32(sextets[chars[0]])<<18 | uint32(sextets[chars[1]])<<12 | uint32(sextets[chars[2]])<<6 | uint32(sextets[chars[3]])
		to = append(to, byte(n>>16), byte(n>>8), byte(n))
	}
	if len(chars) >= 2 {
		to = append(to, sextets[chars[0]]<<2|sextets[chars[1]]>>4)
	}
	if len(chars) >= 3 {
		to = append(to, sextets[chars[1]]<<4|sextets[chars[2]]>>2)
	}
	return to
}

// worth reports whether characters of base64 decode to something promising, by the first ones.
func worth(chars []byte) bool {
	var buf [sampled]byte
	return promising(append64(buf[:0], chars[:min(len(chars), sampled)]))
}

// base64 searches base64, whose groups may begin at any of the first characters, and deflate in it. The characters are at
// some places, or in a row before end if there are none.
func (f *Finder) base64(chars []byte, at []int32, end, depth int) {
	middle := len(chars) / 2 / 4 * 4
	place := func(i int) int {
		if at != nil {
			return int(at[i])
		}
		return end - len(chars) + i
	}
	for shift := range 4 {
		if !worth(chars[shift:]) && (len(chars) < leastPack || !worth(chars[shift+middle:])) {
			continue
		}
		l := f.next(depth, sixes, place(shift), end)
		if at != nil {
			l.kind, l.chars = linesOf6, at[shift:]
		}
		l.text = append64(l.text, chars[shift:])
		f.within(depth)
	}
	var buf [sampled]byte
	for i, parts := 0, 0; parts < mostParts && len(chars)-i >= leastPack; parts++ {
		if mayInflate(append64(buf[:0], chars[i:i+sampled])) {
			f.packed = append64(f.packed[:0], chars[i:])
			if n := f.inflate(f.packed, depth); n > 0 {
				l := &f.levels[depth+1]
				l.from, l.end = place(i), end
				f.unpacked(depth)
			}
		}
		n := bytes.IndexByte(chars[i:], '/')
		if n < 0 {
			return
		}
		i += n + 1
	}
}

// mayInflate reports whether deflate can begin so, RFC 1951 section 3.2.3, and it is no text.
func mayInflate(b []byte) bool {
	switch b[0] >> 1 & 3 {
	case 0:
		return binary.LittleEndian.Uint16(b[1:]) == ^binary.LittleEndian.Uint16(b[3:])
	case 3:
		return false
	case 2:
		if b[0]>>3 > 29 {
			return false
		}
	}
	for _, c := range b {
		if c < '\t' || c >= 0x7f {
			return true
		}
	}
	return false
}

// promising reports whether bytes are text, in UTF-8 or wider, or begin as something compressed does.
func promising(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	if firsts[b[0]] && packing(b) != notPacked {
		return true
	}
	zeros, others := 0, 0
	for _, c := range b {
		zeros += int(unprinted[c] & 1)
		others += int(unprinted[c] >> 1)
	}
	return others == 0 && zeros == 0 || zeros >= len(b)*2/5 && others <= 1
}

// unprinted is 1 for zero and 2 for other control characters, but not for those of lines and tabs.
var unprinted = func() (list [256]byte) {
	for c := range list[:' '] {
		list[c] = 2
	}
	list[0], list['\n'], list['\r'], list['\t'], list[0x7f] = 1, 0, 0, 0, 2
	return list
}()
