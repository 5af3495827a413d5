// Package percent decodes percent-encoded text of hostile clients.
package percent

import (
	"strconv"
	"strings"
)

// Decode replaces %XX by the byte with that value, and leaves everything else as it is.
func Decode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Parameters decodes the text of a query or a form twice, in lower case. An & that separates parameters is a line end.
func Parameters(text string) string {
	text = strings.NewReplacer("&", "\n", "+", " ").Replace(strings.ToLower(text))
	for range 2 {
		if !strings.Contains(text, "%") {
			break
		}
		text = strings.ToLower(Decode(text))
	}
	return text
}
