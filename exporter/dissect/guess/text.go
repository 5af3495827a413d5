package guess

import (
	"bytes"
	"strings"
)

func prefix(b []byte, any ...string) bool {
	for _, p := range any {
		if len(b) >= len(p) && string(b[:len(p)]) == p {
			return true
		}
	}
	return false
}

func contains(b []byte, text string) bool { return bytes.Contains(b, []byte(text)) }

// at is b[i], or 0 after its end.
func at(b []byte, i int) byte {
	if i >= len(b) {
		return 0
	}
	return b[i]
}

// either is a form in which either side begins with one of the texts.
func either(any ...string) func(c, s *Side) bool {
	return func(c, s *Side) bool { return prefix(c.Head, any...) || prefix(s.Head, any...) }
}

// client is a form in which the client begins with the text.
func client(text string) func(c, s *Side) bool {
	return func(c, _ *Side) bool { return prefix(c.Head, text) }
}

// isWord reports whether b is a name of letters, digits and a few marks.
func isWord(b []byte) bool {
	for _, x := range b {
		if !isName(x) && x != '.' && x != ':' && x != '-' {
			return false
		}
	}
	return len(b) > 0
}

// command reports whether a client begins with one of the words, in any case, as a whole word.
func command(b []byte, words ...string) bool {
	for _, w := range words {
		if len(b) > len(w) && strings.EqualFold(string(b[:len(w)]), w) && (b[len(w)] == ' ' || b[len(w)] == '\r' || b[len(w)] == '\n') {
			return true
		}
	}
	return false
}

// greets reports whether a server begins with a reply of this code and a text in it.
func greets(b []byte, code, text string) bool {
	return prefix(b, code+" ", code+"-") && bytes.Contains(bytes.ToUpper(b), []byte(text))
}

func isFTP(c, s *Side) bool {
	return greets(s.Head, "220", "FTP") || prefix(s.Head, "220 ", "220-", "331 ", "530 ") && command(c.Head, "USER", "FEAT", "AUTH TLS", "AUTH SSL") && !command(c.Head, "EHLO")
}

func isSMTP(c, s *Side) bool {
	return command(c.Head, "EHLO", "HELO", "LHLO") || greets(s.Head, "220", "SMTP") || prefix(s.Head, "554 ") && contains(s.Head, "SMTP")
}

func isPOP3(c, s *Side) bool {
	return prefix(s.Head, "+OK") && (command(c.Head, "USER", "CAPA", "APOP", "AUTH", "STLS", "QUIT") || bytes.Contains(bytes.ToUpper(s.Head), []byte("POP")))
}

// isRTSP reports a request or status line of RFC 7826 section 7.
func isRTSP(b []byte) bool {
	if prefix(b, "RTSP/1.0 ", "RTSP/2.0 ") {
		return true
	}
	method, rest, _ := bytes.Cut(b, []byte(" "))
	return len(method) >= 4 && len(method) <= 13 && isWord(method) && (prefix(rest, "rtsp://", "rtsps://") || prefix(rest, "* RTSP/"))
}

// isMemcached reports a text command with an answer that fits, or a binary header.
func isMemcached(c, s *Side) bool {
	if memcachedBinary(c.Head, 0x80) && (len(s.Head) == 0 || memcachedBinary(s.Head, 0x81)) {
		return true
	}
	return command(c.Head, "get", "gets", "set", "add", "replace", "append", "prepend", "cas", "incr", "decr", "delete", "touch", "stats", "version", "flush_all", "mg", "ms", "md", "mn") &&
		(prefix(s.Head, "VALUE ", "END\r\n", "STORED\r\n", "NOT_STORED\r\n", "EXISTS\r\n", "NOT_FOUND\r\n", "DELETED\r\n", "TOUCHED\r\n", "STAT ", "VERSION ", "OK\r\n", "HD", "EN\r\n", "MN\r\n", "CLIENT_ERROR ", "SERVER_ERROR ", "ERROR\r\n") ||
			len(s.Head) > 0 && s.Head[0] >= '0' && s.Head[0] <= '9')
}

// memcachedBinary reports a header of the binary protocol: no data type, lengths that fit.
func memcachedBinary(b []byte, magic byte) bool {
	if len(b) < 24 || b[0] != magic || b[1] > 0x48 || b[5] != 0 {
		return false
	}
	key, extras, body := int(b[2])<<8|int(b[3]), int(b[4]), int(b[8])<<24|int(b[9])<<16|int(b[10])<<8|int(b[11])
	return key <= 250 && extras <= 32 && key+extras <= body && body < 1<<27
}
