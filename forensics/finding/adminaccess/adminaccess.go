// Package adminaccess lists the paths by which machines, containers and databases are administered:
// SSH, RDP, VNC, Telnet, commands in containers through Kubernetes, database consoles, pages and
// endpoints for administrators, changes over SNMP, and administration of Kerberos and of devices.
//
// Such access is normal. A finding is high if it comes from outside, medium if it is not encrypted,
// and otherwise information for a review. Inside TLS that was not decrypted it cannot be seen.
package adminaccess

import (
	"context"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/statements"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Kinds of access.
const (
	kubernetes = "kubernetes-exec"
	console    = "database-console"
	admin      = "admin-path"
	change     = "snmp-set"
	principals = "kerberos-admin"
	device     = "device-login"
)

// Analyzer returns the analyzer admin-access.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "admin-access", Techniques: []string{"T1021"}, Basis: finding.OfFlows, Title: "administrative access", Kinds: []string{"ssh", "rdp", "vnc", "telnet", kubernetes, console, admin, change, principals, device},
		Doc: "SSH, RDP, VNC, Telnet, exec and attach into containers, consoles of databases, paths for administrators, changes through SNMP, tickets for Kerberos' administration, and logins of administrators to devices through RADIUS; high from outside, medium without encryption, else info.",
		Steps: []finding.Step{{Find: find, Needs: []finding.Need{
			finding.Calls("'ssh', 'rdp', 'telnet', 'tcp', 'udp', 'snmp', 'kerberos', 'radius'", finding.Any(direct)),
			finding.Some(commands),
			finding.Calls(terms.Web, finding.Any(web+" AND (regexp_matches(endpoint, '"+execPath+"') OR regexp_matches(endpoint, '"+adminPath+"'))")),
			finding.Calls(statements.Protocols, finding.Any(consoles)),
			finding.Calls(terms.Web, finding.Any(consoles)),
		}}}}
}

// Expressions for endpoints. An id in a path is {id}.
const (
	execPath  = `^(GET|POST) (/api/v1/namespaces/[^/]+/pods/[^/]+/(exec|attach|portforward)|/(exec|run|attach|portForward)/[^/]+/[^/]+(/[^/]+)*)$`
	adminPath = `^[A-Z]+ /(admin|administrator|phpmyadmin|pma|adminer|pgadmin4?|wp-admin|manager/html|host-manager/html|jenkins/script|script|console|actuator/(env|heapdump|threaddump|shutdown|loggers|jolokia|gateway)|jolokia|debug/pprof|solr/admin|_cluster/settings|_nodes|_snapshot|druid/index\.html|server-status|server-info|h2-console)(/.*)?$`
)

// application is the SQL for the name of the program that uses a database.
var application = statements.Part("", "application")

// programs are the names by which programs for people log in to databases.
const programs = `(?i)^(psql|pgadmin|dbeaver|datagrip|navicat|tableplus|heidisql|pgcli|beekeeper|azure data studio)`

// commands is the SQL condition for commands of Redis that only administrators send.
const commands = `protocol = 'redis' AND method IN ('MONITOR', 'DEBUG', 'SHUTDOWN', 'MODULE', 'REPLICAOF', 'SLAVEOF', 'CONFIG') AND (method <> 'CONFIG' OR redis_command ILIKE 'CONFIG SET %')`

// network is the SQL for the kind of access through protocols of networks, or null.
const network = `CASE WHEN protocol = 'snmp' AND snmp_pdu = 'SetRequest' THEN '` + change + `' WHEN protocol = 'kerberos' AND kerberos_service LIKE 'kadmin/%' AND kerberos_service NOT LIKE 'kadmin/changepw%' THEN '` + principals + `'
	WHEN protocol = 'radius' AND radius_response_code_name = 'Access-Accept' AND radius_service_type IN ('Administrative-User', 'NAS-Prompt-User') THEN '` + device + `' END`

var web = `protocol IN ` + terms.Web

// consoles is the SQL condition for statements of a program for people.
var consoles = statements.IsStatement + " AND regexp_matches(" + application + ", '" + programs + "')"

// direct is the SQL condition for calls that their protocol shows to be administration.
const direct = `(protocol IN ('ssh', 'rdp', 'telnet') OR protocol IN ('tcp', 'udp') AND payload_evidence = 'content' AND payload_protocol IN ('rdp', 'vnc', 'telnet') OR ` + network + ` IS NOT NULL)`

