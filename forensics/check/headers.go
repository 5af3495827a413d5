package check

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// hasHeader is the SQL condition for a header of this side, name and, if given, matching value.
// Names ignore case (RFC 9110 section 5.1).
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
			want, got := fmt.Sprintf("no %s header %s", e.side, h), "present"
			if e.present {
				// A call without any header of that side also lacks this one, but a call
				// without a response cannot have it.
				answered := "true"
				if e.side == "response" {
					answered = "status_code IS NOT NULL"
				}
				those, want, got = q.with(answered).with("NOT "+has, args...), fmt.Sprintf("%s header %s", e.side, h), "missing, or another value"
			}
			if err := those.breakAll(ctx, o, want, func(*ask.Call) string { return got }); err != nil {
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
