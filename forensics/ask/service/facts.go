package service

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

const headerCalls = 500 // calls whose headers are compared

// Handshake summarizes how long it took to open connections in one direction.
type Handshake struct {
	Direction   string   `json:"direction" jsonschema:"in or out"`
	Peer        string   `json:"peer"`
	Connections int64    `json:"connections"`
	TCPP50Ms    *float64 `json:"tcp_p50_ms,omitempty"`
	TCPP99Ms    *float64 `json:"tcp_p99_ms,omitempty"`
	TLSP50Ms    *float64 `json:"tls_p50_ms,omitempty"`
	TLSP99Ms    *float64 `json:"tls_p99_ms,omitempty"`
	Retransmits int64    `json:"retransmissions"`
	Resets      int64    `json:"resets" jsonschema:"connections that ended by reset"`
	Refused     int64    `json:"refused"`
}

func (s *serviceAnswer) handshakes() error {
	conns, args := s.w.Connections(s.c, "connections", false)
	one := func(direction, own, peer string) string {
		// A connection seen at both ends has two flows; the client's sees the whole handshake.
		return fmt.Sprintf(`(SELECT '%s' AS direction, %s AS peer, count(*) AS connections, round(quantile_disc(h, 0.5) / 1000.0, 3) AS tcp_p50_ms, round(quantile_disc(h, 0.99) / 1000.0, 3) AS tcp_p99_ms,
			round(quantile_disc(tls, 0.5) / 1000.0, 3) AS tls_p50_ms, round(quantile_disc(tls, 0.99) / 1000.0, 3) AS tls_p99_ms, sum(again)::BIGINT AS retransmissions, count(*) FILTER (reset) AS resets, count(*) FILTER (refused) AS refused
			FROM %s k JOIN (SELECT %s, conn_id, max(handshake_us) AS h, max(retransmissions) AS again, bool_or(state = 'reset') AS reset, bool_or(state = 'refused') AS refused FROM flows_raw WHERE transport = 'tcp' GROUP BY 1, 2) f ON f.conn_id = k.conn_id%s
			LEFT JOIN (SELECT %s, conn_id, max(tls_us) AS tls FROM calls_raw WHERE tls_us IS NOT NULL GROUP BY 1, 2) l ON l.conn_id = k.conn_id%s
			WHERE k.transport = 'tcp' AND %s GROUP BY 1, 2)`, direction, peer, conns, terms.BundleOf(s.c, ""), terms.SameBundle(s.c, "f", "k"), terms.BundleOf(s.c, ""), terms.SameBundle(s.c, "l", "k"), terms.Qualified(own))
	}
	list, more, err := ask.Rows[Handshake](s.ctx, s.c, s.w.Limit, one("in", s.t.isTarget("dst_id"), terms.Client("k.src_"))+" UNION ALL "+one("out", s.from, terms.Who("k.dst_"))+fmt.Sprintf(" ORDER BY direction, connections DESC, peer LIMIT %d", s.w.Limit+1), slices.Concat(args, args)...)
	if err != nil {
		return err
	}
	s.out.Truncated = s.out.Truncated || more
	s.out.Handshakes = ask.Fit(s.w, &s.out.Frame, list)
	return nil
}

// Replica is one pod.
type Replica struct {
	Pod    string   `json:"pod"`
	Node   string   `json:"node,omitempty"`
	Calls  int64    `json:"calls" jsonschema:"calls received"`
	Share  float64  `json:"share" jsonschema:"of the calls that pods received"`
	Failed int64    `json:"failed"`
	P99Ms  *float64 `json:"p99_ms,omitempty"`
	Made   int64    `json:"made" jsonschema:"calls made"`
}

func (s *serviceAnswer) replicas() error {
	list, more, err := ask.Rows[Replica](s.ctx, s.rows.Case, s.w.Limit, fmt.Sprintf(`SELECT pod, coalesce(min(node), '') AS node, count(*) FILTER (got) AS calls, round(count(*) FILTER (got) / greatest(1, sum(count(*) FILTER (got)) OVER ()), 4) AS share,
		count(*) FILTER (got AND bad) AS failed, round(quantile_disc(elapsed_us, 0.99) FILTER (got) / 1000.0, 3) AS p99_ms, count(*) FILTER (NOT got) AS made
		FROM (SELECT dst_pod AS pod, dst_node AS node, true AS got, failed AS bad, `+terms.Took+` AS elapsed_us FROM %[1]s WHERE %[2]s AND %[3]s AND %[5]s
			UNION ALL SELECT src_pod, src_node, false, false, NULL FROM %[1]s WHERE %[2]s AND %[4]s AND %[5]s)
		WHERE pod IS NOT NULL GROUP BY 1 ORDER BY calls DESC, pod LIMIT %[6]d`, s.rows.From, s.rows.Where, s.in, s.made, terms.IsRequest, s.w.Limit+1), s.rows.Values(s.rows.Args...)...)
	if err != nil {
		return err
	}
	s.out.Truncated = s.out.Truncated || more
	n, sum, most := 0, int64(0), int64(0)
	for _, r := range list {
		if r.Calls > 0 {
			n, sum, most = n+1, sum+r.Calls, max(most, r.Calls)
		}
	}
	if n > 1 {
		s.out.Balance = ask.Round(float64(most) * float64(n) / float64(sum))
	}
	// Pods that Kubernetes lists are replicas even if they had no traffic.
	for _, p := range s.t.list {
		if p.Pod != "" && !slices.ContainsFunc(list, func(r Replica) bool { return r.Pod == p.Pod }) && !more {
			list = append(list, Replica{Pod: p.Pod, Node: p.Node})
		}
	}
	s.out.Replicas = ask.Fit(s.w, &s.out.Frame, list)
	return nil
}

