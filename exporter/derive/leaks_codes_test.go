package derive_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf16"
)

// code is a way to write a secret.
type code struct {
	name  string
	bytes bool // not text
	write func(s string) string
}

// runesAs writes each character of a text by its number.
func runesAs(format, s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, format, r)
	}
	return b.String()
}

// units writes a text in UTF-16, each unit by its number.
func units(format, s string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, format, u)
	}
	return b.String()
}

func utf16Of(s string, big bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

func utf32Of(s string, big bool) string {
	var b []byte
	for _, r := range s {
		if big {
			b = append(b, 0, byte(r>>16), byte(r>>8), byte(r))
		} else {
			b = append(b, byte(r), byte(r>>8), byte(r>>16), 0)
		}
	}
	return string(b)
}

func deflate(s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func zipped(s string, method uint16) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, _ := w.CreateHeader(&zip.FileHeader{Name: "a.txt", Method: method})
	f.Write([]byte(s))
	w.Close()
	return b.String()
}

// wrapped breaks a text into lines.
func wrapped(s, end string, width int) string {
	var b strings.Builder
	for len(s) > width {
		b.WriteString(s[:width] + end)
		s = s[width:]
	}
	return b.String() + s
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

const saml = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"><saml:AttributeValue>%s</saml:AttributeValue></samlp:Response>`

// document is a text of some length with a secret in it.
func longText(s string) string {
	return strings.Repeat("The quick brown fox jumps over the lazy dog. ", 8) + s + strings.Repeat(" Sphinx of black quartz, judge my vow.", 8)
}

// codes are the ways to write a secret that a redaction has to find.
func codes() []code {
	url64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	raw64 := func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }
	b32 := func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) }
	qp := func(s string) string { return escaped("=%02X", s) }
	list := []code{
		{"plain", false, func(s string) string { return s }},
		{"JSON escapes", false, func(s string) string { return units(`\u%04x`, s) }},
		{"JSON escapes in capitals", false, func(s string) string { return units(`\u%04X`, s) }},
		{"some JSON escapes", false, func(s string) string { return half(`\u%04x`, s) }},
		{"escapes of strings", false, func(s string) string { return escaped(`\x%02x`, s) }},
		{"octal escapes", false, func(s string) string { return escaped(`\%03o`, s) }},
		{"JSON escapes in JSON", false, func(s string) string { return units(`\\u%04x`, s) }},
		{"XML entities", false, func(s string) string { return runesAs("&#%d;", s) }},
		{"XML entities in hex", false, func(s string) string { return runesAs("&#x%X;", s) }},
		{"some XML entities", false, func(s string) string { return half("&#%d;", s) }},
		{"XML entities twice", false, func(s string) string { return runesAs("&amp;#%d;", s) }},
		{"percent", false, func(s string) string { return escaped("%%%02X", s) }},
		{"some percent", false, func(s string) string { return half("%%%02x", s) }},
		{"percent as a URL", false, url.QueryEscape},
		{"percent twice", false, func(s string) string { return escaped("%%25%02X", s) }},
		{"percent twice as a URL", false, func(s string) string { return url.QueryEscape(url.QueryEscape(s)) }},
		{"percent three times", false, func(s string) string { return escaped("%%2525%02x", s) }},
		{"base64, whole", false, b64},
		{"base64, after 1", false, func(s string) string { return b64("a" + s + "b") }},
		{"base64, after 2", false, func(s string) string { return b64("ab" + s) }},
		{"base64 of URLs", false, url64},
		{"base64 of URLs, after 1", false, func(s string) string { return url64("a" + s + "bc") }},
		{"base64 without padding", false, func(s string) string { return raw64("ab" + s + "c") }},
		{"base64 in lines", false, func(s string) string { return wrapped(b64(longText(s)), "\r\n", 76) }},
		{"base64 in lines of 64", false, func(s string) string { return wrapped(b64(longText("a"+s)), "\n", 64) }},
		{"base64 in lines of JSON", false, func(s string) string { return wrapped(b64(longText("ab"+s)), `\n`, 76) }},
		{"base64 with escapes", false, func(s string) string { return url.QueryEscape(b64("k=" + s)) }},
		{"base64 twice", false, func(s string) string { return b64(b64(s)) }},
		{"base64 twice, after 1", false, func(s string) string { return b64("a" + b64("a"+s+"b")) }},
		{"base64 twice, after 2", false, func(s string) string { return b64("ab" + b64("ab"+s)) }},
		{"base64 three times", false, func(s string) string { return b64(b64(b64(s))) }},
		{"base32", false, b32},
		{"base32, after 3", false, func(s string) string { return b32("abc" + s) }},
		{"base32 in small letters", false, func(s string) string { return strings.ToLower(b32(s)) }},
		{"hex", false, func(s string) string { return hex.EncodeToString([]byte(s)) }},
		{"hex in capitals", false, func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }},
		{"hex of base64", false, func(s string) string { return hex.EncodeToString([]byte(b64("a" + s))) }},
		{"base64 of hex", false, func(s string) string { return b64(hex.EncodeToString([]byte(s))) }},
		{"quoted-printable", false, qp},
		{"quoted-printable in lines", false, func(s string) string { return s[:9] + "=\r\n" + qp(s[9:]) }},
		{"UTF-16LE", true, func(s string) string { return utf16Of(s, false) }},
		{"UTF-16BE", true, func(s string) string { return utf16Of(s, true) }},
		{"UTF-32LE", true, func(s string) string { return utf32Of(s, false) }},
		{"UTF-32BE", true, func(s string) string { return utf32Of(s, true) }},
		{"base64 of UTF-16", false, func(s string) string { return b64(utf16Of("pw "+s, false)) }},
		{"UTF-16 of base64", true, func(s string) string { return utf16Of(b64(s), false) }},
		{"UTF-16 of JSON escapes", true, func(s string) string { return utf16Of(units(`\u%04x`, s), false) }},
		{"SAML", false, func(s string) string { return b64(deflate(fmt.Sprintf(saml, s))) }},
		{"SAML in a URL", false, func(s string) string { return url.QueryEscape(b64(deflate(fmt.Sprintf(saml, s)))) }},
		{"SAML, not compressed", false, func(s string) string { return b64(fmt.Sprintf(saml, runesAs("&#%d;", s))) }},
		{"gzip", true, func(s string) string { return encoders["gzip"](longText(s)) }},
		{"zlib", true, func(s string) string { return encoders["deflate"](longText(s)) }},
		{"zstd", true, func(s string) string { return encoders["zstd"](longText(s)) }},
		{"zip", true, func(s string) string { return zipped(longText(s), zip.Deflate) }},
		{"zip, stored", true, func(s string) string { return zipped(longText(s), zip.Store) }},
		{"gzip in base64", false, func(s string) string { return b64(encoders["gzip"](longText(s))) }},
		{"zip in base64", false, func(s string) string { return b64(zipped(longText(s), zip.Deflate)) }},
		{"base64 in gzip", true, func(s string) string { return encoders["gzip"](longText(b64("a" + s))) }},
		{"gzip in gzip", true, func(s string) string { return encoders["gzip"](encoders["gzip"](longText(s))) }},
		{"gzip in zip", true, func(s string) string { return zipped(encoders["gzip"](longText(s)), zip.Store) }},
		{"JSON escapes in gzip", true, func(s string) string { return encoders["gzip"](longText(units(`\u%04x`, s))) }},
		{"base64 of percent", false, func(s string) string { return b64(escaped("%%%02X", s)) }},
	}
	return list
}
