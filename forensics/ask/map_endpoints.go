package ask

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Endpoint is one endpoint at one service and how calls to it went.
type Endpoint struct {
	Dst      string   `json:"dst" jsonschema:"who was asked, namespace/name"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint" jsonschema:"method and path with ids taken out, SQL or Redis verb, DNS type"`
	Calls    int64    `json:"calls"`
	Failed   int64    `json:"failed"`
	P50Ms    *float64 `json:"p50_ms,omitempty"`
	P90Ms    *float64 `json:"p90_ms,omitempty"`
	P99Ms    *float64 `json:"p99_ms,omitempty"`
	MaxMs    *float64 `json:"max_ms,omitempty"`
	CallID   string   `json:"call_id" jsonschema:"an example: the slowest"`
	KFL      string   `json:"kfl" jsonschema:"condition for exactly these calls"`
}

// slowest is the SQL for the id of the slowest call of a group. Of equally slow ones it is
// the first by number, so that it does not depend on who read first.
const slowest = `arg_max(call_id, least(coalesce(elapsed_us, -1), 2000000000000) * 4194304 - call_no % 4194304)`

// targetRow is the endpoint that a row of SQL is about. It is embedded in the rows of those
// who look for something at endpoints.
type targetRow struct {
	Dst      string `json:"dst"`
	Pb       string `json:"pb"`
	Asked    bool   `json:"asked"`
	Protocol string `json:"protocol"`
	Method   string `json:"method"`
	Path     string `json:"tpl"`
}

// endpointRow is an endpoint as SQL gives it.
type endpointRow struct {
	targetRow
	Calls  int64    `json:"calls"`
	Failed int64    `json:"failed"`
	P50Ms  *float64 `json:"p50_ms"`
	P90Ms  *float64 `json:"p90_ms"`
	P99Ms  *float64 `json:"p99_ms"`
	MaxMs  *float64 `json:"max_ms"`
	CallID string   `json:"call_id"`
}

// endpointName writes an endpoint: "GET /orders/{id}", "SELECT", "dns".
func endpointName(protocol, method, path string) string {
	switch {
	case path != "" && method != "":
		return method + " " + path
	case path != "":
		return path
	case method != "":
		return method
	}
	return protocol
}

// dstOf is the KFL for the far end of a row of ends being a service.
func dstOf(name, place string, asked bool, known map[string]nodeFact) string {
	levels := known[name].Levels
	if levels == "" && !asked {
		levels = "name"
	}
	return dstKFL("service", name, place, levels, asked)
}

// byEndpoint lists endpoints of the window's requests, those first that order says.
func (w *window) byEndpoint(ctx context.Context, c *forensics.Case, known map[string]nodeFact, limit int, where, order string) ([]Endpoint, bool, error) {
	sql := w.ends(c, "service") + fmt.Sprintf(`, g AS (SELECT bn, far, protocol, coalesce(method, '') AS method, tpl, bool_or(protocol <> 'dns' AND host = far) AS asked,
			count(*) AS calls, count(*) FILTER (failed) AS failed, quantile_disc(`+took+`, [0.5, 0.9, 0.99]) AS p, max(`+took+`) AS slowest, %s AS call_id
			FROM (SELECT *, `+pathTemplate+` AS tpl FROM x) WHERE %s AND %s GROUP BY ALL)
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, calls, failed, p[1] / 1000.0 AS p50_ms, p[2] / 1000.0 AS p90_ms, p[3] / 1000.0 AS p99_ms,
			slowest / 1000.0 AS max_ms, lower(hex(call_id)) AS call_id FROM g JOIN dname USING (bn) ORDER BY %s, 1, 4, 5, 6`, slowest, isRequest, where, order)
	rows, more, err := readRows[endpointRow](ctx, c, limit, sql, w.args...)
	out := make([]Endpoint, len(rows))
	for i, r := range rows {
		out[i] = Endpoint{r.Dst, r.Protocol, clip(endpointName(r.Protocol, r.Method, r.Path), 200), r.Calls, r.Failed, r.P50Ms, r.P90Ms, r.P99Ms, r.MaxMs, r.CallID,
			strings.Join([]string{dstOf(r.Dst, r.Pb, r.Asked, known), endpointKFL(r.Protocol, r.Method, r.Path)}, " and ")}
	}
	return out, more, err
}
