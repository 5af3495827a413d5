package ldap

import (
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Choices of a filter, RFC 4511 section 4.5.1.7.
const (
	filterAnd        = 0xa0
	filterOr         = 0xa1
	filterNot        = 0xa2
	filterEqual      = 0xa3
	filterSubstrings = 0xa4
	filterGreater    = 0xa5
	filterLess       = 0xa6
	filterPresent    = 0x87
	filterApprox     = 0xa8
	filterExtensible = 0xa9
)

// filterText is the next filter of r as RFC 4515 writes it.
func filterText(r *ber.Reader) string {
	return clip.Text(appendFilter(nil, r, 0), maxFilter)
}

func appendFilter(dst []byte, r *ber.Reader, depth int) []byte {
	tag, body := r.Next()
	if r.Bad() || len(dst) > maxFilter {
		return dst
	}
	if depth > maxDepth {
		return append(dst, "(…)"...)
	}
	dst = append(dst, '(')
	switch tag {
	case filterAnd, filterOr, filterNot:
		dst = append(dst, map[byte]byte{filterAnd: '&', filterOr: '|', filterNot: '!'}[tag])
		for list := ber.New(body); list.More() && len(dst) <= maxFilter; {
			dst = appendFilter(dst, &list, depth+1)
		}
	case filterEqual:
		dst = append(dst, assertion(body, "=")...)
	case filterGreater:
		dst = append(dst, assertion(body, ">=")...)
	case filterLess:
		dst = append(dst, assertion(body, "<=")...)
	case filterApprox:
		dst = append(dst, assertion(body, "~=")...)
	case filterPresent:
		dst = append(appendValue(dst, body), "=*"...)
	case filterSubstrings:
		dst = appendSubstrings(dst, body)
	case filterExtensible:
		dst = appendExtensible(dst, body)
	default:
		dst = append(dst, '?')
	}
	return append(dst, ')')
}

// assertion is an attribute with a value.
func assertion(b []byte, operator string) string {
	r := ber.New(b)
	attribute, value := r.Expect(ber.Octets), r.Expect(ber.Octets)
	if r.Bad() {
		return "?"
	}
	dst := append(appendValue(nil, attribute), operator...)
	return string(appendOf(dst, attribute, value))
}

// appendOf appends a value of an attribute, unless it is a secret.
func appendOf(dst, attribute, value []byte) []byte {
	if isSecret(attribute) {
		return append(dst, "***"...)
	}
	return appendValue(dst, value)
}

// filterSecrets marks the passwords and keys in a filter, including those that filterText leaves out.
func (c *call) filterSecrets(in *dissect.Input, b []byte) {
	for len(b) > 0 {
		tag, length, size := ber.Header(b)
		if size <= 0 || length > int64(len(b)-size) {
			return
		}
		switch b = b[size:]; tag {
		case filterAnd, filterOr, filterNot: // their filters are next
		default:
			c.matchSecrets(in, tag, ber.New(b[:length]))
			b = b[length:]
		}
	}
}

// matchSecrets marks the values that an attribute is compared with, if it holds passwords or keys.
func (c *call) matchSecrets(in *dissect.Input, tag byte, r ber.Reader) {
	value := byte(ber.Octets)
	if tag == filterExtensible {
		value = ber.Context | 3
		r.Optional(ber.Context | 1) // the rule
	}
	_, attribute := r.Next()
	if !isSecret(attribute) {
		return
	}
	list := r
	if tag == filterSubstrings {
		list = r.Enter(ber.Sequence)
	}
	for list.More() {
		if got, part := list.Next(); got == value || tag == filterSubstrings {
			c.hide(in, part)
		}
	}
}

// appendSubstrings appends the parts of a value: at its beginning (0), in it (1) and at its end (2).
func appendSubstrings(dst, b []byte) []byte {
	r := ber.New(b)
	attribute := r.Expect(ber.Octets)
	dst = append(appendValue(dst, attribute), '=')
	last := byte(0xff)
	for list := r.Enter(ber.Sequence); list.More() && len(dst) <= maxFilter; {
		tag, part := list.Next()
		if tag != ber.Context && last == 0xff {
			dst = append(dst, '*')
		}
		dst = appendOf(dst, attribute, part)
		if tag != ber.Context|2 {
			dst = append(dst, '*')
		}
		last = tag
	}
	return dst
}

// appendExtensible appends a match by a rule.
func appendExtensible(dst, b []byte) []byte {
	r := ber.New(b)
	rule, _ := r.Optional(ber.Context | 1)
	attribute, _ := r.Optional(ber.Context | 2)
	value := r.Expect(ber.Context | 3)
	dst = appendValue(dst, attribute)
	if all, ok := r.Optional(ber.Context | 4); ok && len(all) == 1 && all[0] != 0 {
		dst = append(dst, ":dn"...)
	}
	if len(rule) > 0 {
		dst = appendValue(append(dst, ':'), rule)
	}
	return appendOf(append(dst, ":="...), attribute, value)
}

// appendValue appends a value; bytes that are not text, or have a meaning in a filter, are escaped
// (RFC 4515 section 3).
func appendValue(dst, b []byte) []byte {
	const hex = "0123456789abcdef"
	text := utf8.Valid(b)
	for _, c := range b[:min(len(b), maxFilter)] {
		if c < ' ' || c == 0x7f || c == '*' || c == '(' || c == ')' || c == '\\' || c >= 0x80 && !text {
			dst = append(dst, '\\', hex[c>>4], hex[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
