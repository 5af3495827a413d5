// Package coerced finds remote calls that make a server authenticate to another machine: EFSRPC (PetitPotam), MS-RPRN
// (PrinterBug), MS-DFSNM (DFSCoerce) and FSRVP (ShadowCoerce).
package coerced

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// soon is how long after a call the server's own connection counts as caused by it. A service of Windows gives up a
// connection attempt after 21 seconds: its SYN and two repetitions.
const soon = 21 // seconds

// ways are the operations that name a path or host to which the server connects.
var ways = []string{
	finding.Remote("efsrpc", "EfsRpcOpenFileRaw", "EfsRpcEncryptFileSrv", "EfsRpcDecryptFileSrv", "EfsRpcQueryUsersOnFile", "EfsRpcQueryRecoveryAgents",
		"EfsRpcRemoveUsersFromFile", "EfsRpcAddUsersToFile", "EfsRpcFileKeyInfo", "EfsRpcDuplicateEncryptionInfoFile"),
	finding.Remote("spoolss", "RemoteFindFirstPrinterChangeNotification", "RFFPCNEX"),
	finding.Remote("netdfs", "dfs_AddStdRoot", "dfs_RemoveStdRoot", "dfs_AddStdRootForced"),
	finding.Remote("FssagentRpc", "IsPathSupported", "IsPathShadowCopied"),
}

// called is the SQL condition for these calls, back for the login of a machine to another one by SMB or HTTP, and
// notified for the callback of a printer, which is ordinary.
var (
	called   = finding.AnyOf(ways...)
	back     = "(protocol = 'smb' AND smb_command IN ('session_setup', 'session_setup_andx') OR protocol = 'http1' AND auth_kind IN ('ntlm', 'negotiate'))"
	notified = finding.Remote("spoolss", "ReplyOpenPrinter")
)

// Analyzer returns the analyzer coerced-authentication.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "coerced-authentication", Title: "calls that make a server authenticate elsewhere", Kinds: []string{"efsrpc", "spoolss", "netdfs", "FssagentRpc"},
		Techniques: []string{"T1187"}, CVEs: []string{"CVE-2021-36942"},
		Unproved: "Which machine the call names, because arguments are not read. That the server's own login was caused by the call is concluded from time alone.",
		Basis:    finding.Basis{What: "remote calls of DCE/RPC", Is: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(finding.RemoteInterface+" IS NOT NULL"))}},
		Doc:      fmt.Sprintf("Calls of EFSRPC, MS-RPRN, MS-DFSNM and FSRVP that make a server connect to a machine that the caller names, and whether the server logged in elsewhere within %d seconds (PetitPotam, PrinterBug, DFSCoerce, ShadowCoerce).", soon),
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(called))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups(finding.RemoteInterface+" AS api, "+finding.RemoteOperation+" AS op, ts_ns AS t_ns", called)+`,
		b AS MATERIALIZED (SELECT s.who AS by, d.who AS "to", r.t_ns, r.notified FROM (SELECT `+l.Bundle("src_id, dst_id")+`, ts_ns AS t_ns, coalesce(`+notified+`, false) AS notified FROM calls_raw WHERE `+back+` OR `+notified+`) r
			JOIN e s ON `+l.On("r", "src_id", "s")+` JOIN e d ON `+l.On("r", "dst_id", "d")+`),
		t AS (SELECT *, (SELECT min("to") FROM b WHERE b.by = g.server AND b.t_ns BETWEEN g.t_ns AND g.t_ns + `+fmt.Sprint(soon*1_000_000_000)+`
			AND NOT (g.api = 'spoolss' AND EXISTS (SELECT 1 FROM b n WHERE n.notified AND n.by = b.by AND n."to" = b."to"))) AS elsewhere FROM g)
		SELECT src, dst, api AS detail, coalesce(min(elsewhere), '') AS other, `+l.Sums()+`, list_slice(list(DISTINCT op ORDER BY op), 1, 5) AS evidence FROM t GROUP BY src, dst, api ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: r.Detail, Kind: r.Detail, Severity: finding.Medium, Confidence: finding.Guess,
			What: plural.Sprintf("%s called %s of %s %d {time|times}, which makes it connect to a machine that the caller names", r.Src, strings.Join(r.Evidence, ", "), r.Dst, r.Count)}
		switch {
		case r.Other != "":
			f.Severity, f.Confidence = finding.High, finding.Likely
			f.What += plural.Sprintf("; within %d seconds %s began a login to %s", soon, r.Dst, r.Other)
		case r.Detail == "spoolss" || r.Detail == "FssagentRpc": // print clients and backup software use them
			f.Severity = finding.Low
		}
		l.Add(r, f)
	}
	return nil
}
