// Package plaincredentials finds credentials that were sent unencrypted.
//
// It reports passwords and tokens in headers, logins of databases, directories, mail, files, proxies and access servers, SNMP communities, and passwords
// in forms and JSON, on unencrypted connections. Traffic that was decrypted with keys was encrypted on the wire
// and is not reported. Evidence is masked.
package plaincredentials

import (
	"context"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer plaintext-credentials.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "plaintext-credentials", Techniques: []string{"T1040", "T1552"}, Basis: finding.Basis{What: "unencrypted requests", Is: []finding.Need{finding.Some("decrypted_by IS NULL AND " + terms.IsRequest)}}, Title: "unencrypted credentials",
		Doc: "Basic and bearer credentials, cookies and keys in HTTP headers, plaintext logins to databases, directories, mail, file, proxy and access servers, SNMP communities, and passwords in forms, JSON and URLs, without encryption. Passwords are high, and so are tokens sent outside; other tokens are medium, and so are cookies, which may be of no login.",
		Steps: []finding.Step{
			{Needs: []finding.Need{finding.Some(credentials)}, Find: logins},
			{Needs: []finding.Need{inBodies, inURLs}, Find: passwords},
		}}
}

// sent is the SQL condition for a login with which a secret is on the wire.
var sent = "auth_kind IN ('" + strings.Join(table.SentLogin, "', '") + "')"

// credentials is the SQL condition for calls with credentials that were sent unencrypted.
var credentials = "auth_kind IS NOT NULL AND decrypted_by IS NULL AND (protocol IN " + terms.Serving + " OR " + sent + ")"

// logins finds credentials in headers and those of logins.
func logins(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("protocol AS detail, auth_kind AS kind, coalesce(error = 'no_request', false) AS unseen", credentials, l.ProxyLogin())+`
		SELECT src, dst, detail, kind AS other, coalesce(sum(n) FILTER (unseen), 0)::BIGINT AS "of", `+l.Sums()+` FROM g GROUP BY src, dst, detail, kind ORDER BY count DESC, src, dst, detail, other`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Kind: r.Other, Severity: finding.Medium, Confidence: finding.Exact, Evidence: []string{r.Detail + " " + r.Other + " ***"},
			What: plural.Sprintf("%s sends credentials (%s) to %s over %s without encryption in %d {call|calls}", r.Src, r.Other, r.Dst, r.Detail, r.Count)}
		if r.Of == r.Count { // the client was not seen: its server repeats what it sent
			f.What = plural.Sprintf("%s sends credentials (%s) back to %s over %s without encryption in %d {response|responses}, whose {request was|requests were} not captured", r.Dst, r.Other, r.Src, r.Detail, r.Count)
		}
		switch r.Other {
		case "basic", "password", "plain", "digest":
			f.Severity = finding.High
		case "md5", "cram-md5", "digest-md5", "apop", "chap":
			f.What += "; a password hashed with MD5 can be cracked offline"
		case "ms-chap":
			f.What += "; a password behind MS-CHAP can be cracked offline, because DES is broken"
		case "pap":
			f.What += "; a password hidden with MD5 and the shared secret can be read with that secret, or by guessing it"
		}
		if r.Outside {
			if r.Other != "cookie" { // most cookies are of no login, and their names are not compared
				f.Severity = finding.High
			}
			f.What += ", to an outside address"
		}
		l.Add(r, f)
	}
	return nil
}

// SQL conditions for unencrypted requests of HTTP.
var (
	plain = "decrypted_by IS NULL AND " + finding.Web
	urls  = `regexp_matches(query_string, '(?i)(^|&)(password|passwd|pwd|passphrase|client_secret|access_token|api_?key|token)=[^&]')`
)

// Needs of passwords.
var (
	inBodies = finding.Calls(terms.Serving, finding.Any(plain+" AND (request_body_sha256 IS NOT NULL OR response_body_sha256 IS NOT NULL)"))
	inURLs   = finding.Calls(terms.Serving, finding.Any(plain+" AND "+urls))
)

// passwords finds passwords in bodies and URLs by the name of their field. Each body is searched
// once, however many calls carried it.
func passwords(ctx context.Context, l *finding.Look) error {
	// A masked value also matches, so search the text as it was sent, which avoids masking it.
	defer l.Unmasked()()
	const inBody = `(?i)"(password|passwd|pwd|passphrase|client_secret)"\s*:\s*"[^"]|(^|&)(password|passwd|pwd|passphrase|client_secret)=[^&]`
	if !l.Has(inURLs) {
		n, err := ask.Count(ctx, l.Case, `SELECT count(*) AS n FROM (SELECT 1 FROM bodies WHERE text IS NOT NULL AND regexp_matches(text, ?) LIMIT 1)`, inBody)
		if err != nil || n == 0 {
			return err
		}
	}
	rows, err := l.Rows(ctx, `WITH b AS MATERIALIZED (SELECT DISTINCT sha256 FROM bodies WHERE text IS NOT NULL AND regexp_matches(text, ?)),
		w AS NOT MATERIALIZED (SELECT `+l.Key()+`, endpoint, query_string, request_body_sha256, response_body_sha256, call_id, ts_ns FROM `+l.Calls+` WHERE `+l.Where+` AND `+plain+`),
		c AS (SELECT *, 'request body' AS place FROM w WHERE request_body_sha256 IN (SELECT sha256 FROM b)
			UNION ALL SELECT *, 'response body' FROM w WHERE response_body_sha256 IN (SELECT sha256 FROM b) AND NOT coalesce(request_body_sha256 IN (SELECT sha256 FROM b), false)
			UNION ALL SELECT *, 'URL' FROM w WHERE `+urls+`
				AND NOT coalesce(request_body_sha256 IN (SELECT sha256 FROM b), false) AND NOT coalesce(response_body_sha256 IN (SELECT sha256 FROM b), false)),
		r AS (SELECT `+l.Sent()+`, endpoint, place, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.Some()+` FROM c GROUP BY ALL),
		`+l.Names()+`
		SELECT client AS src, dst, endpoint AS detail, place AS other, `+l.Sums()+`
		FROM (`+l.Named("r")+`) GROUP BY ALL ORDER BY count DESC, src, dst, detail, other`, append([]any{inBody}, l.Args...)...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "password", Severity: finding.High, Confidence: finding.Likely, Evidence: []string{r.Other + " of " + r.Detail},
			What: plural.Sprintf("a field named as a password or key in the %s of %s, %s to %s, without encryption in %d {call|calls}", r.Other, r.Detail, r.Src, r.Dst, r.Count)})
	}
	return nil
}
