// Package latency answers how endpoints perform: their calls, failures and latency (get_api_stats),
// where the time goes (get_latency), and the volume of traffic and its growth (get_capacity). Times
// are in milliseconds.
package latency

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// In is the input of get_latency.
type In struct {
	ask.Scope
	Service string   `json:"service,omitempty" jsonschema:"only calls to this service, workload, pod, host or address"`
	Client  string   `json:"client,omitempty" jsonschema:"only calls from this client"`
	Path    string   `json:"path,omitempty" jsonschema:"only calls with this path; * matches any text: /api/checkout*"`
	MinMs   float64  `json:"min_ms,omitempty" jsonschema:"list slow calls: those that took at least this many milliseconds"`
	By      string   `json:"by,omitempty" jsonschema:"rows of the breakdown (default endpoint)"`
	Order   string   `json:"order,omitempty" jsonschema:"order of the breakdown (default total time)"`
	Parts   []string `json:"parts,omitempty" jsonschema:"parts of the answer (chain: calls that the selected requests caused; default breakdown, or slow with min_ms)"`
	Bucket  string   `json:"bucket,omitempty" jsonschema:"length of a step of series, such as 1m; default a fiftieth of the window"`
}

// Answer is the answer of get_latency.
type Answer struct {
	ask.Frame
	Calls     int64         `json:"calls" jsonschema:"requests, without handshakes and unknown payload"`
	Timed     int64         `json:"timed" jsonschema:"of these, requests with a known time: answered, or not answered while their caller waited"`
	NoAnswer  int64         `json:"no_answer" jsonschema:"of these, requests without a response: they count with the time that their caller waited"`
	Breakdown []Breakdown   `json:"breakdown,omitempty" jsonschema:"most total time first, or as order says"`
	Chain     *HopChain     `json:"chain,omitempty" jsonschema:"where the time of the selected requests goes, hop by hop"`
	Slow      *Slow         `json:"slow,omitempty"`
	Queries   []SlowQuery   `json:"queries,omitempty" jsonschema:"database statements with literals replaced, most total time first"`
	Size      []Correlation `json:"size,omitempty" jsonschema:"correlation of size and latency"`
	Replicas  []Replicas    `json:"replicas,omitempty" jsonschema:"load across the pods of a service"`
	Series    []Step        `json:"series,omitempty"`
}

// Breakdown splits the time of some calls into phases, in milliseconds.
type Breakdown struct {
	Src      string   `json:"src,omitempty"`
	Dst      string   `json:"dst,omitempty"`
	Protocol string   `json:"protocol,omitempty"`
	Endpoint string   `json:"endpoint,omitempty"`
	Calls    int64    `json:"calls"`
	Failed   int64    `json:"failed"`
	TotalMs  float64  `json:"total_ms" jsonschema:"sum of all times"`
	P50Ms    *float64 `json:"p50_ms,omitempty"`
	P90Ms    *float64 `json:"p90_ms,omitempty"`
	P99Ms    *float64 `json:"p99_ms,omitempty"`
	MaxMs    *float64 `json:"max_ms,omitempty"`
	DNS      *Phase   `json:"dns,omitempty" jsonschema:"name look-up before a connection; n counts the calls for which it is known"`
	Connect  *Phase   `json:"connect,omitempty" jsonschema:"TCP handshake, first call of a connection only"`
	TLS      *Phase   `json:"tls,omitempty" jsonschema:"TLS handshake, first call of a connection only"`
	Send     *Phase   `json:"send,omitempty" jsonschema:"first to last byte of the request"`
	Wait     *Phase   `json:"wait,omitempty" jsonschema:"last byte of the request to first byte of the response: network and server"`
	Receive  *Phase   `json:"receive,omitempty" jsonschema:"first to last byte of the response"`
	Network  *Phase   `json:"network,omitempty" jsonschema:"the network's part of wait; only if both sides were captured"`
	Most     string   `json:"most_in,omitempty" jsonschema:"the phase with the most total time"`
	CallID   string   `json:"call_id" jsonschema:"the slowest call"`
	KFL      string   `json:"kfl" jsonschema:"filter for exactly these calls, without the window and the other filters of the input"`
}

// Phase summarizes one phase of calls.
type Phase struct {
	N     int64   `json:"n"`
	P50Ms float64 `json:"p50_ms"`
	P99Ms float64 `json:"p99_ms"`
	SumMs float64 `json:"sum_ms"`
}

