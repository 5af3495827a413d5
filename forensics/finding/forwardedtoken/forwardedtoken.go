// Package forwardedtoken finds credentials that a service received and forwarded.
//
// A workload receives a value of Authorization, a cookie or a key header and sends the same value to
// another workload. Inside a cluster this is often intended; to the outside it is a leak.
package forwardedtoken

import (
	"context"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// credentials is what it examines.
var credentials = []finding.Need{finding.Calls(terms.Serving, finding.Any(finding.Web+" AND auth_kind IS NOT NULL"))}

// Analyzer returns the analyzer forwarded-token.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "forwarded-token", Techniques: []string{"T1550.001"}, Basis: finding.Basis{What: "HTTP requests with credentials", Is: credentials}, Title: "forwarded credentials",
		Doc: "The same token, key or cookie in a call to a workload and in a later call from that workload to another; high if it leaves the cluster.", Steps: []finding.Step{{Needs: credentials, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()() // only unmasked tokens can be compared; none is shown
	calls := l.Calls + " WHERE " + l.Where + " AND " + finding.Web + " AND auth_kind IS NOT NULL"
	same := "ends.src_id = h.src_id AND ends.dst_id = h.dst_id AND ends.proxied_to IS NOT DISTINCT FROM h.proxied_to"
	if l.Case.Several() {
		same += " AND ends.bundle = h.bundle"
	}
	// A call of a workload to itself, as on a loopback address, passes nothing on. To save memory, ends are numbers until the last step, and tokens are 128-bit hashes. Received
	// tokens matter only for workloads that send tokens.
	rows, err := l.Rows(ctx, `WITH `+l.Names()+`,
		k AS (SELECT DISTINCT `+l.Key()+` FROM `+calls+`),
		m AS MATERIALIZED (`+l.Named("k")+`),
		n AS MATERIALIZED (SELECT who, row_number() OVER (ORDER BY who) AS w FROM (SELECT client AS who FROM m UNION SELECT dst FROM m)),
		ends AS MATERIALIZED (SELECT m.*, s.w AS a, d.w AS b FROM m JOIN n s ON s.who = client JOIN n d ON d.who = dst),
		h AS (SELECT `+l.Key()+`, ts_ns, call_id,
				unnest(list_filter(headers, h -> h.kind = 'request' AND lower(h.name) IN ('authorization', 'cookie', 'x-api-key', 'api-key', 'x-auth-token', 'x-access-token'))) AS h
			FROM `+calls+`),
		t AS MATERIALIZED (SELECT a AS src, b AS dst, dst_outside, beyond, proxy, ts_ns, call_id, lower(h.name) AS name, md5_number(h.value) AS token
			FROM h JOIN ends ON `+same+` WHERE length(h.value) >= 12 AND a <> b),
		came AS (SELECT dst AS who, name, token, min(ts_ns) AS at, min_by(src, ts_ns) AS "from" FROM t WHERE dst IN (SELECT src FROM t) GROUP BY 1, 2, 3),
		f AS (SELECT t.src, t.dst, t.name, min_by(came."from", t.ts_ns) AS "from", count(*) AS count, count(DISTINCT t.token) AS "of", min(t.ts_ns) AS first_ns, max(t.ts_ns) AS last_ns,
				`+finding.Ways+`, `+l.CallIDs()+`
			FROM t JOIN came ON came.who = t.src AND came.token = t.token AND came.at <= t.ts_ns GROUP BY t.src, t.dst, t.name)
		SELECT s.who AS src, d.who AS dst, name AS detail, o.who AS other, count, "of", first_ns, last_ns, via, outside, beyond, call_ids
		FROM f JOIN n s ON s.w = src JOIN n d ON d.w = dst JOIN n o ON o.w = "from" ORDER BY outside OR beyond DESC, count DESC, src, dst, detail`, slices.Concat(l.Args, l.Args)...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Severity: finding.Info, Confidence: finding.Exact, Key: r.Detail,
			What: plural.Sprintf("%s forwards header %s, which it received from %s, to %s: %d {call|calls}, %d {different value|different values}", r.Src, r.Detail, r.Other, r.Dst, r.Count, r.Of)}
		if r.Outside {
			f.Severity, f.What = finding.High, f.What+", outside"
		}
		l.Add(r, f)
	}
	return nil
}
