package failures

import (
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// NameFailure summarizes failed look-ups of one name.
type NameFailure struct {
	Name    string   `json:"name"`
	Status  string   `json:"status" jsonschema:"NXDOMAIN, SERVFAIL and so on, or why there is no response"`
	Client  string   `json:"client" jsonschema:"client; the first by name if there are several"`
	Clients int64    `json:"clients"`
	Servers []string `json:"servers" jsonschema:"who was asked, up to three"`
	Calls   int64    `json:"calls"`
	First   string   `json:"first"`
	Last    string   `json:"last"`
	Search  bool     `json:"search_list,omitempty" jsonschema:"harmless: a resolver tried its search list and found the name without this domain or with another"`
	CallIDs []string `json:"call_ids"`
}

// lookups are all harmful look-ups that failed, listed or not.
type lookups struct {
	Sum    int64    `json:"all_calls"`
	Hosts  int64    `json:"all_names"`
	Codes  []string `json:"all_statuses"` // of answers, and of those without
	Told   bool     `json:"all_reported"` // ICMP errors are about some
	Asked  []string `json:"all_servers"`
	Begin  int64    `json:"all_from"` // ns, the first
	Finish int64    `json:"all_to"`
}

// names sets the DNS failures, harmful ones first. unknown is whether any of the names does not exist.
func (f *Answer) names(ctx context.Context, w *ask.Window, rows *ask.CallTable, unknown bool) error {
	searches := "s AS (SELECT NULL AS name WHERE false)"
	if unknown {
		searches = `g AS (SELECT DISTINCT lower(host) AS name FROM calls_raw WHERE protocol = 'dns' AND NOT failed AND error IS NULL AND len(dns_answers) > 0 AND contains(host, '.')),
		s AS (` + terms.Searched("f", "g", "") + ")"
	}
	type row struct {
		NameFailure
		lookups
	}
	list, more, err := ask.Rows[row](ctx, rows.Case, w.Limit, fmt.Sprintf(`WITH f AS (SELECT lower(coalesce(host, '')) AS name, status, reported, min(client) AS client, count(DISTINCT (src_ip, client)) AS clients, count(*) AS calls, list_sort(list(DISTINCT dst)) AS asked,
			min(ts_ns) AS a, max(ts_ns) AS b, list_transform(arg_min(call_id, (ts_ns, call_id), 3), x -> lower(hex(x))) AS call_ids FROM %s WHERE protocol = 'dns' GROUP BY 1, 2, 3),
		%s,
		n AS (SELECT f.*, s.name IS NOT NULL AS search_list FROM f LEFT JOIN s ON s.name = f.name AND contains(f.status, 'NXDOMAIN')),
		h AS (SELECT coalesce(sum(calls), 0)::BIGINT AS all_calls, count(DISTINCT name) AS all_names, coalesce(list_sort(list(DISTINCT status) FILTER (NOT reported)), []) AS all_statuses, coalesce(bool_or(reported), false) AS all_reported, list_sort(list_distinct(flatten(list(asked)))) AS all_servers,
			min(a) AS all_from, max(b) AS all_to FROM n WHERE NOT search_list)
		SELECT n.* EXCLUDE (a, b, asked, reported), asked[1:3] AS servers, make_timestamp_ns(a) AS first, make_timestamp_ns(b) AS last, h.*
		FROM (SELECT * FROM n ORDER BY search_list, calls DESC, name, status LIMIT %d) n, h ORDER BY search_list, calls DESC, name, status`, rows.From, searches, w.Limit+1), rows.Args...)
	f.Truncated = f.Truncated || more
	for _, r := range list {
		f.DNS, f.lookups = append(f.DNS, r.NameFailure), r.lookups
	}
	searched := int64(0)
	for _, n := range f.DNS {
		if n.Search {
			searched += n.Calls
		}
	}
	if searched > 0 && !more {
		f.Note("%d failed {look-up is|look-ups are} harmless: a resolver tried its search list and found the name", searched)
	}
	return err
}

// manyPorts is the highest number of ports of a server whose failed connections are listed one by one.
const manyPorts = 10

// ConnFailure summarizes failed or aborted connections of one kind.
type ConnFailure struct {
	Src         string `json:"src"`
	Dst         string `json:"dst"`
	Port        *int64 `json:"port,omitempty" jsonschema:"absent if there are more than ten"`
	Ports       int64  `json:"ports,omitempty" jsonschema:"number of ports, if there are more than ten, as in a scan"`
	What        string `json:"what" jsonschema:"refused (answered with RST or an ICMP error), unanswered (no answer to SYN), or reset (aborted)"`
	ResetBy     string `json:"reset_by,omitempty" jsonschema:"client, server or both, if it was reset"`
	Connections int64  `json:"connections"`
	WithoutCall int64  `json:"without_calls" jsonschema:"of these, connections without a call"`
	First       string `json:"first"`
	Last        string `json:"last"`
	Retransmits int64  `json:"retransmissions" jsonschema:"retransmitted segments"`
	Packets     string `json:"packets" jsonschema:"first frames of the first three, as Wireshark counts"`

	FlowIDs []string `json:"flow_ids" jsonschema:"flows of the first three; bundle#flow_id if there are several bundles"`
}

// connections sets the failures of TCP connections, including those without a call. scope is the window without the
// other conditions for failed calls, broken whether the case has such connections.
func (f *Answer) connections(ctx context.Context, c *forensics.Case, w, scope *ask.Window, in In, broken bool) error {
	if !w.FiltersConnections() {
		f.Note("kfl has a condition that only calls can meet: connections without a matching call are not listed")
	}
	if !broken {
		return nil
	}
	where, args := "k.first_ns <= ? AND k.last_ns >= ?", []any{w.To, w.From}
	conns, carried := scope.Connections(c, "connections", false)
	for _, side := range [2]struct{ prefix, name string }{{"dst_", in.Service}, {"src_", in.Client}} {
		if side.name != "" {
			e, err := ask.EndOf(ctx, c, side.prefix, side.name)
			if err != nil {
				return err
			}
			where += " AND (" + terms.Qualified(e.Conns) + ")"
		}
	}
	if in.Class != "" { // a connection has the class of a call that it would carry
		where += " AND CASE WHEN b.refused THEN 'refused' ELSE 'no_answer' END = ?"
		args = append(args, in.Class)
	}
	var err error
	var more bool
	f.Connections, more, err = ask.Rows[ConnFailure](ctx, c, w.Limit, fmt.Sprintf(`WITH b AS (SELECT conn, bool_or(state = 'refused') AS refused, bool_and(state = 'syn_sent') AS unanswered,
			bool_or(state = 'reset') AS reset, max(retransmissions) AS again, arg_min(first_packet, (first_ns, first_packet)) AS packet, arg_min(%[10]s, (first_ns, first_packet, %[10]s)) AS cited, arg_min(%[8]s, (first_ns, first_packet, %[8]s)) AS flow FROM %[1]s WHERE transport = 'tcp' AND first_ns <= ? AND last_ns >= ? AND (state IN ('refused', 'syn_sent', 'reset')) GROUP BY conn),
		r AS (SELECT conn, bool_or(t.side = 'client') AS client, bool_or(t.side = 'server') AS server FROM tcp_events t JOIN %[1]s l ON l.flow_id = t.flow_id%[2]s
			WHERE t.event = 'reset' AND l.state = 'reset' GROUP BY conn),
		x AS (SELECT %[3]s AS src, %[4]s AS dst, k.dst_port AS port, CASE WHEN b.refused THEN 'refused' WHEN b.unanswered THEN 'unanswered' ELSE 'reset' END AS what,
			CASE WHEN b.refused OR b.unanswered THEN '' WHEN r.client AND r.server THEN 'both' WHEN r.client THEN 'client' WHEN r.server THEN 'server' ELSE '' END AS reset_by,
			k.calls, k.first_ns, b.again, b.packet, b.cited, b.flow FROM %[5]s k JOIN b USING (conn) LEFT JOIN r USING (conn)
			WHERE %[6]s AND (b.refused OR b.unanswered OR b.reset)),
		y AS (SELECT * REPLACE (CASE WHEN ports <= %[9]d THEN port END AS port) FROM (SELECT *, count(DISTINCT port) OVER (PARTITION BY src, dst, what, reset_by) AS ports FROM x))
		SELECT src, dst, port, CASE WHEN port IS NULL THEN ports ELSE 0 END AS ports, what, reset_by, count(*) AS connections, count(*) FILTER (calls = 0) AS without_calls, make_timestamp_ns(min(first_ns)) AS first, make_timestamp_ns(max(first_ns)) AS last,
			sum(again)::BIGINT AS retransmissions, arg_min(cited, (first_ns, packet, cited), 3) AS packets, arg_min(flow, (first_ns, packet, flow), 3) AS flow_ids
		FROM y GROUP BY ALL ORDER BY connections DESC, src, dst, port, what, reset_by LIMIT %[7]d`,
		ask.Joined(c, "flows_raw"), terms.SameBundle(c, "t", "l"), terms.Who("k.src_"), terms.Who("k.dst_"), conns, where, w.Limit+1, terms.FlowID(c), manyPorts, terms.CitesOne(c, "", "first_packet")),
		slices.Concat([]any{w.To, w.From}, carried, args)...)
	f.Truncated = f.Truncated || more
	return err
}
