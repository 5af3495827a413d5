package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Limits of a configuration.
const (
	maxFile  = 64 << 20 // bytes
	maxDepth = 200      // nested values
)

// member is a member of an object in a text, by offsets.
type member struct {
	name                string
	from, value, to, at int // the name, the value, its end, and the comma after it; at is -1 without one
}

// object is an object in a text: the offsets of its braces, and its members.
type object struct {
	open, end int
	members   []member
}

func (o *object) find(name string) *member {
	for i := range o.members {
		if o.members[i].name == name {
			return &o.members[i]
		}
	}
	return nil
}

// scanner reads JSON that may have comments and commas after the last member, as several editors accept it.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) wrong(want string) error {
	line := 1 + bytes.Count(s.text[:min(s.at, len(s.text))], []byte("\n"))
	return fmt.Errorf("line %d is not valid JSON: expected %s", line, want)
}

// skip moves to the next byte that is neither white space nor in a comment; 0 at the end.
func (s *scanner) skip() (byte, error) {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			s.at++
		case bytes.HasPrefix(rest, []byte("//")):
			n := bytes.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			s.at += n
		case bytes.HasPrefix(rest, []byte("/*")):
			n := bytes.Index(rest[2:], []byte("*/"))
			if n < 0 {
				return 0, s.wrong("the end of a comment")
			}
			s.at += n + 4
		default:
			return rest[0], nil
		}
	}
	return 0, nil
}

func (s *scanner) quoted() (text string, err error) {
	if c, err := s.skip(); err != nil || c != '"' {
		return "", orElse(err, s.wrong("a quoted text"))
	}
	from := s.at
	for s.at++; s.at < len(s.text) && s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	if s.at >= len(s.text) {
		return "", s.wrong("the end of a text")
	}
	s.at++
	if json.Unmarshal(s.text[from:s.at], &text) != nil {
		return "", s.wrong("a quoted text")
	}
	return text, nil
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// value moves behind a value.
func (s *scanner) value(depth int) error {
	c, err := s.skip()
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return s.wrong(fmt.Sprintf("at most %d nested values", maxDepth))
	}
	switch c {
	case '{':
		_, err = s.object(depth)
		return err
	case '[':
		s.at++
		for {
			if c, err = s.skip(); err != nil {
				return err
			}
			if c == ']' {
				s.at++
				return nil
			}
			if err = s.value(depth + 1); err != nil {
				return err
			}
			if c, err = s.skip(); err != nil || c != ',' && c != ']' {
				return orElse(err, s.wrong("a comma or ]"))
			}
			if c == ',' {
				s.at++
			}
		}
	case '"':
		_, err = s.quoted()
		return err
	}
	from := s.at
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n,]}/", s.text[s.at]) < 0 {
		s.at++
	}
	if !json.Valid(s.text[from:s.at]) {
		s.at = from
		return s.wrong("a value")
	}
	return nil
}

func (s *scanner) object(depth int) (o object, err error) {
	if c, err := s.skip(); err != nil || c != '{' {
		return o, orElse(err, s.wrong("an object"))
	}
	o.open = s.at
	s.at++
	for {
		c, err := s.skip()
		if err != nil {
			return o, err
		}
		if c == '}' {
			o.end = s.at
			s.at++
			return o, nil
		}
		m := member{from: s.at, at: -1}
		if m.name, err = s.quoted(); err != nil {
			return o, err
		}
		if o.find(m.name) != nil {
			return o, s.wrong(fmt.Sprintf("one member %q, not two", m.name))
		}
		if c, err = s.skip(); err != nil || c != ':' {
			return o, orElse(err, s.wrong("a colon"))
		}
		s.at++
		if _, err = s.skip(); err != nil {
			return o, err
		}
		m.value = s.at
		if err = s.value(depth + 1); err != nil {
			return o, err
		}
		m.to = s.at
		if c, err = s.skip(); err != nil || c != ',' && c != '}' {
			return o, orElse(err, s.wrong("a comma or }"))
		}
		if c == ',' {
			m.at = s.at
			s.at++
		}
		o.members = append(o.members, m)
	}
}

// read returns the object that a text is.
func read(text []byte) (object, error) {
	s := scanner{text: text, at: len(text) - len(bytes.TrimPrefix(text, []byte("\ufeff")))}
	o, err := s.object(0)
	if err != nil {
		return o, err
	}
	if c, err := s.skip(); err != nil || c != 0 {
		return o, orElse(err, s.wrong("the end"))
	}
	return o, nil
}

// within returns the object that is the value of a member.
func within(text []byte, m *member) (object, error) {
	s := scanner{text: text, at: m.value}
	o, err := s.object(0)
	if err != nil {
		return o, fmt.Errorf("%q: %w", m.name, err)
	}
	return o, nil
}

// jsonEntry returns the entry of a server in the member list of a configuration, nil if there is none.
func jsonEntry(text []byte, list, name string) (any, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	v, err := plainValue(text)
	if err != nil {
		return nil, err
	}
	servers, _ := v[list].(map[string]any)
	return servers[name], nil
}

