// Package noauth finds pairs of workloads that talk without any authentication.
//
// A pair is one where no call carries credentials, no connection began with a login, and no
// TLS client showed a certificate. What was not seen from its beginning, or was not
// decrypted, is not judged; names asked of DNS are left out, and health checks, which need
// none, are said to be such.
package noauth

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
)

// Analyzer finds them.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "no-auth", Title: "workloads that talk without authentication",
		Doc: "Pairs of client and server whose calls of HTTP, gRPC, Redis or PostgreSQL carry no credentials, on connections without a login and without a client certificate.", Find: find}
}

func find(ctx context.Context, l *finding.Look) error {
	on := l.Bundle("conn_id")
	rows, err := l.Rows(ctx, `WITH seen AS (SELECT `+on+`, bool_or(auth_kind IS NOT NULL) AS login FROM calls GROUP BY ALL),
		shown AS (SELECT DISTINCT `+on+` FROM tls JOIN calls USING (`+l.Bundle("call_no")+`) WHERE client_cert_subject IS NOT NULL),
		c AS (SELECT `+ask.Who("src_")+` AS src, `+ask.Who("dst_")+` AS dst, protocol, call_id, ts_ns,
				CASE WHEN protocol IN ('redis', 'postgresql') THEN login ELSE auth_kind IS NOT NULL END AS has,
				(`+on+`) IN (SELECT (`+on+`) FROM shown) AS cert,
				coalesce(state <> 'midstream', true) AS whole, protocol IN ('http1', 'http2', 'http3', 'grpc') AND `+finding.Probe+` AS probe
			FROM calls JOIN seen USING (`+on+`) LEFT JOIN (SELECT `+l.Bundle("flow_id")+`, state FROM flows) USING (`+l.Bundle("flow_id")+`)
			WHERE `+l.Where+` AND (protocol IN ('http1', 'http2', 'http3', 'grpc') AND path IS NOT NULL
				AND coalesce(status_code NOT IN (401, 407), true) OR protocol IN ('redis', 'postgresql')))
		SELECT src, dst, protocol AS detail, CASE WHEN probe THEN 'probe' ELSE '' END AS other, count(*) AS count, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.CallIDs()+` FROM c
		GROUP BY src, dst, protocol, probe HAVING NOT bool_or(has) AND NOT bool_or(cert) AND (protocol NOT IN ('redis', 'postgresql') OR bool_or(whole))
		ORDER BY other, count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Other != "" {
			l.Add(r, finding.Finding{Severity: finding.Info, Confidence: "exact",
				What: fmt.Sprintf("%s asks %s for its health over %s without authentication in %d calls, as health checks do", r.Src, r.Dst, r.Detail, r.Count)})
			continue
		}
		l.Add(r, finding.Finding{Severity: finding.Low, Confidence: "exact",
			What: fmt.Sprintf("%s talks %s with %s without authentication: none of %d calls carries credentials, and no client certificate was shown", r.Src, r.Detail, r.Dst, r.Count)})
	}
	return nil
}
