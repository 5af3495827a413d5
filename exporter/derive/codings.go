package derive

// coding writes each byte of a text in a fixed number of bytes. So a needle needs no text of its own
// beside that of its value. Texts in one coding have the order of what they write.
type coding uint8

// Codings.
const (
	asIs coding = iota
	hexSmall
	hexLarge
	percentSmall
	percentLarge
	slashHex
	wideLittle // UTF-16 of ASCII
	wideBig
)

// codings has for each what is before a byte's digits, the digits, and what replaces a byte.
var codings = [...]struct{ before, digits, with string }{
	hexSmall:     {"", "0123456789abcdef", "xx"},
	hexLarge:     {"", "0123456789ABCDEF", "xx"},
	percentSmall: {"%", "0123456789abcdef", "xxx"},
	percentLarge: {"%", "0123456789ABCDEF", "xxx"},
	slashHex:     {`\x`, "0123456789abcdef", "xxxx"},
	wideLittle:   {"", "", "x\x00"},
	wideBig:      {"", "", "\x00x"},
}

const widest = 4 // bytes for one byte

// width is how many bytes stand for one.
func (c coding) width() int { return max(1, len(codings[c].with)) }

// append appends a text in a coding.
func (c coding) append(b []byte, text string) []byte {
	k := &codings[c]
	for i := range len(text) {
		t := text[i]
		switch c {
		case asIs:
			return append(b, text...)
		case wideLittle:
			b = append(b, t, 0)
		case wideBig:
			b = append(b, 0, t)
		default:
			b = append(append(b, k.before...), k.digits[t>>4], k.digits[t&15])
		}
	}
	return b
}