// Slow lists the calls over a threshold.
type Slow struct {
	MinMs      float64    `json:"min_ms"`
	Calls      int64      `json:"calls" jsonschema:"including calls without a response if their caller waited this long"`
	Unanswered int64      `json:"unanswered" jsonschema:"of these, calls without a response"`
	Services   []SlowItem `json:"services" jsonschema:"services with the most of them"`
	Endpoints  []SlowItem `json:"endpoints"`
	Slowest    []ask.Call `json:"slowest" jsonschema:"no elapsed_ms if there was no response"`
	KFL        string     `json:"kfl"`
}

// SlowItem counts the slow calls of a service or an endpoint.
type SlowItem struct {
	Dst      string   `json:"dst"`
	Endpoint string   `json:"endpoint,omitempty"`
	Slow     int64    `json:"slow"`
	Without  int64    `json:"unanswered,omitempty" jsonschema:"of these, calls without a response"`
	Calls    int64    `json:"calls" jsonschema:"all calls, slow or not"`
	P50Ms    *float64 `json:"p50_ms,omitempty" jsonschema:"of the slow ones"`
	MaxMs    *float64 `json:"max_ms,omitempty"`
	CallIDs  []string `json:"call_ids"`
}

var latencyParts = []string{"breakdown", "chain", "slow", "queries", "size", "replicas", "series"}

// Question is the question get_latency.
func Question() ask.Question {
	return ask.New("get_latency", "Where time goes", "Latency by endpoint, service or client, split into dns, connect, tls, send, wait, receive and network; along the chain of calls that requests caused; slow calls over a threshold; slow database statements; correlation with size; load across replicas; a time series.", true, Ask).
		Allow("parts", latencyParts...).Allow("by", "endpoint", "service", "client").Allow("order", "total", "p99")
}

// Ask answers get_latency.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := in.narrow(c, w); err != nil {
		return nil, err
	}
	step, err := bucket(w, in.Bucket)
	if err != nil {
		return nil, err
	}
	out := &Answer{}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	n, err := ask.WaitsOf(ctx, c, "calls", w.Where+" AND "+terms.IsRequest, w.Args...)
	if err != nil {
		return nil, err
	}
	out.Calls, out.Timed, out.NoAnswer = n.Calls, n.Timed, n.None
	out.NoteWaits(n)
	for _, part := range in.Parts {
		if err := out.part(ctx, c, w, &in, part, step); err != nil {
			return nil, err
		}
	}
	out.Match(int(min(n.Calls, 1)))
	return out, nil
}

// narrow checks the input and adds its filters to the window.
func (in *In) narrow(c *forensics.Case, w *ask.Window) error {
	if in.MinMs < 0 || in.MinMs > 1e12 {
		return ask.Wrong("min_ms", "must be 0 or more, not %g", in.MinMs)
	}
	if len(in.Parts) == 0 {
		in.Parts = []string{"breakdown"}
		if in.MinMs > 0 {
			in.Parts = []string{"slow"}
		}
	}
	slices.Sort(in.Parts)
	in.Parts = slices.Compact(in.Parts)
	return w.Narrow(c, in.Service, in.Client, in.Path)
}

func (l *Answer) part(ctx context.Context, c *forensics.Case, w *ask.Window, in *In, part string, step int64) (err error) {
	switch part {
	case "breakdown":
		l.Breakdown, err = breakdown(w, ctx, c, in, &l.Frame)
		l.Breakdown = ask.Fit(w, &l.Frame, l.Breakdown)
	case "chain":
		var wide *ask.Window
		if wide, err = in.Scope.Read(ctx, c); err == nil {
			if l.Chain, err = chain(w, ctx, c, wide, &l.Frame); err == nil {
				l.Chain.cut(w, &l.Frame)
			}
		}
	case "slow":
		l.Slow, err = slow(w, ctx, c, in.MinMs, &l.Frame)
	case "queries":
		l.Queries, err = slowQueries(w, ctx, c, in.MinMs, &l.Frame)
		l.Queries = ask.Fit(w, &l.Frame, l.Queries)
	case "size":
		l.Size, err = correlate(w, ctx, c, &l.Frame)
		l.Size = ask.Fit(w, &l.Frame, l.Size)
	case "replicas":
		l.Replicas, err = replicas(w, ctx, c, &l.Frame)
		l.Replicas = ask.Fit(w, &l.Frame, l.Replicas)
	case "series":
		l.Series, err = series(w, ctx, c, step, &l.Frame)
	}
	return err
}

