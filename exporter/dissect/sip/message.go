package sip

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/media"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a message.
const (
	maxText   = 255
	maxURI    = 512
	maxMethod = 32
	maxFields = 512 // lines of a head
	offerCost = 128 // memory
)

// short are the short forms of names, RFC 3261 section 7.3.3.
var short = map[string]string{"i": "call-id", "m": "contact", "l": "content-length", "c": "content-type", "f": "from", "t": "to", "v": "via"}

// kept are the names of the fields that are read; of a repeated one, the first counts.
var kept = map[string]bool{"call-id": true, "contact": true, "content-length": true, "content-type": true, "from": true, "to": true, "via": true, "cseq": true, "user-agent": true, "server": true, "expires": true,
	"reason": true, "warning": true, "authorization": true, "proxy-authorization": true, "www-authenticate": true, "proxy-authenticate": true}

// message is the head of a message.
type message struct {
	method, uri string
	status      int // of a response, else 0
	reason      string
	fields      map[string][]byte // they may point into the input
	cseq        table.Opt[int64]
	branch      string
	hops        int32
	length      int // Content-Length
	sized, sdp  bool
	media       []string
	offers      []media.Offer
	odd         string // what is wrong with it; empty if nothing is
	unpaired    bool   // a request without what its responses repeat
}

var errLine = errors.New("reading a message: expected a request line or a status line of SIP/2.0")

// check reports whether the beginning of a head can be one.
func check(b []byte) error {
	line, _, whole := bytes.Cut(b, []byte("\r\n"))
	if !whole {
		return nil
	}
	return new(message).first(line)
}

// first reads the first line.
func (m *message) first(line []byte) error {
	if rest, ok := bytes.CutPrefix(line, []byte("SIP/2.0 ")); ok {
		n, err := strconv.Atoi(string(rest[:min(len(rest), 3)]))
		if err != nil || n < 100 || n > 699 || len(rest) > 3 && rest[3] != ' ' {
			return errLine
		}
		m.status, m.reason = n, clip.Line(rest[min(len(rest), 4):], maxText)
		return nil
	}
	method, rest, _ := bytes.Cut(line, []byte(" "))
	uri, ok := bytes.CutSuffix(rest, []byte(" SIP/2.0"))
	if !ok || len(method) == 0 || len(method) > maxMethod || len(uri) == 0 || !token(method) || bytes.IndexByte(bytes.TrimSpace(uri), ' ') >= 0 {
		return errLine
	}
	m.method, m.uri = string(method), string(bytes.TrimSpace(uri))
	return nil
}

