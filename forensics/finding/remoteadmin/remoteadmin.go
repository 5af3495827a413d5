// Package remoteadmin finds remote calls of Windows that read its secrets, change its accounts, clear its logs, or list what
// an intruder needs to know.
package remoteadmin

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// way is a kind of calls. what is followed by the name of the server.
type way struct {
	kind, is, severity string
	techniques         []string
	what               string
}

// ways are the calls that administration seldom needs over the network, and those that list: people and programs send these
// every day.
var ways = []way{
	{"registry-saved", finding.Remote("winreg", "SaveKey", "SaveKeyEx"), finding.Medium, []string{"T1003.002"}, "saved keys of the registry to files on"},
	{"secrets-read", finding.Remote("lsarpc", "lsa_RetrievePrivateData", "lsa_QuerySecret"), finding.Medium, []string{"T1003.004"}, "read secrets of the local security authority of"},
	{"logs-cleared", finding.AnyOf(finding.Remote("eventlog", "ClearEventLogW", "ClearEventLogA"), finding.Remote("eventlog6", "EvtRpcClearLog")), finding.High, []string{"T1070.001"}, "cleared event logs of"},
	{"accounts-changed", finding.Remote("samr", "SetUserInfo", "SetUserInfo2", "CreateUser", "CreateUser2", "AddGroupMember", "AddAliasMember"), finding.Low, []string{"T1098", "T1136"}, "created or changed accounts, or members of groups, of"},
	{"backup-key", finding.Remote("BackupKey", "BackuprKey"), finding.Low, []string{"T1555"}, "used the backup key of protected data (DPAPI) of"},
	{"shutdown", finding.AnyOf(finding.Remote("initshutdown", "Init", "InitEx"), finding.Remote("winreg", "InitiateSystemShutdown", "InitiateSystemShutdownEx")), finding.Low, []string{"T1529"}, "shut down"},
	{"accounts-listed", finding.Remote("samr", "EnumDomainUsers", "EnumDomainGroups", "EnumDomainAliases", "QueryDisplayInfo", "QueryDisplayInfo2", "QueryDisplayInfo3", "QueryGroupMember", "GetMembersInAlias"), finding.Low, []string{"T1087.002", "T1069.002"}, "listed accounts or members of groups of"},
	{"sessions-listed", finding.AnyOf(finding.Remote("srvsvc", "NetSessEnum"), finding.Remote("wkssvc", "NetWkstaEnumUsers")), finding.Low, []string{"T1033", "T1049"}, "listed who is logged in to"},
	{"shares-listed", finding.Remote("srvsvc", "NetShareEnumAll", "NetShareEnum"), finding.Info, []string{"T1135"}, "listed the shares of"},
	{"endpoints-listed", finding.Remote("epmapper", "Lookup"), finding.Info, []string{"T1046"}, "listed the interfaces of DCE/RPC of"},
}

// calls are the ways by the remote calls that show them.
var calls = finding.RemoteKindsOf(ways, func(w way) (name, is string) { return w.kind, w.is })

// Analyzer returns the analyzer remote-administration.
func Analyzer() finding.Analyzer {
	var techniques []string
	for _, w := range ways {
		techniques = append(techniques, w.techniques...)
	}
	return finding.Analyzer{Name: "remote-administration", Title: "remote calls that read secrets, change accounts, clear logs or list machines", Kinds: calls.Names, Techniques: techniques,
		Unproved: "That the client is an intruder: administration uses the same calls. The arguments, such as which key, secret or account, are not read; of encrypted calls, nor are the results.",
		Basis:    finding.Basis{What: "remote calls of DCE/RPC", Is: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(finding.RemoteInterface+" IS NOT NULL"))}},
		Doc:      "A client that saves keys of another machine's registry, reads its LSA secrets, changes its accounts, clears its event logs, uses its DPAPI backup key, shuts it down, or lists its accounts, sessions, shares or endpoints by DCE/RPC.",
		Steps:    []finding.Step{{Needs: calls.Needs(), Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("CASE"+calls.Which()+" END AS kind, "+finding.RemoteOperation+" AS op, coalesce(outcome IN ('refused', 'client_error', 'server_error'), false) AS failed", finding.AnyOf(calls.Is...))+`
		SELECT src, dst, kind AS detail, `+l.Sums()+`, coalesce(sum(n) FILTER (failed), 0)::BIGINT AS "of", coalesce(bool_or(src_outside), false)::INTEGER::DOUBLE AS number, list_slice(list(DISTINCT op ORDER BY op), 1, 5) AS evidence
		FROM g GROUP BY src, dst, kind ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		for _, w := range ways {
			if w.kind == r.Detail {
				l.Add(r, w.finding(r))
			}
		}
	}
	return nil
}

func (w way) finding(r finding.Row) finding.Finding {
	f := finding.Finding{Key: w.kind, Kind: w.kind, Severity: w.severity, Confidence: finding.Exact, Techniques: w.techniques, Evidence: r.Evidence,
		What: plural.Sprintf("%s %s %s in %d {call|calls}", r.Src, w.what, r.Dst, r.Count)}
	switch {
	case r.Of == r.Count:
		f.Severity = finding.Low
		f.What += "; none succeeded"
	case r.Number > 0:
		f.Severity = finding.High
	}
	return f
}
