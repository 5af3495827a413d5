package tools

import (
	"cmp"
	"context"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/forensics/shown"
	"github.com/pcapsule/pcapsule/mcp/object"
)

var toolGetAPICall = Tool{Name: "get_api_call", set: "calls", core: true, Short: true, title: "One call in full",
	doc: "Show one call in full: endpoints, headers, decoded bodies, times, flow, packets, anomalies.", other: map[string]string{"id": "call_id"}}

type GetAPICallIn struct {
	ID      string `json:"call_id" jsonschema:"call_id, at least 8 digits of it, or # and call_no, such as #42"`
	MaxBody int    `json:"max_body,omitempty" jsonschema:"bytes of each body, at most 16384; default 4096"`
}

// GetAPICallOut is the answer of get_api_call.
type GetAPICallOut struct {
	shown.OneCall
	Coverage ask.Coverage `json:"coverage"`
}

type message = shown.Message

// Limits of one call in an answer.
const (
	defaultBody = 4 << 10
	framing     = 300 // bytes that the answer gets around it
)

func (s *Invocation) getAPICall(ctx context.Context, in GetAPICallIn) (GetAPICallOut, error) {
	most := cmp.Or(in.MaxBody, min(defaultBody, s.Max/4))
	x, err := s.Case.Call(ctx, in.ID, forensics.CallOptions{MaxBody: most})
	if err != nil {
		return GetAPICallOut{}, err
	}
	// If it does not fit, shorten the bodies first, then headers and the rest.
	for cell := maxCell; ; cell /= 2 {
		out := GetAPICallOut{OneCall: shown.Cells{Policy: s.Policy, Size: cell, Exact: encode.JSON}.Exchange(x, most)}
		out.Verified = s.Case.Verified()
		if out.Coverage, err = s.coverageAt(x); err != nil {
			return out, err
		}
		raw, err := object.Marshal(out)
		if err != nil || len(raw)+framing <= s.Max || cell < 32 {
			return out, err
		}
		most /= 2
	}
}

// coverageAt returns the coverage of a call's time.
func (s *Invocation) coverageAt(x *forensics.Exchange) (ask.Coverage, error) {
	from := number(x.Call.Get("ts_ns"))
	cov, err := s.Case.Coverage(from, from+1000*number(x.Call.Get("elapsed_us")))
	return ask.CoverageOf(cov), err
}
