// Package missingauth finds calls without credentials where others have them.
//
// An endpoint is in question where some of its calls carry credentials and others do not,
// which either succeeded or, what is well, were refused; and where no call of it does,
// though the rest of its service's endpoints do. Cookies alone ask for nothing: a visitor
// has them too. Health checks and metrics are none.
package missingauth

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
)

// Analyzer finds them.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "missing-auth", Title: "calls without credentials where others have them",
		Doc: "HTTP and gRPC calls without credentials to an endpoint that is also called with them (exact; info where they were refused), or to the one open endpoint of a service whose others ask for them (likely). Not health checks.", Find: find}
}

func find(ctx context.Context, l *finding.Look) error {
	groups := l.Groups("protocol, method, path, auth_kind IS NOT NULL AS has, coalesce(auth_kind <> 'cookie', false) AS proof, coalesce(status_code < 400, false) AS good, coalesce(status_code IN (401, 403, 407), false) AS refused",
		finding.Web+" AND NOT "+finding.Probe)
	rows, err := l.Rows(ctx, groups+`, p AS (SELECT method AS m, path AS p, `+ask.EndpointSQL()+` AS detail FROM (SELECT DISTINCT protocol, method, path FROM r) GROUP BY ALL),
		c AS (SELECT g.*, p.detail FROM g JOIN p ON p.p = g.path AND p.m IS NOT DISTINCT FROM g.method),
		e AS (SELECT dst, detail, coalesce(sum(n) FILTER (proof AND good), 0) AS authorized, coalesce(sum(n) FILTER (refused), 0) AS turned FROM c GROUP BY 1, 2)
		SELECT src, dst, detail, CASE WHEN good THEN '' ELSE 'refused' END AS other, `+l.Sums()+`, any_value(authorized)::BIGINT AS "of", any_value(turned)::DOUBLE AS number
		FROM c JOIN e USING (dst, detail) WHERE NOT has AND (good OR refused) AND authorized > 0 GROUP BY src, dst, detail, good ORDER BY good DESC, count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Other != "" {
			l.Add(r, finding.Finding{Severity: finding.Info, Confidence: "exact",
				What: fmt.Sprintf("%d calls of %s to %s of %s without credentials were refused, where %d others carry them", r.Count, r.Src, r.Detail, r.Dst, r.Of)})
			continue
		}
		severity := finding.Medium
		if float64(r.Of) >= float64(r.Count) || r.Number > 0 {
			severity = finding.High
		}
		what := fmt.Sprintf("%d calls of %s to %s of %s succeeded without credentials, where %d others carry them", r.Count, r.Src, r.Detail, r.Dst, r.Of)
		if r.Number > 0 {
			what += fmt.Sprintf(" and %.0f were refused for the lack of them", r.Number)
		}
		l.Add(r, finding.Finding{Severity: severity, Confidence: "exact", What: what})
	}
	return open(ctx, l, groups)
}

// open finds endpoints that nobody calls with credentials in services that otherwise ask
// for them: at least three endpoints, four of five of them with credentials in every
// successful call.
func open(ctx context.Context, l *finding.Look, groups string) error {
	rows, err := l.Rows(ctx, groups+`, p AS (SELECT method AS m, path AS p, `+ask.EndpointSQL()+` AS detail FROM (SELECT DISTINCT protocol, method, path FROM r) GROUP BY ALL),
		c AS (SELECT g.*, p.detail FROM g JOIN p ON p.p = g.path AND p.m IS NOT DISTINCT FROM g.method WHERE good),
		e AS (SELECT dst, detail, bool_and(proof) AS closed, NOT bool_or(has) AS open FROM c GROUP BY 1, 2),
		s AS (SELECT dst, count(*) AS endpoints, count(*) FILTER (closed) AS closed FROM e GROUP BY 1)
		SELECT src, dst, detail, 'open' AS other, `+l.Sums()+`, any_value(s.closed)::BIGINT AS "of", any_value(s.endpoints)::DOUBLE AS number
		FROM c JOIN e USING (dst, detail) JOIN s USING (dst) WHERE e.open AND s.endpoints >= 3 AND s.closed >= 0.8 * s.endpoints - 0.001
		GROUP BY src, dst, detail ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		l.Add(r, finding.Finding{Severity: finding.Medium, Confidence: "likely",
			What: fmt.Sprintf("%d calls of %s to %s of %s without credentials, as all calls to it; %d of %.0f endpoints there are called with them", r.Count, r.Src, r.Detail, r.Dst, r.Of, r.Number)})
	}
	return nil
}
