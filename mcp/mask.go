package mcp

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// isOwnMember reports whether this package makes a member itself, so that no policy applies to it.
func isOwnMember(name string) bool {
	switch name {
	case "trust", "next_cursor", "call_id", "call_ids", "packets", "sha256", "matched", "verified", "column_names":
		return true
	}
	return false
}

// capturedMembers are declared members whose texts are captured, so that names in them count. All other declared texts are
// sentences and words of the program; values in them were masked when they were read.
var capturedMembers = map[string]bool{"rows": true, "text": true, "body": true, "query_string": true, "http1_target": true, "url": true, "sql": true, "statement": true, "excerpt": true, "value": true, "values": true, "evidence": true}

// ownWords are the names of members and the values of closed lists in the schemas of answers.
type ownWords map[string]bool

// words returns the own words of tools.
func words(all map[string]*tools.Entry) ownWords {
	own := ownWords{}
	for _, w := range table.Outcomes() {
		own[w] = true
	}
	seen := map[*jsonschema.Schema]bool{}
	var add func(s *jsonschema.Schema)
	add = func(s *jsonschema.Schema) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		for name, p := range s.Properties {
			own[name] = true
			add(p)
		}
		for _, v := range s.Enum {
			if w, ok := v.(string); ok {
				own[w] = true
			}
		}
		for _, d := range s.Defs {
			add(d)
		}
		for _, list := range [][]*jsonschema.Schema{s.AnyOf, s.OneOf, s.AllOf, {s.Items, s.AdditionalProperties}} {
			for _, x := range list {
				add(x)
			}
		}
	}
	for _, e := range all {
		add(e.In)
		add(e.Out)
	}
	return own
}

// masking masks one answer.
type masking struct {
	p     *redact.Policy
	own   ownWords
	known *redact.Known
}

// masked applies the policy to a whole answer. Rows are already masked by column; this covers
// all other text, and every value that is secret anywhere else in the case. Words of the program stay: names of
// members, and values of closed lists.
func (s *Server) masked(ctx context.Context, c *forensics.Case, raw json.RawMessage) (json.RawMessage, error) {
	if s.o.Policy == nil {
		return raw, nil
	}
	m := masking{p: s.o.Policy, own: s.own()}
	if c != nil {
		var err error
		if m.known, err = c.Known(ctx); err != nil {
			return nil, err
		}
	}
	return m.value("", raw, false)
}

// value masks a value of a member. captured says that it is within a captured object, whose names count.
func (m *masking) value(name string, raw json.RawMessage, captured bool) (json.RawMessage, error) {
	if len(raw) == 0 || isOwnMember(name) && !captured {
		return raw, nil
	}
	switch raw[0] {
	case '"':
		return m.text(name, raw, captured)
	case '{':
		return m.object(raw, captured)
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		for i, v := range list {
			v, err := m.value(name, v, captured)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return object.Marshal(list)
	}
	return raw, nil
}

func (m *masking) text(name string, raw json.RawMessage, captured bool) (json.RawMessage, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, err
	}
	if !captured && m.own[text] && !capturedMembers[name] {
		return raw, nil
	}
	out := m.p.Sentence(text)
	if captured || capturedMembers[name] {
		out, _ = m.p.Value(name, text).(string)
	}
	if out = m.known.Mask(out); out == text {
		return raw, nil
	}
	return object.Marshal(out)
}

func (m *masking) object(raw json.RawMessage, captured bool) (json.RawMessage, error) {
	fields := object.Fields(raw)
	header := ""
	for _, f := range fields {
		if f.Name == "name" {
			_ = json.Unmarshal(f.Value, &header) // not a string: not a header's name
		}
	}
	for i, f := range fields {
		var value string
		if f.Name == "value" && header != "" && json.Unmarshal(f.Value, &value) == nil {
			fields[i].Value = object.Quoted(m.known.Mask(m.p.Header(header, value)))
			continue
		}
		own := m.own[f.Name] && !captured
		v, err := m.value(f.Name, f.Value, !own)
		if err != nil {
			return nil, err
		}
		fields[i].Value = v
		if !own {
			fields[i].Name = m.known.Mask(f.Name)
		}
	}
	return object.Join(fields), nil
}

// hide masks a text outside an answer: an error, or arguments in the access log.
func (s *Server) hide(text string) string {
	if s.o.Policy == nil {
		return text
	}
	return s.hideIn(text, func(text string) string {
		out, _ := s.o.Policy.Text("", text)
		return out
	})
}

// hideIn masks a text outside an answer: mask applies the policy, if there is one.
func (s *Server) hideIn(text string, mask func(string) string) string {
	if s.o.Policy == nil {
		return text
	}
	out := mask(text)
	c, release, err := s.cases.Acquire()
	if err != nil || c == nil {
		return out
	}
	defer release()
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Deadline)
	defer cancel()
	known, err := c.Known(ctx)
	if err != nil { // a timeout must not reveal secrets
		return s.o.Policy.Mask()
	}
	return known.Mask(out)
}

// learning reads the secrets of a case in the background, so that the first question does not
// wait for them.
type learning struct {
	mu   sync.Mutex
	ends []context.CancelFunc
	wg   sync.WaitGroup
	over bool
}

// learn starts learning the secrets of the open case.
func (s *Server) learn() {
	l := &s.learning
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.o.Policy == nil || l.over {
		return
	}
	c, release, err := s.cases.Acquire()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.ends = append(l.ends, cancel)
	l.wg.Go(func() {
		defer release()
		_, _ = c.Known(ctx) // the first question gets the error
	})
}

// stop ends the learning and waits until it has released its case.
func (l *learning) stop() {
	l.mu.Lock()
	l.over = true
	for _, end := range l.ends {
		end()
	}
	l.mu.Unlock()
	l.wg.Wait()
}
