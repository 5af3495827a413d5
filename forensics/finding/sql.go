package finding

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Groups is SQL that sums the asked calls for which where holds by their ends, where
// whoever asks from outside without a name is "(outside)", and the columns of by: WITH g AS (…). Its columns are src, dst, those of by, n, first_ns,
// last_ns and ids; strings are made once a group and not once a call. Arguments are Args,
// then those of where.
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
	return `WITH r AS (SELECT ` + l.Bundle("src_id, dst_id") + `, ` + by + `, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, ` + l.some("call_id", "ts_ns") + ` AS ids
			FROM ` + l.Calls + ` WHERE ` + l.Where + ` AND ` + where + ` GROUP BY ALL),
		g AS (SELECT CASE WHEN s.kind = 'outside' AND coalesce(s.dns_name, s.hostname, s.service) IS NULL THEN '(outside)' ELSE ` + terms.Who("s.") + ` END AS src, ` + terms.Who("d.") + ` AS dst, s.external AS src_outside, d.external AS dst_outside, r.* FROM r` + join("s", "src_id") + join("d", "dst_id") + `)`
}

// Ends is SQL for the names of endpoints, once for each: columns that begin with bundle where
// the case has several, endpoint_id, external, dns_name, who, and as, which is "(outside)"
// for who asks from outside without a name.
func (l *Look) Ends() string {
	return "SELECT " + l.Bundle("endpoint_id, external, dns_name") + ", " + terms.Who("") + " AS who, CASE WHEN kind = 'outside' AND coalesce(dns_name, hostname, service) IS NULL THEN '(outside)' ELSE " + terms.Who("") + ` END AS "as" FROM endpoints_raw`
}

// On is the SQL for the join of rows named left with an endpoint named right, a row of Ends,
// by a column of the former.
func (l *Look) On(left, id, right string) string {
	on := fmt.Sprintf("%[3]s.endpoint_id = %[1]s.%[2]s", left, id, right)
	if l.Case.Several() {
		on += fmt.Sprintf(" AND %[2]s.bundle = %[1]s.bundle", left, right)
	}
	return on
}

// Some is the SQL for the column ids of a group of calls: the call_ids of its first, or all.
func (l *Look) Some() string { return l.some("call_id", "ts_ns") + " AS ids" }

// Sums are the columns of a Row that every sum of groups of g has.
func (l *Look) Sums() string {
	return `sum(n)::BIGINT AS count, min(first_ns) AS first_ns, max(last_ns) AS last_ns, list_transform(` + l.IDs() + `, x -> lower(hex(x))) AS call_ids`
}

// IDs is the SQL for the call_ids, as BLOB, of some groups of g.
func (l *Look) IDs() string {
	if l.all {
		return "flatten(list(ids))"
	}
	return "list_slice(flatten(arg_min(ids, first_ns, 3)), 1, 3)"
}

// CallIDs is the SQL for the column call_ids of a group of calls.
func (l *Look) CallIDs() string {
	return "list_transform(" + l.some("call_id", "ts_ns") + ", x -> lower(hex(x))) AS call_ids"
}

// First is the SQL for the first three of a list, or the whole of it.
func (l *Look) First(list string) string {
	if l.all {
		return list
	}
	return "list_slice(" + list + ", 1, 3)"
}

// some is the SQL for the first values of a group: all of them where KFL asks which calls
// a finding is about, else three.
func (l *Look) some(column, by string) string {
	if l.all {
		return "list(" + column + ")"
	}
	return "arg_min(" + column + ", " + by + ", 3)"
}

// Web is the condition on calls of HTTP and what stands on it, with an answer.
const Web = `protocol IN ('http1', 'http2', 'http3', 'grpc') AND path IS NOT NULL`

// Probe is the condition that a path is one of health checks and metrics, which need no
// credentials.
const Probe = `regexp_matches(path, '^/(healthz?|readyz?|livez?|health/.*|ready|live|ping|metrics|status|favicon\.ico|robots\.txt|\.well-known/.*|grpc\.health\..*|-/(healthy|ready))$')`

// All reports whether every call of a finding is wanted, and not its first.
func (l *Look) All() bool { return l.all }
