package ask

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
)

// scoped is implemented by every input, because inputs embed Scope.
type scoped interface{ scope() Scope }

// framed is implemented by every answer, because answers embed Frame.
type framed interface{ frame() *Frame }

func (s Scope) scope() Scope { return s }

func (f *Frame) frame() *Frame { return f }

// explain adds notes about why nothing matched: an unknown name, or a part of the filter that
// matches no call, or bytes that were not captured. It omits what it cannot find out in time.
func explain(ctx context.Context, c *forensics.Case, raw json.RawMessage, in, out any) {
	a, ok := out.(framed)
	asked, has := in.(scoped)
	if !ok || !has || a.frame().Matched == "not_recorded" {
		return
	}
	f, s := a.frame(), asked.scope()
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields) // it was read already
	before := len(f.Notes)
	f.noteUnknown(ctx, c, fields)
	if f.Matched != "nothing_matched" && s.KFL != "" {
		if w, err := s.Read(ctx, c); err == nil {
			f.Notes = append(f.Notes, unmet(ctx, c, w)...)
		}
	}
	if f.Matched != "nothing_matched" || len(f.Notes) > before { // an unknown name is reason enough
		return
	}
	w, err := s.Read(ctx, c)
	if err != nil {
		return
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(fields[name], &s)
		return s
	}
	switch {
	case text("text") != "":
		f.Notes = append(f.Notes, "no call that was searched contains the text")
	case text("pattern") != "":
		f.Notes = append(f.Notes, "no call that was searched matches the pattern")
	}
	if src, dst := text("src"), text("dst"); src != "" && dst != "" {
		f.Notes = append(f.Notes, fmt.Sprintf("no call in this time is between %s and %s themselves; the service map shows what is between them", Clip(src, 100), Clip(dst, 100)))
	}
	if s.KFL != "" {
		f.Notes = append(f.Notes, c.Why(ctx, s.KFL, w.From, w.To)...)
	}
	_ = NoteUnread(ctx, c, f, w)
}

// unmet explains what a filter misses in an answer that is not empty. Such an answer may list connections although no call
// matches.
func unmet(ctx context.Context, c *forensics.Case, w *Window) []string {
	r, err := c.Query(ctx, forensics.Query{SQL: "SELECT 1 FROM calls WHERE " + w.Where + " LIMIT 1", Args: w.Args, Named: true})
	if err == nil && len(r.Rows) == 0 {
		return c.Why(ctx, w.KFL, w.From, w.To)
	}
	return c.Missed(ctx, w.KFL, w.From, w.To)
}