// token reports whether b is a token, RFC 3261 section 25.1.
func token(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("-.!%*_+`'~", c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

// parse reads a head.
func parse(b []byte) (m message, err error) {
	line, rest, _ := bytes.Cut(b, []byte("\r\n"))
	if err := m.first(line); err != nil {
		return m, err
	}
	m.fields = map[string][]byte{}
	for _, fold := range []string{"\r\n ", "\r\n\t"} { // RFC 3261 section 7.3.1
		rest = bytes.ReplaceAll(rest, []byte(fold), []byte(" "))
	}
	for n := 0; len(rest) > 0; n++ {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if len(line) == 0 {
			continue
		}
		if !ok || n >= maxFields {
			m.odd = fmt.Sprintf("line %d of the head is no field, or beyond the limit of %d", n+2, maxFields)
			break
		}
		m.field(strings.ToLower(string(bytes.TrimSpace(name[:min(len(name), maxMethod)]))), bytes.TrimSpace(value))
	}
	m.finish()
	return m, nil
}

func (m *message) field(name string, value []byte) {
	if long := short[name]; long != "" {
		name = long
	}
	if !kept[name] {
		return
	}
	if name == "via" {
		m.hops += int32(1 + bytes.Count(value, []byte(",")))
	}
	if _, repeated := m.fields[name]; !repeated {
		m.fields[name] = value
	}
}

// finish reads the fields that frame and identify the message.
func (m *message) finish() {
	number, method, _ := bytes.Cut(m.fields["cseq"], []byte(" "))
	n, err := strconv.ParseUint(string(number), 10, 32)
	if method = bytes.TrimSpace(method); err == nil {
		m.cseq = table.Some(int64(n))
	}
	switch {
	case m.status == 0 && string(method) != m.method:
		m.odd, m.unpaired = cmp.Or(m.odd, "CSeq does not have the method of the request"), true
	case m.status > 0 && !token(method):
		m.odd = "the response has no CSeq"
	case m.status > 0:
		m.method = string(method[:min(len(method), maxMethod)])
	}
	_, after, _ := bytes.Cut(m.fields["via"], []byte("branch="))
	m.branch = string(after[:until(after, ";, \t")])
	m.sdp = bytes.HasPrefix(bytes.ToLower(m.fields["content-type"]), []byte("application/sdp"))
	if length, ok := m.fields["content-length"]; ok {
		n, err := strconv.ParseUint(string(length), 10, 31)
		if err != nil {
			m.odd = "Content-Length is no number"
			return
		}
		m.length, m.sized = int(n), true
	}
}

// until is where the first of some bytes is in b, else its end.
func until(b []byte, any string) int {
	if i := bytes.IndexAny(b, any); i >= 0 {
		return i
	}
	return len(b)
}

// cost is the memory of the texts of a row of this message.
func (m *message) cost() int {
	n := 0
	for _, s := range m.media {
		n += len(s) + 16
	}
	return n + len(m.offers)*offerCost
}

func (m *message) text(name string) table.Opt[string] {
	return table.NonEmpty(clip.Line(m.fields[name], maxText))
}

func (m *message) number(name string) table.Opt[int64] {
	n, err := strconv.ParseUint(string(m.fields[name]), 10, 32)
	if err != nil {
		return table.Opt[int64]{}
	}
	return table.Some(int64(n))
}

// address is the URI in a field with a name and parameters.
func (m *message) address(name string) table.Opt[string] {
	b := m.fields[name]
	if i := bytes.LastIndexByte(b[:until(b, ">")], '<'); i >= 0 {
		b = b[i+1:]
		b = b[:until(b, ">")]
	} else {
		b = b[:until(b, ";,")]
	}
	return table.NonEmpty(address(bytes.TrimSpace(b)))
}

// address is a URI without its headers and with its password hidden, RFC 3261 section 19.1.1.
func address(uri []byte) string {
	uri = uri[:until(uri, "?")]
	scheme, rest, ok := bytes.Cut(uri, []byte(":"))
	if at := bytes.LastIndexByte(rest, '@'); ok && at >= 0 {
		if user, _, password := bytes.Cut(rest[:at], []byte(":")); password {
			return clip.Line([]byte(string(scheme)+":"+string(user)+":***"+string(rest[at:])), maxURI)
		}
	}
	return clip.Line(uri, maxURI)
}

// host is the host of a URI.
func host(uri string) string {
	_, rest, ok := strings.Cut(uri, ":")
	if !ok || strings.HasPrefix(uri, "tel:") {
		return ""
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	if strings.HasPrefix(rest, "[") {
		rest, _, _ = strings.Cut(rest[1:], "]")
	} else if i := strings.IndexAny(rest, ":;?>"); i >= 0 {
		rest = rest[:i]
	}
	return clip.Line([]byte(rest), maxText)
}

// credentials is the scheme of a field with credentials or a challenge, its user and its realm.
func (m *message) credentials(name string) (kind, user, realm table.Opt[string]) {
	scheme, rest, ok := bytes.Cut(m.fields[name], []byte(" "))
	if !ok || len(scheme) > maxMethod || !token(scheme) {
		return kind, user, realm
	}
	kind = table.Some(strings.ToLower(string(scheme)))
	if kind.V != "digest" {
		return kind, user, realm
	}
	return kind, parameter(rest, "username"), parameter(rest, "realm")
}

// parameter is a quoted parameter in a list with commas.
func parameter(list []byte, name string) table.Opt[string] {
	for len(list) > 0 {
		key, rest, ok := bytes.Cut(list, []byte("="))
		if !ok {
			break
		}
		value := rest
		if rest = bytes.TrimLeft(rest, " "); len(rest) > 0 && rest[0] == '"' {
			value, list, _ = bytes.Cut(rest[1:], []byte(`"`))
			_, list, _ = bytes.Cut(list, []byte(","))
		} else {
			value, list, _ = bytes.Cut(rest, []byte(","))
		}
		if strings.EqualFold(string(bytes.TrimSpace(key)), name) {
			return table.NonEmpty(clip.Line(value, maxText))
		}
	}
	return table.Opt[string]{}
}
