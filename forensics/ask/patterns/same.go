package patterns

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Thresholds of repeated and duplicate calls.
const (
	repeatWindowNs = 60e9
	minRepeats     = 3
	maxSame        = 1_500_000 // calls that are read
	sameSample     = 50        // equal calls whose users are compared
	sameShown      = 5         // calls that a finding cites
)

// polledPaths matches paths that are polled on purpose.
const polledPaths = `(?i)(^|/)(health[a-z]*|live[a-z]*|ready[a-z]*|ping|metrics|status)/?$`

// sameRow is a finding about equal calls, as SQL returns it.
type sameRow struct {
	Src string `json:"src"`
	ask.Target
	Things  int64    `json:"things"`
	Calls   int64    `json:"calls"`
	Most    int64    `json:"most"`
	Retries int64    `json:"retries"` // calls that repeat a failed one
	TotalMs float64  `json:"total_ms"`
	Sure    bool     `json:"sure"`
	Gap     *float64 `json:"gap_ms"`
	CallIDs []string `json:"call_ids"` // equal calls, up to sameSample
	users   int64    // of CallIDs
}

// repeated finds equal requests with equal responses within a minute, which a cache would avoid.
func (l *finder) repeated(ctx context.Context) ([]Pattern, error) {
	w, since, err := l.k.Latest(ctx, l.c, "protocol IN "+terms.Web, maxSame)
	if err != nil {
		return nil, err
	}
	if since != "" {
		l.note(fmt.Sprintf("repeated, duplicates: only the latest %d HTTP calls, from %s on, were examined", maxSame, since))
	}
	// Most requests occur once. Find the others by hash first, and read all columns only for
	// them.
	rows, _, err := ask.Rows[sameRow](ctx, l.c, ask.MaxEdges, w.Ends(l.c, "service")+fmt.Sprintf(`, m AS MATERIALIZED (SELECT %[5]s AS k, hash(an, %[6]s, response_body_sha256, ts_ns // %[2]d) AS h
			FROM x WHERE protocol IN `+terms.Web+` AND method IN ('GET', 'HEAD') AND status_code = 200 AND response_body_size > 0),
		z AS (SELECT k, h FROM m JOIN (SELECT h FROM m GROUP BY h HAVING count(*) >= %[3]d) USING (h)),
		r AS (SELECT an, bn, far, protocol, any_value(method) AS method, any_value(path) AS path, any_value(%[4]s) AS tpl, bool_or(host = far) AS asked, count(*) AS n, sum(elapsed_us) - max(elapsed_us) AS us, min(ts_ns) AS t0, arg_min(call_id, (ts_ns, call_id), %[7]d) AS ids
			FROM x JOIN z ON z.k = %[5]s WHERE NOT regexp_matches(path, '%[1]s') GROUP BY an, bn, far, protocol, h)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, things, calls, most, total_ms, call_ids FROM (SELECT an, bn, far, protocol, method, tpl, bool_or(asked) AS asked, count(*) AS things, sum(n - 1)::BIGINT AS calls,
			max(n) AS most, coalesce(sum(us), 0) / 1000.0 AS total_ms, list_transform(arg_max(ids, (n, -t0, ids)), i -> lower(hex(i))) AS call_ids FROM r GROUP BY an, bn, far, protocol, method, tpl) JOIN sname USING (an) JOIN dname USING (bn) ORDER BY calls DESC, 1, 2, 5, 6, 7`,
		polledPaths, int64(repeatWindowNs), minRepeats, terms.PathTemplate, terms.NumberOf(l.c), relation.Thing, sameSample), w.Args...)
	if err == nil {
		err = l.countUsers(ctx, rows)
	}
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		name := ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		p := Pattern{Kind: "repeated", Src: r.Src, Dst: r.Dst, Endpoint: name, Problem: true, Count: r.Calls, Confidence: "exact", CallIDs: r.CallIDs,
			How:     "same client service, server, method, path, query and host, same response, at least three times within a minute; without health checks",
			KFL:     l.kfl(r.Src, r.Dst, r.Pb, r.Asked) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path),
			Numbers: []Number{{"spared_by_a_cache", float64(r.Calls)}, {"things_in_a_minute", float64(r.Things)}, {"most_in_a_minute", float64(r.Most)}, {"time_spared_ms", ask.Round(r.TotalMs)}},
			Words:   plural.Sprintf("%s repeats %s at %s within the same minute with the same response: %d unnecessary {call|calls}, up to %d equal {one|ones} per minute.", r.Src, name, r.Dst, r.Calls, r.Most)}
		p.differentUsers(r.users)
		out = append(out, p)
	}
	return out, nil
}

