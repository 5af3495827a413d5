// Package remoteshell finds command interpreters on bare connections, as nc and reverse shells give one.
package remoteshell

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// shell is the SQL condition for connections that begin as a command interpreter does (exporter/dissect/guess).
const shell = "protocol = 'tcp' AND payload_protocol = 'shell' AND payload_evidence = 'content'"

// Analyzer returns the analyzer remote-shell.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "remote-shell", Title: "command interpreters on bare connections", Techniques: []string{"T1059", "T1095"},
		Basis:    finding.Basis{What: "connections of unknown protocols", Is: []finding.Need{finding.Calls("'tcp'", finding.Any("protocol = 'tcp'"))}},
		Unproved: "That nobody allowed it: administrators use nc, too. Which side runs the commands, if only one was captured.",
		Doc:      "TCP connections of no known protocol that begin with the greeting, the prompt or a complaint of a command interpreter (bash, sh, cmd, PowerShell), or with the first commands of somebody who got one, and a text as their answer.",
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Calls("'tcp'", finding.Any(shell))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("dst_port AS port, left(payload_request_head::VARCHAR, 200) AS asked, left(payload_response_head::VARCHAR, 200) AS said", shell)+`
		SELECT src, dst, port::VARCHAR AS detail, `+l.Sums()+`, list_slice(list_sort(list(DISTINCT concat_ws(' | ', nullif(asked, ''), nullif(said, '')))), 1, 3) AS evidence FROM g GROUP BY src, dst, port ORDER BY count DESC, src, dst, detail`, l.Args...)
	for _, r := range rows {
		l.Add(r, finding.Finding{Key: r.Detail, Severity: finding.High, Confidence: finding.Likely, Evidence: r.Evidence,
			What: plural.Sprintf("%s and port %s of %s exchanged commands and output of a command interpreter in clear text in %d {connection|connections} (reverse or bind shell)", r.Src, r.Detail, r.Dst, r.Count)})
	}
	return err
}
