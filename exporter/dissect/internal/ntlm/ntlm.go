// Package ntlm reads the messages of an NTLM login (MS-NLMP section 2.2.1), which other protocols carry.
package ntlm

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Kinds of messages.
const (
	Negotiate    = 1
	Challenge    = 2
	Authenticate = 3
)

const maxText = 1024 // characters of a name

// Login is what a client states about itself.
type Login struct {
	User, Domain, Workstation string
	Auth                      string // ntlmv2, ntlmv1, lanman or anonymous
}

// Message is a message of a login.
type Message struct {
	Kind    int
	Login   Login    // of Authenticate
	Target  string   // name of the server, of Challenge
	Secrets [][2]int // where the challenge, its responses, keys and their proof are: offsets from and to
}

// Find is where a message begins in a token, which may wrap it, or -1.
func Find(token []byte) int { return bytes.Index(token, []byte("NTLMSSP\x00")) }

// Parse reads the message at the front of b. Kind is 0 if it ends too early.
func Parse(b []byte) (m Message) {
	r := reader(b)
	switch kind := r.u32(8); kind {
	case Negotiate:
		m.Kind = kind
	case Challenge:
		m.Kind = kind
		m.hide(r, 24, 8)
		m.Target = r.wide(r.field(12))
		if from, n := r.field(40); n > 0 {
			m.Target = bestName(r.bytes(from, n), m.Target)
		}
	case Authenticate:
		m.Kind = kind
		m.authenticate(r)
	}
	return m
}

func (m *Message) authenticate(r reader) {
	text := func(at int) string {
		from, n := r.field(at)
		if r.u32(60)&1 != 0 {
			return r.wide(from, n)
		}
		return clip.Line(r.bytes(from, n), maxText)
	}
	l := Login{Domain: text(28), User: text(36), Workstation: text(44), Auth: "ntlmv2"}
	switch _, size := r.field(20); {
	case size == 24:
		l.Auth = "ntlmv1"
	case size == 0 && l.User == "":
		l.Auth = "anonymous"
	case size == 0:
		l.Auth = "lanman"
	}
	m.Login = l
	first := len(r)
	for _, at := range [...]int{12, 20, 28, 36, 44, 52} {
		from, n := r.field(at)
		if n == 0 || r.bytes(from, n) == nil {
			continue
		}
		first = min(first, from)
		if at <= 20 || at == 52 { // the two responses and the session key
			m.hide(r, from, n)
		}
	}
	if first >= 88 { // room for the MIC, which proves the session key
		m.hide(r, 72, 16)
	}
}

func (m *Message) hide(r reader, from, n int) {
	if r.bytes(from, n) != nil {
		m.Secrets = append(m.Secrets, [2]int{from, from + n})
	}
}

// bestName is the best name in the target information of a challenge, section 2.2.2.1: DNS name of the computer, its
// domain's name, its own, else name.
func bestName(b []byte, name string) string {
	for best := 0; len(b) >= 4; {
		kind, n := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
		if kind == 0 || n > len(b)-4 {
			break
		}
		if kind <= 3 && kind > best && n > 0 {
			name, best = wide(b[4:4+n]), kind
		}
		b = b[4+n:]
	}
	return name
}

// reader reads a message; what is beyond its end is zero.
type reader []byte

func (r reader) bytes(at, n int) []byte {
	if at < 0 || n < 0 || at > len(r) || n > len(r)-at {
		return nil
	}
	return r[at : at+n]
}

func (r reader) u32(at int) int {
	if b := r.bytes(at, 4); b != nil {
		return int(binary.LittleEndian.Uint32(b))
	}
	return 0
}

// field is the place and the length of a field.
func (r reader) field(at int) (from, n int) {
	if b := r.bytes(at, 8); b != nil {
		return int(binary.LittleEndian.Uint32(b[4:])), int(binary.LittleEndian.Uint16(b))
	}
	return 0, 0
}

func (r reader) wide(at, n int) string { return wide(r.bytes(at, n)) }

// wide is text in UTF-16, on one line.
func wide(b []byte) string {
	units := make([]uint16, 0, min(len(b)/2, maxText))
	for i := 0; i+1 < len(b) && len(units) < maxText; i += 2 {
		units = append(units, binary.LittleEndian.Uint16(b[i:]))
	}
	return clip.Line([]byte(string(utf16.Decode(units))), maxText)
}
