// Package zerologon finds clients that guess the session key of Netlogon until a domain controller accepts one
// (Zerologon, CVE-2020-1472).
//
// A credential of zeros is right for one of 256 session keys, so an attack sends NetrServerAuthenticate until one attempt
// succeeds. A member of the domain whose password is not that of its account fails once or twice and then waits.
package zerologon

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// What counts as an attack: failed attempts of one client at one server within the window. Of attacks that succeed, 96 %
// need more: (255/256)^10.
const (
	many   = 10
	window = 60 // seconds
)

var (
	tries    = finding.Remote("netlogon", "NetrServerAuthenticate", "NetrServerAuthenticate2", "NetrServerAuthenticate3")
	changes  = finding.Remote("netlogon", "NetrServerPasswordSet", "NetrServerPasswordSet2")
	failed   = "outcome IN ('refused', 'client_error')"
	accepted = "outcome = 'ok'"
)

// Analyzer returns the analyzer zerologon.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "zerologon", Title: "guessed session keys of Netlogon",
		Techniques: []string{"T1210", "T1068"}, CVEs: []string{"CVE-2020-1472"},
		Unproved: "That the credentials were zeros, which are not read, and that the account's password was changed, unless the server accepted that call.",
		Basis:    finding.Basis{What: "remote calls of DCE/RPC", Is: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(finding.RemoteInterface+" IS NOT NULL"))}},
		Doc:      fmt.Sprintf("A client of which a domain controller refuses at least %d calls NetrServerAuthenticate within a minute, and whether an attempt and a change of the password then succeeded.", many),
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.AtLeast(many, tries+" AND "+failed))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups(tries+" AS tried, coalesce("+failed+", false) AS failed, coalesce("+accepted+", false) AS accepted, ts_ns AS t_ns", finding.AnyOf(tries, changes))+`,
		w AS (SELECT *, sum(CASE WHEN tried AND failed THEN n ELSE 0 END) OVER (PARTITION BY src, dst ORDER BY t_ns RANGE BETWEEN `+fmt.Sprint(window*1_000_000_000)+` PRECEDING AND CURRENT ROW) AS peak FROM g),
		s AS (SELECT src, dst, max(peak) AS most, min(t_ns) FILTER (failed AND tried) AS began, max(t_ns) FILTER (accepted AND tried) AS entered, max(t_ns) FILTER (accepted AND NOT tried) AS changed FROM w GROUP BY ALL HAVING max(peak) >= `+fmt.Sprint(many)+`)
		SELECT src, dst, `+l.Sums()+`, any_value(most)::DOUBLE AS number, CASE WHEN any_value(changed) > any_value(began) THEN 'changed' WHEN any_value(entered) > any_value(began) THEN 'entered' ELSE '' END AS other
		FROM w JOIN s USING (src, dst) WHERE tried GROUP BY src, dst ORDER BY count DESC, src, dst`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: "zerologon", Severity: finding.High, Confidence: finding.Likely,
			What: plural.Sprintf("%s tried %d {time|times} to authenticate to Netlogon of %s, and was refused up to %.0f times within a minute, as in Zerologon (CVE-2020-1472)", r.Src, r.Count, r.Dst, r.Number)}
		switch r.Other {
		case "entered":
			f.What += "; an attempt was accepted"
		case "changed":
			f.What += "; an attempt, and a change of the machine's password, were accepted"
		}
		l.Add(r, f)
	}
	return nil
}
