package derive

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/net/http2/hpack"
)

// form is one way to write a value, and its replacement. pre and post are the bytes around it that
// share bits with it, as in base64, and are replaced too.
type form struct {
	text      string
	with      string
	pre, post int
	packed    bool // its bytes are not characters: what is around it says nothing
	alone     bool // it is not part of a longer number with dots
	masked    bool // it is an encoding that holds a value

	code coding // of base, if not asIs: a searcher keeps that once
	base string
}

// formsOf lists the ways in which protocols and formats write a value. whole is the header or
// line that holds it, which HTTP/2 compresses in one piece; it may be empty.
func formsOf(value, whole string) []form {
	list := []form{{text: value, with: blank(value)}}
	plain := func(texts ...string) {
		for _, t := range texts {
			list = append(list, form{text: t, with: blank(t)})
		}
	}
	plain(jsonForms(value)...)
	plain(url.QueryEscape(value), url.PathEscape(value), lowerEscapes(url.QueryEscape(value)), lowerEscapes(url.PathEscape(value)), html.EscapeString(value))
	if lower, upper := strings.ToLower(value), strings.ToUpper(value); len(lower) == len(value) && len(upper) == len(value) {
		plain(lower, upper)
	}
	list = append(list, bytesForms(value)...)
	list = append(list, labels(value)...)
	for _, text := range []string{value, whole} {
		if text == "" {
			continue
		}
		code := string(hpack.AppendHuffmanString(nil, text))
		if with, ok := blankHuffman(len(text), len(code)); ok {
			list = append(list, form{text: code, with: string(hpack.AppendHuffmanString(nil, with)), packed: true})
		}
	}
	return list
}

// maxMemo is how many bytes a formsMemo keeps.
const maxMemo = 1 << 20

// formsMemo remembers what formsOf returned: the same names and tokens come in packet after packet.
type formsMemo struct {
	known map[[2]string][]form
	size  int
}

func (m *formsMemo) of(value, whole string) []form {
	key := [2]string{value, whole}
	if list, ok := m.known[key]; ok {
		return list
	}
	list := formsOf(value, whole)
	size := len(value) + len(whole)
	for i := range list {
		size += int(unsafe.Sizeof(form{})) + len(list[i].text) + len(list[i].with)
	}
	if m.size += size; m.known == nil || m.size > maxMemo {
		m.known, m.size = map[[2]string][]form{}, size
	}
	m.known[key] = list
	return list
}

// bytesForms are the ways to write the bytes of a value in other characters or units.
func bytesForms(value string) (list []form) {
	coded := func(t string, pre, post int) {
		list = append(list, form{text: t, with: strings.Repeat(string(fill), len(t)), pre: pre, post: post})
	}
	in := func(c coding) {
		text := c.append(nil, value)
		list = append(list, form{text: string(text), with: strings.Repeat(codings[c].with, len(value)), code: c, base: value})
	}
	for c := hexSmall; c <= slashHex; c++ {
		in(c)
	}
	if b, err := hex.DecodeString(value); err == nil { // the tables show bytes so
		list = append(list, form{text: string(b), with: strings.Repeat("\x99", len(b)), packed: true})
	}
	if isASCII(value) {
		in(wideLittle)
		in(wideBig)
	} else {
		list = append(list, wideForms(value)...)
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 { // the alignment in base64 depends on the bytes before
			text := enc.EncodeToString([]byte("\x00\x00"[:shift] + value))
			from, to, post := []int{0, 2, 3}[shift], len(text), 0
			if (shift+len(value))%3 != 0 { // the last character shares bits with what follows
				to, post = to-1, 1
			}
			if to > from {
				coded(text[from:to], min(shift, 1), post)
			}
		}
	}
	return list
}

// wideForms are a value in UTF-16, in both byte orders.
func wideForms(value string) (list []form) {
	for _, w := range [][2]int{{0, 1}, {1, 0}} {
		units := utf16.Encode([]rune(value))
		b := make([]byte, 2*len(units))
		mask := make([]byte, 2*len(units))
		for i, u := range units {
			b[2*i+w[0]], b[2*i+w[1]] = byte(u), byte(u>>8)
			mask[2*i+w[0]] = fill
		}
		list = append(list, form{text: string(b), with: string(mask)})
	}
	return list
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// jsonForms are the ways to write a value in JSON.
func jsonForms(value string) []string {
	quoted, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	escaped := string(quoted[1 : len(quoted)-1])
	plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(escaped)
	return []string{escaped, plain, strings.ReplaceAll(plain, "/", `\/`)}
}

// lowerEscapes writes the digits of %XX in lower case.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(s[i+1:i+3]))
		}
	}
	return string(b)
}

// labels writes a domain name as DNS does, without the first length and the end. The lengths of
// labels stay.
func labels(value string) []form {
	parts := strings.Split(strings.TrimSuffix(value, "."), ".")
	if len(parts) < 2 {
		return nil
	}
	var text, with strings.Builder
	for i, p := range parts {
		if p == "" || len(p) > 63 {
			return nil
		}
		if i > 0 {
			text.WriteByte(byte(len(p)))
			with.WriteByte(byte(len(p)))
		}
		text.WriteString(p)
		with.WriteString(strings.Repeat(string(fill), len(p)))
	}
	return []form{{text: text.String(), with: with.String()}}
}
