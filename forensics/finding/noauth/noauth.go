// Package noauth finds pairs of workloads that communicate without any authentication.
//
// In such a pair no call carries credentials, no connection began with a login, and no TLS client
// presented a certificate. Of protocols with a login, the server did what a client requested: a login
// that it refused, a greeting, and the request for TLS before a connection that was not decrypted show
// nothing. Connections that were not seen from the beginning are ignored, and so are DNS and what a
// proxy passes on, because its server is another. Health checks, which need no authentication, are
// marked as such.
package noauth

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer no-auth.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "no-auth", Basis: finding.OfRequests, Title: "workloads without authentication",
		Doc: "Pairs of client and server whose calls of HTTP, gRPC, databases, stores and brokers carry no credentials, on connections without a login and without a client certificate. A login that proves nothing, such as trust of PostgreSQL, does not count.",
		Steps: []finding.Step{{Find: find, Parts: []finding.Need{byLogin, byCertificate}, Needs: []finding.Need{
			finding.Some("proxied_to IS NULL AND " + requests + " AND NOT " + proof),
			finding.Some("proxied_to IS NULL AND protocol IN " + logins + " AND outcome = 'ok'"),
		}}}}
}

// logins are the protocols with a login at the beginning of a connection.
var logins = table.ProtocolsIn(func(t *table.Traits) bool { return t.Login })

// proof is the SQL condition that a call has credentials.
var proof = "coalesce(auth_kind NOT IN ('" + strings.Join(table.NoLogin, "', '") + "'), false)"

// requests is the SQL condition for calls that need credentials of their own, and were not refused for lack of them.
var requests = "protocol IN " + terms.Serving + " AND path IS NOT NULL AND coalesce(status_code NOT IN (401, 407), true)"

// served is the SQL condition that a server did what a client requested.
var served = func() string {
	var before strings.Builder
	for _, p := range table.AllTraits() {
		if p.Before != "" {
			fmt.Fprintf(&before, " WHEN '%s' THEN %s", p.Protocol, p.Before)
		}
	}
	return "outcome = 'ok' AND NOT coalesce(CASE protocol" + before.String() + " END, false)"
}()

// Needs of the tables with the connections on which a client showed who it is.
var (
	byLogin       = finding.Need{Table: "calls_raw", Where: proof}
	byCertificate = finding.Need{Table: "tls_handshakes", Have: finding.Any("client_cert_subject IS NOT NULL")}
)

func find(ctx context.Context, l *finding.Look) error {
	// Count calls by connection first, so that names and joins apply to few rows.
	on := l.Bundle("conn_id")
	ids := "list_transform(list_slice(list_sort(flatten(arg_min(ids, (first_ns, ids), 3))), 1, 3), x -> lower(hex(x.i))) AS call_ids"
	each := "min({'t': ts_ns, 'i': call_id}, 3) AS ids"
	if l.All() {
		ids, each = "list_transform(flatten(list(ids)), x -> lower(hex(x))) AS call_ids", "list(call_id) AS ids"
	}
	login, shown := "false", "false"
	if l.Has(byLogin) {
		login = "(" + on + ") IN (SELECT (" + on + ") FROM calls_raw WHERE " + proof + ")"
	}
	if l.Has(byCertificate) {
		shown = "(" + on + ") IN (SELECT (" + on + ") FROM tls_handshakes_raw JOIN calls_raw USING (" + l.Bundle("call_no") + ") WHERE client_cert_subject IS NOT NULL)"
	}
	rows, err := l.Rows(ctx, `WITH r AS (SELECT `+on+`, flow_id, src_id, dst_id, protocol, CASE WHEN protocol IN `+terms.Serving+` THEN `+finding.Probe+` ELSE false END AS probe, bool_or(`+proof+`) AS auth, bool_or(`+served+`) AS served, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+each+`
			FROM `+l.Calls+` WHERE `+l.Where+` AND proxied_to IS NULL AND (`+requests+` OR protocol IN `+logins+`) GROUP BY ALL),
		e AS (SELECT `+l.Bundle("endpoint_id")+`, `+terms.Who("")+` AS who FROM endpoints_raw),
		c AS (SELECT s.who AS src, d.who AS dst, r.protocol, CASE WHEN r.protocol IN `+logins+` THEN `+login+` ELSE auth END AS has, `+shown+` AS cert,
				coalesce(state <> 'midstream', true) AS whole, served AND NOT (src_id <> dst_id AND src_id = server) AS served, probe, n, r.first_ns, r.last_ns, ids
			FROM r LEFT JOIN (SELECT `+l.Bundle("flow_id")+`, dst_id AS server, state FROM flows_raw) USING (`+l.Bundle("flow_id")+`)
			LEFT JOIN (SELECT `+l.Bundle("endpoint_id AS src_id")+`, who FROM e) s USING (`+l.Bundle("src_id")+`) LEFT JOIN (SELECT `+l.Bundle("endpoint_id AS dst_id")+`, who FROM e) d USING (`+l.Bundle("dst_id")+`))
		SELECT src, dst, protocol AS detail, CASE WHEN probe THEN 'probe' ELSE '' END AS other, sum(n)::BIGINT AS count, min(first_ns) AS first_ns, max(last_ns) AS last_ns, `+ids+` FROM c
		GROUP BY src, dst, protocol, probe HAVING NOT bool_or(has) AND NOT bool_or(cert) AND (protocol NOT IN `+logins+` OR bool_or(whole) AND bool_or(served))
		ORDER BY other, count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Other != "" {
			l.Add(r, finding.Finding{Kind: "probe", Severity: finding.Info, Confidence: finding.Exact,
				What: plural.Sprintf("%s calls paths of %s that usually need no credentials, such as those of health checks, metrics and favicon.ico, over %s without authentication in %d {call|calls}", r.Src, r.Dst, r.Detail, r.Count)})
			continue
		}
		none := "the only call carries no credentials"
		if r.Count > 1 {
			none = fmt.Sprintf("none of %d calls carries credentials", r.Count)
		}
		l.Add(r, finding.Finding{Kind: r.Detail, Severity: finding.Low, Confidence: finding.Exact,
			What: fmt.Sprintf("%s uses %s to %s without authentication: %s, and no client certificate was presented", r.Src, r.Detail, r.Dst, none)})
	}
	return nil
}
