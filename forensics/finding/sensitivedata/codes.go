package sensitivedata

import (
	"bytes"
	"regexp"

	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Kinds that the name of a field identifies. PCI DSS 3.3.1 forbids keeping such values.
const (
	cardCode = "card_code"
	pinBlock = "pin_block"
)

// named are the fields with such values: a code has 3 or 4 digits, a PIN block 16 hexadecimal
// digits (ISO 9564-1).
var named = []struct {
	kind string
	re   *regexp.Regexp
}{
	{cardCode, regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:card_?)?(?:cvv2?|cvc2?|cvn|cvd|security_?code|card_?code)["']?\s*[:=>]\s*["']?[0-9]{3,4}(?:[^0-9a-z.]|$)`)},
	{pinBlock, regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:encrypted_?)?pin_?block["']?\s*[:=>]\s*["']?[0-9a-f]{16}(?:[^0-9a-z]|$)`)},
}

// parts occur in every name of such a field, apart from those that begin with cv.
var parts = [][]byte{[]byte("ecurity"), []byte("ard_code"), []byte("ardCode"), []byte("ardcode"), []byte("in_block"), []byte("inBlock"), []byte("inblock"), []byte("INBLOCK"), []byte("IN_BLOCK"), []byte("ECURITY")}

// matches lists the matches of all detectors, and named values.
func matches(text []byte) []redact.Match {
	list := redact.FindBytes(text)
	if !mayName(text) {
		return list
	}
	for _, n := range named {
		for _, at := range n.re.FindAllIndex(text, -1) {
			list = append(list, redact.Match{Kind: n.kind, Start: at[0], End: at[1], Masked: redact.Mask})
		}
	}
	return list
}

// mayName is a quick check whether a text has such a name.
func mayName(text []byte) bool {
	for _, p := range parts {
		if bytes.Contains(text, p) {
			return true
		}
	}
	return cv(text, 'v') || cv(text, 'V')
}

// cv reports whether c, v and one of the next letters follow each other, in upper or lower case.
func cv(text []byte, v byte) bool {
	for i := 0; ; i++ {
		next := bytes.IndexByte(text[i:], v)
		if next < 0 {
			return false
		}
		i += next
		if i > 0 && text[i-1]|0x20 == 'c' && i+1 < len(text) && bytes.IndexByte([]byte("vcnd"), text[i+1]|0x20) >= 0 {
			return true
		}
	}
}