func find(ctx context.Context, l *finding.Look) error {
	// Endpoints and names of programs are far fewer than calls: match each once.
	names, err := l.Rows(ctx, `SELECT '`+admin+`' AS detail, endpoint AS other FROM (SELECT DISTINCT endpoint FROM `+l.Calls+` WHERE `+l.Where+` AND `+web+`) WHERE regexp_matches(endpoint, '`+execPath+`') OR regexp_matches(endpoint, '`+adminPath+`')
		UNION ALL SELECT '`+console+`', name FROM (SELECT DISTINCT `+application+` AS name FROM `+l.Calls+` WHERE `+l.Where+` AND `+statements.IsStatement+`) WHERE regexp_matches(name, '`+programs+`') ORDER BY ALL`, append(append([]any(nil), l.Args...), l.Args...)...)
	if err != nil {
		return err
	}
	args := append([]any(nil), l.Args...)
	paths, apps := list(names, admin), list(names, console)
	kind := `CASE WHEN protocol IN ('snmp', 'kerberos', 'radius') THEN ` + network + ` WHEN protocol IN ('ssh', 'rdp', 'telnet') THEN protocol WHEN protocol IN ('tcp', 'udp') THEN payload_protocol WHEN NOT (` + web + `) THEN '` + console + `' WHEN regexp_matches(endpoint, '` + execPath + `') THEN '` + kubernetes + `' ELSE '` + admin + `' END AS kind`
	what := `CASE WHEN NOT (` + web + `) THEN '' ELSE coalesce(nullif(regexp_extract(endpoint, '` + execPath + `', 3), ''), nullif(regexp_extract(endpoint, '` + execPath + `', 4), ''), endpoint) END AS what`
	rows, err := l.Rows(ctx, l.Groups(kind+`, `+what+`, decrypted_by IS NOT NULL OR protocol IN ('ssh', 'rdp', 'kerberos') OR coalesce(snmp_security_level = 'authPriv', payload_protocol = 'rdp', false) AS sealed, coalesce(status_code < 400, true) AS good`,
		`(`+direct+` OR `+commands+` OR `+among(statements.IsStatement+" AND "+application, apps)+` OR `+among(web+" AND endpoint", paths)+`)`)+`
		SELECT src, dst, kind AS detail, what AS other, CASE WHEN bool_or(coalesce(src_outside, false)) THEN 1 ELSE 0 END::DOUBLE AS number, CASE WHEN sealed THEN 1 ELSE 0 END::DOUBLE AS number2, coalesce(sum(n) FILTER (good), 0)::BIGINT AS "of", `+l.Sums()+`
		FROM g GROUP BY src, dst, kind, what, sealed ORDER BY number DESC, count DESC, src, dst, detail, other, number2`, append(append(args, apps...), paths...)...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		l.Add(r, claim(r))
	}
	return nil
}

// list returns the names of one kind.
func list(rows []finding.Row, kind string) (out []any) {
	for _, r := range rows {
		if r.Detail == kind {
			out = append(out, r.Other)
		}
	}
	return out
}

// among is the SQL condition that a column is one of these names.
func among(column string, names []any) string {
	if len(names) == 0 {
		return "false"
	}
	return column + " IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ") + ")"
}

// claim describes one kind of access between two ends.
func claim(r finding.Row) finding.Finding {
	f := finding.Finding{Kind: r.Detail, Severity: finding.Info, Confidence: finding.Exact, Encrypted: r.Number2 > 0, Key: r.Detail + "\x00" + r.Other}
	switch r.Detail {
	case kubernetes:
		f.What = plural.Sprintf("%s opens shells or ports in containers through %s (%s), in %d {call|calls}", r.Src, r.Dst, r.Other, r.Count)
	case console:
		f.What = plural.Sprintf("%s uses a console or commands of administrators on the database %s, in %d {call|calls}", r.Src, r.Dst, r.Count)
	case admin:
		f.Confidence = finding.Likely
		f.What = plural.Sprintf("%s calls %s of %s, a path for administrators, in %d {call|calls}; %d succeeded", r.Src, r.Other, r.Dst, r.Count, r.Of)
	case change:
		f.What = plural.Sprintf("%s changes settings of %s through SNMP, in %d {call|calls}", r.Src, r.Dst, r.Count)
	case principals:
		f.What = plural.Sprintf("%s gets tickets for the administration of Kerberos from %s, in %d {call|calls}", r.Src, r.Dst, r.Count)
	case device:
		f.What = plural.Sprintf("%s lets administrators in after a login at %s (RADIUS), in %d {call|calls}", r.Src, r.Dst, r.Count)
	default:
		f.What = plural.Sprintf("%s uses %s to %s, in %d {connection|connections}", r.Src, r.Detail, r.Dst, r.Count)
	}
	if !f.Encrypted {
		f.Severity, f.Key, f.What = finding.Medium, f.Key+"\x00clear", f.What+", without encryption"
	}
	if r.Number > 0 {
		f.Severity, f.What = finding.High, f.What+", from outside"
	}
	if r.Detail == admin && r.Of == 0 { // all were refused
		f.Severity = finding.Low
	}
	return f
}
