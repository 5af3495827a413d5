// Package object edits JSON objects whose members keep their order, and cuts them to a size.
//
// It records each cut in the object, so that a part is never mistaken for the whole. Values that it
// did not make itself pass unchanged.
package object

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Field is one member of an answer; their order is kept.
type Field struct {
	Name  string
	Value json.RawMessage
}

// maxDepth limits nested objects and lists of a client.
const maxDepth = 1000

// Check reports why raw is not one JSON object that every reader understands in the same way (RFC 8259 sections 4, 6 and
// 8): of two members with one name readers keep different ones, and they change text that is not Unicode.
func Check(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("must be text in UTF-8")
	}
	const replacement = "\uFFFD" // the decoder writes it for what is no character
	sent := bytes.Count(raw, []byte(replacement)) + bytes.Count(bytes.ToLower(raw), []byte(`\ufffd`))
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var open []map[string]bool // names of the members so far; nil for a list
	name := false              // the next token of the innermost object is a name
	for begun := false; !begun || len(open) > 0; begun = true {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("malformed JSON: %w", err)
		}
		text, _ := t.(string)
		if sent -= strings.Count(text, replacement); sent < 0 {
			return errors.New(`half of a surrogate pair, as \ud800 alone, is no character`)
		}
		if n, ok := t.(json.Number); ok {
			if _, err := n.Float64(); err != nil {
				return fmt.Errorf("number %.50s is too large", n)
			}
		}
		switch {
		case t == json.Delim('{'):
			open = append(open, map[string]bool{})
		case !begun:
			return errors.New("must be a JSON object")
		case t == json.Delim('['):
			open = append(open, nil)
		case t == json.Delim('}'), t == json.Delim(']'):
			open = open[:len(open)-1]
		case name && open[len(open)-1][text]:
			return fmt.Errorf("member %.50q is given twice", text)
		case name:
			open[len(open)-1][text], name = true, false
			continue
		}
		if len(open) > maxDepth {
			return fmt.Errorf("more than %d objects or lists in each other", maxDepth)
		}
		name = len(open) > 0 && open[len(open)-1] != nil // a value ended, or an object began
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("malformed JSON: more text follows the object")
	}
	return nil
}

// Fields returns the members of a JSON object that this package marshalled.
func Fields(raw json.RawMessage) []Field {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []Field
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return nil
		}
		out = append(out, Field{name, v})
	}
	return out
}

// List returns the elements of a list, or nil if the member is not a list.
func (f Field) List() []json.RawMessage {
	if len(f.Value) == 0 || f.Value[0] != '[' {
		return nil
	}
	var out []json.RawMessage
	if json.Unmarshal(f.Value, &out) != nil {
		return nil
	}
	return out
}

// Remark reports whether a list is about the answer rather than part of it.
func (f Field) Remark() bool {
	return f.Name == "notes" || f.Name == "columns" || f.Name == "citations"
}

// Join writes an object.
func Join(fields []Field) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%s", Quoted(f.Name), f.Value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// Quoted returns a string as JSON.
func Quoted(s string) json.RawMessage {
	out, err := Marshal(s)
	if err != nil {
		return json.RawMessage(`""`) // a string always marshals
	}
	return out
}

// Marshal writes JSON without escaping <, > and &, because escapes cost an assistant tokens.
func Marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Fit returns an object that fits, with first before its other members: it shortens lists, then
// texts, with a note. An object with a cursor already fits and its lists are not shortened, because
// the cursor would skip the cut rows.
func Fit(raw json.RawMessage, most int, first ...Field) json.RawMessage {
	fields := append(first, Fields(raw)...)
	if len(raw) > most && !Has(fields, "next_cursor") {
		fields, _ = Cut(fields, most)
	}
	return Join(cutTexts(fields, most))
}

// minText is the least that remains of a shortened text.
const minText = 1 << 10

