package redis

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// readRequest reads the available part of a command.
func (k *conn) readRequest(in *dissect.Input, at int) (n int, err error) {
	s := &k.req
	b := in.Data[at:]
	if len(b) == 0 {
		return 0, nil
	}
	if s.call == nil {
		lead := 0
		for lead < len(b) && (b[lead] == '\r' || b[lead] == '\n') {
			lead++ // servers ignore them; a replica sends some while it loads
		}
		if lead > 0 {
			return lead, nil
		}
		if b[0] != '*' {
			return k.readInline(in, at)
		}
		count, m := number(b[1:])
		switch {
		case m == 0 && len(b) < 24:
			return 0, nil
		case m <= 0 || count > maxCount:
			return 0, fmt.Errorf("reading a command: expected * and the number of arguments, got %.40q", b)
		case count <= 0:
			k.c.Anomaly("empty_command", "a command without a verb, which servers ignore", 0)
			return 1 + m, nil
		}
		n = 1 + m
		s.call, s.left, s.arg = k.newCall(), count, 0
		s.call.argc, s.call.asked.Ack = count, in.Packet(at).Ack
	}
	c := s.call
	m, err := k.args(c, in, at+n)
	n += m
	c.x.Request(in, at, at+n)
	if err == nil && s.left == 0 {
		s.call = nil
		k.endRequest(c)
	}
	return n, err
}

// args reads arguments, or pieces of long ones.
func (k *conn) args(c *call, in *dissect.Input, at int) (n int, err error) {
	s := &k.req
	b := in.Data[at:]
	for s.left > 0 {
		if s.body > 0 || s.crlf {
			if c.maySecret(s.arg) {
				from := n
				if s.body == s.size {
					from += c.sign()
				}
				c.x.Hide(in, at+from, at+n+int(min(s.body, int64(len(b)-n))))
			}
			m, done, err := s.rest(b[n:])
			n += m
			if err != nil || !done {
				return n, err
			}
			k.endArg(c, s.keep, s.size)
			continue
		}
		if n == len(b) {
			return n, nil
		}
		size, m := number(b[n+1:])
		if b[n] != '$' || m < 0 || m > 0 && (size < 0 || size > maxBulk) {
			return n, fmt.Errorf("reading argument %d: expected a string of at most %d bytes, got %.40q", s.arg, maxBulk, b[n:])
		}
		if m == 0 {
			return n, nil
		}
		n += 1 + m
		if end := n + int(size); end+2 <= len(b) && size <= maxText {
			if b[end] != '\r' || b[end+1] != '\n' {
				return n, fmt.Errorf("reading argument %d: expected a line end after %d bytes, got %.8q", s.arg, size, b[end:])
			}
			if k.endArg(c, b[n:end], size) {
				c.x.Hide(in, at+n+c.sign(), at+end)
			}
			n = end + 2
			continue
		}
		s.body, s.crlf, s.size, s.keep, s.into, s.hash = size, true, size, s.keep[:0], nil, nil
		if c.isScript(s.arg) {
			s.hash = sha1.New()
		}
		secret := c.mayHoldSecret() // possibly secret, so no body keeps it
		if size > maxText && !secret && c.x.ReqBody == nil {
			s.into = k.c.NewBody("", "")
			c.x.ReqBody = s.into
		}
	}
	return n, nil
}

// rest continues a string that arrives in pieces.
func (s *side) rest(b []byte) (n int, done bool, err error) {
	n = int(min(s.body, int64(len(b))))
	s.body -= int64(n)
	if room := maxText - len(s.keep); room > 0 {
		s.keep = append(s.keep, b[:min(room, n)]...)
	}
	if s.into != nil {
		s.into.Write(b[:n])
	}
	if s.hash != nil {
		s.hash.Write(b[:n])
	}
	if s.body > 0 || len(b) < n+2 {
		return n, false, nil
	}
	if b[n] != '\r' || b[n+1] != '\n' {
		return n, false, fmt.Errorf("reading argument %d: expected a line end after %d bytes, got %.8q", s.arg, s.size, b[n:n+2])
	}
	if s.into != nil {
		s.into.Complete = s.into.Lost() == 0
	}
	s.crlf, s.into = false, nil
	return n + 2, true, nil
}

// endArg records an argument that begins with p. It reports whether it is a password.
func (k *conn) endArg(c *call, p []byte, size int64) (secret bool) {
	s := &k.req
	if s.hash != nil {
		c.script, s.hash = hex.EncodeToString(s.hash.Sum(nil)), nil
	}
	secret = k.arg(c, s.arg, p, size)
	s.arg++
	s.left--
	return secret
}

