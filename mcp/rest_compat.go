package mcp

import (
	"context"
	"net/http"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// The following paths and arguments are compatible with scripts for other products'
// dashboards.

// restRawCaptureOut reports whether packets are being recorded.
type restRawCaptureOut struct {
	Enabled bool `json:"enabled" jsonschema:"a recorder is writing now; always false without a ring"`
}

func restRawCapture(ctx context.Context, a *tools.Invocation, _ *question) (out restRawCaptureOut, err error) {
	list, err := a.Cases.Store().Boundaries(ctx)
	for _, b := range list {
		out.Enabled = out.Enabled || b.Recording
	}
	return out, err
}

// restDissectionOut reports that calls can be queried.
type restDissectionOut struct {
	Enabled bool `json:"enabled"`
}

func restDissection(context.Context, *tools.Invocation, *question) (restDissectionOut, error) {
	return restDissectionOut{true}, nil
}

// detailsIn are the arguments of get_api_call_details.
type detailsIn struct {
	ID      string `json:"id" jsonschema:"call_id, at least 8 digits of it, or # and call_no, such as #42"`
	Node    string `json:"node_id,omitempty" jsonschema:"not needed: an id is unique"`
	Payload *bool  `json:"include_payload,omitempty" jsonschema:"not needed: an answer always has the bodies"`
	L4      *bool  `json:"include_l4,omitempty" jsonschema:"not needed: an answer always has the flow"`
	MaxBody int    `json:"max_payload_size,omitempty" jsonschema:"bytes of each body, at most 16384; default 4096"`
}

// ofCall returns the route for one call in full.
func (s *Server) ofCall() route {
	rt := route{Path: "/mcp/tools/get_api_call_details", Method: http.MethodPost, Description: "One call in full", Params: []param{}, body: tools.Schema[detailsIn]("details")}
	ask.Bound(rt.body)
	rt = s.ofTool(rt, "get_api_call", func(x *question) (map[string]any, error) {
		if err := validated(rt.body, x.body); err != nil {
			return nil, err
		}
		out := map[string]any{"call_id": x.body["id"]}
		if n, ok := x.body["max_payload_size"]; ok {
			out["max_body"] = n
		}
		return out, nil
	})
	return rt
}

// validated checks a body against its schema.
func validated(s *jsonschema.Schema, body map[string]any) error {
	if err := ask.InBounds(s, body); err != nil {
		return store.BadRequest("body: %s", err)
	}
	r, err := s.CloneSchemas().Resolve(nil)
	if err == nil {
		err = r.Validate(body)
	}
	if err != nil {
		return store.BadRequest("body: %s", tools.Plain(err))
	}
	return nil
}
