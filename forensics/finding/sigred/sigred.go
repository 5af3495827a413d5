// Package sigred finds answers of DNS that are made to overflow the buffer of a server of Windows (SIGRed, CVE-2020-1350).
package sigred

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// large is a size that makes the sum of a signature and the name of its signer exceed 16 bits: the name may be compressed in
// the message, so that the message itself is smaller. Answers of that type, which nobody uses since RFC 3755, have some
// hundred bytes.
const large = 60_000 // bytes

var answered = fmt.Sprintf("protocol = 'dns' AND dns_question_types[1] = 'SIG' AND dns_response AND response_bytes >= %d", large)

// Analyzer returns the analyzer sigred.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "sigred", Title: "signatures in DNS that overflow a server", Techniques: []string{"T1210"}, CVEs: []string{"CVE-2020-1350"},
		Basis:    finding.OfDNS,
		Unproved: "That the asking machine is a vulnerable server of DNS of Windows, and what the answer did to it.",
		Doc:      fmt.Sprintf("Answers of type SIG with %d bytes or more, as those that overflow a buffer of DNS servers of Windows (SIGRed).", large),
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Calls("'dns'", finding.Any(answered))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("response_bytes AS size", answered)+`
		SELECT src, dst, max(size)::BIGINT AS "of", `+l.Sums()+` FROM g GROUP BY src, dst ORDER BY count DESC, src, dst`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		l.Add(r, finding.Finding{Key: "sigred", Severity: finding.High, Confidence: finding.Likely,
			What: plural.Sprintf("%s sent %s %d {answer|answers} of type SIG, up to %d bytes long, as in SIGRed (CVE-2020-1350)", r.Dst, r.Src, r.Count, r.Of)})
	}
	return nil
}
