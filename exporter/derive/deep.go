package derive

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"unicode/utf8"
	"unsafe"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// Limits of the search in encodings.
const (
	maxDeep      = 4       // encodings within each other
	leastEncoded = 16      // characters of a run of base64, base32 or hexadecimal digits
	mostPlain    = 4 << 20 // bytes that one compressed text gives
	mostDecoded  = 8       // bytes that are decoded in all, for each byte of a text
	leastDecoded = 8 << 20 // of any text
	besideEscape = 300     // bytes before and after an escape that are decoded with it
	leastWide    = 6       // characters in UTF-16 or UTF-32
)

// spelt is a value without the escapes of the text that it was found in.
func spelt(value string) string {
	text := []byte(value)
	for _, e := range []struct {
		sign byte
		one  func(b, to []byte) ([]byte, int)
	}{{'%', percent}, {'\\', slash}, {'&', entity}} {
		if bytes.IndexByte(text, e.sign) < 0 {
			continue
		}
		var out []byte
		for i := 0; i < len(text); {
			n := 0
			if text[i] == e.sign {
				out, n = e.one(text[i:], out)
			}
			if n == 0 {
				out, n = append(out, text[i]), 1
			}
			i += n
		}
		text = out
	}
	return string(text)
}

// deep searches texts for values in encodings. One goroutine uses it.
type deep struct {
	search *searcher
	raw    func(text string) // searches a decoded text by the policy; may be nil
	left   int               // bytes that may be decoded of this text
	open   int               // where a compressed text begins that continues after this text; -1 if none does
	missed int64             // texts of which not all was searched

	bits  io.Reader // of a compressed text
	zstd  *zstd.Decoder
	input bytes.Reader
}

// inside calls hit for each value in an encoding in b: the range of its bytes there, and its rule. Values that
// are plain in b are not reported.
func (d *deep) inside(b []byte, hit func(from, to int, rule int32)) {
	if len(d.search.needles) == 0 && d.raw == nil {
		return
	}
	d.left, d.open = max(leastDecoded, mostDecoded*len(b)), -1
	d.scan(b, 0, hit)
	if d.left <= 0 {
		d.missed++
	}
}

// plain searches a decoded text, and what is encoded in it.
func (d *deep) plain(b []byte, depth int, hit func(from, to int, rule int32)) {
	if d.left -= len(b); d.left <= 0 || len(b) < leastValue {
		return
	}
	d.search.find(b, func(at int, n *needle) {
		hit(max(0, at-n.pre), min(len(b), at+len(n.text)+n.post), n.rule)
	})
	if depth < maxDeep {
		d.scan(b, depth, hit)
	}
}

// detect searches by the policy what was compressed; it decodes all else itself.
func (d *deep) detect(b []byte) {
	if d.raw != nil {
		d.raw(unsafe.String(unsafe.SliceData(b), len(b)))
	}
}

func (d *deep) scan(b []byte, depth int, hit func(from, to int, rule int32)) {
	d.escapes(b, depth, anyEscape, hit)
	d.escapes(b, depth, quotedOnly, hit)
	d.runs(b, depth, hit)
	d.wide(b, depth, hit)
	d.compressed(b, depth, hit)
}

// mapped is a decoded text, with the place in the encoded one of each byte, and of the end.
type mapped struct {
	text []byte
	at   []int32
}

func (m *mapped) add(at int, c byte) {
	m.text, m.at = append(m.text, c), append(m.at, int32(at))
}

// copy adds bytes that mean themselves.
func (m *mapped) copy(b []byte, from, to int) {
	m.text = append(m.text, b[from:to]...)
	for i := from; i < to; i++ {
		m.at = append(m.at, int32(i))
	}
}

// within searches a mapped text.
func (d *deep) within(m *mapped, end, depth int, hit func(from, to int, rule int32)) {
	m.at = append(m.at, int32(end))
	d.plain(m.text, depth+1, func(from, to int, rule int32) { hit(int(m.at[from]), int(m.at[to]), rule) })
}

// escaping is a kind of escapes.
type escaping struct {
	signs string                                     // with which they begin
	one   func(b, to []byte) (text []byte, size int) // reads the one at the beginning of b; size is 0 if there is none
	odd   func(b []byte) bool                        // whether it is one that needs to be decoded; the forms of a value have the others
}