// phases are the phases of a call.
var phases = [...]string{"dns", "connect", "tls", "send", "wait", "receive", "network"}

// breakdownOrders are the columns that the breakdown is sorted by.
var breakdownOrders = map[string]string{"": "total_ms DESC", "total": "total_ms DESC", "p99": "p99_ms DESC NULLS LAST, total_ms DESC"}

// breakdown splits the time of calls by endpoint, service or client.
func breakdown(w *ask.Window, ctx context.Context, c *forensics.Case, in *In, f *ask.Frame) ([]Breakdown, error) {
	by := in.By
	keys, names, from := "bn, far, protocol, coalesce(method, '') AS method, "+terms.PathTemplate+" AS tpl", "coalesce(nullif(far, ''), dst) AS dst, pb, protocol, method, tpl", "JOIN dname USING (bn)"
	switch by {
	case "service":
		keys, names = "bn, far", "coalesce(nullif(far, ''), dst) AS dst, pb"
	case "client":
		keys, names, from = "an", "src", "JOIN sname USING (an)"
	}
	var aggregates, columns strings.Builder
	for _, p := range phases {
		fmt.Fprintf(&aggregates, ", count(%[1]s_us) AS n_%[1]s, coalesce(quantile_disc(%[1]s_us, [0.5, 0.99]), [0, 0]) AS q_%[1]s, coalesce(sum(%[1]s_us), 0)::BIGINT AS s_%[1]s", p)
		fmt.Fprintf(&columns, ", CASE WHEN n_%[1]s > 0 THEN {'n': n_%[1]s, 'p50_ms': q_%[1]s[1] / 1000.0, 'p99_ms': q_%[1]s[2] / 1000.0, 'sum_ms': s_%[1]s / 1000.0} END AS %[1]s", p)
	}
	asked := ""
	if by != "client" {
		asked = ", bool_or(" + terms.Asked + ") AS asked"
		names += ", asked"
	}
	last := map[string]string{"": "dst, protocol, method, tpl", "endpoint": "dst, protocol, method, tpl", "service": "dst", "client": "src"}[by]
	sql := w.Ends(c, "service") + fmt.Sprintf(`, g AS (SELECT %s%s, count(*) AS calls, count(*) FILTER (failed) AS failed, coalesce(sum(`+terms.Took+`), 0)::BIGINT AS total, quantile_disc(`+terms.Took+`, [0.5, 0.9, 0.99]) AS p, max(`+terms.Took+`) AS top, %s AS call_id%s
		FROM %s WHERE %s GROUP BY ALL)
		SELECT %s, calls, failed, total / 1000.0 AS total_ms, p[1] / 1000.0 AS p50_ms, p[2] / 1000.0 AS p90_ms, p[3] / 1000.0 AS p99_ms, top / 1000.0 AS max_ms, lower(hex(call_id)) AS call_id%s
		FROM g %s ORDER BY %s, calls DESC, %s`, keys, asked, terms.Slowest, aggregates.String(), "x", terms.IsRequest, names, columns.String(), from, breakdownOrders[in.Order], last)
	type row struct {
		Breakdown
		Pb     string `json:"pb"`
		Asked  bool   `json:"asked"`
		Method string `json:"method"`
		Path   string `json:"tpl"`
	}
	rows, more, err := ask.Rows[row](ctx, c, w.Limit, sql, w.Args...)
	if err != nil {
		return nil, err
	}
	f.Truncated = f.Truncated || more
	known, err := ask.Nodes(ctx, c, "service")
	if err != nil {
		return nil, err
	}
	out := make([]Breakdown, len(rows))
	for i, r := range rows {
		switch by {
		case "service":
			r.KFL = ask.DstKFL(r.Dst, r.Pb, r.Asked, known) + terms.NotCarriers
		case "client":
			r.KFL = ask.SrcKFL(r.Src, known) + terms.NotCarriers
		default:
			r.Endpoint = ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
			r.KFL = ask.DstKFL(r.Dst, r.Pb, r.Asked, known) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path)
		}
		r.Most = r.most()
		out[i] = r.Breakdown
	}
	return out, nil
}

