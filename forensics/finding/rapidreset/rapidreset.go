// Package rapidreset finds clients that open streams of HTTP/2 or HTTP/3 and cancel them at once, which costs a server more
// than the client (CVE-2023-44487).
//
// One finding is one client and one server. A browser that leaves a page, or a client that asks several servers and takes
// the first response, cancels some of its streams; a flood cancels most.
package rapidreset

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// What counts as a flood: streams of one connection that were cancelled within the window, more than half of its streams
// then.
const (
	many   = 100
	window = 10 // seconds
)

const (
	protocols = "'http2', 'http3', 'grpc'"
	is        = "protocol IN (" + protocols + ")"
	gone      = "outcome = 'cancelled' AND status_code IS NULL"
)

// Analyzer returns the analyzer rapid-reset.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "rapid-reset", Techniques: []string{"T1499.003"}, CVEs: []string{"CVE-2023-44487"}, Title: "floods of cancelled streams",
		Basis: finding.Basis{What: "streams of HTTP/2, HTTP/3 and gRPC", Is: []finding.Need{finding.Calls(protocols, finding.Any(is))}},
		Doc:   fmt.Sprintf("A client that cancels %d or more streams of one HTTP/2 or HTTP/3 connection within ten seconds before they are answered, most of its streams then (rapid reset, CVE-2023-44487).", many),
		Steps: []finding.Step{{Needs: []finding.Need{finding.Calls(protocols, finding.AtLeast(many, is+" AND "+gone))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	burst := l.Bundle("src, dst, conn_id, burst")
	rows, err := l.Rows(ctx, l.Groups(fmt.Sprintf("conn_id, ts_ns // %d AS burst, coalesce(%s, false) AS gone", int64(window*1e9), gone), is)+`,
		q AS (SELECT `+burst+`, sum(n) FILTER (gone) AS cancelled FROM g GROUP BY ALL HAVING cancelled >= `+fmt.Sprint(many)+` AND cancelled * 2 > sum(n))
		SELECT src, dst, `+l.Sums()+`, max(cancelled)::DOUBLE AS number, coalesce(bool_or(src_outside), false)::INTEGER::DOUBLE AS number2
		FROM g JOIN q USING (`+burst+`) WHERE gone GROUP BY src, dst ORDER BY count DESC, src, dst`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: "rapid-reset", Severity: finding.Medium, Confidence: finding.Likely,
			What: plural.Sprintf("%s cancelled %d {stream|streams} to %s at once, up to %.0f of one connection within ten seconds, as in a rapid reset (CVE-2023-44487)", r.Src, r.Count, r.Dst, r.Number)}
		if r.Number2 > 0 {
			f.Severity = finding.High
		}
		l.Add(r, f)
	}
	return nil
}
