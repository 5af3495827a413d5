package ask

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Undelivered summarizes ICMP errors about the packets of one client to one server. The errors fail nowhere: what failed is
// what the client tried. If it is a call in the recording, that has an outcome of its own.
type Undelivered struct {
	Src      string   `json:"src" jsonschema:"sender of the packets that could not be delivered"`
	Dst      string   `json:"dst" jsonschema:"their destination"`
	Protocol string   `json:"protocol" jsonschema:"their IP protocol: udp, tcp, icmp, …"`
	Port     *int64   `json:"port,omitempty" jsonschema:"their destination port; absent if they have several"`
	Ports    int64    `json:"ports,omitempty" jsonschema:"number of destination ports, if there are several"`
	What     string   `json:"what" jsonschema:"what the errors say, such as destination_unreachable port_unreachable"`
	By       []string `json:"reported_by" jsonschema:"hosts and routers that sent the errors"`
	Reports  int64    `json:"reports" jsonschema:"number of errors"`
	First    string   `json:"first"`
	Last     string   `json:"last"`
	CallIDs  []string `json:"call_ids" jsonschema:"the first three errors"`
}

// UndeliveredTo lists the ICMP errors in a window, most frequent first, about packets to and from the named ends. An empty name
// is any end.
func UndeliveredTo(ctx context.Context, c *forensics.Case, w *Window, dst, src string) (list []Undelivered, more bool, err error) {
	if some, err := hasUndelivered(ctx, c); !some || err != nil {
		return []Undelivered{}, false, err
	}
	key := terms.Key(c, "")
	args := append([]any{}, w.Args...)
	where := w.Where
	for _, end := range [2]struct{ column, name string }{{"icmp_quoted_dst", dst}, {"icmp_quoted_src", src}} {
		if end.name != "" {
			cond, more := terms.End("", end.name)
			where += fmt.Sprintf(" AND %s IN (SELECT ip FROM endpoints_raw WHERE %s UNION ALL SELECT ?)", end.column, cond)
			args = append(append(args, more...), end.name)
		}
	}
	name := func(alias, column string) string { return fmt.Sprintf("coalesce(%s.who, r.%s)", alias, column) }
	join := func(alias, column string) string {
		return fmt.Sprintf(" LEFT JOIN e %[1]s ON %[1]s.ip = r.%[2]s%[3]s", alias, column, terms.SameBundle(c, alias, "r"))
	}
	return Rows[Undelivered](ctx, c, w.Limit, `WITH e AS (SELECT `+key+`ip, min(who) AS who FROM endpoints_raw GROUP BY ALL),
		r AS (SELECT `+key+`icmp_quoted_src AS a, icmp_quoted_dst AS b, icmp_quoted_protocol AS protocol, icmp_quoted_dst_port::BIGINT AS port, method || coalesce(' ' || status_text, '') AS what, src_who AS "by", ts_ns, call_id
			FROM calls WHERE `+where+` AND `+notDelivered+`)
		SELECT `+name("s", "a")+` AS src, `+name("d", "b")+` AS dst, protocol, CASE WHEN min(port) = max(port) THEN min(port) END AS port, CASE WHEN min(port) < max(port) THEN count(DISTINCT port) ELSE 0 END AS ports, what,
			list_sort(list(DISTINCT "by"))[1:10] AS reported_by, count(*) AS reports, make_timestamp_ns(min(ts_ns)) AS first, make_timestamp_ns(max(ts_ns)) AS last, `+terms.SomeCalls+`
		FROM r`+join("s", "a")+join("d", "b")+` GROUP BY src, dst, protocol, what ORDER BY reports DESC, src, dst, protocol, what LIMIT `+fmt.Sprint(w.Limit+1), args...)
}

// notDelivered is the SQL condition for calls that are such errors.
const notDelivered = "protocol = 'icmp' AND icmp_quoted_dst IS NOT NULL AND " + terms.NotDelivered

// hasUndelivered reports whether the case has such errors. Most have none, and listing them is slower.
func hasUndelivered(ctx context.Context, c *forensics.Case) (bool, error) {
	if !c.MayHave("icmp") {
		return false, nil
	}
	return Exists(ctx, c, "calls_raw", notDelivered)
}
