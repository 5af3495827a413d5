package imap

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
)

// detect recognizes a client by a tag with a digit and a command of IMAP, and a server by an untagged
// response that only IMAP has, or by the end of a command.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	line, n := lines.Next(head)
	if n == 0 {
		if len(head) < lines.MaxWait && lines.Plain(bytes.TrimRight(head, "\r")) && begins(dir, head) {
			return dissect.More
		}
		return dissect.No
	}
	if !lines.Plain(line) {
		return dissect.No
	}
	if dir == dissect.ToServer {
		if tag, verb, rest := split(line); strings.ContainsAny(tag, digits) && !replyCode(tag) && fits(verb, rest) {
			return dissect.Likely
		}
		return dissect.No
	}
	return response(line)
}

// response examines a line of a server.
func response(line []byte) dissect.Verdict {
	if text, ok := bytes.CutPrefix(line, []byte("* ")); ok {
		return untaggedOnly(text)
	}
	if tag, _, _, ok := tagged(line); ok && strings.ContainsAny(tag, digits) && !replyCode(tag) {
		_, status, _ := strings.Cut(string(line), " ")
		if strings.HasPrefix(status, "OK ") || strings.HasPrefix(status, "NO ") || strings.HasPrefix(status, "BAD ") {
			return dissect.Likely
		}
	}
	return dissect.No
}

// replyCode reports whether a tag may be a code of SMTP or FTP, which may also precede OK.
func replyCode(tag string) bool { return len(tag) == 3 && strings.Trim(tag, digits) == "" }

// begins reports whether a line of IMAP may begin with b.
func begins(dir dissect.Dir, b []byte) bool {
	if dir == dissect.ToClient && (len(b) == 0 || b[0] == '*') {
		return len(b) < 2 || b[1] == ' '
	}
	word, rest, ok := bytes.Cut(b, []byte(" "))
	if !isTag(word) || ok && !bytes.ContainsAny(word, digits) {
		return false
	}
	verb, arguments, whole := bytes.Cut(bytes.TrimRight(rest, "\r"), []byte(" "))
	if dir == dissect.ToClient {
		return len(verb) <= 3 && (!whole || string(verb) == "OK" || string(verb) == "NO" || string(verb) == "BAD")
	}
	name := strings.ToUpper(string(verb[:min(len(verb), maxTag)]))
	if name == "UID" && whole {
		return len(arguments) < 8 || commands["UID "+strings.ToUpper(string(arguments[:5]))]
	}
	for c := range commands {
		if strings.HasPrefix(c, name) && (!whole || c == name) {
			return true
		}
	}
	return false
}

// fits reports whether a command of IMAP has such arguments.
func fits(verb string, rest []byte) bool {
	switch _, known := commands[verb]; verb {
	case "CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "NAMESPACE", "IDLE", "CLOSE", "UNSELECT", "EXPUNGE", "CHECK", "UNAUTHENTICATE":
		return len(rest) == 0
	case "LOGIN":
		return bytes.IndexByte(rest, ' ') > 0 || bytes.HasPrefix(rest, []byte("{"))
	case "ID":
		return bytes.HasPrefix(rest, []byte("(")) || strings.EqualFold(string(rest), "NIL")
	default:
		return known && len(rest) > 0
	}
}

// untaggedOnly examines the text of an untagged response.
func untaggedOnly(text []byte) dissect.Verdict {
	first, rest, _ := bytes.Cut(text, []byte(" "))
	if len(first) > 0 && len(first) <= 10 && len(bytes.Trim(first, digits)) == 0 {
		switch word, after := lines.Verb(rest); word {
		case "EXISTS", "RECENT", "EXPUNGE":
			if len(after) == 0 {
				return dissect.Likely
			}
		case "FETCH":
			if len(after) > 0 && after[0] == '(' {
				return dissect.Likely
			}
		}
		return dissect.No
	}
	switch string(first) {
	case "OK", "PREAUTH", "BYE":
		if bytes.HasPrefix(rest, []byte("[CAPABILITY IMAP4")) {
			return dissect.Yes
		}
		return dissect.Likely
	case "CAPABILITY":
		if bytes.Contains(rest, []byte("IMAP4")) {
			return dissect.Yes
		}
	case "FLAGS", "LIST", "LSUB", "NAMESPACE", "ID", "XLIST":
		if len(rest) > 0 && (rest[0] == '(' || strings.HasPrefix(string(rest), "NIL")) {
			return dissect.Likely
		}
	case "SEARCH", "SORT":
		if len(bytes.Trim(rest, digits+" ")) == 0 {
			return dissect.Likely
		}
	case "STATUS":
		if bytes.HasSuffix(rest, []byte(")")) && bytes.Contains(rest, []byte(" (")) {
			return dissect.Likely
		}
	}
	return dissect.No
}

// later are untagged responses that detection does not accept.
var later = map[string]bool{"NO": true, "BAD": true, "ESEARCH": true, "THREAD": true, "ENABLED": true, "QUOTA": true, "QUOTAROOT": true, "ACL": true, "MYRIGHTS": true,
	"LISTRIGHTS": true, "VANISHED": true, "METADATA": true, "CAPABILITY": true, "FLAGS": true}

// grammar has any command and any response.
var grammar = lines.Grammar{Limit: maxLine,
	Command: func(line []byte) bool { tag, verb, rest := split(line); return tag != "" && fits(verb, rest) },
	Reply: func(line []byte) bool {
		if text, ok := bytes.CutPrefix(line, []byte("* ")); ok {
			if word, _, _ := bytes.Cut(text, []byte(" ")); later[string(word)] {
				return true
			}
		}
		return response(line) >= dissect.Likely
	}}
