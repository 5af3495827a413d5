package finding

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Groups is SQL (WITH g AS …) that groups the calls in scope that match where, by their ends and the
// columns of by. The columns of g are those of Named, those of by, n, first_ns, last_ns and ids. Strings are computed per
// group, not per call. The arguments are Args, then those of where. own is as for Key.
func (l *Look) Groups(by, where string, own ...string) string {
	return `WITH ` + l.Names() + `, r AS (SELECT ` + l.Key(own...) + `, ` + by + `, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, ` + l.Some() + `
			FROM ` + l.Calls + ` WHERE ` + l.Where + ` AND ` + where + ` GROUP BY ALL),
		g AS (` + l.Named("r") + `)`
}

// Sent is Key for calls none of which is about the proxy itself: what they carry is for the host behind it.
func (l *Look) Sent() string { return l.Bundle("src_id, dst_id, proxied_to") }

// Key is the SQL for the columns by which calls are grouped before Named: their ends, and what the server, a proxy, passes
// them to. A call that asks for a host is about the proxy itself, and so is one that meets a condition of own.
func (l *Look) Key(own ...string) string {
	if !l.Has(Proxied) {
		return l.Bundle("src_id, dst_id, NULL AS proxied_to")
	}
	return l.Bundle("src_id, dst_id, CASE WHEN NOT coalesce(" + strings.Join(append(own, terms.AsksProxy), " OR ") + ", false) THEN proxied_to END AS proxied_to")
}

// ProxyLogin is the SQL condition for calls whose auth_kind is that of credentials for a proxy, those in Proxy-Authorization
// (RFC 9110 section 11.7.2), and for those that a proxy refused for lack of them (section 15.5.8). Headers are read only if
// a call through a proxy has credentials.
func (l *Look) ProxyLogin() string {
	if !l.Has(proxyLogin) {
		return "status_code = 407"
	}
	const names = "list_transform(headers, x -> lower(x.name))"
	return "(status_code = 407 OR " + proxying + " AND auth_kind IS NOT NULL AND " + Web + " AND list_contains(" + names + ", 'proxy-authorization') AND NOT list_contains(" + names + ", 'authorization'))"
}

// Names is SQL for the tables that Named reads.
func (l *Look) Names() string {
	names := "e AS MATERIALIZED (" + l.Ends() + ")"
	if l.Has(Proxied) {
		names += ", asked AS MATERIALIZED (" + terms.AskedHosts + ")"
	}
	return names
}

// Named is SQL for the rows of a table with the columns of Key, and with
//   - src, the client, or "(outside)" for one outside without a name; client, always with its name; src_namespace; src_outside
//   - dst, the server or, behind a proxy, the host that the proxy is asked for, by the name of its owner if that is known
//   - proxy, null if there is none; target, what it is asked for; target_namespace; beyond, whether that is not known to be inside
//   - dst_outside, dst_dns_name and dst_hostname of the server or proxy.
func (l *Look) Named(table string) string {
	return l.behind(`SELECT s."as" AS src, s.who AS client, d.who AS server, s.namespace AS src_namespace, s.external AS src_outside, d.external AS dst_outside, d.ip AS dst_ip, d.dns_name AS dst_dns_name, d.hostname AS dst_hostname, r.*
		FROM ` + table + ` r JOIN e s ON ` + l.On("r", "src_id", "s") + ` JOIN e d ON ` + l.On("r", "dst_id", "d"))
}

// NamedFlows is SQL for the flows that match a condition, with the columns dst, proxy, target, beyond and dst_outside of
// Named. What a connection to a proxy carries is for the host behind it if the proxy was asked for only one.
func (l *Look) NamedFlows(where string) string {
	rows := `SELECT *, ` + terms.Who("dst_") + ` AS server, dst_external AS dst_outside FROM flows`
	if !l.Has(Proxied) {
		return `WITH f AS (` + l.behind(rows+` WHERE `+where) + `)`
	}
	flow := l.Bundle("flow_id")
	return `WITH ` + l.Names() + `, passed AS (SELECT ` + flow + `, min(proxied_to) AS proxied_to FROM calls_raw WHERE proxied_to IS NOT NULL GROUP BY ALL HAVING count(DISTINCT ` + terms.TargetHost + `) = 1),
		f AS (` + l.behind(rows+` LEFT JOIN passed USING (`+flow+`) WHERE `+where) + `)`
}

