package redis

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const maxVerb = 64 // bytes of a command's first word

// detect implements Protocol.Detect. A line of text from the client is never enough, because it
// could also be SMTP, FTP or HTTP; the server's replies decide then.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) == 0 {
		return dissect.More
	}
	if dir == dissect.ToServer {
		_, v := detectCommand(head)
		return v
	}
	return detectReply(head)
}

// detectCommand looks for an array with a command name as its first element. A name that is not
// in the table is only likely, because a reply may also be an array of words.
func detectCommand(b []byte) (verb []byte, v dissect.Verdict) {
	if b[0] != '*' {
		return nil, dissect.No
	}
	count, n := number(b[1:])
	switch {
	case n == 0 && len(b) < 16:
		return nil, dissect.More
	case n <= 0 || count < 1 || count > 1<<20:
		return nil, dissect.No
	}
	if b = b[1+n:]; len(b) == 0 {
		return nil, dissect.More
	}
	if b[0] != '$' {
		return nil, dissect.No
	}
	size, n := number(b[1:])
	switch {
	case n == 0 && len(b) < 8:
		return nil, dissect.More
	case n <= 0 || size < 1 || size > maxVerb:
		return nil, dissect.No
	}
	b = b[1+n:]
	for i, c := range b[:min(len(b), int(size))] {
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (i == 0 || c != '.' && c != '_' && c != '-' && (c < '0' || c > '9')) {
			return nil, dissect.No
		}
	}
	if len(b) < int(size)+2 {
		return nil, dissect.More
	}
	if b[size] != '\r' || b[size+1] != '\n' {
		return nil, dissect.No
	}
	verb = b[:size]
	if !bulkStrings(b[size+2:], count-1) {
		return nil, dissect.No
	}
	switch string(verb) {
	case "message", "pmessage", "smessage": // messages to a subscriber
		return nil, dissect.No
	}
	if specOf(verb) == nil {
		return verb, dissect.Likely
	}
	return verb, dissect.Yes
}

// bulkStrings reports whether those of the next n elements that are present are strings, like
// all arguments of a command.
func bulkStrings(b []byte, n int64) bool {
	for ; n > 0 && len(b) > 0; n-- {
		if b[0] != '$' {
			return false
		}
		size, k := number(b[1:])
		if k < 0 || k > 0 && size < 0 {
			return false
		}
		if k == 0 || int64(len(b)) < int64(1+k)+size+2 {
			return true
		}
		b = b[int64(1+k)+size+2:]
	}
	return true
}

// specOf returns the command with this name in any case, or nil.
func specOf(verb []byte) *spec {
	var up [maxVerb]byte
	return commands()[string(bytes.ToUpper(up[:copy(up[:], verb)]))]
}

// detectReply looks for a reply that is typical of Redis, or for two replies in a row.
func detectReply(b []byte) dissect.Verdict {
	for i := 0; i < 2; i++ {
		if len(b) == 0 {
			return dissect.More
		}
		n, sure, v := detectValue(b)
		if v == dissect.Yes && sure {
			return dissect.Likely
		}
		if v != dissect.Yes {
			return v
		}
		b = b[n:]
	}
	return dissect.Likely
}

// detectValue looks at one reply of n bytes. sure means that hardly any other protocol has such
// a reply.
func detectValue(b []byte) (n int, sure bool, v dissect.Verdict) {
	kind := b[0]
	switch kind {
	case '+', '-':
		return detectLine(b)
	case ':', '$', '=', '*', '%', '~', '>', '|':
	default:
		return 0, false, dissect.No
	}
	size, n := number(b[1:])
	switch {
	case n == 0 && len(b) < 24:
		return 0, false, dissect.More
	case n <= 0:
		return 0, false, dissect.No
	}
	n++
	if kind == ':' || size == -1 && (kind == '$' || kind == '*') {
		return n, true, dissect.Yes
	}
	if size < 0 || size > maxBulk {
		return 0, false, dissect.No
	}
	rest := b[n:]
	if kind == '$' || kind == '=' {
		switch {
		case len(rest) < int(size)+2 && len(rest) < 1024:
			return 0, false, dissect.More
		case len(rest) >= int(size)+2 && (rest[size] != '\r' || rest[size+1] != '\n'):
			return 0, false, dissect.No
		}
		return n + int(size) + 2, true, dissect.Yes
	}
	if size == 0 {
		return n, true, dissect.Yes
	}
	return detectElement(b, rest, n)
}

