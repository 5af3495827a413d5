// Package deprecated finds protocols that send secrets in clear text or are known to be broken: Telnet,
// FTP, TFTP, POP3 and IMAP without TLS, SSH 1, SMB 1, NTLMv1, SNMP 1 and 2c, Kerberos with DES and RC4, MS-CHAP, RADIUS whose
// answers can be forged, SOCKS 4, NTLM over HTTP, LDAP binds with a password in clear text, HTTP/0.9 and
// HTTP/1.0. Old TLS is weak-tls.
//
// A protocol counts only if the bytes show it, not if only a port suggests it.
package deprecated

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// kinds are the protocols, with their severity, description and reason.
var kinds = []struct{ name, severity, what, why string }{
	{"telnet", finding.High, "Telnet", "which sends passwords in clear text"},
	{"ftp", finding.High, "FTP without TLS", "which sends passwords in clear text"},
	{"tftp", finding.Medium, "TFTP", "which has no authentication"},
	{"pop3", finding.Medium, "POP3 without TLS (RFC 8314)", ""},
	{"imap", finding.Medium, "IMAP without TLS (RFC 8314)", ""},
	{"ssh-1", finding.High, "version 1 of SSH", "which is broken"},
	{"smb-1", finding.High, "version 1 of SMB", "which is broken"},
	{"ntlm-1", finding.High, "version 1 of NTLM, or LAN Manager", "with which a person who records a login can compute the hash of the password"},
	{"snmp-1", finding.Medium, "version 1 of SNMP", "which sends its community in clear text"},
	{"snmp-2c", finding.Medium, "version 2c of SNMP", "which sends its community in clear text"},
	{"kerberos-des", finding.High, "Kerberos with DES", "which is broken (RFC 6649)"},
	{"kerberos-rc4", finding.High, "Kerberos with RC4", "with which a person who records a ticket can try passwords fast (RFC 8429)"},
	{"kerberos-des3", finding.Medium, "Kerberos with DES3", "which RFC 8429 deprecates"},
	{"ms-chap", finding.High, "MS-CHAP", "whose DES is broken"},
	{"radius-unsigned", finding.Medium, "RADIUS without Message-Authenticator", "so somebody on the path can forge the answer (CVE-2024-3596)"},
	{"socks-4", finding.Low, "version 4 of SOCKS", "which has no authentication"},
	{"ldap-simple-bind", finding.High, "an LDAP bind with a password in clear text", ""},
	{"ntlm", finding.Medium, "NTLM authentication over HTTP", ""},
	{"http-0.9", finding.Low, "HTTP/0.9", ""},
	{"http-1.0", finding.Low, "HTTP/1.0", ""},
}

// Analyzer returns the analyzer deprecated-protocol.
func Analyzer() finding.Analyzer {
	a := finding.Analyzer{Name: "deprecated-protocol", Basis: finding.OfFlows, Title: "deprecated protocols",
		Doc: "Telnet, FTP, TFTP, POP3 and IMAP without TLS, SSH 1, SMB 1, NTLMv1 in SMB, SNMP 1 and 2c, Kerberos with DES, DES3 and RC4, MS-CHAP, RADIUS whose answers can be forged, SOCKS 4, NTLM over HTTP, LDAP binds with a password in clear text, HTTP/0.9 and 1.0, recognized by their bytes.", Steps: []finding.Step{
			{Needs: []finding.Need{finding.Calls("'http1', 'ssh', 'ldap', 'ftp', 'imap', 'pop3', 'telnet', 'smb', 'snmp', 'radius', 'socks', 'kerberos', 'tcp', 'udp'", finding.Any(candidates+" AND "+kind+" IS NOT NULL"))}, Find: find},
			{Needs: []finding.Need{finding.Calls("'http1'", finding.Any(negotiate))}, Find: negotiatedNTLM},
		}}
	for _, k := range kinds {
		a.Kinds = append(a.Kinds, k.name)
	}
	return a
}

