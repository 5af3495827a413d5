// Package missingauth finds calls without credentials to endpoints that otherwise require them.
//
// It reports an endpoint if some of its calls carry credentials and others do not, with a lower
// severity if these were refused. It also reports an endpoint without any credentials in a service
// whose other endpoints have them. Cookies alone do not count, because visitors have them too. A
// redirect is no success: it may lead to a login. Ignored are health checks and metrics, logins, and
// OPTIONS, which browsers send without credentials before a call (Fetch, section 3.3.5).
package missingauth

import (
	"context"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer missing-auth.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "missing-auth", Basis: finding.OfWeb, Title: "calls without required credentials",
		Doc:   "HTTP and gRPC calls without credentials to an endpoint that is also called with them (exact; info if they were refused), or to an open endpoint of a service of which at least four in five endpoints require them (likely). Not health checks, logins and OPTIONS.",
		Steps: []finding.Step{{Find: find, Needs: []finding.Need{finding.Calls(terms.Serving, finding.Any(proved))}}}}
}

// good and refused are the SQL for calls that succeeded and for calls that were refused because of their credentials.
const (
	good    = `coalesce(NOT failed AND (status_code < 300 OR status_code = 304), false)`
	refused = `coalesce(status_code IN (401, 403, 407) OR protocol = 'grpc' AND status_text IN ('UNAUTHENTICATED', 'PERMISSION_DENIED'), false)`
)

// proved is the SQL condition for calls that succeeded with credentials.
var proved = finding.Web + " AND auth_kind <> 'cookie' AND " + good

// login is the SQL condition for the paths of logins, which are called to get credentials.
const login = `regexp_matches(lower(path), '/(log-?in|sign-?in|sign-?up|register|token|auth|authenticate|authorize|session|sessions)/?$')`

// callsInScope is SQL for table c: the calls in scope of services that receive any credentials, summed by
// ends, endpoint and result. Credentials for a proxy, the condition own, prove nothing to the host behind it. It computes the template once per path, and names after summing.
func callsInScope(l *finding.Look, own string) (sql string, args []any) {
	how := `auth_kind IS NOT NULL AS has, coalesce(auth_kind <> 'cookie' AND NOT ` + own + `, false) AS proof, ` + good + ` AS good, ` + refused + ` AS refused`
	calls := l.Calls + " c WHERE " + l.Where + " AND " + finding.Web
	there := " AND (" + l.Bundle("dst_id") + ") IN (SELECT (" + l.Bundle("endpoint_id") + ") FROM near)"
	sql = `WITH ` + l.Names() + `,
		taking AS (SELECT DISTINCT ` + l.Bundle("dst_id") + ` FROM ` + calls + ` AND auth_kind <> 'cookie' AND ` + good + `),
		near AS MATERIALIZED (SELECT ` + l.Bundle("endpoint_id") + ` FROM e WHERE who IN (SELECT e.who FROM taking JOIN e ON ` + l.On("taking", "dst_id", "e") + `)),
		p AS MATERIALIZED (SELECT DISTINCT method AS m, path AS p, endpoint AS detail FROM (SELECT DISTINCT protocol, method, path, endpoint FROM ` + calls + there + `) WHERE method IS DISTINCT FROM 'OPTIONS' AND NOT ` + finding.Probe + ` AND NOT ` + login + `),
		r AS (SELECT ` + l.Key("status_code = 407") + `, detail, ` + how + `, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, ` + l.Some() + `
			FROM (SELECT * FROM ` + calls + there + `) JOIN p ON p.p = path AND p.m IS NOT DISTINCT FROM method GROUP BY ALL),
		c AS MATERIALIZED (` + l.Named("r") + `)`
	return sql, slices.Concat(l.Args, l.Args, l.Args)
}

// An endpoint is open if it is only called without credentials in a service that otherwise requires
// them: one with at least three endpoints, of which four in five have credentials in every
// successful call.
func find(ctx context.Context, l *finding.Look) error {
	calls, args := callsInScope(l, l.ProxyLogin())
	rows, err := l.Rows(ctx, calls+`,
		e1 AS (SELECT dst, detail, coalesce(sum(n) FILTER (proof AND good), 0) AS authorized, coalesce(sum(n) FILTER (refused AND NOT has), 0) AS turned FROM c GROUP BY 1, 2),
		e2 AS (SELECT dst, detail, bool_and(proof) AS closed, NOT bool_or(has) AS open FROM c WHERE good GROUP BY 1, 2),
		s AS (SELECT dst, count(*) AS endpoints, count(*) FILTER (closed) AS closed FROM e2 GROUP BY 1)
		SELECT * FROM (SELECT src, dst, detail, CASE WHEN good THEN '' ELSE 'refused' END AS other, `+l.Sums()+`, any_value(authorized)::BIGINT AS "of", any_value(turned)::DOUBLE AS number
			FROM c JOIN e1 USING (dst, detail) WHERE NOT has AND (good OR refused) AND authorized > 0 GROUP BY src, dst, detail, good
		UNION ALL SELECT src, dst, detail, 'open' AS other, `+l.Sums()+`, any_value(s.closed)::BIGINT AS "of", any_value(s.endpoints)::DOUBLE AS number
			FROM c JOIN e2 USING (dst, detail) JOIN s USING (dst) WHERE good AND e2.open AND s.endpoints >= 3 AND s.closed >= 0.8 * s.endpoints - 0.001 GROUP BY src, dst, detail)
		ORDER BY list_position(['', 'refused', 'open'], other), count DESC, src, dst, detail`, args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Kind: "missing", Severity: finding.Medium, Confidence: finding.Exact}
		switch r.Other {
		case "open":
			f.Kind, f.Confidence = "open", finding.Likely
			f.What = plural.Sprintf("%d {call|calls} from %s to %s of %s without credentials, like all calls to it; %d of %.0f endpoints of this service are called with credentials", r.Count, r.Src, r.Detail, r.Dst, r.Of, r.Number)
		case "refused":
			f.Kind, f.Severity = "refused", finding.Info
			f.What = plural.Sprintf("%d {call|calls} from %s to %s of %s without credentials {was|were} refused; %d {other carries|others carry} them", r.Count, r.Src, r.Detail, r.Dst, r.Of)
		default:
			if float64(r.Of) >= float64(r.Count) || r.Number > 0 {
				f.Severity = finding.High
			}
			f.What = plural.Sprintf("%d {call|calls} from %s to %s of %s succeeded without credentials; %d {other carries|others carry} them", r.Count, r.Src, r.Detail, r.Dst, r.Of)
			if r.Number > 0 {
				f.What += plural.Sprintf(" and %d {was|were} refused for lack of credentials", int64(r.Number))
			}
		}
		l.Add(r, f)
	}
	return nil
}
