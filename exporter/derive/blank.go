package derive

import (
	"strings"

	"golang.org/x/net/http2/hpack"
)

// fill replaces the bytes of a value that is not a number, nines its digits.
const (
	fill  = 'x'
	nines = '9'
)

// blank is the replacement of a value: a number keeps its signs and each digit becomes 9, anything
// else becomes x. So JSON stays JSON, and no detector mistakes it for a secret.
func blank(value string) string {
	if !isNumber(value) {
		return strings.Repeat(string(fill), len(value))
	}
	b := []byte(value)
	for i, c := range b {
		if c >= '0' && c <= '9' {
			b[i] = nines
		}
	}
	return string(b)
}

// isNumber reports whether a value has digits and no other letters, as a card number in groups.
func isNumber(value string) bool {
	digits := 0
	for i := range len(value) {
		switch c := value[i]; {
		case c >= '0' && c <= '9':
			digits++
		case strings.IndexByte(" .,-+/()", c) < 0:
			return false
		}
	}
	return digits > 0
}

// isBlank reports whether a value could be what blank or blankHuffman made.
func isBlank(value string) bool {
	for i := range len(value) {
		switch c := value[i]; {
		case strings.IndexByte("x9aX*\\ .,-+/()=%\"'?&;:", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// blankHuffman is a text of n bytes whose Huffman code (RFC 7541 section 5.2) has size bytes. It
// depends on these two numbers alone. ok is false if there is none.
func blankHuffman(n, size int) (text string, ok bool) {
	// Codes of a, -, x, X and ? have 5, 6, 7, 8 and 10 bits; the last code is padded by up to 7.
	bits := size * 8
	if n <= 0 || bits < 5*n {
		return "", false
	}
	spare := min(bits-5*n, 25*n)
	b := make([]byte, n)
	for i := range b {
		switch {
		case spare >= 23: // "\" has 19 bits, so few texts need it
			b[i], spare = '\\', spare-14
		case spare >= 3:
			b[i], spare = 'X', spare-3
		case spare == 2:
			b[i], spare = 'x', 0
		case spare == 1:
			b[i], spare = '-', 0
		default:
			b[i] = 'a'
		}
	}
	text = string(b)
	return text, int(hpack.HuffmanEncodeLength(text)) == size
}
