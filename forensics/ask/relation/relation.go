// Package relation has the SQL that ties many calls at once to the requests they were made for.
// It is text only and runs nothing; package chain does the same for a few calls, looking at more
// for each.
package relation

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// What led to what, for many calls at once: one engine for chains of latency, blast radius, what
// patterns look for in requests, and expectations about what a request leads to. It follows
// the rules of trace_request, which looks at more for each call: a call was made by what was
// being served where it was sent, the one of the same trace, else of the same request id,
// else the one begun last of those that were open.

// Ties are the columns by which calls are tied to requests: hashes of ids, which need a third
// of the memory, and when a call began and ended for its caller.
const Ties = `hash(trace_id) AS trace, trace_id IS NOT NULL AS traced, hash(request_id) AS req, request_id IS NOT NULL AS reqd`

// Parents is SQL that follows ends: table par has the calls that may have led to others; see
// requests.
func Parents(c terms.Several) string {
	return ", par AS MATERIALIZED (" + Requests(fmt.Sprintf("SELECT %s AS k, bp AS pod, ap AS up, %s, ts_ns AS t0, %s AS t1 FROM x WHERE protocol IN %s", terms.NumberOf(c), Ties, terms.Until, terms.Serving)) + ")"
}

// Requests is SQL for what linked needs to know of requests, which have columns k, pod (who
// served them), trace, traced, req, reqd, t0 and t1. busy is until when an earlier one was
// served there. The longest of those begun so far is open if any is: lead says that it is the
// one, among all at the place and among those of the same trace or request id.
func Requests(sql string) string {
	earlier := func(of string) string {
		return "max(t1) OVER (PARTITION BY " + of + " ORDER BY t0, k ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
	}
	return fmt.Sprintf(`SELECT *, t1 >= coalesce(busy, t1) AS lead, t1 >= coalesce(CASE WHEN traced THEN %s END, t1) AS tlead, t1 >= coalesce(CASE WHEN reqd THEN %s END, t1) AS rlead
		FROM (SELECT *, %s AS busy FROM (%s))`, earlier("pod, trace"), earlier("pod, req"), earlier("pod"), sql)
}

// Linked is SQL for the requests of table par that led to the rows of a table with columns k, pod
// (who sent it), trace, traced, req, reqd and began: each row with the number pk of its
// request, and what that is. Where a row and a request name two traces, they do not
// belong together. grade is 0 by an id, 1 by time within the only open request, and 2 where
// several were open, or the request has another id.
func Linked(table string) string {
	one := func(from, requests, eq, grade string) string {
		return fmt.Sprintf(`SELECT i.*, p.k AS pk, p.pod AS ppod, p.up AS pup, p.trace AS ptrace, p.traced AS ptraced, p.req AS preq, p.reqd AS preqd, p.t0, p.t1, %s AS grade
			FROM (%s) i ASOF JOIN (SELECT * FROM par WHERE %s) p ON i.pod = p.pod %s AND i.began >= p.t0 WHERE i.began <= p.t1 AND i.k <> p.k`, grade, from, requests, eq)
	}
	const byTime = "CASE WHEN p.busy >= i.began OR i.reqd AND p.reqd THEN 2 ELSE 1 END"
	steps := []struct{ rows, requests, eq, grade string }{
		{"traced", "traced", "AND i.trace = p.trace", "0"},
		{"traced", "traced AND tlead", "AND i.trace = p.trace", "0"},
		{"reqd", "reqd", "AND i.req = p.req", "0"},
		{"reqd", "reqd AND rlead", "AND i.req = p.req", "0"},
		{"true", "NOT traced", "", byTime},
		{"true", "NOT traced AND lead", "", byTime},
		{"NOT traced", "true", "", byTime},
		{"NOT traced", "lead", "", byTime},
	}
	var with, all []string
	for i, s := range steps {
		from := "SELECT * FROM " + table + " WHERE " + s.rows
		if i > 0 {
			from += " AND k NOT IN (" + strings.ReplaceAll(strings.Join(all, " UNION ALL "), "*", "k") + ")"
		}
		with = append(with, fmt.Sprintf("s%d AS MATERIALIZED (%s)", i, one(from, s.requests, s.eq, s.grade)))
		all = append(all, fmt.Sprintf("SELECT * FROM s%d", i))
	}
	return "WITH " + strings.Join(with, ", ") + " " + strings.Join(all, " UNION ALL ")
}

// MaxParents is how many requests are looked at for calls that they led to.
const MaxParents = 150_000

// Grades are the words for the grades that Linked gives.
var Grades = [...]string{"exact", "likely", "guess"}