// arg records an argument that begins with p. It reports whether it is a password.
func (k *conn) arg(c *call, i int64, p []byte, size int64) (secret bool) {
	secret = c.masked == i
	if i == 0 {
		c.spec, c.verb = k.command(p)
		c.begin()
	}
	if c.mayHoldSecret() && i > 0 {
		secret = c.secret(i, p)
	}
	if c.secrets = c.secrets || secret; secret && (c.verb == "AUTH" || c.verb == "HELLO") && int64(len(p)) == size {
		k.c.Password(c.user, string(p))
	}
	from := len(c.line)
	switch {
	case from >= maxText:
		c.cut = true
	case i > 0:
		c.line = append(c.line, ' ')
		from++
		fallthrough
	default:
		if secret {
			c.line = append(c.line, "***"...)
		} else {
			c.line = appendArg(c.line, p)
		}
		if int64(len(p)) < size {
			c.line, c.cut = append(c.line, "…"...), true
		}
		if i < int64(len(c.words)) {
			c.words[i] = span{from, len(c.line)}
		}
	}
	if i == c.keyAt {
		if len(c.line)-from == len(p) && len(c.line) <= maxText && len(p) > 0 { // no command has a password as its key
			c.keySpan = span{from, len(c.line)}
		} else {
			c.key = text(p)
		}
	}
	if c.spec == nil || i == 0 {
		return secret
	}
	if c.script == "" {
		c.readScript(i, p)
	}
	switch c.spec.keys {
	case keyCounted:
		if i == c.spec.first {
			if n, err := strconv.ParseInt(string(p), 10, 32); err == nil && n > 0 {
				c.keys, c.keyAt = int32(n), i+1
			}
		}
	case keyStreams:
		if c.keyAt == 0 && fold(p, "STREAMS") {
			c.keys, c.keyAt = int32(min((c.argc-i-1)/2, 1<<30)), i+1
		}
	}
	return secret
}

// isScript reports whether argument i is the text of a script.
func (c *call) isScript(i int64) bool {
	return c.spec != nil && (c.spec.act == actEval && i == 1 || c.spec.act == actScript && i == 2 && fold(c.word(1), "LOAD"))
}

// readScript records the script that the command runs or loads, if argument i names it.
func (c *call) readScript(i int64, p []byte) {
	switch {
	case c.isScript(i):
		sum := sha1.Sum(p) // the server's name for it
		c.script = hex.EncodeToString(sum[:])
	case c.spec.act == actCall && i == 1:
		c.script = text(p)
		if c.verb[0] == 'E' {
			c.script = strings.ToLower(c.script)
		}
	}
}

// begin records the position of the command's keys.
func (c *call) begin() {
	if c.spec == nil {
		return
	}
	switch c.spec.keys {
	case keyRange:
		if c.keys = c.spec.count(c.argc); c.keys > 0 {
			c.keyAt = c.spec.first
		}
	case keyStreams:
		c.keyAt = 0
	}
	if c.spec.act == actAuth && c.argc > 1 {
		c.masked = c.argc - 1
	}
}

// secret reports whether argument i is a password, and records which later one will be.
func (c *call) secret(i int64, p []byte) bool {
	secret := c.masked == i
	switch c.spec.act {
	case actAuth:
		if i == 1 && c.argc > 2 {
			c.user = text(p)
		}
		return secret || i > 1 && c.argc > 3
	case actHello:
		if fold(p, "AUTH") && c.masked < 0 {
			c.masked = i + 2
		} else if c.masked == i+1 {
			c.user = text(p)
		}
	case actMigrate:
		if i > 5 && fold(p, "AUTH") {
			c.masked = i + 1
		} else if i > 5 && fold(p, "AUTH2") {
			c.masked = i + 2
		}
	case actConfig, actSentinel:
		if namesSecret(p) {
			c.masked = i + 1
		}
	case actACL:
		return i > 2 && len(p) > 0 && (p[0] == '>' || p[0] == '<' || p[0] == '#' || p[0] == '!')
	}
	return secret
}

// maySecret reports whether argument i may be a password, before it was read completely.
func (c *call) maySecret(i int64) bool {
	if c.spec == nil || c.spec.act < actAuth || i == 0 {
		return false
	}
	return c.masked == i || c.spec.act == actAuth && i > 1 && c.argc > 3 || c.spec.act == actACL && i > 2
}

