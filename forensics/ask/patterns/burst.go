package patterns

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// burstPauseNs is the longest pause between a rejected call and its repetition. It makes a burst as
// dense as a retry storm.
const burstPauseNs = stormStepNs / stormRetries

// bursts finds clients that immediately repeat a call although it is rejected each time, for
// example with 404. Such a status does not invite a retry, so the kind retries ignores these calls.
func (l *finder) bursts(ctx context.Context) ([]Pattern, error) {
	type row struct {
		Src string `json:"src"`
		ask.Target
		Status  string   `json:"status"`
		Calls   int64    `json:"calls"`
		First   int64    `json:"first_ns"`
		Last    int64    `json:"last_ns"`
		CallIDs []string `json:"call_ids"`
	}
	rows, more, err := ask.Rows[row](ctx, l.c, ask.MaxNames, l.k.Ends(l.c, "service")+fmt.Sprintf(`, m AS (SELECT an, bn, far, protocol, method, path, endpoint, host, status_code, call_id, ts_ns, ts_ns + coalesce(elapsed_us, 0) * 1000 AS done,
			hash(ap, %[6]s, request_body_sha256) AS h FROM x WHERE protocol IN %[1]s AND failed AND status_code BETWEEN 400 AND 499 AND NOT %[2]s),
		o AS (SELECT *, CASE WHEN ts_ns - lag(done) OVER v <= %[3]d THEN 0 ELSE 1 END AS begins FROM m WINDOW v AS (PARTITION BY h ORDER BY ts_ns, call_id)),
		s AS (SELECT *, sum(begins) OVER (PARTITION BY h ORDER BY ts_ns, call_id ROWS UNBOUNDED PRECEDING) AS burst FROM o),
		g AS (SELECT h, burst, any_value(an) AS an, any_value(bn) AS bn, any_value(far) AS far, bool_or(host = far) AS asked, any_value(protocol) AS protocol, any_value(method) AS method, any_value(path) AS path, any_value(endpoint) AS endpoint,
			any_value(host) AS host, min(status_code)::VARCHAR AS status, count(*) AS calls, min(ts_ns) AS first_ns, max(done) AS last_ns,
			list_transform(arg_min(call_id, (ts_ns, call_id), 10), i -> lower(hex(i))) AS call_ids FROM s GROUP BY h, burst HAVING count(*) > %[4]d)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, dname.pb AS pb, asked, protocol, coalesce(method, '') AS method, %[5]s AS tpl, status, calls, first_ns, last_ns, call_ids
		FROM g JOIN sname USING (an) JOIN dname USING (bn) ORDER BY calls DESC, first_ns, call_ids`, terms.Serving, relation.Retryable, int64(burstPauseNs), stormRetries, terms.PathTemplate, relation.Thing), l.k.Args...)
	if more {
		l.f.Truncated = true
		l.note(fmt.Sprintf("retry_storms: only the %d largest bursts of rejected calls are listed", ask.MaxNames))
	}
	var out []Pattern
	for _, r := range rows {
		endpoint := ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		out = append(out, Pattern{Kind: "retry_storms", Src: r.Src, Dst: r.Dst, Endpoint: endpoint, Problem: true, Count: r.Calls - 1, Confidence: "exact", CallIDs: r.CallIDs,
			How:     "same client pod, server, method, path, query and body, rejected each time and repeated within half a second",
			KFL:     l.kfl(r.Src, r.Dst, r.Pb, r.Asked) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path),
			Numbers: []Number{{"calls", float64(r.Calls)}, {"lasted_ms", ask.Round(float64(r.Last-r.First) / 1e6)}},
			Words:   plural.Sprintf("%s sends %s to %s %d {time|times} from %s to %s, each time immediately after the response %s.", r.Src, endpoint, r.Dst, r.Calls, when.Stamp(r.First), when.Stamp(r.Last), r.Status)})
	}
	return out, err
}
