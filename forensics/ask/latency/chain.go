package latency

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// chainLevels is the number of levels of calls that are followed.
const chainLevels = 7

// HopChain splits the time of some requests over the calls that they caused.
type HopChain struct {
	How      string   `json:"how"`
	From     string   `json:"from,omitempty" jsonschema:"with very many calls, only those from this time on were examined"`
	Requests int64    `json:"requests" jsonschema:"selected requests that did not fail; each starts a chain"`
	P50Ms    *float64 `json:"p50_ms,omitempty"`
	Hops     []Hop    `json:"hops" jsonschema:"by depth, then by own time"`
	Most     string   `json:"most_own_time" jsonschema:"the hop with the most own time"`
}

// Hop is one step of a chain.
type Hop struct {
	Depth      int64    `json:"depth" jsonschema:"0: the requests themselves; 1: the calls they caused; and so on"`
	Src        string   `json:"src"`
	Dst        string   `json:"dst"`
	Protocol   string   `json:"protocol"`
	Endpoint   string   `json:"endpoint"`
	Calls      int64    `json:"calls"`
	PerRequest float64  `json:"per_request"`
	Failed     int64    `json:"failed"`
	P50Ms      *float64 `json:"p50_ms,omitempty"`
	P99Ms      *float64 `json:"p99_ms,omitempty"`
	TotalMs    float64  `json:"total_ms"`
	OwnMs      float64  `json:"own_ms" jsonschema:"total_ms without the time in calls that it caused"`
	OwnShare   float64  `json:"own_share" jsonschema:"own_ms divided by the total time of the requests; with parallel calls the shares may add up to more than 1"`
	Confidence string   `json:"confidence" jsonschema:"exact: by trace or request ids; likely: by time within the only open request; guess: several were open"`
	Async      bool     `json:"async,omitempty" jsonschema:"after a message queue: no request waited for these calls"`
	QueueMs    *float64 `json:"queue_ms,omitempty" jsonschema:"median time between publishing the message that caused them and getting it"`
	CallID     string   `json:"call_id" jsonschema:"the slowest call"`
}