// sign is the number of bytes before a password that identify it.
func (c *call) sign() int {
	if c.spec.act == actACL {
		return 1
	}
	return 0
}

// word is the displayed form of word i of the command.
func (c *call) word(i int) []byte { return c.line[c.words[i].from:c.words[i].to] }

// readInline reads a command that was sent as a line of text.
func (k *conn) readInline(in *dissect.Input, at int) (n int, err error) {
	b := in.Data[at:]
	end := bytes.IndexByte(b, '\n')
	if b[0] <= ' ' || b[0] >= 0x7f {
		return 0, fmt.Errorf("reading an inline command: expected text, got %.40q", b)
	}
	if end < 0 {
		if len(b) > maxLine {
			return 0, fmt.Errorf("reading an inline command: the line exceeds the limit of %d bytes", maxLine)
		}
		return 0, nil
	}
	if verb, _, _ := bytes.Cut(bytes.TrimRight(b[:end], "\r"), []byte(" ")); k.c.Unproved() && specOf(verb) == nil {
		return 0, fmt.Errorf("reading an inline command: %.40q is not one", verb)
	}
	c := k.newCall()
	c.inline, c.asked.Ack = true, in.Packet(at).Ack
	c.x.Request(in, at, at+end+1)
	k.splitInline(c, in, at, bytes.TrimRight(b[:end], "\r"))
	k.endRequest(c)
	return end + 1, nil
}

// splitInline splits a line like the server does: into words, and strings in single or double
// quotes. A word with an unterminated quote stays unchanged.
func (k *conn) splitInline(c *call, in *dissect.Input, at int, b []byte) {
	var words, sent []span
	raw := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] == ' ' || b[i] == '\t' {
			i++
			continue
		}
		from, began := len(raw), i
		for i < len(b) && b[i] != ' ' && b[i] != '\t' {
			q := b[i]
			if q != '"' && q != '\'' {
				raw = append(raw, q)
				i++
				continue
			}
			for i++; i < len(b) && b[i] != q; i++ {
				if b[i] == '\\' && i+1 < len(b) && (q == '"' || b[i+1] == q) {
					i++
				}
				raw = append(raw, b[i])
			}
			i++
		}
		words, sent = append(words, span{from, len(raw)}), append(sent, span{at + began, at + min(i, len(b))})
	}
	c.argc = int64(len(words))
	for i, w := range words {
		p := raw[w.from:w.to]
		if !k.arg(c, int64(i), p[:min(len(p), maxText)], int64(len(p))) {
			continue
		}
		s := sent[i]
		if q := in.Data[s.from]; s.to-s.from > 2 && (q == '"' || q == '\'') && in.Data[s.to-1] == q { // the quotes stay
			s.from, s.to = s.from+1, s.to-1
		}
		c.x.Hide(in, s.from+c.sign(), s.to)
	}
}

// endRequest handles a completely read command.
func (k *conn) endRequest(c *call) {
	c.whole, c.db = true, k.db
	if c.user != "" {
		k.user = c.user
	}
	c.user = k.user
	answer := !k.off && !k.skip && !k.streaming
	k.skip = false
	if c.spec != nil {
		switch c.spec.act {
		case actClient:
			answer = k.clientReply(c, answer)
		case actSelect:
			if n, err := strconv.ParseInt(string(c.word(1)), 10, 32); err == nil && n >= 0 {
				k.db = table.Some(int32(n))
			}
		case actReplconf:
			answer = answer && !fold(c.word(1), "ACK")
		case actSubscribe:
			c.confirms = max(c.argc-1, 1)
		case actUnsubscribe:
			if c.confirms = c.argc - 1; c.confirms == 0 {
				c.confirms = maxCount // as many as there are subscriptions
			}
		}
	}
	if !answer {
		c.answered = true
		k.emit(c, "")
		return
	}
	k.push(c)
}

// clientReply applies CLIENT REPLY ON, OFF and SKIP. It reports whether a reply follows.
func (k *conn) clientReply(c *call, answer bool) bool {
	if !fold(c.word(1), "REPLY") {
		return answer
	}
	switch w := c.word(2); {
	case fold(w, "ON"):
		k.off, k.silent = false, false
		return true
	case fold(w, "OFF"):
		k.off = true
		return false
	case fold(w, "SKIP"):
		k.skip = !k.off
		return false
	}
	return answer
}