// duplicates finds calls that a client makes again at once, see relation.Repeats. If the first one had failed, they are retries
// too, which the finding says.
func (l *finder) duplicates(ctx context.Context) ([]Pattern, error) {
	w, since, err := l.k.Latest(ctx, l.c, "protocol IN "+terms.Serving, maxSame)
	if err != nil {
		return nil, err
	}
	if since != "" {
		l.note(fmt.Sprintf("repeated, duplicates: only the latest %d HTTP calls, from %s on, were examined", maxSame, since))
	}
	rows, _, err := ask.Rows[sameRow](ctx, l.c, ask.MaxEdges, w.Ends(l.c, "service")+fmt.Sprintf(`, m AS MATERIALIZED (SELECT %[1]s AS k, %[2]s FROM x WHERE protocol IN %[3]s),
		o AS MATERIALIZED (SELECT * FROM m WHERE h IN (SELECT h FROM m GROUP BY h HAVING count(*) > 1)),
		n AS (SELECT *, sum(CASE WHEN soon THEN 0 ELSE 1 END) OVER (PARTITION BY h ORDER BY ts_ns, tie) AS run FROM (%[4]s)),
		q AS (SELECT *, count(*) OVER (PARTITION BY h, run ORDER BY ts_ns RANGE BETWEEN %[5]d PRECEDING AND CURRENT ROW) AS near FROM n),
		d AS (SELECT h, run, count(*) AS n, max(near) AS most FROM q GROUP BY ALL HAVING count(*) > 1),
		z AS (SELECT k, d.h, d.run, d.n, d.most, soon AND retry AS again, CASE WHEN soon THEN (n.ts_ns - prior_ns) / 1e6 END AS gap FROM n JOIN d USING (h, run)),
		r AS (SELECT an, bn, far, protocol, any_value(coalesce(method, '')) AS method, any_value(path) AS path, any_value(%[6]s) AS tpl, bool_or(`+terms.Asked+`) AS asked, any_value(n) AS n, any_value(most) AS most, count(*) FILTER (again) AS retries,
			bool_and(`+relation.Identity+` IS NOT NULL OR request_body_size > 0) AS sure, quantile_disc(gap, 0.5) AS gap, min(ts_ns) AS t0, arg_min(call_id, (ts_ns, call_id), %[8]d) AS ids FROM x JOIN z ON z.k = %[1]s WHERE NOT coalesce(regexp_matches(path, '%[7]s'), false) GROUP BY an, bn, far, protocol, h, run)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, things, calls, retries, most, sure, gap_ms, call_ids FROM (SELECT an, bn, far, protocol, method, tpl, bool_or(asked) AS asked, count(*) AS things, sum(n)::BIGINT AS calls, sum(retries)::BIGINT AS retries, max(most) AS most,
			bool_or(sure) AS sure, quantile_disc(gap, 0.5) AS gap_ms, list_transform(arg_max(ids, (most, -t0, ids)), i -> lower(hex(i))) AS call_ids FROM r GROUP BY an, bn, far, protocol, method, tpl) JOIN sname USING (an) JOIN dname USING (bn) ORDER BY things DESC, 1, 2, 5, 6, 7`,
		terms.NumberOf(l.c), relation.Compared(relation.Request, terms.NumberOf(l.c)), terms.Serving, relation.Repeats("o"), relation.SoonNs, terms.PathTemplate, polledPaths, sameSample), w.Args...)
	if err == nil {
		err = l.countUsers(ctx, rows)
	}
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		name := ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		p := Pattern{Kind: "duplicates", Src: r.Src, Dst: r.Dst, Endpoint: name, Problem: true, Count: r.Things, Confidence: "exact", CallIDs: r.CallIDs, How: "same client pod, server, method, path, query, body and Idempotency-Key, request or trace id, begun within 100 ms of the previous one",
			KFL:     l.kfl(r.Src, r.Dst, r.Pb, r.Asked) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path),
			Numbers: []Number{{"times", float64(r.Things)}, {"calls", float64(r.Calls)}, {"most_at_once", float64(r.Most)}},
			Words:   plural.Sprintf("%s sends %s to %s up to %d {time|times} within 100 ms, on %d {occasion|occasions}.", r.Src, name, r.Dst, r.Most, r.Things)}
		if r.Gap != nil {
			p.Numbers = append(p.Numbers, Number{"median_gap_ms", ask.Round(*r.Gap)})
		}
		if again := r.Calls - r.Things; r.Retries > 0 {
			p.Numbers = append(p.Numbers, Number{"after_a_failure", float64(r.Retries)})
			p.Words += plural.Sprintf(" %d of %d {repetition|repetitions} {is a retry|are retries} after a failure.", r.Retries, again)
			p.Problem = r.Retries < again
		}
		if !r.Sure {
			p.Confidence, p.Problem = "guess", false
			p.How = "same client pod, server, method, path and query within 100 ms; without an id or a body they may come from different users behind one address"
		}
		p.differentUsers(r.users)
		out = append(out, p)
	}
	return out, nil
}