// kind is the SQL for the kind of a call, or null.
const kind = `CASE WHEN protocol = 'http1' AND auth_kind = 'ntlm' THEN 'ntlm' WHEN protocol = 'http1' AND http1_version = 'HTTP/1.0' THEN 'http-1.0' WHEN protocol = 'http1' AND http1_version = 'HTTP/0.9' THEN 'http-0.9'
	WHEN protocol = 'http1' THEN NULL
	WHEN protocol IN ('ftp', 'imap', 'pop3', 'telnet') THEN protocol WHEN protocol = 'ldap' AND ldap_type = 'bind' AND auth_kind = 'password' THEN 'ldap-simple-bind'
	WHEN protocol = 'ssh' AND regexp_matches(coalesce(ssh_server_version, ssh_client_version), '^SSH-1[.]([^9]|9[^9])') THEN 'ssh-1'
	WHEN payload_protocol IN ('telnet', 'ftp', 'tftp', 'pop3', 'imap') THEN payload_protocol
	WHEN protocol = 'smb' AND smb_auth IN ('ntlmv1', 'lanman') THEN 'ntlm-1' WHEN protocol = 'smb' AND smb_version = 'smb1' AND (smb_command <> 'negotiate' OR smb_dialect NOT LIKE '2.%') THEN 'smb-1'
	WHEN payload_protocol = 'smb' AND (hex(payload_request_head) LIKE '________FF534D42%' AND hex(payload_response_head) NOT LIKE '________FE534D42%') THEN 'smb-1'
	WHEN protocol = 'snmp' AND snmp_version <> '3' THEN 'snmp-' || snmp_version
	WHEN protocol = 'kerberos' THEN 'kerberos-' || kerberos_weak
	WHEN protocol = 'radius' AND auth_kind = 'ms-chap' THEN 'ms-chap'
	WHEN protocol = 'radius' AND radius_code = 1 AND coalesce(status_code, 0) IN (2, 3, 11) AND NOT radius_response_message_authenticator THEN 'radius-unsigned'
	WHEN protocol = 'socks' AND socks_version = 4 THEN 'socks-4' END`

// SQL conditions for the calls that kind is about: those that are in clear text by their protocol, and those that may have been
// encrypted as their connection was.
const (
	open   = `(protocol = 'http1' AND (http1_version IN ('HTTP/1.0', 'HTTP/0.9') OR auth_kind = 'ntlm') OR protocol = 'ssh' OR protocol = 'smb' AND (smb_version = 'smb1' OR smb_auth IN ('ntlmv1', 'lanman')) OR protocol = 'ldap' AND auth_kind = 'password' AND decrypted_by IS NULL)`
	veiled = `(protocol IN ('ftp', 'imap', 'pop3', 'telnet', 'snmp', 'radius', 'socks') AND decrypted_by IS NULL OR protocol = 'kerberos' AND kerberos_weak IS NOT NULL OR protocol IN ('tcp', 'udp') AND payload_evidence = 'content' AND payload_protocol IN ('telnet', 'ftp', 'tftp', 'pop3', 'imap', 'smb'))`

	candidates = `(` + open + ` OR ` + veiled + `)`
)

// negotiate is the SQL condition for calls that may authenticate with NTLM within Negotiate.
const negotiate = `protocol = 'http1' AND auth_kind = 'negotiate'`

// hop is the SQL condition for calls whose version of HTTP is that of a proxy, which has its own to the host behind it (RFC
// 9110 section 2.5): requests with an absolute URI.
const hop = `http1_version IN ('HTTP/1.0', 'HTTP/0.9') AND auth_kind IS DISTINCT FROM 'ntlm' AND http1_target IS NOT NULL`

func find(ctx context.Context, l *finding.Look) error {
	on := l.Bundle("conn_id")
	rows, err := l.Rows(ctx, l.Groups(kind+` AS kind`, `(`+open+` OR `+veiled+` AND (`+on+`) NOT IN (SELECT (`+on+`) FROM connections_raw WHERE encryption IS NOT NULL))`, l.ProxyLogin(), hop)+`
		SELECT src, dst, kind AS detail, `+l.Sums()+` FROM g WHERE kind IS NOT NULL GROUP BY src, dst, kind ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		for _, k := range kinds {
			if k.name == r.Detail {
				f := finding.Finding{Kind: k.name, Severity: k.severity, Confidence: finding.Exact, What: plural.Sprintf("%s uses %s to %s in %d {call|calls}", r.Src, k.what, r.Dst, r.Count)}
				if k.why != "" {
					f.What += ", " + k.why
				}
				l.Add(r, f)
			}
		}
	}
	return nil
}

// negotiatedNTLM finds NTLM within Negotiate. Headers are read only if there is such a call.
func negotiatedNTLM(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()()
	rows, err := l.Rows(ctx, l.Groups("auth_kind", negotiate+` AND len(list_filter(headers, h -> lower(h.name) IN ('authorization', 'proxy-authorization') AND h.value LIKE 'Negotiate TlRMTVNTUA%')) > 0`, l.ProxyLogin())+`
		SELECT src, dst, 'negotiate' AS detail, `+l.Sums()+` FROM g GROUP BY src, dst ORDER BY count DESC, src, dst`, l.Args...)
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "ntlm", Severity: finding.Medium, Confidence: finding.Exact, What: plural.Sprintf("%s uses NTLM inside Negotiate authentication to %s, in %d {call|calls}", r.Src, r.Dst, r.Count)})
	}
	return err
}