// cutTexts shortens documents, such as policies in YAML, until an answer fits, and notes which
// ones, because a part of a document must not be used.
func cutTexts(fields []Field, most int) []Field {
	size := 2
	for _, f := range fields {
		size += len(f.Name) + len(f.Value) + 4
	}
	var remarks []string
	for i := range fields {
		f := &fields[i]
		var text string
		over := size - (most - 300)
		if over <= 0 || f.Name == "trust" || len(f.Value) < 2*minText || f.Value[0] != '"' || json.Unmarshal(f.Value, &text) != nil {
			continue
		}
		keep := max(minText, len(text)*max(0, len(f.Value)-over)/len(f.Value)*7/8) // some characters need more bytes in JSON than others
		if keep >= len(text) {
			continue
		}
		before := len(f.Value)
		f.Value = Quoted(strings.ToValidUTF8(text[:keep], "") + "…")
		size -= before - len(f.Value)
		remarks = append(remarks, fmt.Sprintf("%s: %d of %d bytes", f.Name, keep, len(text)))
	}
	if len(remarks) == 0 {
		return fields
	}
	fields = Set(fields, "truncated", json.RawMessage("true"))
	return Note(fields, "cut to fit max_bytes, so do not use it as it is: "+strings.Join(remarks, ", ")+"; ask again with a larger max_bytes (up to 1048576), or for less")
}

// Has reports whether there is a member of that name.
func Has(fields []Field, name string) bool {
	for _, f := range fields {
		if f.Name == name {
			return true
		}
	}
	return false
}

// Cut shortens the longest lists until an answer fits, keeps at least one element of each, and
// notes which ones. shown is the number of remaining elements of each shortened list.
func Cut(fields []Field, most int) (out []Field, shown map[string]int) {
	size := 2
	lists := map[int][]json.RawMessage{}
	bytesOf := map[int]int{}
	whole := map[int]int{}
	for i, f := range fields {
		size += len(f.Name) + len(f.Value) + 4
		if l := f.List(); len(l) > 1 && !f.Remark() {
			lists[i], bytesOf[i], whole[i] = l, len(f.Value), len(l)
		}
	}
	room := most - 200 // for the remark
	for size > room {
		longest := -1
		for i := range fields {
			if len(lists[i]) > 1 && (longest < 0 || bytesOf[i] > bytesOf[longest]) {
				longest = i
			}
		}
		if longest < 0 {
			break
		}
		l := lists[longest]
		last := len(l[len(l)-1]) + 1
		lists[longest] = l[:len(l)-1]
		bytesOf[longest] -= last
		size -= last
	}
	shown = map[string]int{}
	var remarks []string
	out = append(out, fields...)
	for i := range out {
		if l := lists[i]; len(l) < whole[i] {
			value, err := Marshal(l)
			if err != nil {
				continue
			}
			out[i].Value = value
			shown[out[i].Name] = len(l)
			remarks = append(remarks, fmt.Sprintf("%s: %d of %d", out[i].Name, len(l), whole[i]))
		}
	}
	if len(remarks) == 0 {
		return out, shown
	}
	out = Set(out, "truncated", json.RawMessage("true"))
	return Note(out, "cut to fit max_bytes: "+strings.Join(remarks, ", ")), shown
}

// Set replaces the value of a member, or appends the member.
func Set(fields []Field, name string, value json.RawMessage) []Field {
	for i := range fields {
		if fields[i].Name == name {
			fields[i].Value = value
			return fields
		}
	}
	return append(fields, Field{name, value})
}

// Note appends a remark to an answer.
func Note(fields []Field, text string) []Field {
	var notes []json.RawMessage
	for _, f := range fields {
		if f.Name == "notes" {
			notes = f.List()
		}
	}
	value, err := Marshal(append(notes, Quoted(text)))
	if err != nil {
		return fields
	}
	return Set(fields, "notes", value)
}

// Text returns the value of a member that is a text, or "" if there is none.
func Text(raw json.RawMessage, name string) string {
	for _, f := range Fields(raw) {
		var text string
		if f.Name == name && json.Unmarshal(f.Value, &text) == nil {
			return text
		}
	}
	return ""
}
