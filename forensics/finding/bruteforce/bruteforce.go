// Package bruteforce finds clients that try many logins, most of which fail.
//
// One finding is one source and one target over one protocol. It counts all logins between them,
// including successful ones, so a busy gateway with a few wrong passwords is not reported. SSH
// hides the results of logins, so its connections are judged by their number of bytes, with a lower
// confidence.
package bruteforce

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// What counts as brute force: failed logins from one source to one target within ten minutes, and that more than
// half of all logins between them failed, or very many.
const (
	window      = 600 // seconds
	manyFailed  = 10  // with a known result
	manyShort   = 20  // connections of SSH, whose result is hidden
	anyShare    = 100 // however many logins succeeded
	sprayed     = 6   // with a known result, if they are of many accounts
	manyNames   = 5   // accounts, with at most fewTries each, are spraying
	fewTries    = 3
	guessedName = 3 // failures of an account before a login to it succeeded
)

// login says which calls of a protocol are logins. The texts are SQL.
type login struct{ protocols, is, failed, account string }

var logins = []login{
	{"'ldap'", "ldap_type = 'bind' AND ldap_result_code IN (0, 49) AND ldap_dn <> ''", "ldap_result_code = 49", "ldap_dn"},
	{"'kerberos'", "method = 'AS-REQ' AND (outcome = 'ok' AND status_text IS NULL OR status_text IN ('KDC_ERR_PREAUTH_FAILED', 'KDC_ERR_C_PRINCIPAL_UNKNOWN'))", "status_text IS NOT NULL", "kerberos_client"},
	{"'smb'", "smb_command IN ('session_setup', 'session_setup_andx') AND smb_auth NOT IN ('ntlm', 'anonymous') AND status_text IN ('STATUS_SUCCESS', 'STATUS_LOGON_FAILURE', 'STATUS_WRONG_PASSWORD', 'STATUS_NO_SUCH_USER', 'STATUS_ACCOUNT_LOCKED_OUT')", "status_text <> 'STATUS_SUCCESS'", "smb_user"},
	{"'ftp'", "ftp_command = 'PASS' AND status_code IN (230, 530)", "status_code = 530", "ftp_user"},
	{"'telnet'", "method = 'LOGIN' AND auth_kind = 'password' AND outcome IN ('ok', 'client_error')", "outcome = 'client_error'", "telnet_user"},
	{"'imap'", "imap_command IN ('LOGIN', 'AUTHENTICATE') AND imap_status IN ('OK', 'NO') AND coalesce(imap_code, '') NOT IN ('UNAVAILABLE', 'PRIVACYREQUIRED')", "imap_status = 'NO'", "imap_user"},
	{"'pop3'", "pop3_command IN ('PASS', 'APOP', 'AUTH') AND outcome IN ('ok', 'client_error', 'refused') AND coalesce(pop3_code, '') NOT IN ('IN-USE', 'LOGIN-DELAY') AND coalesce(pop3_code, '') NOT LIKE 'SYS/%'", "outcome <> 'ok'", "pop3_user"},
	{"'smtp'", "smtp_command = 'AUTH' AND status_code IN (235, 535)", "status_code = 535", "smtp_user"},
	{"'radius'", "radius_code_name = 'Access-Request' AND radius_response_code_name IN ('Access-Accept', 'Access-Reject')", "radius_response_code_name = 'Access-Reject'", "radius_user"},
	{"'socks'", "auth_kind = 'password' AND status_text IS NOT NULL", "status_text = 'login failed'", "socks_user"},
	{"'http1', 'http2', 'http3'", "(status_code = 401 AND method = 'POST' AND auth_kind IS NULL OR (status_code IN (401, 407) OR status_code < 400) AND auth_kind IN ('basic', 'digest', 'password'))", "status_code IN (401, 407)", "NULL"},
	{"'ssh'", "ssh_client_encrypted_bytes > 0 AND complete", "ssh_client_encrypted_bytes < 4000 AND ssh_server_encrypted_bytes < 1600", "NULL"},
	{"'postgresql'", "method = 'STARTUP' AND auth_kind IS NOT NULL AND (outcome = 'ok' OR postgresql_error_code IN ('28000', '28P01'))", "outcome <> 'ok'", "postgresql_user"},
	{"'mysql'", "mysql_command = 'CONNECT' AND (outcome = 'ok' OR mysql_error_code = 1045)", "outcome <> 'ok'", "mysql_user"},
	{"'tds'", "tds_type = 'LOGIN7' AND (outcome = 'ok' OR tds_error_code = 18456)", "outcome <> 'ok'", "tds_user"},
	{"'redis'", "method = 'AUTH' AND (outcome = 'ok' OR redis_error LIKE 'WRONGPASS%' OR redis_error LIKE 'ERR invalid password%')", "outcome <> 'ok'", "redis_user"},
	{"'mongodb'", "mongodb_command IN ('saslStart', 'saslContinue') AND (mongodb_error_code = 18 OR mongodb_command = 'saslContinue' AND outcome = 'ok')", "outcome <> 'ok'", "mongodb_user"},
	{"'cassandra'", "cassandra_opcode = 'AUTH_RESPONSE' AND (outcome = 'ok' OR cassandra_error_code = 256)", "outcome <> 'ok'", "cassandra_user"},
	{"'clickhouse'", "clickhouse_kind = 'HELLO' AND (outcome = 'ok' OR clickhouse_error_code IN (192, 193, 194, 516))", "outcome <> 'ok'", "clickhouse_user"},
	{"'mqtt'", "method = 'CONNECT' AND auth_kind IS NOT NULL AND mqtt_reason_code IN (0, 4, 5, 134, 135)", "mqtt_reason_code <> 0", "mqtt_user"},
	{"'amqp'", "method = 'connection.start-ok' AND auth_kind IS NOT NULL AND (outcome = 'ok' OR amqp_reply_code = 403 OR outcome = 'no_answer' AND ended_by = 'server')", "outcome <> 'ok'", "amqp_user"},
	{"'sip'", "sip_auth_user IS NOT NULL AND status_code IN (200, 401, 403, 407)", "status_code <> 200", "sip_auth_user"},
}

