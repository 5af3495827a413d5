package patterns

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/internal/stats"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Thresholds of n_plus_one and blocking.
const (
	minSimilar   = 5   // similar calls in one request
	minDistinct  = 0.6 // share of these with distinct values
	minSteps     = 3   // calls one after another
	blockedShare = 0.5 // share of a request's time in these calls
)

// maxDepth is how far below a request the calls that caching looks for may be.
const maxDepth = 10

// chainRow is a finding about requests to an endpoint, as SQL returns it.
type chainRow struct {
	ask.Target
	To       string   `json:"to_dst"`
	Text     string   `json:"text"`
	Requests int64    `json:"requests"`
	All      int64    `json:"n_all"`
	Calls    int64    `json:"calls"`
	Most     int64    `json:"most"`
	Grade    int64    `json:"grade"`
	TimeMs   float64  `json:"time_ms"`
	SaveMs   float64  `json:"save_ms"`
	Share    float64  `json:"time_share"`
	CallIDs  []string `json:"call_ids"`
}

const linkedHow = "calls belong to the request that their sender was serving: by trace id, otherwise by time"

// nPlusOne finds requests that make the same call many times with different values.
func (l *finder) nPlusOne(ctx context.Context) ([]Pattern, error) {
	if err := l.loadLinks(ctx); err != nil {
		return nil, err
	}
	rows, _, err := ask.Rows[chainRow](ctx, l.c, ask.MaxEdges, fmt.Sprintf(`WITH r AS (SELECT pk, cbn, cfar, text, count(*) AS n, max(grade) AS grade, (max(done) - min(began)) / 1e6 AS ms, arg_min(call_id, (began, call_id), 8) AS ids
			FROM %[1]s GROUP BY pk, cbn, cfar, text HAVING count(*) >= %[3]d AND count(DISTINCT hash(raw, more)) >= %[4]g * count(*)),
		o AS (SELECT r.*, p.call_id AS pid, bn, far, protocol, coalesce(method, '') AS method, `+terms.PathTemplate+` AS tpl, `+terms.Asked+` AS asked FROM r JOIN %[2]s p ON p.k = r.pk),
		g AS (SELECT bn, far, protocol, method, tpl, bool_or(asked) AS asked, cbn, cfar, text, count(*) AS requests, sum(n)::BIGINT AS calls, max(n) AS most, max(grade) AS grade, quantile_disc(ms, 0.5) AS time_ms, arg_max(list_concat([pid], ids), (n, pid)) AS ids FROM o GROUP BY bn, far, protocol, method, tpl, cbn, cfar, text),
		%[5]s
		SELECT coalesce(nullif(g.far, ''), d.dst) AS dst, d.pb AS pb, asked, g.protocol, g.method, g.tpl, coalesce(nullif(cfar, ''), t.dst) AS to_dst, left(text, 300) AS text, requests, n_all, calls, most, grade, time_ms, list_transform(ids, i -> lower(hex(i))) AS call_ids
		FROM g JOIN a USING (bn, far, protocol, method, tpl) JOIN dname d USING (bn) JOIN dname t ON t.bn = cbn ORDER BY calls DESC, 1, 4, 5, 6, 7, 8`, familyTable, chainTable, minSimilar, minDistinct, allRequests))
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		name := ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		out = append(out, Pattern{Kind: "n_plus_one", Src: r.Dst, Dst: r.To, Endpoint: name, Problem: true, Count: r.Requests, Confidence: relation.Grades[r.Grade], How: linkedHow, CallIDs: r.CallIDs,
			KFL:     ask.DstKFL(r.Dst, r.Pb, r.Asked, l.known) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path),
			Numbers: []Number{{"requests_with_it", float64(r.Requests)}, {"requests", float64(r.All)}, {"calls", float64(r.Calls)}, {"most_in_one_request", float64(r.Most)}, {"mean_in_one_request", ask.Round(float64(r.Calls) / float64(r.Requests))}, {"median_time_in_them_ms", ask.Round(r.TimeMs)}},
			Words:   plural.Sprintf("%s at %s calls %s up to %d {time|times} in one request (%d of %d {request|requests}): %s", name, r.Dst, r.To, r.Most, r.Requests, r.All, ask.Clip(r.Text, 200))})
	}
	return out, nil
}

