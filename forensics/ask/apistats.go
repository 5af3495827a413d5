package ask

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
)

// APIStatsIn asks for endpoints and how they do.
type APIStatsIn struct {
	Scope
	Service string `json:"service,omitempty" jsonschema:"only calls to this service, workload, pod, host or address; namespace/name narrows, * and ? match"`
	Client  string `json:"client,omitempty" jsonschema:"only calls from this one"`
	Order   string `json:"order,omitempty" jsonschema:"calls (the default), errors, p99 or bytes: what comes first"`
}

// APIStats are endpoints, each a method and a path at a service, or what a protocol has in their place.
type APIStats struct {
	Frame
	Endpoints []EndpointStats `json:"endpoints"`
	Total     int64           `json:"total_calls"`
}

// EndpointStats is how calls to one endpoint went.
type EndpointStats struct {
	Dst       string   `json:"dst" jsonschema:"who was asked, namespace/name"`
	Protocol  string   `json:"protocol"`
	Endpoint  string   `json:"endpoint" jsonschema:"method and path with ids taken out, SQL or Redis verb, DNS type"`
	Calls     int64    `json:"calls"`
	Failed    int64    `json:"failed" jsonschema:"the protocol says that they failed, or they had no whole answer"`
	P50Ms     *float64 `json:"p50_ms,omitempty" jsonschema:"median time from the first byte of the request to the last of the response"`
	P90Ms     *float64 `json:"p90_ms,omitempty"`
	P99Ms     *float64 `json:"p99_ms,omitempty"`
	Bytes     int64    `json:"bytes" jsonschema:"payload of requests and responses"`
	ExampleID []string `json:"call_ids" jsonschema:"the first three calls"`
}

func apiStats() Question {
	return question("get_api_stats", "Endpoints and how they do", "Most used endpoints with calls, failures, latency percentiles and bytes; by service, client and window.", true, AskAPIStats)
}

// AskAPIStats answers which endpoints are called and how they do.
func AskAPIStats(ctx context.Context, c *forensics.Case, in APIStatsIn) (*APIStats, error) {
	w, err := in.read(c)
	if err != nil {
		return nil, err
	}
	orders := map[string]string{"": "calls", "calls": "calls", "errors": "failed", "p99": "p99_ms", "bytes": "bytes"}
	order, ok := orders[in.Order]
	if !ok {
		return nil, wrong("order", "%q, want calls, errors, p99 or bytes", in.Order)
	}
	if in.Service != "" {
		cond, args := end("dst_", in.Service)
		w.and(cond, args...)
	}
	if in.Client != "" {
		cond, args := end("src_", in.Client)
		w.and(cond, args...)
	}
	out := &APIStats{}
	if out.Frame, err = w.frame(ctx, c); err != nil {
		return nil, err
	}
	sql := fmt.Sprintf(`SELECT %s AS dst, protocol, %s AS endpoint, count(*) AS calls, count(*) FILTER (failed OR error IS NOT NULL) AS failed,
		quantile_disc(elapsed_us, 0.5) / 1000.0 AS p50_ms, quantile_disc(elapsed_us, 0.9) / 1000.0 AS p90_ms, quantile_disc(elapsed_us, 0.99) / 1000.0 AS p99_ms,
		sum(request_bytes + response_bytes)::BIGINT AS bytes, %s
		FROM calls WHERE %s GROUP BY 1, 2, 3 ORDER BY %s DESC NULLS LAST, 1, 2, 3`, who("dst_"), endpoint, someCalls, w.where, order)
	if out.Endpoints, out.Truncated, err = readRows[EndpointStats](ctx, c, w.limit, sql, w.args...); err != nil {
		return nil, err
	}
	total, err := readOne[struct {
		N int64 `json:"n"`
	}](ctx, c, "SELECT count(*) AS n FROM calls WHERE "+w.where, w.args...)
	out.Total = total.N
	out.matched(len(out.Endpoints))
	return out, err
}
