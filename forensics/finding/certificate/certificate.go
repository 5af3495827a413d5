// Package certificate finds certificates that are expired or about to expire, not yet valid, not
// valid for the requested name, self-signed, or with weak keys or signatures.
//
// Validity is checked at the time of the handshake. From TLS 1.3 on certificates are encrypted: a
// note counts those that could not be decrypted.
package certificate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// soon is the remaining validity below which a certificate is reported.
const soon = 30 * 24 * time.Hour

// Analyzer returns the analyzer certificate.
func Analyzer() finding.Analyzer {
	var kinds []string
	for _, p := range problems {
		kinds = append(kinds, p.kind)
	}
	return finding.Analyzer{Name: "certificate", Basis: finding.OfHandshakes, Kinds: kinds, Title: "expired, expiring or invalid certificates",
		Doc: "Server and client certificates that were expired, not yet valid, within 30 days of expiry, not valid for the requested name, self-signed, with RSA below 2048 bits, or signed with MD5 or SHA-1, at the time of the handshake.",
		Steps: []finding.Step{
			{Needs: []finding.Need{{Table: "tls_handshakes_raw", Have: finding.Any("cert_subject IS NOT NULL OR client_cert_subject IS NOT NULL")}}, Find: find},
			{Needs: []finding.Need{finding.Calls("'tls', 'quic'", finding.Any(hidden))}, Find: noteHidden},
		}}
}

var problems = []struct{ kind, cond, what, severity string }{
	{"expired", "cert_expired", "had expired", finding.High},
	{"not_yet_valid", "cert_not_yet_valid", "was not yet valid", finding.High},
	{"wrong_name", "cert_matches_sni = false", "is not valid for the requested name", finding.High},
	{"expiring", fmt.Sprintf("NOT cert_expired AND cert_not_after_ns - ts_ns < %d", int64(soon)), "was about to expire", finding.Medium},
	{"self_signed", "cert_self_signed", "is self-signed", finding.Low},
	{"weak_key", "cert_key_type = 'rsa' AND cert_key_bits < 2048 OR cert_key_type = 'ecdsa' AND cert_key_bits < 224 OR cert_key_type = 'dsa'", "has a weak key", finding.Medium},
	{"weak_signature", "NOT cert_self_signed AND regexp_matches(cert_signature_algorithm, '(?i)md5|sha-?1([^0-9]|$)')", "has a weak signature", finding.Medium},
}

// until is SQL for the end of validity. One that no 64 bits of nanoseconds can tell, as the year 9999 for "no end" (RFC 5280
// section 4.1.2.5), is the nearest that they can, which DuckDB refuses as a time.
const until = `CASE WHEN cert_not_after_ns >= 9223372036854775807 THEN '2262 or later' WHEN cert_not_after_ns <= -9223372036854775807 THEN '1677 or earlier' ELSE strftime(make_timestamp_ns(cert_not_after_ns), '%Y-%m-%dT%H:%M:%SZ') END`

func find(ctx context.Context, l *finding.Look) error {
	side := func(prefix string) string {
		list := []string{}
		for _, c := range []string{"subject", "issuer", "not_after_ns", "sha256", "key_type", "key_bits", "signature_algorithm", "self_signed", "expired"} {
			list = append(list, prefix+"cert_"+c+" AS cert_"+c)
		}
		return strings.Join(list, ", ")
	}
	// The tables are joined by the row of the handshake.
	h := `WITH ` + l.Names() + `, h AS (SELECT ` + l.Key() + `, ts_ns, call_id, tls_sni, tls_certificate_state, call_no FROM ` + l.Calls + ` WHERE ` + l.Where + ` AND protocol IN ('tls', 'quic')),
		c AS (SELECT 'server' AS whose, h.*, coalesce(tls_sni, '') AS sni, ` + side("") + `, cert_not_yet_valid, cert_matches_sni FROM h JOIN tls_handshakes USING (` + l.Bundle("call_no") + `)
			UNION ALL SELECT 'client' AS whose, h.*, '' AS sni, ` + side("client_") + `, NULL, NULL FROM h JOIN tls_handshakes USING (` + l.Bundle("call_no") + `)) `
	var cases []string
	for i, p := range problems {
		cases = append(cases, fmt.Sprintf("CASE WHEN (%s) THEN %d END", p.cond, i))
	}
	rows, err := l.Rows(ctx, h+`, p AS (SELECT c.*, unnest(list_filter([`+strings.Join(cases, ", ")+`], x -> x IS NOT NULL)) AS problem FROM (`+l.Named("c")+`) c WHERE cert_subject IS NOT NULL)
		SELECT client AS src, dst, cert_subject AS detail, whose AS other, problem::DOUBLE AS number, count(*) AS count, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns,
			['valid to ' || `+until+`, 'issuer ' || coalesce(cert_issuer, ''), coalesce(cert_key_type || ' ' || cert_key_bits, ''),
				coalesce(cert_signature_algorithm, ''), 'name asked for ' || sni, 'sha256 ' || lower(hex(cert_sha256))] AS evidence, `+l.CallIDs()+`, `+finding.Ways+`
		FROM p GROUP BY ALL ORDER BY number, count DESC, src, dst, detail, other, evidence`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		p := problems[int(r.Number)]
		l.Add(r, finding.Finding{Kind: p.kind, Severity: p.severity, Confidence: finding.Exact, Key: strings.Join(append([]string{p.kind, r.Other, r.Detail}, r.Evidence...), "\x00"),
			What: plural.Sprintf("the %s certificate %q %s (%s): %d {handshake|handshakes} from %s to %s", r.Other, r.Detail, p.what, r.Evidence[0], r.Count, r.Src, r.Dst)})
	}
	return nil
}

// hidden is the SQL condition for handshakes with a certificate that cannot be seen.
const hidden = `protocol IN ('tls', 'quic') AND tls_certificate_state = 'not_observable'`

// noteHidden notes how many certificates were not examined.
func noteHidden(ctx context.Context, l *finding.Look) error {
	n, err := ask.Count(ctx, l.Case, `SELECT count(*) AS n FROM `+l.Calls+` WHERE `+l.Where+` AND `+hidden, l.Args...)
	if n > 0 {
		l.Note("%d {handshake has an encrypted certificate|handshakes have encrypted certificates} that could not be decrypted", n)
	}
	return err
}
