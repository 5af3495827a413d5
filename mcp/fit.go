package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// field is one member of an answer; their order is kept.
type field struct {
	name  string
	value json.RawMessage
}

// fieldsOf returns the members of a JSON object that this package marshalled.
func fieldsOf(raw json.RawMessage) []field {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []field
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
		out = append(out, field{name, v})
	}
	return out
}

// list returns the elements of a list, or nil if the member is not a list.
func (f field) list() []json.RawMessage {
	if len(f.value) == 0 || f.value[0] != '[' {
		return nil
	}
	var out []json.RawMessage
	if json.Unmarshal(f.value, &out) != nil {
		return nil
	}
	return out
}

// remark reports whether a list is about the answer rather than part of it.
func (f field) remark() bool {
	return f.name == "notes" || f.name == "columns" || f.name == "citations"
}

func object(fields []field) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%s", quoted(f.name), f.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// quoted returns a string as JSON.
func quoted(s string) json.RawMessage {
	out, err := marshal(s)
	if err != nil {
		return json.RawMessage(`""`) // a string always marshals
	}
	return out
}

// marshal writes JSON without escaping <, > and &, because escapes cost an assistant tokens.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// sealed marshals an answer, adds the trust note, and shortens lists to fit, with a note. An
// answer with a cursor already fits and is not shortened, because its cursor would skip the
// rows that were cut.
func sealed(v any, most int) (json.RawMessage, error) {
	raw, err := marshal(v)
	if err != nil {
		return nil, err
	}
	fields := append([]field{{"trust", quoted(trustNote)}}, fieldsOf(raw)...)
	if len(raw) > most && !has(fields, "next_cursor") {
		fields, _ = cut(fields, most)
	}
	return object(cutTexts(fields, most)), nil
}

// minText is the least that remains of a shortened text.
const minText = 1 << 10

// cutTexts shortens documents, such as policies in YAML, until an answer fits, and notes which
// ones, because a part of a document must not be used.
func cutTexts(fields []field, most int) []field {
	size := 2
	for _, f := range fields {
		size += len(f.name) + len(f.value) + 4
	}
	var remarks []string
	for i := range fields {
		f := &fields[i]
		var text string
		over := size - (most - 300)
		if over <= 0 || f.name == "trust" || len(f.value) < 2*minText || f.value[0] != '"' || json.Unmarshal(f.value, &text) != nil {
			continue
		}
		keep := max(minText, len(text)*max(0, len(f.value)-over)/len(f.value)*7/8) // some characters need more bytes in JSON than others
		if keep >= len(text) {
			continue
		}
		before := len(f.value)
		f.value = quoted(clip(text, keep))
		size -= before - len(f.value)
		remarks = append(remarks, fmt.Sprintf("%s: %d of %d bytes", f.name, keep, len(text)))
	}
	if len(remarks) == 0 {
		return fields
	}
	fields = set(fields, "truncated", json.RawMessage("true"))
	return note(fields, "cut to fit max_bytes, so do not use it as it is: "+strings.Join(remarks, ", ")+"; ask again with a larger max_bytes (up to 1048576), or for less")
}

func has(fields []field, name string) bool {
	for _, f := range fields {
		if f.name == name {
			return true
		}
	}
	return false
}

// cut shortens the longest lists until an answer fits, keeps at least one element of each, and
// notes which ones. shown is the number of remaining elements of each shortened list.
func cut(fields []field, most int) (out []field, shown map[string]int) {
	size := 2
	lists := map[int][]json.RawMessage{}
	bytesOf := map[int]int{}
	whole := map[int]int{}
	for i, f := range fields {
		size += len(f.name) + len(f.value) + 4
		if l := f.list(); len(l) > 1 && !f.remark() {
			lists[i], bytesOf[i], whole[i] = l, len(f.value), len(l)
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
			value, err := marshal(l)
			if err != nil {
				continue
			}
			out[i].value = value
			shown[out[i].name] = len(l)
			remarks = append(remarks, fmt.Sprintf("%s: %d of %d", out[i].name, len(l), whole[i]))
		}
	}
	if len(remarks) == 0 {
		return out, shown
	}
	out = set(out, "truncated", json.RawMessage("true"))
	return note(out, "cut to fit max_bytes: "+strings.Join(remarks, ", ")), shown
}

// set replaces the value of a member, or appends the member.
func set(fields []field, name string, value json.RawMessage) []field {
	for i := range fields {
		if fields[i].name == name {
			fields[i].value = value
			return fields
		}
	}
	return append(fields, field{name, value})
}

// note appends a remark to an answer.
func note(fields []field, text string) []field {
	var notes []json.RawMessage
	for _, f := range fields {
		if f.name == "notes" {
			notes = f.list()
		}
	}
	value, err := marshal(append(notes, quoted(text)))
	if err != nil {
		return fields
	}
	return set(fields, "notes", value)
}
