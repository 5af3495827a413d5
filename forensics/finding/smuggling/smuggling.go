// Package smuggling finds messages whose end two readers may see at different places: HTTP requests (desync) and mails
// (SMTP smuggling), so that one of them takes a part of the content for a request or a mail of its own.
package smuggling

import (
	"context"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const (
	odd = "kind = 'smuggling' AND source IN ('http1', 'http2', 'http3', 'smtp') AND detail NOT LIKE 'response%'"

	// length is what concerns where a message ends, in words of the anomalies. Line ends and white space alone are mostly
	// requests that somebody wrote by hand.
	length = "regexp_matches(detail, 'Content-Length|Transfer-Encoding|begins like a request|chunk size of|is not a chunk size')"
)

// Analyzer returns the analyzer smuggling.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "smuggling", Title: "requests and mails that two servers may read differently", Kinds: []string{"http", "smtp"},
		Techniques: []string{"T1190"},
		Unproved:   "That a second server exists and reads the message in the other way: that takes a recording behind the first server.",
		Basis:      finding.Basis{What: "requests of HTTP and SMTP", Is: []finding.Need{finding.Calls("'http1', 'http2', 'http3', 'grpc', 'smtp'", "count(*) > 0")}},
		Doc:        "HTTP requests and mails whose end two readers may see at different places, with both readings, and whether the server accepted what was sent on these connections (HTTP desync, CVE-2023-51764 and others for SMTP).",
		Steps:      []finding.Step{{Needs: []finding.Need{{Table: "anomalies_raw", Have: finding.Any(odd)}}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	flow := l.Bundle("flow_id")
	rows, err := l.Rows(ctx, l.Groups("flow_id, coalesce(outcome = 'ok', false) AS taken, coalesce(smtp_command = 'MAIL', false) AS mail, ts_ns AS t_ns", "("+flow+") IN (SELECT ("+flow+") FROM anomalies_raw WHERE "+odd+") AND protocol IN ('http1', 'http2', 'http3', 'grpc', 'smtp')")+`,
		a AS (SELECT `+flow+`, CASE source WHEN 'smtp' THEN 'smtp' ELSE 'http' END AS kind, min(ts_ns) AS noticed, bool_or(`+length+`) AS sizes, list(DISTINCT detail ORDER BY detail) AS readings FROM anomalies_raw WHERE `+odd+` GROUP BY ALL),
		-- A mail that begins at or after the end that only one reader sees is another one, unless its own beginning is at the same time.
		m AS (SELECT `+flow+`, sum(n) FILTER (mail AND taken AND t_ns >= noticed) > CASE WHEN bool_or(mail AND t_ns < noticed) THEN 0 ELSE 1 END AS another FROM g JOIN a USING (`+flow+`) GROUP BY `+flow+`)
		SELECT src, dst, a.kind AS detail, `+l.Sums()+`, coalesce(sum(n) FILTER (taken AND t_ns >= noticed OR taken AND a.kind = 'http'), 0)::BIGINT AS "of",
			(bool_or(sizes) OR bool_or(coalesce(another, false)))::INTEGER::DOUBLE AS number, list_slice(list_distinct(flatten(list(readings))), 1, 5) AS evidence
		FROM g JOIN a USING (`+flow+`) JOIN m USING (`+flow+`) GROUP BY src, dst, a.kind ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: r.Detail, Kind: r.Detail, Severity: finding.Low, Confidence: finding.Likely, CVEs: []string{}}
		what, next := "a request", "request"
		if r.Detail == "smtp" {
			what, next = "a mail", "command"
			f.CVEs = []string{"CVE-2023-51764", "CVE-2023-51765", "CVE-2023-51766"}
		}
		f.What = plural.Sprintf("%s sent %s to %s whose end two servers may see at different places (%s)", r.Src, what, r.Dst, strings.Join(r.Evidence[:min(1, len(r.Evidence))], ""))
		switch {
		case r.Of == 0:
			f.What += "; the server accepted no " + next + " of the connection afterwards"
		default:
			f.What += plural.Sprintf("; the server accepted %d of %d "+next+"s of such connections", r.Of, r.Count)
		}
		switch {
		case r.Number > 0 && r.Of > 0:
			f.Severity = finding.High
		case r.Number > 0 || r.Detail == "smtp":
			f.Severity = finding.Medium
		}
		l.Add(r, f)
	}
	return nil
}