// Analyzer returns the analyzer brute-force.
func Analyzer() finding.Analyzer {
	var needs []finding.Need
	for _, p := range logins {
		most := manyFailed
		switch {
		case p.protocols == "'ssh'":
			most = manyShort
		case p.account != "NULL":
			most = sprayed
		}
		needs = append(needs, finding.Calls(p.protocols, finding.AtLeast(most, "protocol IN ("+p.protocols+") AND "+p.is+" AND "+p.failed)))
	}
	return finding.Analyzer{Name: "brute-force", Techniques: []string{"T1110"}, Basis: finding.OfFlows, Title: "many failed logins", Kinds: []string{"guessing", "spraying", "short-connections"},
		Doc:   "A client with at least 10 failed logins at one server within ten minutes, 6 if they are of 5 accounts with at most 3 each, if they are most of its logins there, or 100: over LDAP, Kerberos, SMB, FTP, Telnet, IMAP, POP3, SMTP, RADIUS, SOCKS, HTTP, SIP, PostgreSQL, MySQL, SQL Server, Redis, MongoDB, Cassandra, ClickHouse, MQTT and AMQP, against few accounts (guessing) or many (spraying), and whether one of the accounts was entered afterwards. Of SSH, whose logins are encrypted, 20 connections that carried too little for a session.",
		Steps: []finding.Step{{Needs: needs, Find: find}}}
}

// cases is SQL for a column that each protocol has in its own way.
func cases(of func(login) string) string {
	var b strings.Builder
	b.WriteString("CASE")
	for _, l := range logins {
		fmt.Fprintf(&b, " WHEN protocol IN (%s) THEN %s", l.protocols, of(l))
	}
	b.WriteString(" END")
	return b.String()
}

