package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// asked makes a tool of a question. Its lists have pages: a question with a limit or a cursor is
// asked for the most rows it gives, so that pages of any size fit together.
func asked(q ask.Question) *entry {
	e := &entry{tool: tool{name: q.Name, title: q.Title, doc: q.Doc, core: q.Core, sealed: true}, in: q.In, out: q.Out}
	if q.In.Properties["cursor"] != nil || q.Nearest { // it has pages of its own, or none
		e.answer = func(ctx context.Context, a *answerer, args json.RawMessage) (any, error) {
			return a.fitting(ctx, q, args)
		}
		return e
	}
	if q.In.Properties["limit"] != nil {
		e.in = with(e.in, "cursor", &jsonschema.Schema{Type: "string", Description: "next_cursor of the answer before, with the same question"}, false)
		e.out = with(e.out, "next_cursor", &jsonschema.Schema{Type: "string", Description: "give it as cursor, with the same question, for the rows that follow"}, false)
	}
	e.answer = func(ctx context.Context, a *answerer, args json.RawMessage) (any, error) {
		return a.question(ctx, q, args)
	}
	return e
}

// Page answers a question as its tool does, with pages of its lists: args may have a cursor also
// if the question has none of its own, and an answer with more rows has a next_cursor. The
// answer may have any size. Errors are those of ask.Question.Ask, and forensics.ErrCursor.
func Page(ctx context.Context, c *forensics.Case, q ask.Question, args json.RawMessage) (any, error) {
	return asked(q).answer(ctx, &answerer{c: c, max: math.MaxInt32}, args)
}

// Input is the schema of what Page takes.
func Input(q ask.Question) *jsonschema.Schema { return asked(q).in }

// offsets is the place in the lists of an answer.
type offsets struct {
	Question string         `json:"q"`
	Lists    map[string]int `json:"o"`
}

const maxOffsets = 1024 // bytes of a cursor

func (s *answerer) question(ctx context.Context, q ask.Question, args json.RawMessage) (any, error) {
	in := map[string]json.RawMessage{}
	if err := json.Unmarshal(args, &in); err != nil {
		return nil, err
	}
	cursor := in["cursor"]
	delete(in, "cursor")
	limit := in["limit"]
	delete(in, "limit")
	bare, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	id := s.questionID(q.Name, bare)
	at, err := readOffsets(cursor, id)
	if err != nil {
		return nil, err
	}
	rows := defaultRows
	if len(limit) > 0 {
		if json.Unmarshal(limit, &rows) != nil || rows < 0 {
			return nil, ask.Wrong("limit", "%s, want 1 to %d", limit, maxRows)
		}
		rows = rowsOf(rows)
	}
	if len(limit) > 0 || at != nil { // else the question has a default of its own
		in["limit"], _ = json.Marshal(maxRows) // a number always marshals
	}
	full, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	v, err := q.Ask(ctx, s.c, full)
	if err != nil {
		return nil, err
	}
	raw, err := marshal(v)
	if err != nil {
		return nil, err
	}
	return pageOf(fieldsOf(raw), q.Sums, id, at, rows, s.max), nil
}

// questionID is a hash of all that decides what an answer's lists hold.
func (s *answerer) questionID(name string, args []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s|%s|", name, args)
	for _, b := range s.c.Bundles() {
		for i := range b.Manifest.Inputs {
			h.Write(b.Manifest.Inputs[i].SHA256[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func readOffsets(raw json.RawMessage, id string) (map[string]int, error) {
	var text string
	if len(raw) == 0 {
		return nil, nil
	}
	if json.Unmarshal(raw, &text) != nil || len(text) > maxOffsets {
		return nil, forensics.ErrCursor
	}
	if text == "" {
		return nil, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	var o offsets
	if err != nil || json.Unmarshal(data, &o) != nil || o.Question != id || o.Lists == nil {
		return nil, forensics.ErrCursor
	}
	for _, n := range o.Lists {
		if n < 0 || n > maxRows {
			return nil, forensics.ErrCursor
		}
	}
	return o.Lists, nil
}

// pageOf is an answer with its lists from where the last page ended, at most rows of each
// and at most most bytes in all. at is nil on the first page, which has the lists of whole in
// full.
func pageOf(fields []field, whole []string, id string, at map[string]int, rows, most int) json.RawMessage {
	more := map[string]int{} // lists with more, and where that begins
	for i, f := range fields {
		list := f.list()
		if list == nil || f.remark() || at == nil && slices.Contains(whole, f.name) {
			continue
		}
		from := 0
		if at != nil {
			n, ok := at[f.name]
			if !ok {
				n = len(list)
			}
			from = min(n, len(list))
		}
		to := min(from+rows, len(list))
		if to < len(list) {
			more[f.name] = to
		} else if at == nil && len(list) >= rows && truncated(fields) && len(list) < maxRows {
			more[f.name] = len(list)
		}
		if value, err := marshal(append([]json.RawMessage{}, list[from:to]...)); err == nil {
			fields[i].value = value
		}
	}
	if object := object(fields); len(object)+300 > most {
		var shown map[string]int
		fields, shown = cut(fields, most-300)
		for name, n := range shown {
			more[name] = at[name] + n
		}
	}
	if len(more) > 0 {
		data, err := json.Marshal(offsets{id, more})
		if err == nil {
			fields = set(fields, "truncated", json.RawMessage("true"))
			fields = set(fields, "next_cursor", quoted(base64.RawURLEncoding.EncodeToString(data)))
		}
	}
	return object(fields)
}

func truncated(fields []field) bool {
	for _, f := range fields {
		if f.name == "truncated" {
			return string(f.value) == "true"
		}
	}
	return false
}

// fitting asks a question that has a cursor of its own or no pages, for fewer rows until they fit.
func (s *answerer) fitting(ctx context.Context, q ask.Question, args json.RawMessage) (any, error) {
	in := map[string]json.RawMessage{}
	if err := json.Unmarshal(args, &in); err != nil {
		return nil, err
	}
	rows := defaultRows
	if raw, ok := in["limit"]; ok {
		if json.Unmarshal(raw, &rows) != nil || rows < 0 {
			return nil, ask.Wrong("limit", "%s, want 1 to %d", raw, maxRows)
		}
		rows = rowsOf(rows)
	}
	for {
		in["limit"], _ = json.Marshal(rows) // a number always marshals
		full, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		v, err := q.Ask(ctx, s.c, full)
		if err != nil {
			return nil, err
		}
		raw, err := marshal(v)
		if err != nil || len(raw)+200 <= s.max || rows == 1 {
			return raw, err
		}
		rows = max(1, min(rows-1, fewer(raw, rows, s.max-200)))
	}
}

// fewer is how many of the rows of an answer that is too long fit into most bytes. The
// list that is longest is the one with the rows: asking costs as much as the answer, so
// it is looked at rather than tried.
func fewer(raw json.RawMessage, rows, most int) int {
	var longest []json.RawMessage
	size := 0
	for _, f := range fieldsOf(raw) {
		if list := f.list(); list != nil && !f.remark() && len(f.value) > size {
			longest, size = list, len(f.value)
		}
	}
	left := len(raw)
	for n := len(longest) - 1; n > 0; n-- {
		if left -= len(longest[n]) + 1; left <= most {
			return n
		}
	}
	return rows * most / len(raw)
}
