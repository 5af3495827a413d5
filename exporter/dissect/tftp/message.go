package tftp

import (
	"encoding/binary"
	"strings"
)

// Operations, RFC 1350 section 5 and RFC 2347.
const (
	opRead  = 1
	opWrite = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOack  = 6
)

// Limits of messages.
const (
	maxRequest = 1024  // bytes; RFC 2347 allows 512
	maxBlock   = 65464 // bytes of a block, RFC 2348
	maxOptions = 16
	maxText    = 512
)

// option is an option with its value.
type option struct{ name, value string }

// asked is a request.
type asked struct {
	write      bool
	file, mode string
	options    []option
}

// parseRequest reads a request. ok is false if b is something else.
func parseRequest(b []byte) (a asked, ok bool) {
	if len(b) < 4 || len(b) > maxRequest || b[0] != 0 || b[1] != opRead && b[1] != opWrite {
		return a, false
	}
	words, ok := texts(b[2:])
	if !ok || len(words) < 2 || len(words) > 2+2*maxOptions || len(words)%2 != 0 || words[0] == "" {
		return a, false
	}
	a = asked{write: b[1] == opWrite, file: words[0], mode: strings.ToLower(words[1])}
	if a.mode != "octet" && a.mode != "netascii" && a.mode != "mail" {
		return a, false
	}
	a.options = pairs(words[2:])
	return a, true
}

// texts splits texts that end with a zero byte and have no control characters.
func texts(b []byte) (words []string, ok bool) {
	rest, ended := strings.CutSuffix(string(b), "\x00")
	if !ended || strings.ContainsFunc(rest, func(c rune) bool { return c != 0 && c < ' ' || c == 0x7f }) {
		return nil, false
	}
	return strings.Split(rest, "\x00"), true
}

func pairs(words []string) (list []option) {
	for i := 0; i+1 < len(words); i += 2 {
		list = append(list, option{strings.ToLower(words[i]), words[i+1]})
	}
	return list
}

// message is a message of a transfer.
type message struct {
	op      byte
	number  uint16 // block, or error code
	data    []byte // of a block, or the text of an error
	cut     int    // bytes of the block that were not captured
	options []option
}

// parse reads a message of a transfer. ok is false if b is something else.
func parse(b []byte) (m message, ok bool) {
	if len(b) < 4 || b[0] != 0 {
		return m, false
	}
	m = message{op: b[1], number: binary.BigEndian.Uint16(b[2:]), data: b[4:]}
	switch m.op {
	case opData:
		return m, len(m.data) <= maxBlock
	case opAck:
		return m, len(m.data) == 0
	case opError:
		words, ok := texts(m.data)
		if len(m.data) == 0 { // some senders leave it out
			words, ok = []string{""}, true
		}
		if !ok || len(words) != 1 || m.number > 8 {
			return m, false
		}
		m.data = []byte(words[0])
		return m, true
	case opOack:
		words, ok := texts(b[2:])
		if !ok || len(words)%2 != 0 || len(words) > 2*maxOptions {
			return m, false
		}
		m.number, m.data, m.options = 0, nil, pairs(words)
		return m, true
	}
	return m, false
}