// setJSON returns a configuration with an entry added or replaced. All other bytes stay.
func setJSON(text []byte, list, name string, entry any) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}\n")
	}
	o, err := read(text)
	if err != nil {
		return nil, err
	}
	unit := unitOf(text)
	m := o.find(list)
	var out []byte
	if m == nil {
		out = insert(text, o, list, map[string]any{name: entry}, "", unit)
	} else {
		servers, err := within(text, m)
		if err != nil {
			return nil, err
		}
		indent := lineIndent(text, m.from)
		if old := servers.find(name); old != nil {
			out = splice(text, old.value, old.to, encoded(entry, lineIndent(text, old.from), unit))
		} else {
			out = insert(text, servers, name, entry, indent, unit)
		}
	}
	return out, onlyChanged(text, out, list, name)
}

// unsetJSON returns a configuration without an entry.
func unsetJSON(text []byte, list, name string) ([]byte, error) {
	o, err := read(text)
	if err != nil {
		return nil, err
	}
	m := o.find(list)
	if m == nil {
		return text, nil
	}
	servers, err := within(text, m)
	if err != nil {
		return nil, err
	}
	for i, s := range servers.members {
		if s.name != name {
			continue
		}
		from, to := s.from, s.to
		for from > 0 && strings.IndexByte(" \t\r\n", text[from-1]) >= 0 {
			from--
		}
		out := text
		switch last := i == len(servers.members)-1; {
		case s.at >= 0:
			out = splice(text, from, s.at+1, nil)
		case last && i > 0: // strict JSON has no comma after the last member
			comma := servers.members[i-1].at
			out = splice(splice(text, from, to, nil), comma, comma+1, nil)
		default:
			for to < len(text) && strings.IndexByte(" \t\r\n", text[to]) >= 0 {
				to++
			}
			out = splice(text, from, to, nil)
		}
		return out, onlyChanged(text, out, list, name)
	}
	return text, nil
}

// insert adds a member at the end of an object that begins on a line with an indentation.
func insert(text []byte, o object, name string, v any, indent, unit string) []byte {
	key, _ := json.Marshal(name) // a string always marshals
	added := append([]byte("\n"+indent+unit+string(key)+": "), encoded(v, indent+unit, unit)...)
	end := o.end
	for end > o.open+1 && strings.IndexByte(" \t\r\n", text[end-1]) >= 0 {
		end--
	}
	closing := text[end:o.end]
	if !bytes.Contains(closing, []byte("\n")) {
		closing = []byte("\n" + indent)
	}
	out := splice(text, end, o.end, append(added, closing...))
	if n := len(o.members); n > 0 && o.members[n-1].at < 0 {
		out = splice(out, o.members[n-1].to, o.members[n-1].to, []byte(","))
	}
	return out
}

func splice(text []byte, from, to int, with []byte) []byte {
	return bytes.Join([][]byte{text[:from], with, text[to:]}, nil)
}

func encoded(v any, indent, unit string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(indent, unit)
	_ = e.Encode(v) // maps and lists of texts always marshal
	return bytes.TrimSpace(b.Bytes())
}

// lineIndent is the white space at the start of the line of an offset.
func lineIndent(text []byte, at int) string {
	line := text[bytes.LastIndexByte(text[:at], '\n')+1 : at]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// unitOf is the indentation of the first indented line.
func unitOf(text []byte) string {
	for l := range bytes.Lines(text) {
		if n := len(l) - len(bytes.TrimLeft(l, " \t")); n > 0 && n < 9 && len(bytes.TrimSpace(l)) > 0 {
			return string(l[:n])
		}
	}
	return "  "
}

// plainValue decodes a configuration without its comments and last commas.
func plainValue(text []byte) (map[string]any, error) {
	o, err := read(text)
	if err != nil {
		return nil, err
	}
	var out []byte
	s := scanner{text: text, at: o.open}
	for {
		from := s.at
		c, err := s.skip()
		if err != nil {
			return nil, err
		}
		if c == 0 {
			break
		}
		if from != s.at {
			out = append(out, ' ')
		}
		from = s.at
		if c == '"' {
			if _, err := s.quoted(); err != nil {
				return nil, err
			}
		} else {
			s.at++
		}
		if c == '}' || c == ']' {
			out = bytes.TrimSuffix(bytes.TrimRight(out, " "), []byte(","))
		}
		out = append(out, text[from:s.at]...)
	}
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(out))
	d.UseNumber()
	return v, d.Decode(&v)
}

// onlyChanged checks that two configurations differ in nothing but the entry of a server.
func onlyChanged(before, after []byte, list, name string) error {
	var both [2]map[string]any
	for i, text := range [][]byte{before, after} {
		v, err := plainValue(text)
		if err != nil {
			return err
		}
		servers, _ := v[list].(map[string]any)
		delete(servers, name)
		if len(servers) == 0 {
			delete(v, list)
		}
		both[i] = v
	}
	if !reflect.DeepEqual(both[0], both[1]) {
		return fmt.Errorf("the change would touch more than %s.%s", list, name)
	}
	return nil
}
