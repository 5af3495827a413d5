// Package weaktls finds TLS connections with weak protection: SSL 3.0, TLS 1.0 and 1.1 (RFC 8996),
// suites without encryption, authentication or forward secrecy, with RC4 (RFC 7465), DES, 3DES or
// export keys, and clients that offer only old versions.
package weaktls

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer weak-tls.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "weak-tls", Title: "weak TLS",
		Doc: "Handshakes that negotiated SSL, TLS 1.0 or 1.1, or a suite with NULL, anonymous, export, RC4, DES or 3DES; missing forward secrecy is low.", Find: find}
}

const weakness = `CASE WHEN cipher LIKE '%NULL%' AND cipher NOT LIKE 'TLS_EMPTY%' THEN 'no encryption'
		WHEN cipher LIKE '%_anon_%' THEN 'no authentication' WHEN cipher LIKE '%EXPORT%' THEN 'export keys'
		WHEN cipher LIKE '%RC4%' THEN 'RC4' WHEN cipher LIKE '%3DES%' THEN '3DES' WHEN cipher LIKE '%_DES%' THEN 'DES'
		WHEN version LIKE 'SSL %' OR version IN ('TLS 1.0', 'TLS 1.1') OR version LIKE 'DTLS 1.0%' THEN version
		WHEN cipher LIKE 'TLS_RSA_%' OR cipher LIKE 'TLS_PSK_%' THEN 'no forward secrecy' END`

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH t AS (SELECT `+terms.Who("src_")+` AS src, `+terms.Who("dst_")+` AS dst, tls_version_name AS version, tls_cipher_suite_name AS cipher, call_id, ts_ns
			FROM calls WHERE `+l.Where+` AND protocol IN ('tls', 'quic') AND tls_cipher_suite_name IS NOT NULL),
		w AS (SELECT *, `+weakness+` AS weak FROM t)
		SELECT src, dst, weak AS detail, version || ' ' || cipher AS other, count(*) AS count, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.CallIDs()+`
		FROM w WHERE weak IS NOT NULL GROUP BY ALL ORDER BY count DESC, src, dst, detail, other`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		severity := finding.Medium
		switch r.Detail {
		case "no encryption", "no authentication", "export keys", "RC4", "DES", "SSL 2.0", "SSL 3.0":
			severity = finding.High
		case "no forward secrecy":
			severity = finding.Low
		}
		l.Add(r, finding.Finding{Severity: severity, Confidence: "exact", Evidence: []string{r.Other},
			What: plural.Sprintf("%s and %s negotiated %s (%s) in %d {handshake|handshakes}", r.Src, r.Dst, r.Other, r.Detail, r.Count)})
	}
	return nil
}
