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

// overlong are forms of UTF-8 that RFC 3629 section 3 forbids and some servers decode: of a dot and of slashes.
var overlong = strings.NewReplacer("\xc0\xae", ".", "\xe0\x80\xae", ".", "\xc0\xaf", "/", "\xe0\x80\xaf", "/", "\xc1\x9c", "\\", "\xc0\x2f", "/")

// Parameters decodes the text of a query or a form twice, in lower case. An & that separates parameters is a line end.
func Parameters(text string) string {
	text = strings.NewReplacer("&", "\n", "+", " ").Replace(strings.ToLower(text))
	for range 2 {
		if !strings.Contains(text, "%") {
			break
		}
		text = strings.ToLower(overlong.Replace(Decode(text)))
	}
	return text
}
