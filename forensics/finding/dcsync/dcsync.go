// Package dcsync finds clients that request the secrets of a domain by replication, or that add a source of
// replication, although they are not known as domain controllers.
package dcsync

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

var (
	requested = finding.Remote("drsuapi", "DsGetNCChanges")
	added     = finding.Remote("drsuapi", "DRSUAPI_REPLICA_ADD")
)

// serves is the SQL condition for calls that only a domain controller answers.
var serves = "(protocol = 'kerberos' AND outcome <> 'no_answer' OR protocol IN (" + finding.RemoteProtocols + ") AND " + finding.RemoteInterface + " IN ('drsuapi', 'netlogon') AND outcome NOT IN ('no_answer', 'refused'))"

// Analyzer returns the analyzer dcsync.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "dcsync", Title: "replication by a client that is no domain controller",
		Techniques: []string{"T1003.006", "T1207"},
		Unproved:   "That the client is no domain controller: only that none of the recorded calls shows it as one. The arguments, such as whose secrets it requested, are not read.",
		Basis:      finding.Basis{What: "remote calls of DCE/RPC", Is: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(finding.RemoteInterface+" IS NOT NULL"))}},
		Doc:        "A client that calls DsGetNCChanges of a domain controller, and that answers neither Kerberos nor Netlogon nor replication in the recording (DCSync), or that makes it replicate from another machine (DCShadow).",
		Steps:      []finding.Step{{Needs: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(finding.AnyOf(requested, added)))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("coalesce(outcome IN ('refused', 'client_error', 'server_error'), false) AS failed, "+added+" AS added", finding.AnyOf(requested, added))+`,
		c AS (SELECT DISTINCT coalesce(e.who) AS who FROM (SELECT DISTINCT `+l.Bundle("dst_id")+` FROM calls_raw WHERE `+serves+`) r JOIN e ON `+l.On("r", "dst_id", "e")+`)
		SELECT src, dst, added::INTEGER::DOUBLE AS number, `+l.Sums()+`, coalesce(sum(n) FILTER (failed), 0)::BIGINT AS "of" FROM g WHERE client NOT IN (SELECT who FROM c) GROUP BY src, dst, added ORDER BY count DESC, src, dst, added`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: "dcsync", Severity: finding.High, Confidence: finding.Likely, Techniques: []string{"T1003.006"},
			What: plural.Sprintf("%s, which is not known as a domain controller, requested the replication of accounts from %s in %d {call|calls} of DsGetNCChanges", r.Src, r.Dst, r.Count)}
		if r.Number > 0 {
			f.Key, f.Techniques = "dcshadow", []string{"T1207"}
			f.What = plural.Sprintf("%s, which is not known as a domain controller, told %s in %d {call|calls} of DsReplicaAdd from which machine to replicate (DCShadow)", r.Src, r.Dst, r.Count)
		}
		if r.Of == r.Count {
			f.Severity = finding.Medium
			f.What += "; none succeeded"
		}
		l.Add(r, f)
	}
	return nil
}
