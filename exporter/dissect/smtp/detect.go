package smtp

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
)

// Limits of the bytes for which detection waits.
const (
	maxLines = 4 // commands that decide nothing
)

// detect recognizes a client by its name or an envelope. A greeting with 220 decides nothing,
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

var grammar = lines.Grammar{Limit: maxLine, Reply: lines.BeginsReply, Command: func(line []byte) bool {
	verb, _ := lines.Verb(line)
	return commands[verb]
}}
