// Package heartbleed finds heartbeats of TLS that make a vulnerable server send its memory (Heartbleed, CVE-2014-0160).
package heartbleed

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const odd = "source IN ('tls', 'dtls', 'quic') AND kind IN ('heartbeat_length', 'heartbeat_answer')"

// Analyzer returns the analyzer heartbleed.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "heartbleed", Title: "heartbeats of TLS that ask for memory", Basis: finding.OfHandshakes,
		Techniques: []string{"T1190", "T1212"}, CVEs: []string{"CVE-2014-0160"},
		Unproved: "What the answers contain: an answer shows that the server is vulnerable, not that they have keys or passwords.",
		Doc:      "Heartbeats that claim a longer payload than they have, or without room for their padding, and whether the other side answered what it must discard. Of encrypted heartbeats only sizes are known.",
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Odd(odd)}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Odd(ctx, odd, "''")
	if err != nil {
		return err
	}
	answered, err := l.Odd(ctx, odd+" AND kind = 'heartbeat_answer'", "''")
	if err != nil {
		return err
	}
	leaks := map[[2]string]int64{}
	for _, r := range answered {
		leaks[[2]string{r.Src, r.Dst}] = r.Count
	}
	for _, r := range rows {
		n := leaks[[2]string{r.Src, r.Dst}]
		f := finding.Finding{Key: "heartbleed", Severity: finding.Medium, Confidence: finding.Likely,
			What: plural.Sprintf("%d {heartbeat has|heartbeats have} a wrong length in %d {connection|connections} of %s to %s, as in Heartbleed (CVE-2014-0160)", r.Count-n, r.Of, r.Src, r.Dst)}
		if r.Count == n {
			f.What = plural.Sprintf("heartbeats of %s to %s in %d {connection|connections}, as in Heartbleed (CVE-2014-0160)", r.Src, r.Dst, r.Of)
		}
		if n > 0 {
			f.Severity = finding.High
			f.What += plural.Sprintf("; %d {answer is|answers are} longer than what was sent, or to what must be discarded", n)
		} else {
			f.What += "; no such answer was seen"
		}
		l.Add(r, f)
	}
	return nil
}
