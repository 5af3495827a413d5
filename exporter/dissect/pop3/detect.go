package pop3

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
)

// Limits of the bytes for which detection waits.
const (
	maxLines = 8 // commands that decide nothing
)

// detect recognizes a client by a command that only POP3 has, and a server by a greeting that names
// it or has a time stamp, or by two replies with texts. +OK alone is not enough, because Redis and
// NATS have it too, nor are USER and PASS, which FTP has.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if dir == dissect.ToClient {
		return detectReplies(head)
	}
	for range maxLines {
		line, n := lines.Next(head)
		if n == 0 {
			word := head
			if i := bytes.IndexByte(head, ' '); i >= 0 {
				word = head[:i]
			}
			if len(head) < lines.MaxWait && lines.Plain(bytes.TrimRight(head, "\r")) && begins(bytes.TrimRight(word, "\r")) {
				return dissect.More
			}
			return dissect.No
		}
		verb, rest := lines.Verb(line)
		switch {
		case !lines.Plain(line) || !commands[verb]:
			return dissect.No
		case decides(verb, string(rest)):
			return dissect.Likely
		}
		head = head[n:]
	}
	return dissect.No
}

// begins reports whether a command begins with b.
func begins(b []byte) bool {
	for c := range commands {
		if len(b) <= len(c) && strings.EqualFold(c[:len(b)], string(b)) {
			return true
		}
	}
	return false
}

// decides reports whether only POP3 has a command with such an argument.
func decides(verb, rest string) bool {
	switch verb {
	case "CAPA", "STLS":
		return rest == ""
	case "UIDL":
		return strings.Trim(rest, "0123456789") == ""
	case "APOP":
		_, digest, _ := strings.Cut(rest, " ")
		return len(digest) == 32 && strings.Trim(digest, "0123456789abcdefABCDEF") == ""
	case "TOP":
		message, count, found := strings.Cut(rest, " ")
		return found && message != "" && count != "" && strings.Trim(message+count, "0123456789") == ""
	}
	return false
}

func detectReplies(b []byte) dissect.Verdict {
	line, n := lines.Next(b)
	if n == 0 {
		if m := min(len(b), 4); len(b) < lines.MaxWait && lines.Plain(bytes.TrimRight(b, "\r")) && string(b[:m]) == "+OK "[:m] {
			return dissect.More
		}
		return dissect.No
	}
	status, text := first(line)
	switch {
	case status != ok || len(text) == 0 || !lines.Plain(line):
		return dissect.No
	case bytes.Contains(bytes.ToUpper(text), []byte("POP")), stamp(text), octets(text):
		return dissect.Likely
	}
	if b = b[n:]; len(b) == 0 {
		return dissect.More
	}
	if line, n = lines.Next(b); n == 0 {
		for _, s := range [...]string{ok, bad} {
			if m := min(len(b), len(s)); len(b) < lines.MaxWait && string(b[:m]) == s[:m] && lines.Plain(bytes.TrimRight(b, "\r")) {
				return dissect.More
			}
		}
		return dissect.No
	}
	if status, _ = first(line); status == "" || !lines.Plain(line) {
		return dissect.No
	}
	return dissect.Likely
}

// octets reports whether a reply states the size of a message, as RETR's does in RFC 1939 section 5.
func octets(text []byte) bool {
	size, unit, _ := bytes.Cut(text, []byte(" "))
	return len(size) > 0 && len(bytes.Trim(size, "0123456789")) == 0 && bytes.Equal(unit, []byte("octets"))
}

// stamp reports whether a greeting has the time stamp of APOP, <text@host>.
func stamp(text []byte) bool {
	_, after, ok := bytes.Cut(text, []byte("<"))
	inside, _, closed := bytes.Cut(after, []byte(">"))
	return ok && closed && bytes.IndexByte(inside, '@') > 0 && bytes.IndexByte(inside, ' ') < 0
}

// grammar has any command, and the first line of any reply.
var grammar = lines.Grammar{Limit: maxLine,
	Command: func(line []byte) bool { verb, _ := lines.Verb(line); return commands[verb] },
	Reply:   func(line []byte) bool { status, _ := first(line); return status != "" }}
