// Package message contains the code that dissectors of message brokers share: the conversion of
// names and payloads to text of a row.
package message

import (
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// MaxText is how many bytes of a name, header or payload a row has.
const MaxText = 256

// Text is clip.Text with MaxText.
func Text(b []byte) string { return clip.Text(b, MaxText) }

// Show is a payload: text as it is, other bytes in hexadecimal digits.
func Show(b []byte) string {
	head := b[:min(len(b), MaxText)]
	for i := 0; i < len(head); {
		c, n := utf8.DecodeRune(head[i:])
		if c == utf8.RuneError && n == 1 && (len(head) == len(b) || len(head)-i >= utf8.UTFMax) || c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			out := "0x" + hex.EncodeToString(head[:min(len(head), MaxText/2)])
			if len(b) > MaxText/2 {
				out += "…"
			}
			return out
		}
		i += n
	}
	return Text(b)
}

// Size is a number of bytes in a summary.
func Size(n int64) string { return strconv.FormatInt(n, 10) + " B" }
