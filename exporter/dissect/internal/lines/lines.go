// Package lines reads protocols whose messages are lines of text: the commands of a client, and the
// numbered replies of a server (RFC 5321 section 4.2, RFC 959 section 4.2).
package lines

import (
	"bytes"
	"strings"
)

// Next is the first line of b without its end, and the number of its bytes, which is 0 if it is not
// complete. A line may end with LF alone.
func Next(b []byte) (line []byte, n int) {
	n = bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		return nil, 0
	}
	return bytes.TrimSuffix(b[:n-1], []byte("\r")), n
}

// Reply is one line of a reply: 250-text, 250 text or 250. last means that no other line follows.
func Reply(line []byte) (code int, text []byte, last, ok bool) {
	if len(line) < 3 {
		return 0, nil, false, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, nil, false, false
		}
		code = code*10 + int(c-'0')
	}
	if code < 100 || code > 659 {
		return 0, nil, false, false
	}
	if line = line[3:]; len(line) == 0 {
		return code, nil, true, true
	}
	if line[0] != ' ' && line[0] != '-' {
		return 0, nil, false, false
	}
	return code, line[1:], line[0] == ' ', true
}

// BeginsReply reports whether b, a line without its end, may be a line of a reply.
func BeginsReply(b []byte) bool {
	_, _, _, ok := Reply(b)
	return ok && Plain(bytes.TrimSuffix(b, []byte("\r")))
}

// Verb is the first word of a command in upper case, and the rest of the line. The verb is empty if
// the line does not begin with a word of 1 to 16 letters.
func Verb(line []byte) (verb string, rest []byte) {
	i := 0
	for i < len(line) && (line[i]|0x20 >= 'a' && line[i]|0x20 <= 'z') {
		i++
	}
	if i == 0 || i > 16 || i < len(line) && line[i] != ' ' {
		return "", nil
	}
	return strings.ToUpper(string(line[:i])), bytes.TrimLeft(line[i:], " ")
}

// Plain reports whether a line is text that a person could type: no control character but tab.
func Plain(line []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
