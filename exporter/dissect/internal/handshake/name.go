package handshake

import (
	"encoding/asn1"
	"strings"
	"unicode/utf16"
)

// attribute is one part of a name. Its value is kept raw, because many names have characters
// that are invalid in their string types.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type relativeNameSET []attribute

// nameText renders a name as in RFC 2253, the last part first.
func nameText(raw []byte) string {
	var seq []relativeNameSET
	if rest, err := asn1.Unmarshal(raw, &seq); err != nil || len(rest) > 0 {
		return ""
	}
	var b strings.Builder
	for i := len(seq) - 1; i >= 0; i-- {
		for j, a := range seq[i] {
			switch {
			case j > 0:
				b.WriteByte('+')
			case b.Len() > 0:
				b.WriteByte(',')
			}
			b.WriteString(attributeName(a.Type.String()))
			b.WriteByte('=')
			escapeName(&b, stringValue(a.Value))
		}
		if b.Len() > maxNameText {
			return b.String()[:maxNameText] + "…"
		}
	}
	return b.String()
}

func attributeName(oid string) string {
	switch oid {
	case "2.5.4.3":
		return "CN"
	case "2.5.4.5":
		return "SERIALNUMBER"
	case "2.5.4.6":
		return "C"
	case "2.5.4.7":
		return "L"
	case "2.5.4.8":
		return "ST"
	case "2.5.4.9":
		return "STREET"
	case "2.5.4.10":
		return "O"
	case "2.5.4.11":
		return "OU"
	case "2.5.4.17":
		return "POSTALCODE"
	case "1.2.840.113549.1.9.1":
		return "emailAddress"
	case "0.9.2342.19200300.100.1.25":
		return "DC"
	case "0.9.2342.19200300.100.1.1":
		return "UID"
	}
	return oid
}

// stringValue is the text of a string type; BMPString has two bytes per character.
func stringValue(v asn1.RawValue) string {
	if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagBMPString || len(v.Bytes)%2 != 0 {
		return string(v.Bytes)
	}
	units := make([]uint16, len(v.Bytes)/2)
	for i := range units {
		units[i] = uint16(v.Bytes[2*i])<<8 | uint16(v.Bytes[2*i+1])
	}
	return string(utf16.Decode(units))
}

// escapeName writes a value and escapes separators, RFC 2253 section 2.4.
func escapeName(b *strings.Builder, s string) {
	for i := range len(s) {
		switch c := s[i]; {
		case strings.IndexByte(`,+"\<>;`, c) >= 0, i == 0 && (c == '#' || c == ' '), i == len(s)-1 && c == ' ':
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
}
