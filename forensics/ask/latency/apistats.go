package latency

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// APIStatsIn is the input of get_api_stats.
type APIStatsIn struct {
	ask.Scope
	Service string `json:"service,omitempty" jsonschema:"only calls to this service, workload, pod, host or address; namespace/name narrows, * and ? match"`
	Client  string `json:"client,omitempty" jsonschema:"only calls from this client"`
	Order   string `json:"order,omitempty" jsonschema:"order of rows (default calls)"`
}

// APIStats is the answer of get_api_stats. An endpoint is a method and a path at a service, or the
// equivalent of another protocol.
type APIStats struct {
	ask.Frame
	Endpoints []EndpointStats `json:"endpoints"`
	Total     int64           `json:"total_calls"`
}

// EndpointStats summarizes the calls to one endpoint.
type EndpointStats struct {
	Dst       string   `json:"dst" jsonschema:"server, as namespace/name"`
	Protocol  string   `json:"protocol"`
	Endpoint  string   `json:"endpoint" jsonschema:"method and path with ids replaced, SQL or Redis verb, DNS type"`
	Calls     int64    `json:"calls"`
	Failed    int64    `json:"failed" jsonschema:"calls with an error status or without a response"`
	P50Ms     *float64 `json:"p50_ms,omitempty" jsonschema:"median time from the first byte of the request to the last of the response"`
	P90Ms     *float64 `json:"p90_ms,omitempty"`
	P99Ms     *float64 `json:"p99_ms,omitempty"`
	Bytes     int64    `json:"bytes" jsonschema:"payload of requests and responses"`
	ExampleID []string `json:"call_ids" jsonschema:"the first three calls"`
	KFL       string   `json:"kfl" jsonschema:"filter for exactly these calls, without the window and the other filters of the input"`
}

// StatsQuestion is the question get_api_stats.
func StatsQuestion() ask.Question {
	return ask.New("get_api_stats", "Endpoint statistics", "Most used endpoints with calls, failures, latency percentiles and bytes; by service, client and window.", false, AskAPIStats).
		Allow("order", "calls", "errors", "p99", "bytes")
}

// AskAPIStats answers get_api_stats.
func AskAPIStats(ctx context.Context, c *forensics.Case, in APIStatsIn) (*APIStats, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	order := map[string]string{"": "calls", "calls": "calls", "errors": "failed", "p99": "p99_ms", "bytes": "bytes"}[in.Order]
	if in.Service != "" {
		cond, args := terms.EndIs(c, "dst_", in.Service)
		w.And(cond, args...)
	}
	if in.Client != "" {
		cond, args := terms.EndIs(c, "src_", in.Client)
		w.And(cond, args...)
	}
	out := &APIStats{}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	type row struct {
		EndpointStats
		Pb     string `json:"pb"`
		Asked  bool   `json:"asked"`
		Method string `json:"method"`
		Path   string `json:"tpl"`
	}
	sql := w.Ends(c, "service") + fmt.Sprintf(`, g AS (SELECT bn, far, protocol, coalesce(method, '') AS method, tpl, bool_or(`+terms.Asked+`) AS asked, count(*) AS calls, count(*) FILTER (failed) AS failed,
			quantile_disc(`+terms.Took+`, [0.5, 0.9, 0.99]) AS p, sum(request_bytes + response_bytes)::BIGINT AS bytes, %s FROM (SELECT *, `+terms.PathTemplate+` AS tpl FROM x) GROUP BY ALL)
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, calls, failed, p[1] / 1000.0 AS p50_ms, p[2] / 1000.0 AS p90_ms, p[3] / 1000.0 AS p99_ms, bytes, call_ids
		FROM g JOIN dname USING (bn) ORDER BY %s DESC NULLS LAST, 1, 4, 5, 6`, terms.SomeCalls, order)
	rows, more, err := ask.Rows[row](ctx, c, w.Limit, sql, w.Args...)
	if err != nil {
		return nil, err
	}
	known, err := ask.Nodes(ctx, c, "service")
	if err != nil {
		return nil, err
	}
	out.Truncated = more
	for _, r := range rows {
		r.Endpoint = ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		r.KFL = ask.DstKFL(r.Dst, r.Pb, r.Asked, known) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path)
		out.Endpoints = append(out.Endpoints, r.EndpointStats)
	}
	out.Endpoints = ask.Fit(w, &out.Frame, append([]EndpointStats{}, out.Endpoints...))
	n, err := ask.WaitsOf(ctx, c, "calls", w.Where, w.Args...)
	if err != nil {
		return nil, err
	}
	out.Total = n.Calls
	out.NoteWaits(ask.Waits{Calls: n.Calls, Timed: n.Calls, None: n.None, Blind: n.Blind}) // rows of all kinds, not only requests
	out.Match(len(out.Endpoints))
	return out, nil
}

// Sentence is the answer in one sentence.
func (a *APIStats) Sentence() string {
	s := plural.Sprintf("%d {call|calls} of %d {endpoint|endpoints}", a.Total, len(a.Endpoints))
	if len(a.Endpoints) > 0 {
		e := &a.Endpoints[0]
		s += plural.Sprintf("; first by the order asked for: %s %s with %d {call|calls}, of which %d failed", e.Dst, e.Endpoint, e.Calls, e.Failed)
	}
	return s + "."
}
