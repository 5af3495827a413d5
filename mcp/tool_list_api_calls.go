package mcp

import (
	"context"
	"encoding/hex"

	"github.com/pcapsule/pcapsule/forensics"
)

var toolListAPICalls = tool{name: "list_api_calls", set: "calls", core: true, sealed: true, title: "Calls that a filter holds for",
	doc: "List calls (HTTP, gRPC, DNS, TLS, Redis, SQL, …) in order of time. kfl is the filter; without it all calls. Each row cites its packets. get_api_call shows one whole."}

type listAPICallsIn struct {
	KFL   string `json:"kfl,omitempty" jsonschema:"condition, such as: http && status_code >= 500 && dst.service == \"payment\""`
	From  string `json:"from,omitempty" jsonschema:"start, RFC 3339, or a length such as 15m before the end"`
	To    string `json:"to,omitempty" jsonschema:"end, included"`
	Order string `json:"order,omitempty" jsonschema:"such as elapsed_us desc; else by time"`
	limits
}

type listAPICallsOut struct {
	Calls []call `json:"calls"`
	page
}

type call struct {
	Bundle   *int64 `json:"bundle,omitempty"`
	ID       string `json:"call_id"`
	No       int64  `json:"call_no"`
	Time     string `json:"ts"`
	Elapsed  *int64 `json:"elapsed_us,omitempty"`
	Src      string `json:"src"`
	Dst      string `json:"dst"`
	Protocol string `json:"protocol"`
	Summary  string `json:"summary"`
	Host     string `json:"host,omitempty"`
	Status   *int64 `json:"status_code,omitempty"`
	Error    string `json:"error,omitempty"`
	Failed   bool   `json:"failed,omitempty"`
	TraceID  string `json:"trace_id,omitempty"`
	Packets  string `json:"packets" jsonschema:"numbers of the packets that carry the call"`
}

var callColumns = []string{"call_id", "call_no", "ts_ns", "elapsed_us", "src_name", "src_namespace", "dst_name", "dst_namespace",
	"protocol", "summary", "host", "status_code", "error", "failed", "trace_id", "cites"}

func (s *answerer) listAPICalls(ctx context.Context, in listAPICallsIn) (listAPICallsOut, error) {
	out := listAPICallsOut{Calls: []call{}}
	q := forensics.Query{KFL: in.KFL, Order: in.Order, Columns: s.withBundle(callColumns)}
	var err error
	if q.From, q.To, err = s.times(in.From, in.To); err != nil {
		return out, err
	}
	list, r, err := rows(ctx, s, q, in.limits, s.call)
	if err != nil {
		return out, err
	}
	out.Calls, out.page = list, s.page(r)
	return out, nil
}

// call makes a call of a row with callColumns.
func (s *answerer) call(r *forensics.Result, i int) call {
	row := r.Rows[i]
	c := call{}
	if s.several() {
		c.Bundle, row = optional(row[0]), row[1:]
	}
	id, _ := row[0].([]byte)
	failed, _ := row[13].(bool)
	c.ID, c.No, c.Time, c.Elapsed = hex.EncodeToString(id), number(row[1]), stamp(number(row[2])), optional(row[3])
	c.Src, c.Dst = named(row[4], row[5]), named(row[6], row[7])
	c.Protocol, c.Summary, c.Host = text(row[8]), clip(text(row[9]), 300), clip(text(row[10]), 200)
	c.Status, c.Error, c.Failed, c.TraceID = optional(row[11]), text(row[12]), failed, text(row[14])
	c.Packets = citation(r, i)
	return c
}

// named is an end of a call: its name, with the namespace where it has one.
func named(name, namespace any) string {
	if ns := text(namespace); ns != "" {
		return ns + "/" + text(name)
	}
	return text(name)
}

func (s *answerer) several() bool { return len(s.c.Bundles()) > 1 }

// withBundle puts the bundle's number before other columns where there are several.
func (s *answerer) withBundle(cols []string) []string {
	if !s.several() {
		return cols
	}
	return append([]string{"bundle"}, cols...)
}
