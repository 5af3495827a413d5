package encoded

import (
	"bytes"
	"unicode/utf8"
)

const besideEscape = 300 // bytes before and after an escape that are decoded with it

// Signs with which escapes of a kind begin.
const (
	anyEscape  = `%\&`
	quotedOnly = "="
)

// Unescape is a value without the escapes of the text that it was found in.
func Unescape(value string) string {
	text := []byte(value)
	for _, sign := range []byte(anyEscape) {
		if bytes.IndexByte(text, sign) < 0 {
			continue
		}
		var out []byte
		for i := 0; i < len(text); {
			n := 0
			if text[i] == sign {
				out, n = one(text[i:], out)
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

// one reads the escape at the beginning of b; size is 0 if there is none.
func one(b, to []byte) (text []byte, size int) {
	switch b[0] {
	case '%':
		return percent(b, to)
	case '\\':
		return slash(b, to)
	case '=':
		return quoted(b, to)
	}
	return entity(b, to)
}

// odd reports whether an escape at the beginning of b is more than a sign that JSON or HTML must escape. Values are
// searched plainly with the others.
func odd(b []byte) bool {
	switch b[0] {
	case '%':
		return true
	case '=':
		return oddQuoted(b)
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

// seeker finds the next escape that begins with one of some signs.
type seeker struct {
	b      []byte
	signs  string
	places [len(anyEscape)]int // of the next of each sign
}

func (s *seeker) reset() { s.places = [len(anyEscape)]int{-1, -1, -1} }

// next is the place of the first escape from a place on, and its size; 0 if there is none. It skips those that are not
// odd unless it is to find any.
func (s *seeker) next(from int, any bool) (at, size int) {
	var buf [8]byte
	for {
		at = len(s.b)
		for i := range len(s.signs) {
			if s.places[i] < from {
				if n := bytes.IndexByte(s.b[min(from, len(s.b)):], s.signs[i]); n >= 0 {
					s.places[i] = from + n
				} else {
					s.places[i] = len(s.b)
				}
			}
			at = min(at, s.places[i])
		}
		if at == len(s.b) {
			return at, 0
		}
		if any || odd(s.b[at:]) {
			if _, n := one(s.b[at:], buf[:0]); n > 0 {
				return at, n
			}
		}
		from = at + 1
	}
}

// escapes searches the texts around escapes that begin with some signs.
func (f *Finder) escapes(b []byte, depth int, signs string) {
	s := seeker{b: b, signs: signs}
	s.reset()
	done := 0
	for f.left > 0 {
		first, size := s.next(done, false)
		if size == 0 {
			return
		}
		from := max(done, first-besideEscape)
		l := f.next(depth, listed, from, 0)
		last := first // odd escape
		i := from
		s.reset()
		for at, size := s.next(from, true); ; at, size = s.next(i, true) {
			stop := min(len(b), last+2*besideEscape)
			if size == 0 || at >= stop || len(l.text) > 1<<20 {
				l.copy(b, i, max(i, stop))
				i = max(i, stop)
				break
			}
			l.copy(b, i, at)
			l.text, _ = one(b[at:], l.text)
			for len(l.at) < len(l.text) {
				l.at = append(l.at, int32(at))
			}
			i = at + size
			if odd(b[at:]) {
				last = i
			}
		}
		l.end = i
		f.within(depth)
		done = max(last, i-besideEscape) // what begins behind the last escape may go on
		s.reset()
	}
}

// copy adds bytes that mean themselves.
func (l *level) copy(b []byte, from, to int) {
	l.text = append(l.text, b[from:to]...)
	for i := from; i < to; i++ {
		l.at = append(l.at, int32(i))
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
