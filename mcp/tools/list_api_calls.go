package tools

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

var toolListAPICalls = Tool{Name: "list_api_calls", set: "calls", core: true, Sealed: true, title: "Calls that match a filter",
	doc: "List the calls (HTTP, gRPC, DNS, TLS, Redis, SQL, …) that match a KFL filter, by time, with their packets. columns selects other columns, max_body adds bodies, and group_by returns groups instead, with calls, failures, latency and an example. get_api_call shows one call in full."}

type listAPICallsIn struct {
	KFL     string   `json:"kfl,omitempty" jsonschema:"filter, such as: http && status_code >= 500 && dst.service == \"payment\""`
	From    string   `json:"from,omitempty" jsonschema:"start: a time such as 2026-01-31T14:15:00Z or 14:15:00, or a duration such as 15m before the end of the recording"`
	To      string   `json:"to,omitempty" jsonschema:"end, inclusive; same forms as from"`
	Order   string   `json:"order,omitempty" jsonschema:"such as elapsed_us desc; default: by time, groups by number of calls"`
	Columns []string `json:"columns,omitempty" jsonschema:"columns besides id, time and packets, such as path, user_agent; see describe_schema"`
	GroupBy []string `json:"group_by,omitempty" jsonschema:"columns, such as dst_service, status_code: one row per group of calls"`
	MaxBody int      `json:"max_body,omitempty" jsonschema:"bytes of each body to show, at most 4096"`
	limits
}

// ListAPICallsOut is the answer of list_api_calls.
type ListAPICallsOut struct {
	Answer string      `json:"answer" jsonschema:"how many calls or groups match"`
	Calls  []call      `json:"calls,omitzero" jsonschema:"without group_by"`
	Groups []callGroup `json:"groups,omitzero" jsonschema:"with group_by, the largest groups first"`
	page
}

// callGroup summarizes the calls with equal values in the columns of group_by.
type callGroup struct {
	Of     map[string]any `json:"of" jsonschema:"the columns of group_by"`
	Calls  int64          `json:"calls"`
	Failed int64          `json:"failed"`
	P50    *int64         `json:"p50_us,omitempty" jsonschema:"median time that callers waited, microseconds"`
	P99    *int64         `json:"p99_us,omitempty"`
	Max    *int64         `json:"max_us,omitempty"`
	First  string         `json:"first" jsonschema:"time of the first call"`
	Last   string         `json:"last"`
	ID     string         `json:"call_id" jsonschema:"call_id of the first call"`
}

