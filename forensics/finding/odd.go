package finding

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Odd is a Need of anomalies.
func Odd(cond string) Need { return Need{Table: "anomalies_raw", Have: Any(cond)} }

// Places are columns of a Row for the first anomalies of a group: what they say, and their packets, as Wireshark counts them.
func (l *Look) Places() string {
	first := "min({'ts': ts_ns, 'packet': packet_no, 'said': detail, 'place': " + terms.CitesOne(l.Case, "", "packet_no") + "}, 3) FILTER (packet_no IS NOT NULL)"
	return "list_transform(" + first + ", x -> x.said) AS evidence, list_transform(" + first + ", x -> [x.place]) AS places"
}

// Odd returns anomalies of the window that match a condition, by the ends of their connections and the SQL expression
// detail. Evidence is what the first ones say.
func (l *Look) Odd(ctx context.Context, cond, detail string) ([]Row, error) {
	return l.Rows(ctx, `WITH a AS (SELECT `+l.Bundle("flow_id")+`, ts_ns, count AS n, detail AS said, `+detail+` AS detail FROM anomalies_raw WHERE `+cond+` AND ts_ns BETWEEN `+fmt.Sprint(l.From)+` AND `+fmt.Sprint(l.To)+`)
		SELECT `+terms.Who("src_")+` AS src, `+terms.Who("dst_")+` AS dst, detail, sum(n)::BIGINT AS count, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, coalesce(bool_or(src_external), false) AS outside,
			list_slice(list_sort(list(DISTINCT `+terms.FlowID(l.Case)+`)), 1, 3) AS flow_ids, list_slice(list_sort(list(DISTINCT said)), 1, 3) AS evidence, count(DISTINCT flow_id) AS "of"
		FROM a JOIN flows USING (`+l.Bundle("flow_id")+`) GROUP BY 1, 2, 3 ORDER BY count DESC, src, dst, detail`)
}