// Churn summarizes the connections that a service opens to one peer.
type Churn struct {
	Peer        string  `json:"peer"`
	Port        int64   `json:"port"`
	Connections int64   `json:"connections"`
	PerMinute   float64 `json:"per_minute" jsonschema:"mean over the window"`
	Most        int64   `json:"most_in_a_minute"`
	At          string  `json:"at" jsonschema:"start of that minute"`
	By          string  `json:"by" jsonschema:"the pod that opened most of them"`
	PerCall     float64 `json:"calls_per_connection"`
}

func (s *serviceAnswer) churn() error {
	conns, args := s.w.Connections(s.c, "connections", false)
	// A sliding window: for each connection, count the connections in the 60 s after it.
	sql := fmt.Sprintf(`WITH k AS (SELECT %[1]s AS peer, dst_port AS port, coalesce(src_pod, src_name) AS pod, first_ns, calls FROM %[5]s WHERE transport = 'tcp' AND first_ns BETWEEN ? AND ? AND %[2]s),
		m AS (SELECT *, count(*) OVER (PARTITION BY peer, port ORDER BY first_ns RANGE BETWEEN CURRENT ROW AND 60000000000 FOLLOWING) AS n FROM k),
		b AS (SELECT peer, port, pod, count(*) AS n FROM k GROUP BY ALL), t AS (SELECT peer, port, arg_max(pod, (n, pod)) AS pod FROM b GROUP BY ALL)
		SELECT m.peer, m.port, count(*) AS connections, round(count(*) * 60e9 / greatest(60e9, %[3]d), 2) AS per_minute, max(n) AS most_in_a_minute, make_timestamp_ns(arg_max(first_ns, (n, -first_ns))) AS at, any_value(t.pod) AS "by",
			round(sum(calls) / count(*), 2)::DOUBLE AS calls_per_connection FROM m JOIN t ON t.peer = m.peer AND t.port = m.port GROUP BY 1, 2 ORDER BY most_in_a_minute DESC, 1, 2 LIMIT %[4]d`, terms.Who("dst_"), s.from, s.w.To-s.w.From, s.w.Limit+1, conns)
	list, more, err := ask.Rows[Churn](s.ctx, s.c, s.w.Limit, sql, append(slices.Clip(args), s.w.From, s.w.To)...)
	if err != nil {
		return err
	}
	s.out.Truncated = s.out.Truncated || more
	s.out.Churn = ask.Fit(s.w, &s.out.Frame, list)
	return nil
}

// Uncorrelated counts requests without a correlation id.
type Uncorrelated struct {
	Calls     int64    `json:"calls" jsonschema:"HTTP and gRPC requests received without trace id or request id"`
	Of        int64    `json:"of" jsonschema:"HTTP and gRPC requests received"`
	Share     float64  `json:"share" jsonschema:"0 to 1"`
	Endpoints []string `json:"endpoints" jsonschema:"endpoint × calls, most calls first"`
	CallIDs   []string `json:"call_ids"`
}

var isWeb = `protocol IN ` + terms.Serving

func (s *serviceAnswer) uncorrelated() error {
	u, err := ask.One[Uncorrelated](s.ctx, s.rows.Case, fmt.Sprintf(`WITH f AS (SELECT %s AS endpoint, request_id IS NULL AND trace_id IS NULL AS without, ts_ns, call_id FROM %s WHERE %s AND %s AND %s),
		e AS (SELECT endpoint, count(*) AS n FROM f WHERE without GROUP BY 1)
		SELECT count(*) FILTER (without) AS calls, count(*) AS of, round(count(*) FILTER (without) / greatest(1, count(*)), 4) AS share,
			(SELECT list(endpoint || ' × ' || n ORDER BY n DESC, endpoint)[1:5] FROM e) AS endpoints, list_transform(arg_min(call_id, (ts_ns, call_id), 3) FILTER (without), x -> lower(hex(x))) AS call_ids FROM f`,
		terms.Endpoint, s.rows.From, s.rows.Where, s.in, isWeb), s.rows.Args...)
	if err != nil {
		return err
	}
	if u.Endpoints == nil {
		u.Endpoints = []string{}
	}
	if u.CallIDs == nil {
		u.CallIDs = []string{}
	}
	if u.Of > 0 {
		s.out.NoID = &u
	}
	return nil
}

