package mcp

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// asked makes a tool of a question. Its lists have pages: it is asked for all rows of each, so
// that pages of any size fit together.
func asked(q ask.Question) *entry {
	e := &entry{tool: tool{name: q.Name, title: q.Title, doc: q.Doc, set: q.Topic, core: q.Core, sealed: true}, in: q.In, out: q.Out}
	if q.In.Properties["limit"] != nil && q.Keyed == "" {
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

// pageStart is where the next page of an answer begins.
type pageStart struct {
	Question string         `json:"q"`
	Lists    map[string]int `json:"o,omitempty"` // rows that were shown, of each list with more
	Keyed    *keyed         `json:"k,omitempty"` // nil: that list is at its end
}

// keyed is a place in the list that has a cursor of its own.
type keyed struct {
	After string `json:"a,omitempty"` // cursor of the question
	Skip  int    `json:"n,omitempty"` // rows after it that were shown
}

const maxPlace = 1024 // bytes of a cursor

// paging is one page of an answer under way.
type paging struct {
	q    ask.Question
	id   string
	at   *pageStart // nil: the first page
	rows int        // of each list
	most int        // bytes

	limited bool // a limit was given
}

// paging takes what asks for a page out of the arguments.
func (s *answerer) paging(q ask.Question, args json.RawMessage) (p *paging, in map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(args, &in); err != nil {
		return nil, nil, err
	}
	cursor, limit := in["cursor"], in["limit"]
	delete(in, "cursor")
	delete(in, "limit")
	bare, err := json.Marshal(in)
	if err != nil {
		return nil, nil, err
	}
	p = &paging{q: q, id: s.questionID(q.Name, bare), rows: cmp.Or(q.Rows, defaultRows), most: s.max, limited: len(limit) > 0}
	if p.at, err = readPlace(cursor, p.id); err != nil {
		return nil, nil, err
	}
	if !p.limited {
		p.most = min(p.most, answerBytes)
		return p, in, nil
	}
	if json.Unmarshal(limit, &p.rows) != nil || p.rows < 0 {
		return nil, nil, ask.Wrong("limit", "%s, want 1 to %d", limit, maxRows)
	}
	p.rows = rowsOf(p.rows)
	return p, in, nil
}

// paged gives pages to a tool that answers with all rows of its lists.
func paged(e *entry) *entry {
	all := e.answer
	e.in = with(e.in, "limit", &jsonschema.Schema{Type: "integer", Description: "rows, 1 to 1000; 50 where not given"}, false)
	e.in = with(e.in, "cursor", &jsonschema.Schema{Type: "string", Description: "next_cursor of the answer before"}, false)
	e.answer = func(ctx context.Context, a *answerer, args json.RawMessage) (any, error) {
		p, in, err := a.paging(ask.Question{Name: e.name}, args)
		if err != nil {
			return nil, err
		}
		full, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		v, err := all(ctx, a, full)
		if err != nil {
			return nil, err
		}
		raw, err := marshal(v)
		if err != nil {
			return nil, err
		}
		return p.page(fieldsOf(raw)), nil
	}
	return e
}

func (s *answerer) question(ctx context.Context, q ask.Question, args json.RawMessage) (any, error) {
	p, in, err := s.paging(q, args)
	if err != nil {
		return nil, err
	}
	set := func(name string, v any) { in[name], _ = json.Marshal(v) } // numbers and texts always marshal
	answer := q.AskAll
	switch _, limited := q.In.Properties["limit"]; {
	case q.Nested:
		answer = q.Ask
		if p.limited || p.at != nil { // else the question has a default of its own
			set("limit", maxRows)
		}
	case p.onlyKeyed():
		set("cursor", p.at.Keyed.After)
		set("limit", min(maxRows, max(p.rows, p.at.Keyed.Skip+1)))
	case limited:
		set("limit", p.rows)
	}
	full, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	v, err := answer(ctx, s.c, full)
	if err != nil {
		return nil, err
	}
	raw, err := marshal(v)
	if err != nil {
		return nil, err
	}
	return p.page(fieldsOf(raw)), nil
}

// onlyKeyed says that nothing is left but rows of the list with a cursor of its own.
func (p *paging) onlyKeyed() bool { return p.at != nil && len(p.at.Lists) == 0 && p.at.Keyed != nil }

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

func readPlace(raw json.RawMessage, id string) (*pageStart, error) {
	var text string
	if len(raw) == 0 {
		return nil, nil
	}
	if json.Unmarshal(raw, &text) != nil || len(text) > maxPlace {
		return nil, forensics.ErrCursor
	}
	if text == "" {
		return nil, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	var at pageStart
	if err != nil || json.Unmarshal(data, &at) != nil || at.Question != id || len(at.Lists) == 0 && at.Keyed == nil {
		return nil, forensics.ErrCursor
	}
	for _, n := range at.Lists {
		if n < 0 || n > ask.MaxAll {
			return nil, forensics.ErrCursor
		}
	}
	if k := at.Keyed; k != nil && (k.Skip < 0 || k.Skip > maxRows) {
		return nil, forensics.ErrCursor
	}
	return &at, nil
}

// page is an answer with its lists from where the last page ended: at most rows of each and at
// most most bytes in all. The first page has the lists of Sums in full, and a list with a cursor
// of its own goes on when the others are at their ends.
func (p *paging) page(fields []field) json.RawMessage {
	whole := map[string]int{} // rows of each list
	from := map[string]int{}
	shown := map[string]int{}
	next := ""
	fields = slices.DeleteFunc(fields, func(f field) bool {
		return p.q.Keyed != "" && f.name == "next_cursor" && json.Unmarshal(f.value, &next) == nil
	})
	for i, f := range fields {
		list := f.list()
		if list == nil || f.remark() {
			continue
		}
		whole[f.name], from[f.name] = len(list), p.from(f.name, len(list))
		to := min(from[f.name]+p.rows, len(list))
		if p.at == nil && slices.Contains(p.q.Sums, f.name) {
			to = len(list)
		}
		shown[f.name] = to - from[f.name]
		if value, err := marshal(append([]json.RawMessage{}, list[from[f.name]:to]...)); err == nil {
			fields[i].value = value
		}
	}
	if len(object(fields))+300 > p.most {
		var less map[string]int
		fields, less = cut(fields, p.most-300)
		maps.Copy(shown, less)
	}
	for _, name := range p.q.InTime {
		inTime(fields, name)
	}
	after := pageStart{Question: p.id, Lists: map[string]int{}}
	for name, n := range whole {
		if to := from[name] + shown[name]; name != p.q.Keyed && (to < n || p.cutBefore(fields)) {
			after.Lists[name] = to
		}
	}
	after.Keyed = p.afterKeyed(next, from[p.q.Keyed]+shown[p.q.Keyed], whole[p.q.Keyed])
	if len(after.Lists) == 0 && after.Keyed == nil {
		return object(fields)
	}
	if data, err := json.Marshal(after); err == nil {
		fields = set(fields, "truncated", json.RawMessage("true"))
		fields = set(fields, "next_cursor", quoted(base64.RawURLEncoding.EncodeToString(data)))
	}
	return object(fields)
}

// from is the first row of a list of n rows that the page has.
func (p *paging) from(name string, n int) int {
	switch {
	case p.at == nil:
		return 0
	case name == p.q.Keyed && p.onlyKeyed():
		return min(n, p.at.Keyed.Skip)
	}
	if at, ok := p.at.Lists[name]; ok {
		return min(n, at)
	}
	return n
}

// afterKeyed is the place in the list with a cursor of its own, of which to of n rows were shown
// and next is the cursor.
func (p *paging) afterKeyed(next string, to, n int) *keyed {
	switch {
	case p.at != nil && !p.onlyKeyed():
		return p.at.Keyed
	case to < n && p.at != nil:
		return &keyed{p.at.Keyed.After, to}
	case to < n:
		return &keyed{"", to}
	case next != "":
		return &keyed{After: next}
	}
	return nil
}

// inTime puts the rows of a list in order of their time.
func inTime(fields []field, name string) {
	for i, f := range fields {
		if f.name != name {
			continue
		}
		list := f.list()
		slices.SortStableFunc(list, func(a, b json.RawMessage) int {
			var x, y struct {
				Time string `json:"time"`
			}
			if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
				return 0
			}
			return cmp.Compare(x.Time, y.Time)
		})
		if value, err := marshal(list); err == nil {
			fields[i].value = value
		}
	}
}

// cutBefore says that the question itself cut its lists, since it was asked without a limit.
func (p *paging) cutBefore(fields []field) bool {
	return p.q.Nested && !p.limited && p.at == nil && truncated(fields)
}

func truncated(fields []field) bool {
	for _, f := range fields {
		if f.name == "truncated" {
			return string(f.value) == "true"
		}
	}
	return false
}
