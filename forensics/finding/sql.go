package finding

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Groups is SQL (WITH g AS …) that groups the calls in scope that match where, by their ends and the
// columns of by. A client outside without a name is "(outside)". The columns of g are src, dst, those
// of by, n, first_ns, last_ns and ids. Strings are computed per group, not per call. The arguments
// are Args, then those of where.
func (l *Look) Groups(by, where string) string {
	same := ""
	if l.Case.Several() {
		same = " AND %[1]s.bundle = r.bundle"
	}
	join := func(alias, id string) string {
		return fmt.Sprintf(" JOIN endpoints %[1]s ON %[1]s.endpoint_id = r.%[2]s"+same, alias, id)
	}
	if same == "" {
		join = func(alias, id string) string {
			return fmt.Sprintf(" JOIN endpoints %[1]s ON %[1]s.endpoint_id = r.%[2]s", alias, id)
		}
	}
	return `WITH r AS (SELECT ` + l.Bundle("src_id, dst_id") + `, ` + by + `, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, ` + l.some() + ` AS ids
			FROM ` + l.Calls + ` WHERE ` + l.Where + ` AND ` + where + ` GROUP BY ALL),
		g AS (SELECT CASE WHEN s.kind = 'outside' AND coalesce(s.dns_name, s.hostname, s.service) IS NULL THEN '(outside)' ELSE ` + terms.Who("s.") + ` END AS src, ` + terms.Who("d.") + ` AS dst, s.external AS src_outside, d.external AS dst_outside, r.* FROM r` + join("s", "src_id") + join("d", "dst_id") + `)`
}

// Ends is SQL for the names of endpoints. Its columns are bundle if the case has several bundles,
// endpoint_id, external, dns_name, hostname, who, and as, which is "(outside)" for a client outside without a
// name.
func (l *Look) Ends() string {
	return "SELECT " + l.Bundle("endpoint_id, external, dns_name, hostname") + ", " + terms.Who("") + " AS who, CASE WHEN kind = 'outside' AND coalesce(dns_name, hostname, service) IS NULL THEN '(outside)' ELSE " + terms.Who("") + ` END AS "as" FROM endpoints_raw`
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

// Sums are the columns of a Row that are sums over groups of g.
func (l *Look) Sums() string {
	return `sum(n)::BIGINT AS count, min(first_ns) AS first_ns, max(last_ns) AS last_ns, list_transform(` + l.IDs() + `, x -> lower(hex(x))) AS call_ids`
}

// IDs is the SQL for the call_ids of groups of g, as BLOB.
func (l *Look) IDs() string {
	if l.all {
		return "flatten(list(ids))"
	}
	return "list_slice(flatten(arg_min(ids, first_ns, 3)), 1, 3)"
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
	return "arg_min(call_id, ts_ns, 3)"
}

// Web is the SQL condition for calls of HTTP and gRPC.
var Web = `protocol IN ` + terms.Serving + ` AND path IS NOT NULL`

// Probe is the SQL condition for the paths of health checks and metrics, which need no credentials.
const Probe = `regexp_matches(path, '^/(healthz?|readyz?|livez?|health/.*|ready|live|ping|metrics|status|favicon\.ico|robots\.txt|\.well-known/.*|grpc\.health\..*|-/(healthy|ready))$')`

// All reports whether findings need all their calls, not only the first ones.
func (l *Look) All() bool { return l.all }
