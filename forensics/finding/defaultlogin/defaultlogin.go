// Package defaultlogin finds logins with passwords that protect nothing: empty ones, the name of the user, and those that
// everybody knows.
//
// Rows keep no passwords. Dissectors state such a password as an anomaly, and headers of HTTP have their credentials.
package defaultlogin

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const (
	odd = "kind = 'known_password'"

	basic     = "auth_kind = 'basic' AND protocol IN ('http1', 'http2', 'http3', 'grpc') AND headers IS NOT NULL"
	community = "protocol = 'snmp' AND snmp_community IN ('public', 'private', '') AND outcome = 'ok'"
	without   = "(protocol = 'mysql' AND method = 'CONNECT' AND auth_kind IS NULL AND mysql_user IS NOT NULL AND outcome = 'ok' OR protocol = 'postgresql' AND auth_kind = 'trust' AND outcome = 'ok' OR protocol = 'ldap' AND ldap_auth = 'unauthenticated' AND outcome = 'ok')"
)

// Analyzer returns the analyzer default-login.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "default-login", Title: "default and empty passwords", Kinds: []string{"password", "none", "community"}, Techniques: []string{"T1078.001"},
		Basis:    finding.Basis{What: "logins", Is: []finding.Need{finding.Some("auth_kind IS NOT NULL"), finding.Odd(odd)}},
		Unproved: "That the account has rights that matter.",
		Doc:      "Logins of mail, FTP, Telnet, IRC, SOCKS, MQTT, AMQP, NATS, STOMP, Kafka, Redis, Cassandra, MongoDB (PLAIN), LDAP, TACACS+, Pulsar and HTTP (Basic) with a password that is empty, the name of the user, or one that everybody knows; logins of MySQL, PostgreSQL and LDAP without any; communities public and private of SNMP. Other protocols do not send passwords that can be compared, or they are not read.",
		Steps: []finding.Step{
			{Needs: []finding.Need{finding.Odd(odd)}, Find: known},
			{Needs: []finding.Need{finding.Some(basic)}, Find: headers},
			{Needs: []finding.Need{finding.Calls("'mysql', 'postgresql', 'ldap'", finding.Any(without))}, Find: none},
			{Needs: []finding.Need{finding.Calls("'snmp'", finding.Any(community))}, Find: communities},
		}}
}

// known reports the passwords that dissectors stated.
func known(ctx context.Context, l *finding.Look) error {
	flow := l.Bundle("flow_id")
	rows, err := l.Rows(ctx, l.Groups("flow_id, protocol AS kind, coalesce(outcome = 'ok', false) AS taken, cites[1].first AS since, cites[-1].last AS until", "auth_kind IS NOT NULL AND ("+flow+") IN (SELECT ("+flow+") FROM anomalies_raw WHERE "+odd+")")+`,
		a AS (SELECT `+flow+`, packet_no, max(detail) AS said FROM anomalies_raw WHERE `+odd+` GROUP BY ALL)
		SELECT src, dst, kind AS detail, `+l.Sums()+`, coalesce(sum(n) FILTER (taken), 0)::BIGINT AS "of", list_slice(list_sort(list(DISTINCT said)), 1, 3) AS evidence
		FROM g JOIN a USING (`+flow+`) WHERE packet_no BETWEEN since AND until GROUP BY src, dst, kind ORDER BY count DESC, src, dst, detail`, l.Args...)
	for _, r := range rows {
		report(l, r, "password", r.Detail, plural.Sprintf("%s sent a password that protects nothing to %s in %d {login|logins} of %s", r.Src, r.Dst, r.Count, r.Detail))
	}
	return err
}

// report adds a finding about logins, of which r.Of succeeded.
func report(l *finding.Look, r finding.Row, kind, key, what string) {
	f := finding.Finding{Kind: kind, Key: kind + "\x00" + key, Severity: finding.Low, Confidence: finding.Exact, What: what + "; none succeeded"}
	if r.Of > 0 {
		f.Severity, f.What = finding.High, what+plural.Sprintf("; %d succeeded", r.Of)
	}
	l.Add(r, f)
}

// headers reports credentials of HTTP Basic.
func headers(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()()
	rows, err := l.Rows(ctx, l.Groups("list_filter(headers, x -> lower(x.name) IN ('authorization', 'proxy-authorization') AND x.kind = 'request')[1].value AS credentials, coalesce(outcome = 'ok', false) AS taken", basic, l.ProxyLogin())+`
		SELECT src, dst, credentials AS detail, `+l.Sums()+`, coalesce(sum(n) FILTER (taken), 0)::BIGINT AS "of" FROM g WHERE credentials IS NOT NULL GROUP BY src, dst, credentials ORDER BY count DESC, src, dst, detail`, l.Args...)
	for _, r := range rows {
		scheme, coded, _ := strings.Cut(r.Detail, " ")
		text, bad := base64.StdEncoding.DecodeString(strings.TrimSpace(coded))
		user, password, ok := strings.Cut(string(text), ":")
		if bad != nil || !ok || !strings.EqualFold(scheme, "basic") {
			continue
		}
		said := table.WeakPassword(user, password)
		if said == "" {
			continue
		}
		r.Evidence = []string{"the password that the client sent " + said}
		report(l, r, "password", "basic "+said, plural.Sprintf("%s sent a password that protects nothing to %s in %d {request|requests} of HTTP", r.Src, r.Dst, r.Count))
	}
	return err
}

// none reports logins without a password.
func none(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("protocol AS kind", without)+` SELECT src, dst, kind AS detail, `+l.Sums()+` FROM g GROUP BY src, dst, kind ORDER BY count DESC, src, dst, detail`, l.Args...)
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "none", Key: "none\x00" + r.Detail, Severity: finding.Medium, Confidence: finding.Exact,
			What: plural.Sprintf("%s accepted %d {login|logins} of %s by %s without a password", r.Dst, r.Count, r.Detail, r.Src)})
	}
	return err
}

// communities reports communities of SNMP that everybody knows.
func communities(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("snmp_community AS community", community)+` SELECT src, dst, community AS detail, `+l.Sums()+` FROM g GROUP BY src, dst, community ORDER BY count DESC, src, dst, detail`, l.Args...)
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "community", Key: "community\x00" + r.Detail, Severity: finding.Medium, Confidence: finding.Exact, Evidence: []string{"community " + r.Detail},
			What: plural.Sprintf("%s answered %d {request|requests} of SNMP by %s with the community %q, which everybody knows", r.Dst, r.Count, r.Src, r.Detail)})
	}
	return err
}
