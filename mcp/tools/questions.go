package tools

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
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/mcp/object"
)

// questionTool makes a tool from a question and divides its lists into pages. It always asks
// for all rows, so that pages of any size fit together.
func questionTool(q ask.Question) *Entry {
	e := &Entry{Tool: Tool{Name: q.Name, title: q.Title, doc: q.Doc, set: q.Topic, core: q.Core, Sealed: true}, In: Input(q), Out: q.Out()}
	if hasPages(q) {
		e.Out = with(e.Out, "next_cursor", &jsonschema.Schema{Type: "string", Description: "pass it as cursor, with the same arguments, for the next rows"}, false)
	}
	e.Answer = func(ctx context.Context, a *Invocation, args json.RawMessage) (any, error) {
		return a.question(ctx, q, args)
	}
	return e
}

// Page answers a question as its tool does, with pages of its lists: args may contain a cursor
// even if the question itself has none, and an answer with more rows has a next_cursor. Errors are
// those of ask.Question.Ask, and forensics.ErrCursor.
func Page(ctx context.Context, c *forensics.Case, q ask.Question, args json.RawMessage) (any, error) {
	return (&Invocation{Case: c, Max: math.MaxInt32}).inBounds(ctx, q, args)
}

// WholePage is Page for a person, who does not pay for each byte: its size is not limited.
func WholePage(ctx context.Context, c *forensics.Case, q ask.Question, args json.RawMessage) (any, error) {
	return (&Invocation{Case: c, Max: math.MaxInt32, whole: true}).inBounds(ctx, q, args)
}

func (s *Invocation) inBounds(ctx context.Context, q ask.Question, args json.RawMessage) (any, error) {
	var given map[string]any
	if err := json.Unmarshal(args, &given); err != nil {
		return nil, err
	}
	if err := ask.InBounds(q.In, given); err != nil {
		return nil, err
	}
	return s.question(ctx, q, args)
}

// Input returns the schema of the arguments of Page.
func Input(q ask.Question) *jsonschema.Schema {
	if !hasPages(q) {
		return q.In
	}
	return with(q.In, "cursor", &jsonschema.Schema{Type: "string", Description: "next_cursor of the previous answer, with the same arguments"}, false)
}

// hasPages reports whether the lists of a question have pages.
func hasPages(q ask.Question) bool { return q.In.Properties["limit"] != nil && q.Keyed == "" }

// pageStart is where the next page of an answer begins.
type pageStart struct {
	Question string         `json:"q"`
	Lists    map[string]int `json:"o,omitempty"` // rows already shown of each list with more
	Keyed    *keyed         `json:"k,omitempty"` // nil: that list is complete
}

// keyed is a position in the list that has its own cursor.
type keyed struct {
	After string `json:"a,omitempty"` // cursor of the question
	Skip  int    `json:"n,omitempty"` // rows after it that are already shown
}

const (
	maxPlace  = 1024 // bytes of a cursor
	partBytes = 48   // of a list in the note about the parts of a page
)

// paging is one page of an answer in progress.
type paging struct {
	q    ask.Question
	id   string
	at   *pageStart // nil: the first page
	rows int        // of each list
	most int        // bytes

	limited bool // a limit was given
}

// paging removes the paging arguments from args.
func (s *Invocation) paging(q ask.Question, args json.RawMessage) (p *paging, in map[string]json.RawMessage, err error) {
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
	p = &paging{q: q, id: s.questionID(q.Name, bare), rows: cmp.Or(q.Rows, defaultRows), most: s.Max, limited: len(limit) > 0}
	if p.at, err = readPlace(cursor, p.id); err != nil {
		return nil, nil, err
	}
	if !p.limited {
		if !s.whole {
			p.most = min(p.most, AnswerBytes)
		} else if q.Long {
			p.rows = ask.MaxAll
		}
		return p, in, nil
	}
	if err := json.Unmarshal(limit, &p.rows); err != nil {
		return nil, nil, err
	}
	return p, in, nil
}

// paged adds pages to a tool that answers with all rows of its lists.
func paged(e *Entry) *Entry {
	all := e.Answer
	e.In = with(e.In, "limit", &jsonschema.Schema{Type: "integer", Description: "rows, 1 to 1000; default 50"}, false)
	e.In = with(e.In, "cursor", &jsonschema.Schema{Type: "string", Description: "next_cursor of the previous answer"}, false)
	e.Answer = func(ctx context.Context, a *Invocation, args json.RawMessage) (any, error) {
		p, in, err := a.paging(ask.Question{Name: e.Name}, args)
		if err != nil {
			return nil, err
		}
		return a.cutPage(ctx, p, in, func(full json.RawMessage) (any, error) { return all(ctx, a, full) })
	}
	return e
}

// cutPage asks for the whole answer, or takes the one that is kept, and cuts the page from it.
func (s *Invocation) cutPage(ctx context.Context, p *paging, in map[string]json.RawMessage, answer func(args json.RawMessage) (any, error)) (any, error) {
	args, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	whole := func() (json.RawMessage, error) {
		v, err := answer(args)
		if err != nil {
			return nil, err
		}
		return object.Marshal(v)
	}
	var raw json.RawMessage
	if s.Keep != nil {
		raw, err = s.Keep(ctx, p.q.Name, string(args), whole)
	} else {
		raw, err = whole()
	}
	if err != nil {
		return nil, err
	}
	return p.page(object.Fields(raw)), nil
}

