package finding

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// Groups is SQL that sums the asked calls for which where holds by their ends and the
// columns of by: WITH g AS (…). Its columns are src, dst, those of by, n, first_ns,
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
	return `WITH r AS (SELECT ` + l.Bundle("src_id, dst_id") + `, ` + by + `, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, arg_min(call_id, ts_ns, 3) AS ids
			FROM calls WHERE ` + l.Where + ` AND ` + where + ` GROUP BY ALL),
		g AS (SELECT ` + ask.Who("s.") + ` AS src, ` + ask.Who("d.") + ` AS dst, s.external AS src_outside, d.external AS dst_outside, r.* FROM r` + join("s", "src_id") + join("d", "dst_id") + `)`
}

// Sums are the columns of a Row that every group of g has.
const Sums = `sum(n)::BIGINT AS count, min(first_ns) AS first_ns, max(last_ns) AS last_ns, list_transform(list_slice(flatten(arg_min(ids, first_ns, 3)), 1, 3), x -> lower(hex(x))) AS call_ids`

// Web is the condition on calls of HTTP and what stands on it, with an answer.
const Web = `protocol IN ('http1', 'http2', 'http3', 'grpc') AND path IS NOT NULL`

// Probe is the condition that a path is one of health checks and metrics, which need no
// credentials.
const Probe = `regexp_matches(path, '^/(healthz?|readyz?|livez?|health/.*|ready|live|ping|metrics|status|favicon\.ico|robots\.txt|\.well-known/.*|grpc\.health\..*|-/(healthy|ready))$')`
