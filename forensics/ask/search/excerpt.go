package search

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Limits of texts in answers.
const (
	aroundText = 120 // bytes of text on each side of a match

)

// excerpt returns the text around the first match, and its path in a JSON text.
func excerpt(p *redact.Policy, contentType, text string, n *Needle) (cutout, path string) {
	text, _ = p.Text(contentType, text)
	at := n.find(text)
	if at == nil {
		return ask.Clip(ask.OneLine(text), aroundText) + " [the match is masked or further down]", ""
	}
	from, to := max(0, at[0]-aroundText), min(len(text), at[1]+aroundText)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	cutout = ask.OneLine(text[from:to])
	if from > 0 {
		cutout = "…" + cutout
	}
	if to < len(text) {
		cutout += "…"
	}
	if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") || strings.HasPrefix(text, "[") {
		path = jsonPath(text, n)
	}
	return cutout, path
}

// jsonPath is the path in a JSON text to the first value or key that contains the needle.
func jsonPath(text string, n *Needle) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	type level struct {
		array bool
		index int
		key   string
		want  bool // the next token is a key
	}
	var at []level
	where := func() string {
		b := strings.Builder{}
		b.WriteByte('$')
		for _, l := range at {
			if l.array {
				b.WriteString("[" + strconv.Itoa(l.index) + "]")
			} else {
				b.WriteString("." + l.key)
			}
		}
		return ask.Clip(b.String(), 200)
	}
	next := func() {
		if len(at) > 0 {
			if l := &at[len(at)-1]; l.array {
				l.index++
			} else {
				l.want = true
			}
		}
	}
	for {
		t, err := d.Token()
		if err != nil || len(at) > 200 {
			return ""
		}
		switch t := t.(type) {
		case json.Delim:
			switch t {
			case '{':
				at = append(at, level{want: true})
			case '[':
				at = append(at, level{array: true})
			default:
				at = at[:len(at)-1]
				next()
			}
		case string:
			if l := len(at) - 1; l >= 0 && at[l].want {
				at[l].key, at[l].want = t, false
				if n.find(t) != nil {
					return where()
				}
				continue
			}
			if n.find(t) != nil {
				return where()
			}
			next()
		default:
			if t != nil && n.find(fmt.Sprint(t)) != nil {
				return where()
			}
			next()
		}
	}
}

// Header is a header as in table calls.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Kind  string `json:"kind"`
}
