package tools

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// Names of tools that only resources use.
const (
	Flow   = "flow"
	Bundle = "bundle"
)

type FlowIn struct {
	ID string `json:"flow_id"`
}

type getFlowOut struct {
	Flow  map[string]any `json:"flow"`
	Calls []call         `json:"calls" jsonschema:"the first ones"`
	page
}

func (s *Invocation) getFlow(ctx context.Context, in FlowIn) (getFlowOut, error) {
	var out getFlowOut
	id, b := in.ID, ""
	if s.several() { // bundle#flow, as calls of several bundles are named
		if b, id, _ = strings.Cut(in.ID, "#"); id == "" {
			return out, fmt.Errorf("flow %s: several bundles are open: give bundle#flow_id: %w", ask.Clip(in.ID, 50), forensics.ErrNotFound)
		}
	}
	where, args := "flow_id = try_cast(? AS BIGINT)", []any{id}
	if s.several() {
		where, args = where+" AND bundle = try_cast(? AS INTEGER)", append(args, b)
	}
	r, err := s.Case.Query(ctx, forensics.Query{SQL: "SELECT * EXCLUDE (ts) FROM flows WHERE " + where, Args: args, Limit: 1})
	var bad *forensics.SyntaxError
	if errors.As(err, &bad) { // no column ts
		r, err = s.Case.Query(ctx, forensics.Query{SQL: "SELECT * FROM flows WHERE " + where, Args: args, Limit: 1})
	}
	if err != nil {
		return out, err
	}
	if len(r.Rows) == 0 {
		return out, fmt.Errorf("flow %s: %w", ask.Clip(in.ID, 50), forensics.ErrNotFound)
	}
	out.Flow = map[string]any{}
	for i, c := range r.Columns {
		if v := s.value(r.Rows[0][i]); v != nil {
			out.Flow[c.Name] = v
		}
	}
	columns := strings.Join(s.withBundle(callColumns), ", ")
	list, calls, err := rows(ctx, s, forensics.Query{SQL: "SELECT " + columns + " FROM calls WHERE " + where + " ORDER BY ts_ns, call_no", Args: args}, limits{}, s.call)
	if err != nil {
		return out, err
	}
	out.Calls, out.page = list, s.page(ctx, calls)
	return out, nil
}

type BundleIn struct {
	Path string `json:"path"`
}

func (s *Invocation) getBundle(ctx context.Context, in BundleIn) (ListCasesOut, error) {
	out, err := s.ListCases(ctx, NoIn{})
	var only []caseInfo
	for _, c := range out.Cases {
		if c.Path == in.Path {
			only = append(only, c)
		}
	}
	if err == nil && len(only) == 0 {
		return out, forensics.ErrNotFound
	}
	out.Cases = only
	return out, err
}

// OfResource returns the tool behind a resource: a tool, even one that is not listed, or one that
// only resources use.
func (s *Env) OfResource(name string) *Entry {
	switch name {
	case Flow:
		return of(Tool{Name: name}, (*Invocation).getFlow)
	case Bundle:
		return of(Tool{Name: name}, (*Invocation).getBundle)
	}
	return s.Every[name]
}
