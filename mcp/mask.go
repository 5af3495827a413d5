package mcp

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/object"
)

// isOwnMember reports whether this package makes a member itself, so that no policy applies to it.
func isOwnMember(name string) bool {
	switch name {
	case "trust", "next_cursor", "call_id", "call_ids", "packets", "sha256", "matched", "verified", "column_names":
		return true
	}
	return false
}

// masked applies the policy to a whole answer. Rows are already masked by column; this covers
// all other text. Finally, it masks every value that is secret anywhere else in the case.
func (s *Server) masked(ctx context.Context, c *forensics.Case, raw json.RawMessage) (json.RawMessage, error) {
	if s.o.Policy == nil {
		return raw, nil
	}
	raw, err := s.maskValue("", raw)
	if err != nil || c == nil {
		return raw, err
	}
	known, err := c.Known(ctx)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(known.Mask(string(raw))), nil
}

func (s *Server) maskValue(name string, raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || isOwnMember(name) {
		return raw, nil
	}
	switch raw[0] {
	case '"':
		return s.maskText(name, raw)
	case '{':
		return s.maskObject(raw)
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		for i, v := range list {
			v, err := s.maskValue(name, v)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return object.Marshal(list)
	}
	return raw, nil
}

func (s *Server) maskText(name string, raw json.RawMessage) (json.RawMessage, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, err
	}
	out, _ := s.o.Policy.Value(name, text).(string)
	if out == text {
		return raw, nil
	}
	return object.Marshal(out)
}

func (s *Server) maskObject(raw json.RawMessage) (json.RawMessage, error) {
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
			fields[i].Value = object.Quoted(s.o.Policy.Header(header, value))
			continue
		}
		v, err := s.maskValue(f.Name, f.Value)
		if err != nil {
			return nil, err
		}
		fields[i].Value = v
	}
	return object.Join(fields), nil
}

// hide masks a text outside an answer: an error, or arguments in the access log.
func (s *Server) hide(text string) string {
	if s.o.Policy == nil {
		return text
	}
	out, _ := s.o.Policy.Text("", text)
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