// chain follows the requests of one window through the calls of a wider one.
func chain(w *ask.Window, ctx context.Context, c *forensics.Case, wide *ask.Window, f *ask.Frame) (*HopChain, error) {
	wide, since, err := wide.Latest(ctx, c, "protocol IN "+terms.Serving, relation.MaxParents)
	if err != nil {
		return nil, err
	}
	messages, err := ask.MayHaveMessages(ctx, c)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(wide.Ends(c, "service") + relation.Parents(c, "true", messages))
	fmt.Fprintf(&b, `, hit AS MATERIALIZED (SELECT %[1]s AS k FROM calls_raw WHERE call_id IN (SELECT call_id FROM calls WHERE %[2]s AND protocol IN %[3]s)),
		%[4]s,
		li AS MATERIALIZED (SELECT k, pk, grade, queue FROM (%[5]s)),
		l0 AS MATERIALIZED (SELECT k AS root, k, 0 AS grade, false AS async, NULL::BIGINT AS queue FROM c0 WHERE k IN (SELECT k FROM hit) AND NOT failed AND elapsed_us IS NOT NULL AND k NOT IN (SELECT k FROM li WHERE pk IN (SELECT k FROM hit)))`,
		terms.NumberOf(c), w.Where, terms.Serving, relation.Children(c, "true", ", coalesce(waited_us, elapsed_us) AS us, elapsed_us, failed"), relation.Linked("c0"))
	parts := []string{"SELECT root, k, grade, async, queue, 0 AS depth FROM l0"}
	for i := 1; i <= chainLevels; i++ {
		fmt.Fprintf(&b, `, l%[1]d AS MATERIALIZED (SELECT root, li.k, greatest(l.grade, li.grade) AS grade, async OR li.queue IS NOT NULL AS async, li.queue FROM l%[2]d l JOIN li ON li.pk = l.k)`, i, i-1)
		parts = append(parts, fmt.Sprintf("SELECT root, k, grade, async, queue, %d AS depth FROM l%d", i, i))
	}
	fmt.Fprintf(&b, `, u AS (%[1]s), kids AS (SELECT li.pk AS k, sum(us) AS us FROM li JOIN c0 USING (k) WHERE queue IS NULL AND li.pk IN (SELECT k FROM u) GROUP BY 1),
		m AS (SELECT u.root, u.depth, u.grade, u.async, u.queue, coalesce(kids.us, 0) AS kids, x.* FROM x JOIN u ON u.k = %[2]s LEFT JOIN kids ON kids.k = u.k)
		SELECT depth, src, coalesce(nullif(far, ''), dst) AS dst, protocol, method, tpl, calls, failed, p[1] / 1000.0 AS p50_ms, p[2] / 1000.0 AS p99_ms, total_ms, own_ms, grade, async, queue / 1e6 AS queue_ms, lower(hex(call_id)) AS call_id, (SELECT count(*) FROM l0) AS requests
		FROM (SELECT min(depth) AS depth, an, bn, far, protocol, coalesce(method, '') AS method, %[3]s AS tpl, count(*) AS calls, count(*) FILTER (failed) AS failed, quantile_disc(`+terms.Took+`, [0.5, 0.99]) AS p, coalesce(sum(coalesce(waited_us, elapsed_us)), 0) / 1000.0 AS total_ms,
			coalesce(sum(greatest(coalesce(waited_us, elapsed_us) - kids, 0)), 0) / 1000.0 AS own_ms, max(grade) AS grade, async, quantile_disc(queue, 0.5) AS queue, %[4]s AS call_id FROM m GROUP BY an, bn, far, protocol, method, tpl, async) JOIN sname USING (an) JOIN dname USING (bn) ORDER BY depth, own_ms DESC, 2, 3, 4, 5, 6`,
		strings.Join(parts, " UNION ALL "), terms.NumberOf(c), terms.PathTemplate, terms.Slowest)
	type row struct {
		Hop
		Method   string `json:"method"`
		Path     string `json:"tpl"`
		Grade    int64  `json:"grade"`
		Requests int64  `json:"requests"`
	}
	rows, more, err := ask.Rows[row](ctx, c, ask.MaxEdges, b.String(), append(wide.Values(), w.Args...)...)
	if err != nil {
		return nil, err
	}
	f.Truncated = f.Truncated || more
	out := &HopChain{How: "a call belongs to the request that its sender was serving: by trace or request id if both have one, otherwise the open request that began last; failed requests are left out, and a call without a response counts with the time that its caller waited", From: since, Hops: []Hop{}}
	total, best := 0.0, -1.0
	for _, r := range rows {
		if r.Depth == 0 {
			total += r.TotalMs
		}
	}
	for i, r := range rows {
		if i == 0 {
			out.P50Ms, out.Requests = r.P50Ms, r.Requests
		}
		r.Endpoint, r.Confidence = ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200), relation.Grades[r.Grade]
		r.PerRequest, r.TotalMs, r.OwnMs = ask.Share(r.Calls, r.Requests), ask.Round(r.TotalMs), ask.Round(r.OwnMs)
		if total > 0 && !r.Async {
			r.OwnShare = ask.Round(r.OwnMs / total)
		}
		if r.OwnMs > best && !r.Async {
			best, out.Most = r.OwnMs, fmt.Sprintf("%s to %s, %s", r.Src, r.Dst, r.Endpoint)
		}
		out.Hops = append(out.Hops, r.Hop)
	}
	return out, nil
}

// cut keeps the hops with the most own time.
func (h *HopChain) cut(w *ask.Window, f *ask.Frame) {
	slices.SortStableFunc(h.Hops, func(a, b Hop) int { return cmp.Compare(b.OwnMs, a.OwnMs) })
	cut := false
	if len(h.Hops) > w.Page {
		h.Hops, f.Truncated = h.Hops[:w.Page], true
	}
	h.Hops, cut = ask.FitBytes(h.Hops, ask.DefaultBytes/3)
	f.Truncated = f.Truncated || cut
	slices.SortStableFunc(h.Hops, func(a, b Hop) int { return cmp.Compare(a.Depth, b.Depth) })
}