// blocking finds requests that make their calls one after another.
func (l *finder) blocking(ctx context.Context) ([]Pattern, error) {
	if err := l.loadLinks(ctx); err != nil {
		return nil, err
	}
	rows, _, err := ask.Rows[chainRow](ctx, l.c, ask.MaxEdges, fmt.Sprintf(`WITH s AS (SELECT *, lag(done) OVER (PARTITION BY pk ORDER BY began, k) AS before FROM %[1]s),
		r AS (SELECT pk, count(*) AS n, count(*) FILTER (before IS NULL OR began >= before) AS steps, sum(done - began) / 1e6 AS ms, (sum(done - began) - max(done - began)) / 1e6 AS save, max(grade) AS grade, arg_min(call_id, (began, call_id), 8) AS ids
			FROM s GROUP BY pk HAVING count(*) >= %[3]d AND (min(cbn) < max(cbn) OR min(cfar) < max(cfar) OR min(text) < max(text))),
		o AS (SELECT r.*, p.call_id AS pid, bn, far, protocol, coalesce(method, '') AS method, `+terms.PathTemplate+` AS tpl, `+terms.Asked+` AS asked, elapsed_us / 1000.0 AS total
			FROM r JOIN %[2]s p ON p.k = r.pk WHERE steps = n),
		g AS (SELECT bn, far, protocol, method, tpl, bool_or(asked) AS asked, count(*) AS requests, sum(n)::BIGINT AS calls, max(n) AS most, quantile_disc(grade, 0.5) AS grade, quantile_cont(ms, 0.5) AS time_ms, quantile_cont(save, 0.5) AS save_ms, sum(ms) / nullif(sum(total), 0) AS time_share,
			arg_max(list_concat([pid], ids), (save, pid)) AS ids FROM o WHERE ms >= %[4]g * total GROUP BY bn, far, protocol, method, tpl),
		%[5]s
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, requests, n_all, calls, most, grade, coalesce(time_ms, 0) AS time_ms, coalesce(save_ms, 0) AS save_ms, coalesce(time_share, 0) AS time_share, list_transform(ids, i -> lower(hex(i))) AS call_ids
		FROM g JOIN a USING (bn, far, protocol, method, tpl) JOIN dname USING (bn) WHERE requests >= 3 AND requests * 2 >= n_all ORDER BY requests * save_ms DESC, 1, 4, 5, 6`, familyTable, chainTable, minSteps, blockedShare, allRequests))
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		name := ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		confidence := "guess"
		if r.Grade < 2 {
			confidence = "likely"
		}
		out = append(out, Pattern{Kind: "blocking", Src: r.Dst, Endpoint: name, Problem: r.SaveMs >= 1, Count: r.Requests, Confidence: confidence, CallIDs: r.CallIDs,
			How: linkedHow + "; each begins after the previous one has ended; whether they depend on each other cannot be seen", KFL: ask.DstKFL(r.Dst, r.Pb, r.Asked, l.known) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path),
			Numbers: []Number{{"requests_with_it", float64(r.Requests)}, {"requests", float64(r.All)}, {"mean_calls", ask.Round(float64(r.Calls) / float64(r.Requests))}, {"median_time_in_calls_ms", ask.Round(r.TimeMs)}, {"share_of_time", ask.Round(r.Share)}, {"median_saved_if_at_once_ms", ask.Round(r.SaveMs)}},
			Words:   plural.Sprintf("%s at %s makes its %s calls one after the other (%d of %d {request|requests}): they take %s ms, parallel calls would save %s ms.", name, r.Dst, plural.Digits(float64(r.Calls)/float64(r.Requests), 3), r.Requests, r.All, plural.Digits(r.TimeMs, 4), plural.Digits(r.SaveMs, 4))})
	}
	return out, nil
}

