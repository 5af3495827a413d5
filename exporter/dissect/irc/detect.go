package irc

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
)

// isReply reports whether a line is one of the server: a source, and a number with the nick, or a word.
func isReply(b []byte) bool {
	m, ok := parse(b)
	if !ok {
		return false
	}
	if m.source == "" {
		return m.command == "PING" && len(m.params) == 1 || m.command == "ERROR" && len(m.params) == 1 || m.command == "NOTICE" && len(m.params) == 2 || m.command == "AUTHENTICATE" && len(m.params) == 1
	}
	if strings.ContainsAny(m.source, ":,\"") && !strings.Contains(m.source, "!") {
		return false
	}
	if m.command[0] <= '9' {
		return len(m.params) >= 2
	}
	switch m.command {
	case "NOTICE", "PRIVMSG", "JOIN", "PART", "QUIT", "NICK", "MODE", "TOPIC", "KICK", "INVITE", "PONG", "CAP", "ERROR", "ACCOUNT", "AWAY", "CHGHOST", "WALLOPS":
		return len(m.params) > 0
	}
	return false
}

// isCommand reports whether a line is one of the client.
func isCommand(b []byte) bool {
	m, ok := parse(b)
	if !ok || m.source != "" {
		return false
	}
	switch m.command {
	case "NICK", "PASS", "JOIN", "PART", "PRIVMSG", "NOTICE", "MODE", "PING", "PONG", "QUIT", "WHO", "WHOIS", "TOPIC", "LIST", "NAMES", "CAP", "OPER", "KICK", "INVITE", "AWAY",
		"AUTHENTICATE", "USERHOST", "ISON", "MOTD", "LUSERS", "VERSION", "STARTTLS", "WEBIRC":
		return true
	case "USER":
		return len(m.params) == 4
	}
	return false
}

// surely reports whether no other protocol has such a line.
func surely(dir dissect.Dir, b []byte) bool {
	m, _ := parse(b)
	if dir == dissect.ToClient {
		return m.source != "" && !strings.ContainsAny(m.source, ":,\"") || m.command == "NOTICE" && (m.params[0] == "AUTH" || m.params[0] == "*")
	}
	switch m.command {
	case "USER":
		return true
	case "CAP":
		return m.param(0) == "LS" || m.param(0) == "REQ" || m.param(0) == "END"
	case "PRIVMSG", "JOIN":
		return isTarget(m.param(0))
	}
	return false
}

// detect accepts whole lines: commands that only clients of IRC send, and replies with their source. Lines that others send
// too, such as PASS, must be followed by one of those.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	v := dissect.More
	for i := 0; len(b) > 0 && i < 8; i++ {
		line, n := lines.Next(b)
		if n == 0 {
			if len(b) < lines.MaxWait && begins(dir, b) {
				return v
			}
			if v == dissect.More {
				return dissect.No
			}
			return v
		}
		if !isLine(dir, line) {
			return dissect.No
		}
		if surely(dir, line) {
			return dissect.Yes
		}
		if m, _ := parse(line); m.command == "NICK" && dir == dissect.ToServer && len(m.params) == 1 {
			v = dissect.Likely
		}
		b = b[n:]
	}
	return v
}

func isLine(dir dissect.Dir, line []byte) bool {
	return bytes.IndexByte(line, 0) < 0 && (dir == dissect.ToServer && isCommand(line) || dir == dissect.ToClient && isReply(line))
}

// begins reports whether b may begin a line.
func begins(dir dissect.Dir, b []byte) bool {
	word, _, whole := bytes.Cut(b, []byte(" "))
	if !lines.Plain(bytes.TrimRight(b, "\r\x01\x02\x03")) {
		return false
	}
	if dir == dissect.ToClient {
		return b[0] == ':' && (!whole || len(word) > 1) || bytes.HasPrefix(b, []byte("NOTICE "))
	}
	switch {
	case !whole:
		return len(b) < 8 && isCommand(append(word[:len(word):len(word)], " a"...)) || bytes.HasPrefix([]byte("NICK"), b) || bytes.HasPrefix([]byte("PASS"), b) || bytes.HasPrefix([]byte("CAP"), b) || bytes.HasPrefix([]byte("USER"), b)
	}
	return string(word) == "NICK" || string(word) == "PASS" || string(word) == "USER" || string(word) == "CAP" || string(word) == "JOIN" || string(word) == "PRIVMSG"
}
