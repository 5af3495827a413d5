package mcp

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
)

// ours are members of answers that we made ourselves and no policy is about.
func ours(name string) bool {
	switch name {
	case "trust", "next_cursor", "call_id", "call_ids", "packets", "sha256", "matched", "verified", "column_names":
		return true
	}
	return false
}

// masked is an answer as the policy lets it leave. Rows were masked before, by their
// columns; this is for all that an answer says in its own words. Last go the values that are
// secret elsewhere in the case, wherever they stand.
func (a *answerer) masked(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
	if a.o.Policy == nil {
		return raw, nil
	}
	raw, err := a.maskValue("", raw)
	if err != nil || a.c == nil {
		return raw, err
	}
	known, err := a.c.Known(ctx)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(known.Mask(string(raw))), nil
}

func (s *Server) maskValue(name string, raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || ours(name) {
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
		return marshal(list)
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
	return marshal(out)
}

func (s *Server) maskObject(raw json.RawMessage) (json.RawMessage, error) {
	fields := fieldsOf(raw)
	header := ""
	for _, f := range fields {
		if f.name == "name" {
			_ = json.Unmarshal(f.value, &header) // no text is no header's name
		}
	}
	for i, f := range fields {
		var value string
		if f.name == "value" && header != "" && json.Unmarshal(f.value, &value) == nil {
			fields[i].value = quoted(s.o.Policy.Header(header, value))
			continue
		}
		v, err := s.maskValue(f.name, f.value)
		if err != nil {
			return nil, err
		}
		fields[i].value = v
	}
	return object(fields), nil
}

// maskRows masks the rows of an answer by their columns.
func (s *Server) maskRows(r *forensics.Result) {
	if s.o.Policy == nil {
		return
	}
	names := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		names[i] = c.Name
	}
	for i := range r.Rows {
		r.Rows[i] = s.o.Policy.Row(names, r.Rows[i])
	}
}

// hide masks a text that leaves beside the rows: an error, a question in the access log.
func (s *Server) hide(text string) string {
	if s.o.Policy == nil {
		return text
	}
	out, _ := s.o.Policy.Text("", text)
	c, give, err := s.cases.take()
	if err != nil || c == nil {
		return out
	}
	defer give()
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Deadline)
	defer cancel()
	known, err := c.Known(ctx)
	if err != nil { // what is hidden must not show for want of time
		return s.o.Policy.Mask()
	}
	return known.Mask(out)
}

// maskCell masks one value of a row.
func (s *Server) maskCell(column string, v any) any {
	if s.o.Policy == nil {
		return v
	}
	return s.o.Policy.Value(column, v)
}

// learning reads in the background what a case's secrets are, so that the first question
// need not wait for it.
type learning struct {
	mu   sync.Mutex
	ends []context.CancelFunc
	wg   sync.WaitGroup
	over bool
}

// learn begins for the case that is open.
func (s *Server) learn() {
	l := &s.learning
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.o.Policy == nil || l.over {
		return
	}
	c, give, err := s.cases.take()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.ends = append(l.ends, cancel)
	l.wg.Go(func() {
		defer give()
		_, _ = c.Known(ctx) // who asks meets the error
	})
}

// stop ends it; then nobody uses a case for it any more.
func (l *learning) stop() {
	l.mu.Lock()
	l.over = true
	for _, end := range l.ends {
		end()
	}
	l.mu.Unlock()
	l.wg.Wait()
}