// Repeat is a request that was repeated immediately.
type Repeat struct {
	Direction string   `json:"direction" jsonschema:"in or out"`
	Peer      string   `json:"peer"`
	Request   string   `json:"request" jsonschema:"method and path, text from the traffic"`
	Times     int64    `json:"times" jsonschema:"number of such runs of equal requests"`
	InARow    int64    `json:"in_a_row" jsonschema:"requests in the longest run"`
	Calls     int64    `json:"calls" jsonschema:"requests in all runs"`
	Retries   int64    `json:"retries,omitempty" jsonschema:"of these, requests that repeat one that had failed"`
	CallIDs   []string `json:"call_ids"`
}

func (s *serviceAnswer) repeats() error {
	// Most requests are made once; only the others are sorted.
	sql := fmt.Sprintf(`WITH m AS MATERIALIZED (SELECT %[1]s AS src, %[2]s AS dst, %[3]s AS made, method, path, call_id, %[4]s FROM %[5]s WHERE %[6]s AND (%[3]s OR %[7]s) AND %[8]s AND path IS NOT NULL),
		o AS (SELECT * FROM m WHERE h IN (SELECT h FROM m GROUP BY 1 HAVING count(*) > 1)),
		r AS (SELECT *, sum((NOT soon)::INTEGER) OVER (PARTITION BY h ORDER BY ts_ns, tie) AS run FROM (%[9]s)),
		n AS (SELECT any_value(src) AS src, any_value(dst) AS dst, any_value(made) AS made, any_value(method) AS method, any_value(path) AS path, count(*) AS n, count(*) FILTER (soon AND retry) AS retries, arg_min(call_id, (ts_ns, call_id), 3) AS ids, min(ts_ns) AS began FROM r GROUP BY h, run HAVING n > 1)
		SELECT CASE WHEN made THEN 'out' ELSE 'in' END AS direction, CASE WHEN made THEN dst ELSE src END AS peer, coalesce(method || ' ', '') || left(path, 200) AS request, count(*) AS times, max(n) AS in_a_row, sum(n)::BIGINT AS calls, sum(retries)::BIGINT AS retries,
			list_transform(arg_min(ids, (began, ids)), x -> lower(hex(x))) AS call_ids FROM n GROUP BY ALL ORDER BY in_a_row DESC, times DESC, direction, peer, request LIMIT %[10]d`,
		terms.Who("src_"), terms.Who("dst_"), s.made, relation.Compared(relation.RequestWeb(s.c), "call_id"), s.rows.From, s.rows.Where, s.in, isWeb, relation.Repeats("o"), s.w.Limit+1)
	list, more, err := ask.Rows[Repeat](s.ctx, s.rows.Case, s.w.Limit, sql, s.rows.Args...)
	if err != nil {
		return err
	}
	s.out.Truncated = s.out.Truncated || more
	s.out.Repeats = ask.Fit(s.w, &s.out.Frame, list)
	return nil
}

// AddedHeader is a header that a service adds to its own requests.
type AddedHeader struct {
	Name  string  `json:"name"`
	Share float64 `json:"share" jsonschema:"share of the calls made"`
	Got   float64 `json:"got_share" jsonschema:"share of the calls received"`
}

func (s *serviceAnswer) headers() error {
	type row struct {
		Names []string `json:"names"`
	}
	count := func(own string) (map[string]int, int, error) {
		keys, _, err := ask.Pick(s.ctx, s.c, "calls_raw", fmt.Sprintf("ts_ns BETWEEN %d AND %d AND %s AND %s", s.w.From, s.w.To, own, isWeb), "ts_ns DESC, bundle DESC, call_no DESC", headerCalls)
		if err != nil {
			return nil, 0, err
		}
		names := map[string]int{}
		err = ask.ByRuns(s.c, keys, func(where string) error {
			rows, _, err := ask.Rows[row](s.ctx, s.c, headerCalls, "SELECT list_distinct(list_transform(list_filter(headers, h -> h.kind = 'request'), h -> lower(h.name))) AS names FROM calls_raw k WHERE headers IS NOT NULL AND "+where)
			for _, r := range rows {
				for _, n := range r.Names {
					names[n]++
				}
			}
			return err
		})
		return names, len(keys), err
	}
	made, n, err := count(s.from)
	if err != nil {
		return err
	}
	got, m, err := count(s.to)
	if err != nil || n == 0 || m == 0 {
		return err
	}
	for name, times := range made {
		h := AddedHeader{Name: ask.Clip(name, 100), Share: ask.Share(int64(times), int64(n)), Got: ask.Share(int64(got[name]), int64(m))}
		if h.Share >= 0.2 && h.Got <= 0.05 && !strings.HasPrefix(name, ":") && !slices.Contains(plainHeaders[:], name) {
			s.out.Adds = append(s.out.Adds, h)
		}
	}
	slices.SortFunc(s.out.Adds, func(a, b AddedHeader) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), strings.Compare(a.Name, b.Name))
	})
	s.out.Adds = s.out.Adds[:min(20, len(s.out.Adds))]
	return nil
}

// plainHeaders are headers that do not characterize a service.
var plainHeaders = [...]string{"host", "user-agent", "accept", "accept-encoding", "content-length", "content-type", "connection", "te", "transfer-encoding"}