// detectElement looks at the first element of an aggregate.
func detectElement(b, rest []byte, n int) (_ int, sure bool, v dissect.Verdict) {
	var verb []byte
	if len(rest) == 0 {
		return 0, false, dissect.More
	}
	verb, v = detectCommand(b)
	switch v {
	case dissect.More:
		return 0, false, v // may be a client's command
	case dissect.Yes:
		if s := specOf(verb); s.act != actSubscribe && s.act != actUnsubscribe {
			return 0, false, dissect.No // a client's command
		}
	}
	switch rest[0] {
	case '_':
		if len(rest) < 3 {
			return 0, false, dissect.More
		}
		if rest[1] == '\r' && rest[2] == '\n' {
			return n + 3, true, dissect.Yes
		}
		return 0, false, dissect.No
	case '+', '-':
		i := bytes.IndexByte(rest, '\n')
		if i < 0 && len(rest) < 256 {
			return 0, false, dissect.More
		}
		if i > 1 && rest[i-1] == '\r' {
			return n, true, dissect.Yes
		}
		return 0, false, dissect.No
	case ':', '$', '*', '%', '~', ',', '(', '=':
	default:
		return 0, false, dissect.No
	}
	switch size, m := number(rest[1:]); {
	case m == 0 && len(rest) < 24:
		return 0, false, dissect.More
	case m <= 0 || rest[0] != ':' && (size < -1 || size > maxBulk):
		return 0, false, dissect.No
	}
	return n, true, dissect.Yes
}

// detectLine looks at a status or an error. Both also begin lines of POP3, so only words that
// Redis alone uses are accepted at once.
func detectLine(b []byte) (n int, sure bool, v dissect.Verdict) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) > 512 || bytes.IndexByte(b, 0) >= 0 {
			return 0, false, dissect.No
		}
		return 0, false, dissect.More
	}
	if i < 2 || b[i-1] != '\r' {
		return 0, false, dissect.No
	}
	line := b[1 : i-1]
	if b[0] == '+' {
		switch string(line) {
		case "OK":
			return i + 1, false, dissect.Yes
		case "PONG", "QUEUED", "RESET":
			return i + 1, true, dissect.Yes
		}
		return 0, false, dissect.No
	}
	word, rest, more := bytes.Cut(line, []byte{' '})
	switch string(word) {
	case "ERR":
		if len(rest) > 0 && rest[0] == '\'' { // NATS
			return 0, false, dissect.No
		}
		return i + 1, knownError(rest), dissect.Yes
	case "NOAUTH", "WRONGTYPE", "WRONGPASS", "MOVED", "ASK", "LOADING", "READONLY", "BUSY", "DENIED", "NOPERM",
		"OOM", "EXECABORT", "NOSCRIPT", "MASTERDOWN", "MISCONF", "CLUSTERDOWN", "CROSSSLOT", "TRYAGAIN", "NOPROTO":
		return i + 1, more, dissect.Yes
	}
	return 0, false, dissect.No
}

// knownError reports whether an error text begins like one of the server's own.
func knownError(b []byte) bool {
	for _, s := range [...]string{"unknown command '", "unknown command `", "Protocol error: ", "wrong number of arguments for ",
		"value is not ", "Operation against a key ", "no such key", "AUTH <password> ", "DB index is ", "EXEC without MULTI"} {
		if len(b) >= len(s) && string(b[:len(s)]) == s {
			return true
		}
	}
	return false
}