// most names the phase with the most time.
func (b *Breakdown) most() string {
	best, name := 0.0, ""
	for i, p := range []*Phase{b.DNS, b.Connect, b.TLS, b.Send, b.Wait, b.Receive} {
		if p != nil && p.SumMs > best {
			best, name = p.SumMs, phases[i]
		}
	}
	return name
}

// slow lists the calls over a threshold, with their services and endpoints. A call without a
// response took as long as its connection stayed open after it.
func slow(w *ask.Window, ctx context.Context, c *forensics.Case, minMs float64, f *ask.Frame) (*Slow, error) {
	us := int64(minMs * 1000)
	s := &Slow{MinMs: minMs, KFL: fmt.Sprintf(`(outcome == "no_answer" ? waited_us : elapsed_us) >= %d%s`, us, terms.NotCarriers)}
	slow := fmt.Sprintf(`, s AS (SELECT *, %[1]s AS took FROM x WHERE %[2]s AND %[1]s >= %[3]d)`, terms.Took, terms.IsRequest, us)
	items := func(keys, group, names string) ([]SlowItem, error) {
		type row struct {
			SlowItem
			Protocol string `json:"protocol"`
			Method   string `json:"method"`
			Path     string `json:"tpl"`
		}
		rows, more, err := ask.Rows[row](ctx, c, min(w.Page, 20), w.Ends(c, "service")+slow+fmt.Sprintf(`, h AS (SELECT %[1]s, count(*) AS slow, count(*) FILTER (outcome = 'no_answer') AS unanswered, quantile_disc(took, 0.5) / 1000.0 AS p50_ms, max(took) / 1000.0 AS max_ms, %[4]s FROM s GROUP BY ALL),
			g AS (SELECT %[1]s, count(*) AS calls FROM x WHERE %[5]s GROUP BY ALL)
			SELECT coalesce(nullif(far, ''), dst) AS dst, %[3]s slow, unanswered, calls, p50_ms, max_ms, call_ids FROM h JOIN g USING (%[2]s) JOIN dname USING (bn) ORDER BY slow DESC, max_ms DESC, %[3]s 1`,
			keys, group, names, terms.SomeCalls, terms.IsRequest), w.Args...)
		f.Truncated = f.Truncated || more
		out := make([]SlowItem, len(rows))
		for i, r := range rows {
			if names != "" {
				r.Endpoint = ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
			}
			out[i] = r.SlowItem
		}
		return out, err
	}
	var err error
	if s.Services, err = items("bn, far", "bn, far", ""); err != nil {
		return nil, err
	}
	if s.Endpoints, err = items("bn, far, protocol, coalesce(method, '') AS method, "+terms.PathTemplate+" AS tpl", "bn, far, protocol, method, tpl", "protocol, method, tpl, "); err != nil {
		return nil, err
	}
	n, err := ask.One[struct {
		Calls      int64 `json:"calls"`
		Unanswered int64 `json:"unanswered"`
	}](ctx, c, w.Ends(c, "service")+slow+" SELECT count(*) AS calls, count(*) FILTER (outcome = 'no_answer') AS unanswered FROM s", w.Args...)
	if err != nil {
		return nil, err
	}
	s.Calls, s.Unanswered = n.Calls, n.Unanswered
	ids, more, err := ask.Rows[struct {
		ID string `json:"id"`
	}](ctx, c, min(w.Page, 20), w.Ends(c, "service")+slow+" SELECT lower(hex(call_id)) AS id FROM s ORDER BY took DESC, ts_ns, call_id", w.Args...)
	if err != nil {
		return nil, err
	}
	f.Truncated = f.Truncated || more
	list := make([]string, len(ids))
	for i, v := range ids {
		list[i] = v.ID
	}
	byID, err := ask.CallsOf(ctx, c, list)
	s.Slowest = []ask.Call{}
	for _, id := range list {
		s.Slowest = append(s.Slowest, byID[id])
	}
	return s, err
}

// Sentence is the answer in one sentence.
func (a *Answer) Sentence() string {
	s := plural.Sprintf("%d of %d {call has|calls have} a time", a.Timed, a.Calls)
	if len(a.Breakdown) > 0 {
		b := &a.Breakdown[0]
		s += "; most time went to " + strings.TrimSpace(cmp.Or(b.Dst, b.Src)+" "+b.Endpoint)
		if b.Most != "" {
			s += " (" + b.Most + ")"
		}
	}
	if a.Chain != nil && a.Chain.Most != "" {
		s += "; the hop with the most own time is " + a.Chain.Most
	}
	return s + "."
}
