package servicemap

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Endpoint summarizes the calls to one endpoint of one service.
type Endpoint struct {
	Dst      string   `json:"dst" jsonschema:"server, as namespace/name"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint" jsonschema:"method and path with ids replaced, SQL or Redis verb, DNS type"`
	Calls    int64    `json:"calls"`
	Failed   int64    `json:"failed"`
	P50Ms    *float64 `json:"p50_ms,omitempty"`
	P90Ms    *float64 `json:"p90_ms,omitempty"`
	P99Ms    *float64 `json:"p99_ms,omitempty"`
	MaxMs    *float64 `json:"max_ms,omitempty"`
	CallID   string   `json:"call_id" jsonschema:"an example: the slowest"`
	KFL      string   `json:"kfl" jsonschema:"filter for exactly these calls"`
}

// endpointRow is an Endpoint as SQL returns it.
type endpointRow struct {
	ask.Target
	Calls  int64    `json:"calls"`
	Failed int64    `json:"failed"`
	P50Ms  *float64 `json:"p50_ms"`
	P90Ms  *float64 `json:"p90_ms"`
	P99Ms  *float64 `json:"p99_ms"`
	MaxMs  *float64 `json:"max_ms"`
	CallID string   `json:"call_id"`
}

// byEndpoint lists the endpoints of the window's requests, those with the most calls first.
func byEndpoint(w *ask.Window, ctx context.Context, c *forensics.Case, known map[string]ask.Node, limit int) ([]Endpoint, bool, error) {
	sql := w.Ends(c, "service") + fmt.Sprintf(`, g AS (SELECT bn, far, protocol, coalesce(method, '') AS method, CASE WHEN path IS NOT NULL AND endpoint IS DISTINCT FROM method THEN endpoint END AS own, bool_or(`+terms.Asked+`) AS asked,
			count(*) AS calls, count(*) FILTER (failed) AS failed, quantile_disc(`+terms.Took+`, [0.5, 0.9, 0.99]) AS p, max(`+terms.Took+`) AS slowest, %s AS call_id
			FROM x WHERE %s GROUP BY ALL)
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, CASE WHEN own IS NULL THEN '' WHEN method <> '' AND starts_with(own, method || ' ') THEN substr(own, length(method) + 1) ELSE own END AS tpl, calls, failed, p[1] / 1000.0 AS p50_ms, p[2] / 1000.0 AS p90_ms, p[3] / 1000.0 AS p99_ms,
			slowest / 1000.0 AS max_ms, lower(hex(call_id)) AS call_id FROM g JOIN dname USING (bn) ORDER BY calls DESC, 1, 4, 5, 6`, terms.Slowest, terms.RequestIn(c))
	rows, more, err := ask.Rows[endpointRow](ctx, c, limit, sql, w.Args...)
	out := make([]Endpoint, len(rows))
	for i, r := range rows {
		out[i] = Endpoint{r.Dst, r.Protocol, ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200), r.Calls, r.Failed, r.P50Ms, r.P90Ms, r.P99Ms, r.MaxMs, r.CallID,
			strings.Join([]string{ask.DstKFL(r.Dst, r.Pb, r.Asked, known), terms.EndpointKFL(r.Protocol, r.Method, r.Path)}, " and ")}
	}
	return out, more, err
}