// caching compares the first request for a resource with the later ones: whether they reached a database, directly or through
// other services.
func (l *finder) caching(ctx context.Context) ([]Pattern, error) {
	if err := l.loadLinks(ctx); err != nil {
		return nil, err
	}
	type row struct {
		chainRow
		Things   int64    `json:"things"`
		Paths    int64    `json:"paths"`
		Repeated int64    `json:"repeated"`
		First    int64    `json:"first_db"`
		Later    int64    `json:"later"`
		LaterDB  int64    `json:"later_db"`
		Cold     *float64 `json:"cold_ms"`
		Warm     *float64 `json:"warm_ms"`
		Control  int64    `json:"cache_control"`
		ETag     int64    `json:"etag"`
		Age      int64    `json:"age"`
		Hit      int64    `json:"hits"`
	}
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxEdges, fmt.Sprintf(`WITH RECURSIVE up AS (SELECT pk, max(grade) AS grade, min({'t': ts_ns, 'i': call_id}) AS first, 1 AS depth FROM %[2]s JOIN %[1]s USING (k) WHERE stored GROUP BY 1
			UNION ALL SELECT l.pk, max(greatest(l.grade, up.grade)), min(up.first), any_value(up.depth) + 1 FROM up JOIN %[2]s l ON l.k = up.pk WHERE up.depth < %[8]d GROUP BY l.pk),
		db AS (SELECT pk, max(grade) AS grade, [min(first).i] AS dbid FROM up GROUP BY 1),
		r AS (SELECT k AS pk, call_id AS pid, bn, far, protocol, coalesce(method, '') AS method, `+terms.PathTemplate+` AS tpl, `+terms.Asked+` AS asked, path, thing, ts_ns, elapsed_us, bits FROM %[1]s WHERE %[3]s),
		o AS (SELECT r.*, dbid IS NOT NULL AS reached, db.grade, db.dbid, row_number() OVER v AS turn, count(*) OVER (PARTITION BY bn, far, tpl, thing) AS times FROM r LEFT JOIN db USING (pk) WINDOW v AS (PARTITION BY bn, far, tpl, thing ORDER BY ts_ns, r.pk)),
		g AS (SELECT bn, far, protocol, method, tpl, bool_or(asked) AS asked, count(*) AS requests, count(DISTINCT thing) AS things, count(DISTINCT path) AS paths, count(DISTINCT thing) FILTER (times > 1) AS repeated, count(*) FILTER (turn = 1 AND times > 1 AND reached) AS first_db,
			count(*) FILTER (turn > 1) AS later, count(*) FILTER (turn > 1 AND reached) AS later_db, quantile_disc(elapsed_us, 0.5) FILTER (reached) / 1000.0 AS cold_ms, quantile_disc(elapsed_us, 0.5) FILTER (NOT reached AND turn > 1) / 1000.0 AS warm_ms,
			count(*) FILTER (bits & %[4]d > 0) AS cache_control, count(*) FILTER (bits & %[5]d > 0) AS etag, count(*) FILTER (bits & %[6]d > 0) AS age, count(*) FILTER (bits & %[7]d > 0) AS hits,
			coalesce(max(grade), 1) AS grade, list_concat(arg_min(pid, (ts_ns, pid), 4), flatten(arg_min(dbid, (ts_ns, dbid), 3) FILTER (dbid IS NOT NULL))) AS ids FROM o GROUP BY bn, far, protocol, method, tpl)
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, requests, things, paths, repeated, first_db, later, later_db, cold_ms, warm_ms, cache_control, etag, age, hits, grade, list_transform(ids, i -> lower(hex(i))) AS call_ids
		FROM g JOIN dname USING (bn) WHERE requests >= 2 AND (first_db > 0 OR later_db > 0 OR cold_ms IS NOT NULL OR cache_control + etag + age + hits > 0) ORDER BY requests DESC, 1, 4, 5, 6`,
		chainTable, linkTable, mayCache, withCacheControl, withETag, withAge, withHit, maxDepth))
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		name := ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		p := Pattern{Kind: "caching", Src: r.Dst, Dst: r.Dst, Endpoint: name, Count: r.Requests, Confidence: relation.Grades[r.Grade], CallIDs: r.CallIDs, How: linkedHow + "; requests for one resource have the same path, query and host",
			KFL:     ask.DstKFL(r.Dst, r.Pb, r.Asked, l.known) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path),
			Numbers: []Number{{"requests", float64(r.Requests)}, {"things", float64(r.Things)}, {"things_asked_again", float64(r.Repeated)}, {"first_reached_database", float64(r.First)}, {"later", float64(r.Later)}, {"later_reached_database", float64(r.LaterDB)}, {"with_cache_control", float64(r.Control)}, {"with_etag", float64(r.ETag)}, {"with_age", float64(r.Age)}, {"with_cache_hit_header", float64(r.Hit)}}}
		if r.Cold != nil {
			p.Numbers = append(p.Numbers, Number{"cold_p50_ms", *r.Cold})
		}
		if r.Warm != nil {
			p.Numbers = append(p.Numbers, Number{"warm_p50_ms", *r.Warm})
		}
		again := stats.Share(float64(r.LaterDB), float64(r.Later))
		switch {
		case r.First+r.LaterDB == 0 && r.Cold == nil:
			p.Words = plural.Sprintf("%s at %s: no database call was seen behind its %d {request|requests}; %d of %d {response has|responses have} Cache-Control, %d ETag, %d Age.", name, r.Dst, r.Requests, r.Control, r.Requests, r.ETag, r.Age)
		case r.Repeated == 0:
			p.Problem = r.Paths < r.Things // the same resource under changing names
			p.Words = plural.Sprintf("%s at %s: each of %d {request|requests} has a different path or query (%d {path|paths}), so a cache key never repeats; %d of %d {response has|responses have} Cache-Control.", name, r.Dst, r.Requests, r.Paths, r.Control, r.Requests)
		case r.LaterDB == 0:
			p.Words = plural.Sprintf("%s at %s is cached: %d of %d {first request|first requests} reached the database, but none of %d {later one|later ones}; median %s cold and %s warm; %d of %d {response has|responses have} Cache-Control.", name, r.Dst, r.First, r.Repeated, r.Later, inMs(r.Cold), inMs(r.Warm), r.Control, r.Requests)
		case r.LaterDB*10 >= r.Later*9:
			p.Problem = true
			p.Words = plural.Sprintf("%s at %s is not cached: %d of %d {later request|later requests} for the same resource reached the database again; %d of %d {response has|responses have} Cache-Control.", name, r.Dst, r.LaterDB, r.Later, r.Control, r.Requests)
		default:
			p.Words = plural.Sprintf("%s at %s is partly cached: %d of %d {later request|later requests} for the same resource reached the database again; median %s cold and %s warm.", name, r.Dst, r.LaterDB, r.Later, inMs(r.Cold), inMs(r.Warm))
		}
		if r.Repeated > 0 && (r.LaterDB == 0 && again.High > 0.5 || r.LaterDB*10 >= r.Later*9 && again.Low < 0.5) && (r.First+r.LaterDB > 0 || r.Cold != nil) {
			p.Words += tooFew(r.Later)
		}
		out = append(out, p)
	}
	return out, nil
}

// tooFew is the sentence about a conclusion from so few requests that half of all may be otherwise.
func tooFew(n int64) string {
	return plural.Sprintf(" Only %d {request was|requests were} repeated: too few to be sure.", n)
}

func inMs(v *float64) string {
	if v == nil {
		return "unknown"
	}
	return plural.Digits(*v, 4) + " ms"
}