// behind is SQL for rows with the names of their ends and proxied_to, and with dst, proxy, target and beyond.
func (l *Look) behind(rows string) string {
	if !l.Has(Proxied) {
		return `SELECT *, server AS dst, NULL::VARCHAR AS proxy, NULL::VARCHAR AS target, false AS beyond, NULL::VARCHAR AS target_namespace FROM (` + rows + `)`
	}
	return `SELECT t.*, CASE WHEN target IS NULL THEN server ELSE coalesce(asked.who, target) END AS dst, CASE WHEN target IS NOT NULL THEN server END AS proxy,
			target IS NOT NULL AND NOT coalesce(asked.inside, false) AS beyond, asked.namespace AS target_namespace
		FROM (SELECT *, CASE WHEN ` + terms.BehindProxy + ` THEN ` + terms.TargetHost + ` END AS target FROM (` + rows + `)) t LEFT JOIN asked ON asked.asked = t.target`
}

// Ways are the columns of a Row with the proxies of a group of rows from Named, and with what makes it one with a
// destination outside.
const Ways = `string_agg(DISTINCT proxy, ', ' ORDER BY proxy) AS via, coalesce(bool_or(dst_outside), false) AS outside, coalesce(bool_or(beyond), false) AS beyond`

// Ends is SQL for the names of endpoints. Its columns are bundle if the case has several bundles,
// endpoint_id, ip, namespace, external, dns_name, hostname, who, and as, which is "(outside)" for a client outside without a
// name.
func (l *Look) Ends() string {
	return "SELECT " + l.Bundle("endpoint_id, ip, namespace, external, dns_name, hostname") + ", " + terms.Who("") + " AS who, " + terms.Client("") + ` AS "as" FROM endpoints_raw`
}

// On is the SQL condition that joins table left with a row of Ends named right, by a column of left.
func (l *Look) On(left, id, right string) string {
	on := fmt.Sprintf("%[3]s.endpoint_id = %[1]s.%[2]s", left, id, right)
	if l.Case.Several() {
		on += fmt.Sprintf(" AND %[2]s.bundle = %[1]s.bundle", left, right)
	}
	return on
}

// Some is the SQL for the column ids of a group of calls: the first call_ids, or all of them.
func (l *Look) Some() string { return l.some() + " AS ids" }

// Sums are the columns of a Row that are sums over groups of g, and Ways.
func (l *Look) Sums() string {
	return `sum(n)::BIGINT AS count, min(first_ns) AS first_ns, max(last_ns) AS last_ns, list_transform(` + l.IDs() + `, x -> lower(hex(x))) AS call_ids, ` + Ways
}

// IDs is the SQL for the call_ids of groups of g, as BLOB.
func (l *Look) IDs() string {
	if l.all {
		return "flatten(list(ids))"
	}
	return "list_slice(flatten(arg_min(ids, (first_ns, ids), 3)), 1, 3)"
}

// CallIDs is the SQL for the column call_ids of a group of calls.
func (l *Look) CallIDs() string {
	return "list_transform(" + l.some() + ", x -> lower(hex(x))) AS call_ids"
}

// First is the SQL for the first three elements of a list, or all of them.
func (l *Look) First(list string) string {
	if l.all {
		return list
	}
	return "list_slice(" + list + ", 1, 3)"
}

// some is the SQL for the first three calls of a group, or all of them if KFL needs all calls of a
// finding.
func (l *Look) some() string {
	if l.all {
		return "list(call_id)"
	}
	return "arg_min(call_id, (ts_ns, call_id), 3)"
}

// Web is the SQL condition for calls of HTTP and gRPC.
var Web = `protocol IN ` + terms.Serving + ` AND path IS NOT NULL`

// Probe is the SQL condition for the paths of health checks and metrics, which need no credentials.
const Probe = `regexp_matches(path, '^/(healthz?|readyz?|livez?|health/.*|ready|live|ping|metrics|status|favicon\.ico|robots\.txt|\.well-known/.*|grpc\.health\..*|-/(healthy|ready))$')`

// All reports whether findings need all their calls, not only the first ones.
func (l *Look) All() bool { return l.all }