type call struct {
	Bundle   *int64 `json:"bundle,omitempty"`
	ID       string `json:"call_id"`
	No       int64  `json:"call_no"`
	Time     string `json:"ts"`
	Elapsed  *int64 `json:"elapsed_us,omitempty"`
	Src      string `json:"src,omitempty"`
	Dst      string `json:"dst,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Summary  string `json:"summary,omitempty"`
	Host     string `json:"host,omitempty"`
	Status   *int64 `json:"status_code,omitempty"`
	Error    string `json:"error,omitempty"`
	Failed   bool   `json:"failed,omitempty"`
	TraceID  string `json:"trace_id,omitempty"`
	Packets  string `json:"packets" jsonschema:"file and frames that carry the call, as Wireshark counts them"`

	Columns  map[string]any `json:"columns,omitempty" jsonschema:"with columns; replaces the members from elapsed_us to trace_id"`
	Request  *message       `json:"request,omitempty" jsonschema:"with max_body"`
	Response *message       `json:"response,omitempty" jsonschema:"with max_body"`
}

// maxListBody is the limit of max_body in a list of calls.
const maxListBody = 4 << 10

func smallBodies(e *Entry) *Entry {
	s := e.In.Properties["max_body"]
	s.Minimum, s.Maximum = jsonschema.Ptr(1.0), jsonschema.Ptr(float64(maxListBody))
	return e
}

var callColumns = []string{"call_id", "call_no", "ts_ns", "elapsed_us", "src_name", "src_namespace", "dst_name", "dst_namespace",
	"protocol", "summary", "host", "status_code", "error", "failed", "trace_id", "cites"}

func (s *Invocation) listAPICalls(ctx context.Context, in listAPICallsIn) (out ListAPICallsOut, err error) {
	if in.Columns, err = s.callsHave("columns", in.Columns); err != nil {
		return out, err
	}
	if in.GroupBy, err = s.callsHave("group_by", in.GroupBy); err != nil {
		return out, err
	}
	if len(in.GroupBy) > 0 {
		return s.groupCalls(ctx, in)
	}
	q := forensics.Query{KFL: in.KFL, Order: in.Order, Columns: s.withBundle(callColumns)}
	if len(in.Columns) > 0 {
		q.Columns = s.withBundle(slices.Concat([]string{"call_id", "call_no", "ts_ns"}, in.Columns, []string{"cites"}))
	}
	if q.From, q.To, err = s.times(in.From, in.To); err != nil {
		return out, err
	}
	var failed error
	ahead := &bodies{s: s, most: in.MaxBody}
	list, r, err := rows(ctx, s, q, in.limits, func(r *forensics.Result, i int) (c call) {
		if len(in.Columns) > 0 {
			c = s.callWith(r, i, in.Columns)
		} else {
			c = s.call(r, i)
		}
		if in.MaxBody > 0 {
			failed = cmp.Or(failed, ahead.add(ctx, r, i, &c))
		}
		return c
	})
	if err = errors.Join(err, failed); err != nil {
		return out, err
	}
	out.Calls, out.page = list, s.page(ctx, r)
	q.Columns, q.Order, q.Count = nil, "", true
	out.Answer, err = s.sentence(ctx, q, in.limits, &out.page, len(list), counted{"%d {call matches|calls match}", "{call that matches|calls that match}"})
	return out, err
}

// callsHave checks names of columns of table calls, which may be in KFL's form, such as dst.service.
func (s *Invocation) callsHave(field string, list []string) ([]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	tables, err := s.Case.Tables()
	if err != nil {
		return nil, err
	}
	var known, out []string
	for _, t := range tables {
		if t.Name == "calls" {
			for _, c := range t.Columns {
				known = append(known, c.Name)
			}
		}
	}
	for _, name := range list {
		column := strings.ReplaceAll(name, ".", "_")
		if !slices.Contains(known, column) {
			hint := cmp.Or(nearest.Hint(column, known), "describe_schema with table calls lists the columns")
			return nil, ask.Wrong(field, "table calls has no column %q; %s", ask.Clip(name, 50), hint)
		}
		if !slices.Contains(out, column) {
			out = append(out, column)
		}
	}
	return out, nil
}

// groupCalls counts the calls with equal values in columns.
func (s *Invocation) groupCalls(ctx context.Context, in listAPICallsIn) (out ListAPICallsOut, err error) {
	switch {
	case len(in.Columns) > 0 || in.MaxBody > 0:
		return out, ask.Wrong("group_by", "cannot be combined with columns or max_body, because the answer has groups instead of calls")
	case in.Order != "" && !groupOrder.MatchString(in.Order):
		return out, ask.Wrong("order", "%q: with group_by it must be calls, failed, p50_us, p99_us, max_us, first or last, optionally followed by desc", ask.Clip(in.Order, 100))
	}
	w, err := ask.Scope{From: in.From, To: in.To, KFL: in.KFL}.Read(ctx, s.Case)
	if err != nil {
		return out, err
	}
	columns := `"` + strings.Join(in.GroupBy, `", "`) + `"`
	order := in.Order
	if order == "" {
		order = "calls DESC"
	}
	q := forensics.Query{Args: w.Args, SQL: `SELECT ` + columns + `, count(*) AS calls, count(*) FILTER (failed) AS failed,
		quantile_disc(` + terms.Took + `, 0.5) AS p50_us, quantile_disc(` + terms.Took + `, 0.99) AS p99_us, max(` + terms.Took + `) AS max_us,
		min(ts_ns) AS first, max(ts_ns) AS last, arg_min(call_id, (ts_ns, call_id)) AS call_id FROM calls WHERE ` + w.Where + ` GROUP BY ` + columns + ` ORDER BY ` + order + `, ` + columns}
	list, r, err := rows(ctx, s, q, in.limits, func(r *forensics.Result, i int) callGroup {
		row, n := r.Rows[i], len(in.GroupBy)
		g := callGroup{Of: map[string]any{}}
		for k, name := range in.GroupBy {
			g.Of[name] = s.value(row[k])
		}
		id, _ := row[n+7].([]byte)
		g.Calls, g.Failed, g.P50, g.P99, g.Max = number(row[n]), number(row[n+1]), optional(row[n+2]), optional(row[n+3]), optional(row[n+4])
		g.First, g.Last, g.ID = when.Stamp(number(row[n+5])), when.Stamp(number(row[n+6])), hex.EncodeToString(id)
		return g
	})
	if err != nil {
		return out, err
	}
	if r.Coverage, err = s.Case.Coverage(w.From, w.To); err != nil {
		return out, err
	}
	r.Notes, r.Now = append(w.Notes, r.Notes...), w.Now
	out.Groups, out.page = list, s.page(ctx, r)
	out.Answer, err = s.sentence(ctx, counting(q), in.limits, &out.page, len(list), counted{"%d {group|groups} of calls {matches|match}", "{group|groups} of calls that match"})
	return out, err
}

// groupOrder matches the valid orders of groups.
var groupOrder = regexp.MustCompile(`^(?i:(calls|failed|p50_us|p99_us|max_us|first|last)( asc| desc)?)$`)

// bodiesAhead is for how many calls bodies are read with one query.
const bodiesAhead = 50

// bodies are those of the next calls of a page.
type bodies struct {
	s    *Invocation
	most int // bytes of each
	of   map[forensics.CallNo][2]*message
	end  int // row after the last that was read
}

// add adds the bodies of row i of a page, whose rows are converted in their order.
func (b *bodies) add(ctx context.Context, r *forensics.Result, i int, c *call) error {
	if i >= b.end {
		b.end = min(i+bodiesAhead, len(r.Rows))
		if err := b.read(ctx, r, i); err != nil {
			return err
		}
	}
	both := b.of[c.of()]
	c.Request, c.Response = both[0], both[1]
	return nil
}

func (b *bodies) read(ctx context.Context, r *forensics.Result, from int) error {
	var list []forensics.CallNo
	for i := from; i < b.end; i++ {
		c, _ := b.s.identified(r, i)
		list = append(list, c.of())
	}
	b.of = map[forensics.CallNo][2]*message{}
	return b.s.Case.EachCall(ctx, list, forensics.CallOptions{MaxBody: b.most}, func(x *forensics.Exchange) error {
		both := [2]*message{b.s.cells().Message(x, x.Request, "request", b.most), b.s.cells().Message(x, x.Response, "response", b.most)}
		for _, m := range both {
			if m != nil {
				m.Headers = nil // they are available as columns
			}
		}
		no, _ := x.Call.Get("call_no").(int64)
		b.of[forensics.CallNo{Bundle: x.Bundle, No: no}] = both
		return nil
	})
}

// of is the number of a call in its bundle.
func (c *call) of() (no forensics.CallNo) {
	no.No = c.No
	if c.Bundle != nil {
		no.Bundle = int(*c.Bundle)
	}
	return no
}

// callWith converts a row with id, number, time and columns.
func (s *Invocation) callWith(r *forensics.Result, i int, columns []string) call {
	c, row := s.identified(r, i)
	c.Columns = map[string]any{}
	for k, name := range columns {
		c.Columns[name] = s.value(row[3+k])
	}
	return c
}

// identified converts a row that begins with id, number and time.
func (s *Invocation) identified(r *forensics.Result, i int) (c call, row []any) {
	row = r.Rows[i]
	if s.several() {
		c.Bundle, row = optional(row[0]), row[1:]
	}
	id, _ := row[0].([]byte)
	c.ID, c.No, c.Time, c.Packets = hex.EncodeToString(id), number(row[1]), when.Stamp(number(row[2])), citation(r, i)
	return c, row
}

// call converts a row with callColumns.
func (s *Invocation) call(r *forensics.Result, i int) call {
	c, row := s.identified(r, i)
	failed, _ := row[13].(bool)
	c.Elapsed = optional(row[3])
	c.Src, c.Dst = named(row[4], row[5]), named(row[6], row[7])
	c.Protocol, c.Summary, c.Host = text(row[8]), ask.Clip(text(row[9]), 300), ask.Clip(text(row[10]), 200)
	c.Status, c.Error, c.Failed, c.TraceID = optional(row[11]), text(row[12]), failed, text(row[14])
	return c
}

// named returns the name of an endpoint, with its namespace if it has one.
func named(name, namespace any) string {
	if ns := text(namespace); ns != "" {
		return ns + "/" + text(name)
	}
	return text(name)
}

func (s *Invocation) several() bool { return len(s.Case.Bundles()) > 1 }

// withBundle adds the bundle's number as the first column if several bundles are open.
func (s *Invocation) withBundle(cols []string) []string {
	if !s.several() {
		return cols
	}
	return append([]string{"bundle"}, cols...)
}
