package redact

// class is a set of bytes: those with at least one of its bits in classes.
type class uint16

const (
	digit class = 1 << iota
	upper
	lower
	dash
	underscore
	dot
	plus
	slash
	equals
	tilde
	percent
	colon
	blank
	backslash
	high      // not ASCII
	quoteMark // " ' `

	alpha   = upper | lower
	alnum   = digit | alpha
	token   = alnum | dash | underscore // base64url
	word    = alnum | underscore
	base64s = alnum | plus | slash | equals
	token68 = token | dot | tilde | plus | slash | equals // RFC 7235
	local   = token | dot | percent | plus                // of an email address
	label   = alnum | dash | dot                          // of a domain, with the dots between
	named   = token | dot
	xmlName = token | dot | colon
)

// classes has the classes of each byte. A table is faster than a function, and texts are scanned
// byte by byte.
var classes = func() (list [256]class) {
	for c := range 256 {
		switch b := byte(c); {
		case isDigit(b):
			list[c] = digit
		case isUpper(b):
			list[c] = upper
		case isAlpha(b):
			list[c] = lower
		case b >= 0x80:
			list[c] = high
		case isBlank(b):
			list[c] = blank
		}
	}
	for b, of := range map[byte]class{'-': dash, '_': underscore, '.': dot, '+': plus, '/': slash, '=': equals, '~': tilde, '%': percent, ':': colon, '\\': backslash, '"': quoteMark, '\'': quoteMark, '`': quoteMark} {
		list[b] = of
	}
	return list
}()

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isAlnum(c byte) bool { return classes[c]&alnum != 0 }
func isToken(c byte) bool { return classes[c]&token != 0 }
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// before returns the byte before i, or 0.
func before(s string, i int) byte {
	if i > 0 && i <= len(s) {
		return s[i-1]
	}
	return 0
}

// after returns the byte at i, or 0.
func after(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// first returns the place of the first byte of a class from i on, or the length of s.
func first(s string, i int, of class) int {
	for i < len(s) && classes[s[i]]&of == 0 {
		i++
	}
	return i
}

// span counts the bytes of a class from i on, up to most.
func span(s string, i, most int, of class) int {
	if i >= len(s) {
		return 0
	}
	s = s[i:]
	if len(s) > most {
		s = s[:most]
	}
	for n := range len(s) {
		if classes[s[n]]&of == 0 {
			return n
		}
	}
	return len(s)
}

// back counts the bytes of a class before i, up to most.
func back(s string, i, most int, of class) int {
	least := max(0, i-most)
	n := i
	for n > least && classes[s[n-1]]&of != 0 {
		n--
	}
	return i - n
}