var (
	anyEscape  = &escaping{`%\&`, one, odd}
	quotedOnly = &escaping{"=", quoted, oddQuoted}
)

func one(b, to []byte) ([]byte, int) {
	switch b[0] {
	case '%':
		return percent(b, to)
	case '\\':
		return slash(b, to)
	}
	return entity(b, to)
}

// odd reports whether an escape at the beginning of b is more than a sign that JSON or HTML must escape.
func odd(b []byte) bool {
	switch b[0] {
	case '%':
		return true
	case '\\':
		rest := bytes.TrimLeft(b[:min(len(b), 2*maxDeep)], `\`)
		return len(rest) > 0 && (rest[0] == 'u' || rest[0] == 'x' || rest[0] >= '0' && rest[0] <= '3')
	}
	rest, twice := bytes.CutPrefix(b[1:], []byte("amp;"))
	return len(rest) > 0 && (rest[0] == '#' || twice && (bytes.HasPrefix(rest, []byte("amp;")) || bytes.HasPrefix(rest, []byte("lt;")) || bytes.HasPrefix(rest, []byte("gt;")) || bytes.HasPrefix(rest, []byte("quot;"))))
}

// oddQuoted reports whether a sign of equality is more than one: it ends a line, stands for itself or for a letter
// that is not in ASCII, or is followed by others.
func oddQuoted(b []byte) bool {
	return len(b) > 1 && (b[1] == '\r' || b[1] == '\n') || len(b) > 3 && (b[3] == '=' || b[1] == '3' && b[2] == 'D' || b[1] >= '8')
}

// escapes searches the texts around escapes.
func (d *deep) escapes(b []byte, depth int, e *escaping, hit func(from, to int, rule int32)) {
	var buf [8]byte
	unknown := [3]int{-1, -1, -1}
	places := unknown // of the next of each sign
	next := func(from int, any bool) (at, size int) {
		for {
			at = len(b)
			for i := range len(e.signs) {
				if places[i] < from {
					if n := bytes.IndexByte(b[min(from, len(b)):], e.signs[i]); n >= 0 {
						places[i] = from + n
					} else {
						places[i] = len(b)
					}
				}
				at = min(at, places[i])
			}
			if at == len(b) {
				return at, 0
			}
			if any || e.odd(b[at:]) {
				if _, n := e.one(b[at:], buf[:0]); n > 0 {
					return at, n
				}
			}
			from = at + 1
		}
	}
	done := 0
	for d.left > 0 {
		first, size := next(done, false)
		if size == 0 {
			return
		}
		from := max(done, first-besideEscape)
		m := &mapped{text: make([]byte, 0, 3*besideEscape), at: make([]int32, 0, 3*besideEscape)}
		last := first // odd escape
		i := from
		places = unknown
		for at, size := next(from, true); ; at, size = next(i, true) {
			stop := min(len(b), last+2*besideEscape)
			if size == 0 || at >= stop || len(m.text) > 1<<20 {
				m.copy(b, i, max(i, stop))
				i = max(i, stop)
				break
			}
			m.copy(b, i, at)
			plain, _ := e.one(b[at:], buf[:0])
			for _, c := range plain {
				m.add(at, c)
			}
			i = at + size
			if e.odd(b[at:]) {
				last = i
			}
		}
		d.within(m, i, depth, hit)
		done = max(last, i-besideEscape) // what begins behind the last escape may go on
		places = unknown
	}
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// number reads digits of a base.
func number(b []byte, base int) (n int, ok bool) {
	for _, c := range b {
		v := hexDigit(c)
		if v < 0 || v >= base || n > utf8.MaxRune {
			return 0, false
		}
		n = n*base + v
	}
	return n, len(b) > 0
}

// percent is an escape of URLs, RFC 3986 section 2.1.
func percent(b, to []byte) ([]byte, int) {
	if len(b) < 3 {
		return to, 0
	}
	n, ok := number(b[1:3], 16)
	if !ok {
		return to, 0
	}
	return append(to, byte(n)), 3
}

// quoted is an escape of quoted-printable, or a soft end of a line, RFC 2045 section 6.7.
func quoted(b, to []byte) ([]byte, int) {
	switch {
	case bytes.HasPrefix(b, []byte("=\r\n")):
		return to, 3
	case bytes.HasPrefix(b, []byte("=\n")):
		return to, 2
	}
	return percent(b, to)
}

// slash is an escape in a string: \u0041, \x41, \101, \n, or a sign after backslashes. Those before u are as many as
// there are strings in each other.
func slash(b, to []byte) ([]byte, int) {
	at := 1
	for at < len(b) && b[at] == '\\' && at < maxDeep*2 {
		at++
	}
	if at >= len(b) {
		return to, 0
	}
	digits := func(from, size, base int) (int, bool) {
		if from+size > len(b) {
			return 0, false
		}
		return number(b[from:from+size], base)
	}
	switch c := b[at]; {
	case c == 'u':
		n, ok := digits(at+1, 4, 16)
		if !ok {
			return to, 0
		}
		end := at + 5
		if n >= 0xd800 && n < 0xdc00 && end+at < len(b) && b[end+at] == 'u' { // the first half of a pair
			if low, ok := digits(end+at+1, 4, 16); ok && low >= 0xdc00 && low < 0xe000 {
				n, end = 0x10000+(n-0xd800)<<10+low-0xdc00, end+at+5
			}
		}
		return utf8.AppendRune(to, rune(n)), end
	case c == 'x':
		n, ok := digits(at+1, 2, 16)
		if !ok {
			return to, 0
		}
		return append(to, byte(n)), at + 3
	case c >= '0' && c <= '3':
		n, ok := digits(at, 3, 8)
		if !ok {
			return to, 0
		}
		return append(to, byte(n)), at + 3
	case c == 'n':
		return append(to, '\n'), at + 1
	case c == 'r':
		return append(to, '\r'), at + 1
	case c == 't':
		return append(to, '\t'), at + 1
	case c == '"', c == '/', c == '\'':
		return append(to, c), at + 1
	case at > 1:
		return append(to, '\\'), at
	}
	return to, 0
}

var entities = map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}

// entity is a reference of XML or HTML to a character.
func entity(b, to []byte) ([]byte, int) {
	end := bytes.IndexByte(b[:min(len(b), 12)], ';')
	if end < 2 {
		return to, 0
	}
	name := b[1:end]
	if name[0] != '#' {
		if text := entities[string(name)]; text != "" {
			return append(to, text...), end + 1
		}
		return to, 0
	}
	base, digits := 10, name[1:]
	if len(digits) > 0 && digits[0]|0x20 == 'x' {
		base, digits = 16, digits[1:]
	}
	n, ok := number(digits, base)
	if !ok {
		return to, 0
	}
	return utf8.AppendRune(to, rune(n)), end + 1
}

// Alphabets.
const (
	of64 = 1 << iota
	of32
	ofSmall32
	ofHex
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
	}
	return list
}()

// runs searches runs of base64, base32 and hexadecimal digits.
func (d *deep) runs(b []byte, depth int, hit func(from, to int, rule int32)) {
	lines := 0 // the end of the last lines of base64
	for i := 0; i+leastEncoded <= len(b) && d.left > 0; {
		probe := i + leastEncoded - 1 // every run has a byte there
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
		if i = end; end-start < leastEncoded {
			continue
		}
		d.run(b, start, end, depth, hit)
		if end-start >= leastLine && start >= lines {
			if at := linesOf(b, start, end); len(at) > end-start {
				lines = at[len(at)-1] + 1
				d.base64(b, at, depth, hit)
			}
		}
	}
}

const leastLine = 60 // characters of a line of base64 that others follow

// linesOf are the places of the characters of base64 in lines of one length, of which the first is b[start:end].
func linesOf(b []byte, start, end int) (at []int) {
	for width := end - start; ; {
		for i := start; i < end; i++ {
			at = append(at, i)
		}
		if end-start != width {
			return at
		}
		gap := 0
		for _, sign := range []string{"\r\n", "\n", `\r\n`, `\n`} {
			if bytes.HasPrefix(b[end:], []byte(sign)) {
				gap = len(sign)
				break
			}
		}
		start = end + gap
		for end = start; gap > 0 && end < len(b) && end-start < width && alphabets[b[end]]&of64 != 0; {
			end++
		}
		if start == end {
			return at
		}
	}
}

// run searches one run.
func (d *deep) run(b []byte, start, end, depth int, hit func(from, to int, rule int32)) {
	all := byte(of64 | of32 | ofSmall32 | ofHex)
	for _, c := range b[start:end] {
		if all &= alphabets[c]; all == of64 {
			break
		}
	}
	if all&ofHex != 0 {
		for shift := range 2 {
			var head [12]byte
			for k := range min(len(head), (end-start-shift)/2) {
				head[k] = byte(hexDigit(b[start+shift+2*k])<<4 | hexDigit(b[start+shift+2*k+1]))
			}
			if !promising(head[:min(len(head), (end-start-shift)/2)]) {
				continue
			}
			m := &mapped{}
			for i := start + shift; i+2 <= end; i += 2 {
				m.add(i, byte(hexDigit(b[i])<<4|hexDigit(b[i+1])))
			}
			d.within(m, end, depth, hit)
		}
	}
	if all&(of32|ofSmall32) != 0 {
		for shift := range 8 {
			d.base32(b, start+shift, end, depth, hit)
		}
	}
	at := make([]int, end-start)
	for i := range at {
		at[i] = start + i
	}
	d.base64(b, at, depth, hit)
}

// base32 searches RFC 4648 section 6.
func (d *deep) base32(b []byte, start, end, depth int, hit func(from, to int, rule int32)) {
	m := &mapped{}
	n, bits := uint32(0), 0
	for i := start; i < end; i++ {
		v := b[i] - '2' + 26
		if b[i] > '7' {
			v = b[i]&^0x20 - 'A'
		}
		n, bits = n<<5|uint32(v), bits+5
		if bits >= 8 {
			bits -= 8
			m.add(max(start, i-1), byte(n>>bits))
		}
	}
	d.within(m, end, depth, hit)
}

func sextet(c byte) uint32 {
	switch {
	case c >= 'A' && c <= 'Z':
		return uint32(c - 'A')
	case c >= 'a' && c <= 'z':
		return uint32(c-'a') + 26
	case c >= '0' && c <= '9':
		return uint32(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	}
	return 63
}

// of64At decodes the characters of base64 at some places.
func of64At(b []byte, at []int) *mapped {
	m := &mapped{text: make([]byte, 0, len(at)*3/4), at: make([]int32, 0, len(at)*3/4+1)}
	n, bits := uint32(0), 0
	for i, p := range at {
		n, bits = n<<6|sextet(b[p]), bits+6
		if bits >= 8 {
			bits -= 8
			m.add(at[max(0, i-1)], byte(n>>bits))
		}
	}
	return m
}

const (
	mostParts = 4  // of a path, in which base64 may begin
	leastPack = 48 // characters of base64 of something compressed without a header
)

// sample decodes up to 16 characters of base64.
func sample(b []byte, at []int, buf *[12]byte) []byte {
	n, bits, out := uint32(0), 0, buf[:0]
	for _, p := range at[:min(len(at), 16)] {
		n, bits = n<<6|sextet(b[p]), bits+6
		if bits >= 8 {
			bits -= 8
			out = append(out, byte(n>>bits))
		}
	}
	return out
}

// base64 searches base64, whose groups may begin at any of the first places, and deflate in it.
func (d *deep) base64(b []byte, at []int, depth int, hit func(from, to int, rule int32)) {
	var buf [12]byte
	end := at[len(at)-1] + 1
	for shift := range 4 {
		middle := len(at) / 2 / 4 * 4
		if promising(sample(b, at[shift:], &buf)) || len(at) >= leastPack && promising(sample(b, at[shift+middle:], &buf)) {
			d.within(of64At(b, at[shift:]), end, depth, hit)
		}
	}
	parts := 0
	for i := range at {
		if i > 0 && b[at[i-1]] != '/' {
			continue
		}
		if parts++; parts > mostParts || len(at)-i < leastPack {
			return
		}
		if deflated := sample(b, at[i:], &buf); mayInflate(deflated) {
			d.inflate(of64At(b, at[i:]).text, depth+1, func(rule int32) { hit(at[i], end, rule) })
		}
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
	if packing(b) != notPacked {
		return true
	}
	zeros, others := 0, 0
	for _, c := range b {
		switch {
		case c == 0:
			zeros++
		case c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f:
			others++
		}
	}
	return others == 0 && zeros == 0 || zeros >= len(b)*2/5 && others <= 1
}

// wide searches UTF-16 of the characters of ISO 8859-1, and UTF-32, in both byte orders.
func (d *deep) wide(b []byte, depth int, hit func(from, to int, rule int32)) {
	for i := 0; d.left > 0; {
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
				end = max(end, d.wideAt(b, from, w, depth, hit))
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
func (d *deep) wideAt(b []byte, from int, w width, depth int, hit func(from, to int, rule int32)) (end int) {
	for i := range leastWide {
		if _, ok := w.at(b[min(len(b), from+i*w.size):]); !ok {
			return 0
		}
	}
	m := &mapped{}
	var buf [utf8.UTFMax]byte
	i := from
	for ; ; i += w.size {
		c, ok := w.at(b[i:])
		if !ok {
			break
		}
		for _, c := range utf8.AppendRune(buf[:0], c) {
			m.add(i, c)
		}
	}
	d.within(m, i, depth, hit)
	return i
}

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

// compressed searches what is compressed. All of it goes if a value is in it.
func (d *deep) compressed(b []byte, depth int, hit func(from, to int, rule int32)) {
	for i := 0; i+4 <= len(b) && d.left > 0; i++ {
		if c := b[i]; c != 0x1f && c != 0x78 && c != 'P' && c != 0x28 {
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
			d.unzstd(b, i, depth, hit)
			continue
		}
		if head == 0 || i+head >= len(b) {
			d.unfinished(depth, i)
			continue
		}
		var rules []int32
		n := d.inflate(b[i+head:], depth+1, func(rule int32) { rules = append(rules, rule) })
		end := min(len(b), i+head+n+foot)
		for _, rule := range rules {
			hit(i, end, rule)
		}
		if n > 0 && len(rules) > 0 {
			i = end - 1
		}
		if n == len(b)-i-head {
			d.unfinished(depth, i)
		}
	}
}

// unfinished notes that a compressed text continues behind the searched one.
func (d *deep) unfinished(depth, at int) {
	if depth == 0 && (d.open < 0 || at < d.open) {
		d.open = at
	}
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

// inflate searches what b decompresses to, and returns how many bytes of b that took; 0 if it is not compressed.
func (d *deep) inflate(b []byte, depth int, hit func(rule int32)) int {
	d.input.Reset(b)
	if d.bits == nil {
		d.bits = flate.NewReader(&d.input)
	} else if err := d.bits.(flate.Resetter).Reset(&d.input, nil); err != nil {
		return 0
	}
	text, ok := d.read(d.bits)
	if !ok {
		return 0
	}
	n := len(b) - d.input.Len()
	d.detect(text)
	d.plain(text, depth, func(_, _ int, rule int32) { hit(rule) })
	return n
}

// read reads a text that is decompressed, or its beginning.
func (d *deep) read(r io.Reader) (text []byte, ok bool) {
	text, err := io.ReadAll(io.LimitReader(r, int64(min(mostPlain, max(d.left, 1)))))
	if len(text) >= mostPlain {
		d.missed++
	}
	return text, len(text) >= leastValue && (err == nil || len(text) > 64 || err == io.ErrUnexpectedEOF)
}

// unzstd searches frames of RFC 8878 at b[at:], and what is behind them, which it cannot tell from them.
func (d *deep) unzstd(b []byte, at, depth int, hit func(from, to int, rule int32)) {
	if d.zstd == nil {
		var err error
		if d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(mostPlain)); err != nil {
			return
		}
	}
	size, whole := zstdFrame(b[at:])
	if !whole {
		d.unfinished(depth, at)
	}
	d.input.Reset(b[at : at+size])
	if d.zstd.Reset(&d.input) != nil {
		return
	}
	text, ok := d.read(d.zstd)
	if !ok {
		return
	}
	rules := []int32{}
	d.detect(text)
	d.plain(text, depth+1, func(_, _ int, rule int32) { rules = append(rules, rule) })
	for _, rule := range slices.Compact(rules) {
		hit(at, at+size, rule)
	}
}

// zstdFrame is the size of a frame, RFC 8878 section 3.1.1, or of what is there of it.
func zstdFrame(b []byte) (size int, whole bool) {
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
