// Package forwardedtoken finds credentials that a service received and forwarded.
//
// A workload receives a value of Authorization, a cookie or a key header and sends the same value to
// another workload. Inside a cluster this is often intended; to the outside it is a leak.
package forwardedtoken

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer forwarded-token.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "forwarded-token", Basis: finding.Basis{What: "HTTP requests with credentials", Calls: finding.Web + " AND auth_kind IS NOT NULL"}, Title: "forwarded credentials",
		Doc: "The same token, key or cookie in a call to a workload and in a later call from that workload to another; high if it leaves the cluster.", Find: find}
}

func find(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()() // only unmasked tokens can be compared; none is shown
	// A call of a workload to itself, as on a loopback address, passes nothing on. To save memory, ends are numbers until the last step, and tokens are 128-bit hashes. Received
	// tokens matter only for workloads that send tokens.
	rows, err := l.Rows(ctx, `WITH e AS MATERIALIZED (SELECT *, dense_rank() OVER (ORDER BY who) AS w FROM (`+l.Ends()+`)),
		h AS (SELECT `+l.Bundle("src_id, dst_id")+`, ts_ns, call_id,
				unnest(list_filter(headers, h -> h.kind = 'request' AND lower(h.name) IN ('authorization', 'cookie', 'x-api-key', 'api-key', 'x-auth-token', 'x-access-token'))) AS h
			FROM `+l.Calls+` WHERE `+l.Where+` AND `+finding.Web+` AND auth_kind IS NOT NULL),
		t AS MATERIALIZED (SELECT s.w AS src, d.w AS dst, d.external AS outside, ts_ns, call_id, lower(h.name) AS name, md5_number(h.value) AS token
			FROM h JOIN e s ON `+l.On("h", "src_id", "s")+` JOIN e d ON `+l.On("h", "dst_id", "d")+` WHERE length(h.value) >= 12 AND s.w <> d.w),
		came AS (SELECT dst AS who, name, token, min(ts_ns) AS at, min_by(src, ts_ns) AS "from" FROM t WHERE dst IN (SELECT src FROM t) GROUP BY 1, 2, 3),
		f AS (SELECT t.src, t.dst, t.name, min_by(came."from", t.ts_ns) AS "from", count(*) AS count, count(DISTINCT t.token) AS "of", min(t.ts_ns) AS first_ns, max(t.ts_ns) AS last_ns,
				max(CASE WHEN outside THEN 1 ELSE 0 END)::DOUBLE AS number, `+l.CallIDs()+`
			FROM t JOIN came ON came.who = t.src AND came.token = t.token AND came.at <= t.ts_ns GROUP BY t.src, t.dst, t.name),
		n AS (SELECT DISTINCT w, who FROM e)
		SELECT s.who AS src, d.who AS dst, name AS detail, o.who AS other, count, "of", first_ns, last_ns, number, call_ids
		FROM f JOIN n s ON s.w = src JOIN n d ON d.w = dst JOIN n o ON o.w = "from" ORDER BY number DESC, count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Severity: finding.Info, Confidence: finding.Exact, Key: r.Detail,
			What: plural.Sprintf("%s forwards header %s, which it received from %s, to %s: %d {call|calls}, %d {different value|different values}", r.Src, r.Detail, r.Other, r.Dst, r.Count, r.Of)}
		if r.Number > 0 {
			f.Severity, f.What = finding.High, f.What+", outside"
		}
		l.Add(r, f)
	}
	return nil
}