// countUsers counts the users of the equal calls of each row.
func (l *finder) countUsers(ctx context.Context, rows []sameRow) error {
	type call struct {
		ID   string `json:"call_id"`
		User string `json:"usr"`
	}
	for part := range slices.Chunk(rows, 200) {
		var ids []string
		for _, r := range part {
			ids = append(ids, r.CallIDs...)
		}
		// Users are counted but not shown, so unmasked values may tell them apart.
		calls, _, err := ask.Rows[call](ctx, l.c.Unmasked(), 2*len(ids)*len(l.c.Bundles()), "SELECT lower(hex(call_id)) AS call_id, "+terms.HTTPUser()+" AS usr FROM calls_raw WHERE call_id IN (SELECT unhex(unnest(string_split(?, ','))))", strings.Join(ids, ","))
		if err != nil {
			return err
		}
		of := map[string]string{}
		for _, c := range calls {
			of[c.ID] = c.User
		}
		for i := range part {
			users := map[string]bool{}
			for _, id := range part[i].CallIDs {
				users[of[id]] = true
			}
			part[i].users = int64(len(users))
		}
	}
	return nil
}

// differentUsers makes a finding about equal calls a guess if they have several users: each of them
// may need a call.
func (p *Pattern) differentUsers(users int64) {
	p.CallIDs = p.CallIDs[:min(len(p.CallIDs), sameShown)]
	if users > 1 {
		p.Confidence, p.Problem = "guess", false
		p.Numbers = append(p.Numbers, Number{"users", float64(users)})
		p.How += "; the requests are of different users: Authorization, Cookie, API key or forwarded address differ"
		p.Words = strings.TrimSuffix(p.Words, ".") + fmt.Sprintf(", of at least %d different users.", users)
	}
}

// correlation finds edges whose requests carry no correlation or trace id although others do.
func (l *finder) correlation(ctx context.Context) ([]Pattern, error) {
	type row struct {
		Src      string   `json:"src"`
		Dst      string   `json:"dst"`
		Pb       string   `json:"pb"`
		Asked    bool     `json:"asked"`
		Calls    int64    `json:"calls"`
		Bare     int64    `json:"bare"`
		NoReq    int64    `json:"no_request_id"`
		NoTrace  int64    `json:"no_trace_id"`
		CallIDs  []string `json:"call_ids"`
		AllCalls int64    `json:"all_calls"`
		AllWith  int64    `json:"all_with"`
	}
	const bare = "request_id IS NULL AND trace_id IS NULL"
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxEdges, l.k.Ends(l.c, "service")+fmt.Sprintf(`, g AS (SELECT an, bn, far, bool_or(host = far) AS asked, count(*) AS calls, count(*) FILTER (%[1]s) AS bare, count(*) FILTER (request_id IS NULL) AS no_request_id, count(*) FILTER (trace_id IS NULL) AS no_trace_id
			FROM x WHERE protocol IN %[2]s AND NOT coalesce(regexp_matches(path, '%[3]s'), false) GROUP BY an, bn, far),
		eg AS (SELECT an, bn, far, list_transform(arg_min(call_id, (ts_ns, call_id), 3), i -> lower(hex(i))) AS call_ids FROM x WHERE protocol IN %[2]s AND %[1]s AND NOT coalesce(regexp_matches(path, '%[3]s'), false) GROUP BY an, bn, far)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, pb, asked, calls, bare, no_request_id, no_trace_id, call_ids, sum(calls) OVER ()::BIGINT AS all_calls, sum(calls - bare) OVER ()::BIGINT AS all_with FROM g LEFT JOIN eg USING (an, bn, far) JOIN sname USING (an) JOIN dname USING (bn) ORDER BY bare DESC, 1, 2`,
		bare, terms.Serving, polledPaths), l.k.Args...)
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		if r.Bare == 0 {
			continue
		}
		part := ask.Share(r.Bare, r.Calls)
		out = append(out, Pattern{Kind: "correlation", Src: r.Src, Dst: r.Dst, Problem: r.AllWith > 0 && r.Pb != terms.Outside, Count: r.Bare, Confidence: "exact", CallIDs: r.CallIDs, How: "no X-Request-Id, X-Correlation-Id, Correlation-Id, traceparent, B3, X-Amzn-Trace-Id, uber-trace-id or X-Datadog-Trace-Id; an id in another header does not count; without health checks",
			KFL:     l.kfl(r.Src, r.Dst, r.Pb, r.Asked) + ` and protocol in ["http1", "http2", "http3", "grpc"] and !request_id and !trace_id`,
			Numbers: []Number{{"without_any", float64(r.Bare)}, {"calls", float64(r.Calls)}, {"share_without", part}, {"without_request_id", float64(r.NoReq)}, {"without_trace_id", float64(r.NoTrace)}},
			Words:   plural.Sprintf("%d of %d {request|requests} from %s to %s {carries|carry} no known correlation or trace header (%s %%); in total, %d of %d {request|requests} {carries|carry} one.", r.Bare, r.Calls, r.Src, r.Dst, plural.Digits(100*part, 3), r.AllWith, r.AllCalls)})
	}
	return out, nil
}
