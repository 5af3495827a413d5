// Package http2flood finds frames of HTTP/2 that carry nothing and cost their receiver work: CONTINUATION, SETTINGS, PING,
// PRIORITY and empty frames. Cancelled streams are a matter of package rapidreset.
package http2flood

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const odd = "source IN ('http2', 'grpc') AND (kind = 'flood' OR kind = 'header_block' AND detail LIKE '%(CVE-%')"

// Analyzer returns the analyzer http2-flood.
func Analyzer() finding.Analyzer {
	const protocols = "'http2', 'grpc'"
	return finding.Analyzer{Name: "http2-flood", Title: "floods of frames of HTTP/2", Techniques: []string{"T1499.003"},
		Basis:    finding.Basis{What: "streams of HTTP/2 and gRPC", Is: []finding.Need{finding.Calls(protocols, finding.Any("protocol IN ("+protocols+")")), finding.Odd(odd)}},
		Unproved: "That the receiver ran out of memory or time.",
		Doc:      "A header block in 128 or more CONTINUATION frames (CVE-2024-27316 and others), or within a second 100 SETTINGS, 1000 PRIORITY or empty frames, or 2000 PING of one side (CVE-2019-9512 to 9518).",
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Odd(odd)}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Odd(ctx, odd, `regexp_extract(detail, 'CVE-\d+-\d+')`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: r.Detail, Severity: finding.Medium, Confidence: finding.Likely, CVEs: []string{r.Detail},
			What: plural.Sprintf("%d {flood|floods} of frames in %d {connection|connections} of %s to %s: %s", r.Count, r.Of, r.Src, r.Dst, r.Evidence[0])}
		if r.Outside {
			f.Severity = finding.High
		}
		r.Outside = false // of the client, not of the server
		l.Add(r, f)
	}
	return nil
}