func (s *Invocation) question(ctx context.Context, q ask.Question, args json.RawMessage) (any, error) {
	p, in, err := s.paging(q, args)
	if err != nil {
		return nil, err
	}
	set := func(name string, v any) { in[name], _ = json.Marshal(v) } // numbers and strings always marshal
	answer := q.AskAll
	switch _, limited := q.In.Properties["limit"]; {
	case q.Nested:
		answer = q.Ask
		if p.limited || p.at != nil { // otherwise use the question's own default
			set("limit", MaxRows)
		}
	case p.onlyKeyed():
		set("cursor", p.at.Keyed.After)
		set("limit", min(MaxRows, max(p.rows, p.at.Keyed.Skip+1)))
	case limited:
		set("limit", min(p.rows, MaxRows))
	}
	return s.cutPage(ctx, p, in, func(full json.RawMessage) (any, error) { return answer(ctx, s.Case, full) })
}

// onlyKeyed reports whether only rows of the list with its own cursor are left.
func (p *paging) onlyKeyed() bool { return p.at != nil && len(p.at.Lists) == 0 && p.at.Keyed != nil }

// questionID is a hash of everything that an answer's lists depend on.
func (s *Invocation) questionID(name string, args []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s|%s|", name, args)
	for _, b := range s.Case.Bundles() {
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
		return nil, forensics.ErrNoCursor
	}
	if text == "" {
		return nil, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	var at pageStart
	if err != nil || json.Unmarshal(data, &at) != nil {
		return nil, forensics.ErrNoCursor
	}
	if at.Question != id || len(at.Lists) == 0 && at.Keyed == nil {
		return nil, forensics.ErrCursor
	}
	for _, n := range at.Lists {
		if n < 0 || n > ask.MaxAll {
			return nil, forensics.ErrCursor
		}
	}
	if k := at.Keyed; k != nil && (k.Skip < 0 || k.Skip > MaxRows) {
		return nil, forensics.ErrCursor
	}
	return &at, nil
}

// page returns an answer with its lists starting where the last page ended: at most rows of each
// list and at most most bytes in total. The first page has the lists in Sums in full, and the
// list with its own cursor continues after the others are complete.
func (p *paging) page(fields []object.Field) json.RawMessage {
	whole := map[string]int{} // rows of each list
	from := map[string]int{}
	shown := map[string]int{}
	next := ""
	fields = slices.DeleteFunc(fields, func(f object.Field) bool {
		return p.q.Keyed != "" && f.Name == "next_cursor" && json.Unmarshal(f.Value, &next) == nil
	})
	for i, f := range fields {
		list := f.List()
		if list == nil || f.Remark() {
			continue
		}
		whole[f.Name], from[f.Name] = len(list), p.from(f.Name, len(list))
		to := min(from[f.Name]+p.rows, len(list))
		if p.at == nil && slices.Contains(p.q.Sums, f.Name) {
			to = len(list)
		}
		shown[f.Name] = to - from[f.Name]
		if value, err := object.Marshal(append([]json.RawMessage{}, list[from[f.Name]:to]...)); err == nil {
			fields[i].Value = value
		}
	}
	if room := p.most - 300 - partBytes*len(whole); len(object.Join(fields)) > room {
		var less map[string]int
		fields, less = object.Cut(fields, room)
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
		return object.Join(fields)
	}
	if data, err := json.Marshal(after); err == nil {
		fields = notePart(fields, whole, from, shown)
		fields = object.Set(fields, "truncated", json.RawMessage("true"))
		fields = object.Set(fields, "next_cursor", object.Quoted(base64.RawURLEncoding.EncodeToString(data)))
	}
	return object.Join(fields)
}

// notePart adds a note that says of each list of which the page has a part how many of how many rows that is.
func notePart(fields []object.Field, whole, from, shown map[string]int) []object.Field {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		if shown[name] < whole[name] && shown[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d to %d of %d", name, from[name]+1, from[name]+shown[name], whole[name]))
		} else if shown[name] < whole[name] {
			parts = append(parts, fmt.Sprintf("%s none of %d", name, whole[name]))
		}
	}
	if len(parts) == 0 {
		return fields
	}
	return object.Note(fields, "this page has a part: "+strings.Join(parts, ", "))
}

// from returns the first row of the page in a list of n rows.
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

// afterKeyed returns the next position in the list with its own cursor, after to of n rows were
// shown; next is the question's cursor.
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

// inTime sorts the rows of a list by time.
func inTime(fields []object.Field, name string) {
	for i, f := range fields {
		if f.Name != name {
			continue
		}
		list := f.List()
		slices.SortStableFunc(list, func(a, b json.RawMessage) int {
			var x, y struct {
				Time string `json:"time"`
			}
			if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
				return 0
			}
			return cmp.Compare(x.Time, y.Time)
		})
		if value, err := object.Marshal(list); err == nil {
			fields[i].Value = value
		}
	}
}

// cutBefore reports whether the question itself cut its lists because it had no limit.
func (p *paging) cutBefore(fields []object.Field) bool {
	return p.q.Nested && !p.limited && p.at == nil && truncated(fields)
}

func truncated(fields []object.Field) bool {
	for _, f := range fields {
		if f.Name == "truncated" {
			return string(f.Value) == "true"
		}
	}
	return false
}
