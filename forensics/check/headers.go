package check

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// hasHeader is the SQL for: one header of that name and side, with a value that matches
// where there is an expression. Names ignore case (RFC 9110 section 5.1).
func hasHeader(side string, h Header) (string, []any) {
	if h.Value == nil {
		return "coalesce(len(list_filter(headers, h -> h.kind = '" + side + "' AND lower(h.name) = lower(?))) > 0, false)", []any{h.Name}
	}
	return "coalesce(len(list_filter(headers, h -> h.kind = '" + side + "' AND lower(h.name) = lower(?) AND regexp_full_match(h.value, ?))) > 0, false)",
		[]any{h.Name, h.Value.String()}
}

func (s *Rules) headers(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	for _, e := range []struct {
		side    string
		list    Headers
		present bool
	}{
		{"request", r.RequestHeaders, true}, {"response", r.ResponseHeaders, true},
		{"request", r.NoRequestHeaders, false}, {"response", r.NoResponseHeaders, false},
	} {
		for _, h := range e.list {
			has, args := hasHeader(e.side, h)
			those := q.with("list_contains(list_transform(headers, h -> h.kind), '"+e.side+"')").with(has, args...)
			want := fmt.Sprintf("no %s header %s", e.side, h)
			if e.present {
				// A call without any header of that side has none of this name either, but one
				// without an answer cannot have it.
				answered := "true"
				if e.side == "response" {
					answered = "status_code IS NOT NULL"
				}
				those, want = q.with(answered).with("NOT "+has, args...), fmt.Sprintf("%s header %s", e.side, h)
			}
			if err := those.breakAll(ctx, o, want, func(*ask.Call) string { return "it is not so" }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h Header) String() string {
	if h.Value == nil {
		return h.Name
	}
	return h.Name + ": " + h.Value.String()
}