func find(ctx context.Context, l *finding.Look) error {
	var is []string
	for _, p := range logins {
		is = append(is, "protocol IN ("+p.protocols+") AND "+p.is)
	}
	by := "CASE WHEN protocol IN ('http1', 'http2', 'http3') THEN 'http' ELSE protocol END AS protocol, ts_ns AS tried, " +
		cases(func(p login) string { return "coalesce(" + p.failed + ", false)" }) + " AS failed, " + cases(func(p login) string { return p.account }) + " AS account"
	const ends = "src, dst, protocol"
	rows, err := l.Rows(ctx, l.Groups(by, "("+strings.Join(is, " OR ")+")", l.ProxyLogin())+`,
		w AS (SELECT *, sum(CASE WHEN failed THEN n ELSE 0 END) OVER (PARTITION BY `+ends+` ORDER BY tried RANGE BETWEEN `+fmt.Sprint(window*1_000_000_000)+` PRECEDING AND CURRENT ROW) AS peak FROM g),
		a AS (SELECT `+ends+`, account, coalesce(sum(n) FILTER (failed), 0) AS tries, min(tried) FILTER (failed) AS first_failed, max(tried) FILTER (NOT failed) AS last_ok FROM g WHERE account IS NOT NULL GROUP BY ALL),
		s AS (SELECT `+ends+`, count(*) FILTER (tries > 0) AS accounts, max(tries) AS most, list(account || ' (' || tries || ')' ORDER BY tries DESC, account) FILTER (tries > 0) AS names,
			list(account ORDER BY account) FILTER (tries >= `+fmt.Sprint(guessedName)+` AND last_ok > first_failed) AS entered FROM a GROUP BY ALL),
		t AS (SELECT `+ends+`, sum(n)::BIGINT AS attempts, max(peak)::BIGINT AS peak, bool_or(src_outside) AS from_outside FROM w GROUP BY ALL),
		f AS (SELECT `+ends+`, `+l.Sums()+` FROM w WHERE failed GROUP BY ALL)
		SELECT f.* EXCLUDE (protocol), protocol AS detail, attempts AS "of", peak::DOUBLE AS number, coalesce(accounts, 0)::DOUBLE AS number2, list_slice(coalesce(names, []), 1, 5) AS evidence,
			CASE WHEN from_outside THEN 'outside' ELSE '' END || '/' || CASE WHEN accounts >= `+fmt.Sprint(manyNames)+` AND most <= `+fmt.Sprint(fewTries)+` THEN 'spraying' ELSE 'guessing' END || '/' || coalesce(array_to_string(list_slice(entered, 1, 5), ', '), '') AS other
		FROM f JOIN t USING (`+ends+`) LEFT JOIN s USING (`+ends+`)
		WHERE peak >= CASE WHEN protocol = 'ssh' THEN `+fmt.Sprint(manyShort)+` WHEN accounts >= `+fmt.Sprint(manyNames)+` AND most <= `+fmt.Sprint(fewTries)+` THEN `+fmt.Sprint(sprayed)+` ELSE `+fmt.Sprint(manyFailed)+` END AND (f.count * 2 > attempts OR protocol <> 'ssh' AND peak >= `+fmt.Sprint(anyShare)+`)
		ORDER BY f.count DESC, src, dst, protocol`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		report(l, r)
	}
	return nil
}

// report adds the finding of one source and target.
func report(l *finding.Look, r finding.Row) {
	f := finding.Finding{Key: r.Detail, Severity: finding.Medium, Confidence: finding.Likely}
	where, rest, _ := strings.Cut(r.Other, "/")
	kind, entered, _ := strings.Cut(rest, "/")
	f.Kind = kind
	switch {
	case r.Detail == "ssh":
		f.Kind, f.Confidence = "short-connections", finding.Guess
		f.What = plural.Sprintf("%s opened %d SSH {connection|connections} to %s that carried too little for a session (of %d), up to %.0f within ten minutes", r.Src, r.Count, r.Dst, r.Of, r.Number)
	default:
		f.What = plural.Sprintf("%s failed to log in to %s over %s %d {time|times} (of %d {login|logins}), up to %.0f within ten minutes", r.Src, r.Dst, r.Detail, r.Count, r.Of, r.Number)
		if n := int64(r.Number2); n > 0 {
			f.What += plural.Sprintf(", with %d {account|accounts}", n)
		}
	}
	if where != "" || kind == "spraying" {
		f.Severity = finding.High
	}
	if entered != "" {
		f.Severity = finding.High
		f.What += "; afterwards it logged in as " + entered
	}
	l.Add(r, f)
}
