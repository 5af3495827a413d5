package smtp

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
)

// Limits of the bytes for which detection waits.
const (
	maxLines = 4 // commands that decide nothing
)

// detect recognizes a client by its name or an envelope. A greeting with 220 is not enough,
// because FTP has it too: the reply after it does.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if dir == dissect.ToClient {
		return detectReplies(head)
	}
	for range maxLines { // commands that other protocols have, too, decide nothing
		line, n := lines.Next(head)
		if verb, rest := lines.Verb(line); n == 0 || !commands[verb] || verb == "MAIL" || verb == "RCPT" || len(rest) > 0 {
			break
		}
		head = head[n:]
	}
	line, n := lines.Next(head)
	if n == 0 {
		for _, word := range []string{"EHLO ", "HELO ", "LHLO ", "MAIL FROM:", "RCPT TO:"} {
			if m := min(len(word), len(head)); len(head) < lines.MaxWait && bytes.EqualFold(head[:m], []byte(word)[:m]) && lines.Plain(bytes.TrimRight(head, "\r")) {
				return dissect.More
			}
		}
		return dissect.No
	}
	if !lines.Plain(line) {
		return dissect.No
	}
	switch verb, rest := lines.Verb(line); verb {
	case "EHLO", "HELO", "LHLO":
		if len(rest) > 0 && len(rest) <= 512 {
			return dissect.Yes
		}
	case "MAIL":
		if hasPath(rest, "FROM:") {
			return dissect.Yes
		}
	case "RCPT":
		if hasPath(rest, "TO:") {
			return dissect.Yes
		}
	}
	return dissect.No
}

func hasPath(b []byte, word string) bool {
	return len(b) > len(word) && bytes.EqualFold(b[:len(word)], []byte(word)) && bytes.ContainsAny(b, "<@")
}

// detectReplies looks for a greeting and the reply to a client's name.
func detectReplies(b []byte) dissect.Verdict {
	greeted, named := false, false
	for len(b) > 0 {
		line, n := lines.Next(b)
		if n == 0 {
			if code, _, _, ok := lines.Reply(b); len(b) < lines.MaxWait && (len(b) < 4 || ok && (code == codeReady || greeted && (code == 250 || named))) && lines.Plain(bytes.TrimRight(b, "\r")) {
				return dissect.More
			}
			return dissect.No
		}
		code, text, last, ok := lines.Reply(line)
		if ok && !greeted && lines.Plain(line) && enhanced(code, text) {
			return dissect.Likely
		}
		named = named || bytes.Contains(bytes.ToUpper(text[:min(len(text), 512)]), []byte("SMTP"))
		switch {
		case !ok || !lines.Plain(line):
			return dissect.No
		case greeted && (code == 250 || named):
			return dissect.Likely
		case code != codeReady || greeted:
			return dissect.No
		}
		greeted, b = last, b[n:]
	}
	return dissect.More
}

// enhanced reports whether the text of a reply begins with a status code of RFC 2034, which only SMTP has.
func enhanced(code int, text []byte) bool {
	status, _, _ := bytes.Cut(text, []byte(" "))
	parts := strings.Split(string(status[:min(len(status), 16)]), ".")
	if len(parts) != 3 || parts[0] != strconv.Itoa(code/100) || parts[0] != "2" && parts[0] != "4" && parts[0] != "5" {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) == 0 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// fits reports whether a line is a command with the arguments that it takes.
func fits(line []byte) bool {
	verb, rest := lines.Verb(line)
	switch verb {
	case "EHLO", "HELO", "LHLO":
		return len(rest) > 0
	case "MAIL", "SEND", "SOML", "SAML":
		return hasPath(rest, "FROM:")
	case "RCPT":
		return hasPath(rest, "TO:")
	case "DATA", "RSET", "QUIT", "STARTTLS", "TURN":
		return len(bytes.TrimSpace(rest)) == 0
	case "BDAT":
		return len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'
	case "AUTH":
		mechanism, _, _ := bytes.Cut(rest, []byte(" "))
		return sasl.Valid(mechanism)
	}
	return commands[verb]
}

var grammar = lines.Grammar{Limit: maxLine, Reply: lines.BeginsReply, Command: fits}

// resume also accepts the end of a message's content.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if v := grammar.Resume(dir, head); v != dissect.No || dir == dissect.ToClient || contentEnd(head) == 0 {
		return v
	}
	return dissect.Likely
}

// contentEnd returns the length of the content of a message with its end, before nothing or a command; else 0.
func contentEnd(b []byte) int {
	n := 3
	if !bytes.HasPrefix(b, []byte(".\r\n")) {
		i := bytes.Index(b, []byte("\r\n.\r\n"))
		if i < 0 {
			return 0
		}
		n = i + 5
	}
	if line, whole := lines.Next(b[n:]); len(b) > n && (whole == 0 || !fits(line)) {
		return 0
	}
	return n
}
