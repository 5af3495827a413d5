// Package passthehash finds logins by NTLM that were used to administer a machine and that do not look like those of the
// account or of the client: signs of a login with a stolen hash.
//
// A login with a hash and one with the password are the same messages, so each sign is circumstantial.
package passthehash

import (
	"context"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// SQL conditions for a login by NTLM that a server accepted, for a request that only an administrator may make, and for a
// login of an account by Kerberos.
var (
	login    = "(protocol = 'smb' AND smb_auth IN ('ntlmv2', 'ntlmv1', 'lanman') AND smb_user IS NOT NULL AND smb_user NOT LIKE '%$' AND outcome = 'ok' AND smb_command IN ('session_setup', 'session_setup_andx'))"
	share    = `(protocol = 'smb' AND smb_command IN ('tree_connect', 'tree_connect_andx') AND outcome = 'ok' AND regexp_matches(smb_share, '(?i)\\(admin|[a-z])\$$'))`
	execute  = "(outcome = 'ok' AND " + finding.AnyOf(finding.Remote("svcctl", "CreateServiceW", "CreateServiceA", "CreateServiceWOW64W", "CreateServiceWOW64A"), finding.Remote("ITaskSchedulerService", "SchRpcRegisterTask"), finding.Remote("IWbemServices", "ExecMethod", "ExecMethodAsync")) + ")"
	admin    = finding.AnyOf(share, execute)
	kerberos = "(protocol = 'kerberos' AND kerberos_type = 'AS-REQ' AND outcome = 'ok' AND kerberos_client IS NOT NULL)"
)

const (
	user    = `lower(CASE protocol WHEN 'kerberos' THEN regexp_replace(kerberos_client, '@.*', '') ELSE coalesce(smb_user, dcerpc_user) END)`
	station = "lower(coalesce(smb_workstation, dcerpc_workstation, ''))"
	byNTLM  = "(protocol = 'dcerpc' AND dcerpc_auth IN ('ntlm', 'negotiate') AND dcerpc_user IS NOT NULL)"
)

// Analyzer returns the analyzer pass-the-hash.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "pass-the-hash", Title: "administration by logins of NTLM that look stolen", Techniques: []string{"T1550.002"},
		Basis:    finding.Basis{What: "logins by NTLM", Is: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(login+" OR "+byNTLM))}},
		Unproved: "That a hash was used: such a login has the same messages as one with the password, and programs for Linux state no name of their machine either.",
		Doc: "An account that logs in by NTLM and then opens an administrative share (ADMIN$, C$), creates a service or a task, or executes a method of WMI, if there are signs: the client states no name of its machine, or several; the login is NTLMv1; the account logs in by Kerberos from another machine and not from this one. " +
			"One sign is medium, two are high. Encrypted SMB hides shares, so nothing is decided there.",
		Steps: []finding.Step{{Needs: []finding.Need{finding.Calls(finding.RemoteProtocols, finding.Any(admin))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	columns := "flow_id, coalesce(smb_session, '') AS session, " + user + " AS account, " + station + " AS station, coalesce(smb_auth IN ('ntlmv1', 'lanman'), false) AS old, " +
		"CASE WHEN " + kerberos + " THEN 'kerberos' WHEN " + login + " THEN 'login' WHEN " + byNTLM + " THEN 'both' ELSE 'admin' END AS part"
	key := l.Bundle("flow_id, session")
	rows, err := l.Rows(ctx, l.Groups(columns, finding.AnyOf(login, admin, kerberos))+`,
		logins AS (SELECT `+key+`, any_value(account) AS account, any_value(station) AS station, bool_or(old) AS old FROM g WHERE part = 'login' GROUP BY ALL),
		used AS (SELECT g.* EXCLUDE (account, station, old), logins.account, logins.station, logins.old FROM g JOIN logins USING (`+key+`) WHERE part = 'admin'
			UNION ALL SELECT g.* EXCLUDE (account, station, old), account, station, old FROM g WHERE part = 'both'),
		stated AS (SELECT client, count(DISTINCT station) AS names FROM (SELECT client, station FROM g WHERE part = 'login' UNION ALL SELECT client, station FROM used) GROUP BY client),
		k AS (SELECT DISTINCT account, client FROM g WHERE part = 'kerberos')
		SELECT src, dst, account AS detail, `+l.Sums()+`, max(names)::BIGINT AS "of",
			bool_or(station = '' OR names > 1)::INTEGER::DOUBLE AS number,
			(bool_or(old)::INTEGER + 2 * bool_or(account IN (SELECT account FROM k) AND (account, client) NOT IN (SELECT (account, client) FROM k))::INTEGER)::DOUBLE AS number2
		FROM used JOIN stated USING (client) GROUP BY src, dst, account ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		report(l, r)
	}
	return nil
}

// report adds a finding if there is a sign.
func report(l *finding.Look, r finding.Row) {
	var signs []string
	switch {
	case r.Number > 0 && r.Of > 1:
		signs = append(signs, plural.Sprintf("the client stated %d {name|names} of its machine", r.Of))
	case r.Number > 0:
		signs = append(signs, "the client stated no name of its machine")
	}
	if int(r.Number2)&1 != 0 {
		signs = append(signs, "it was NTLMv1")
	}
	if int(r.Number2)&2 != 0 {
		signs = append(signs, "the account logged in by Kerberos from another machine, not from this one")
	}
	f := finding.Finding{Key: r.Detail, Severity: finding.Medium, Confidence: finding.Guess, Evidence: signs,
		What: plural.Sprintf("%s administered %s in %d {call|calls} after a login by NTLM as %s", r.Src, r.Dst, r.Count, r.Detail)}
	if len(signs) > 1 {
		f.Severity, f.Confidence = finding.High, finding.Likely
	}
	if len(signs) > 0 {
		f.What += "; signs of a stolen hash: " + strings.Join(signs, "; ")
		l.Add(r, f)
	}
}
