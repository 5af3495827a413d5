package access

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// AccessPair summarizes the calls from one client to one server.
type AccessPair struct {
	Src     string   `json:"src" jsonschema:"(outside) stands for outside addresses without a name"`
	Dst     string   `json:"dst"`
	Calls   int64    `json:"calls"`
	Failed  int64    `json:"failed"`
	First   string   `json:"first"`
	Last    string   `json:"last"`
	CallIDs []string `json:"call_ids"`
}

// pairs summarizes the calls by client and server.
func (a *accessAnswer) pairs() error {
	list, more, err := ask.Rows[AccessPair](a.ctx, a.rows.Case, a.w.Limit, fmt.Sprintf(`WITH g AS (SELECT %[1]s, src_id, dst_id, count(*) AS n, count(*) FILTER (failed) AS f, min(ts_ns) AS t0, max(ts_ns) AS t1, min({'t': ts_ns, 'i': call_id}, 3) AS ids
			FROM %[2]s WHERE %[3]s GROUP BY ALL),
		e AS (SELECT %[1]s, endpoint_id, %[4]s AS src, %[5]s AS dst FROM endpoints_raw)
		SELECT coalesce(s.src, '') AS src, coalesce(d.dst, '') AS dst, sum(n)::BIGINT AS calls, sum(f)::BIGINT AS failed, make_timestamp_ns(min(t0)) AS first, make_timestamp_ns(max(t1)) AS last,
			list_transform(list_sort(flatten(list(ids)))[1:3], x -> lower(hex(x.i))) AS call_ids
		FROM g LEFT JOIN e s ON s.endpoint_id = g.src_id%[6]s LEFT JOIN e d ON d.endpoint_id = g.dst_id%[7]s GROUP BY 1, 2 ORDER BY calls DESC, 1, 2 LIMIT %[8]d`,
		terms.BundleOf(a.c, ""), a.rows.From, a.rows.Where, terms.Client(""), terms.Who(""), terms.SameBundle(a.c, "s", "g"), terms.SameBundle(a.c, "d", "g"), a.w.Limit+1), a.rows.Args...)
	a.out.Truncated = a.out.Truncated || more
	a.out.Pairs = ask.Fit(a.w, &a.out.Frame, list)
	return err
}
