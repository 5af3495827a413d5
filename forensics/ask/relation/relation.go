// Package relation has the SQL for how calls relate: which request a call was made for, which
// calls ask for the same, which call is a retry of another. Questions, findings and checks about
// many calls use it. It is text only and runs nothing; package chain follows a few calls by the
// same rules, looking at more for each.
package relation

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// A call was made for what was being served where it was sent: the request of the same trace,
// else of the same request id, else the one begun last of those that were open. A request to a
// service's address was served by one of the pods behind it.

// Made is the condition that a call is one that a request can have led to.
const Made = terms.IsRequest + ` AND protocol <> 'icmp'`

// Ties are the columns by which calls are tied to requests: hashes of ids, which need a third
// of the memory, and when a call began and ended for its caller.
const Ties = `hash(trace_id) AS trace, trace_id IS NOT NULL AS traced, hash(request_id) AS req, request_id IS NOT NULL AS reqd`

// Children is SQL for table c0: the calls of x for which the condition holds, as Linked needs them,
// with columns more.
func Children(c terms.Several, condition, more string) string {
	return fmt.Sprintf("c0 AS MATERIALIZED (SELECT %s AS k, ap AS pod, %s, ts_ns AS began%s FROM x WHERE %s AND (%s))", terms.NumberOf(c), Ties, more, Made, condition)
}

// Parents is SQL that follows ends: table par has the calls for which the condition holds and that
// may have led to others; see Requests.
func Parents(c terms.Several, condition string) string {
	return ", par AS MATERIALIZED (" + Requests(fmt.Sprintf("SELECT %s AS k, bp, ap AS up, %s, ts_ns AS t0, %s AS t1 FROM x WHERE protocol IN %s AND (%s)", terms.NumberOf(c), Ties, terms.Until, terms.Serving, condition)) + ")"
}

// Requests is SQL for what Linked needs to know of requests, which have columns k, bp (who was
// asked), trace, traced, req, reqd, t0 and t1. pod is who served them, each of the pods that table
// front has for a service: several says that it may have been another. busy is until when an
// earlier one was served there. The longest of those begun so far is open if any is: lead says
// that it is the one, among all at the place and among those of the same trace or request id.
func Requests(sql string) string {
	earlier := func(of string) string {
		return "max(t1) OVER (PARTITION BY " + of + " ORDER BY t0, k ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
	}
	return fmt.Sprintf(`SELECT *, t1 >= coalesce(busy, t1) AS lead, t1 >= coalesce(CASE WHEN traced THEN %s END, t1) AS tlead, t1 >= coalesce(CASE WHEN reqd THEN %s END, t1) AS rlead
		FROM (SELECT *, %s AS busy FROM (SELECT r.* EXCLUDE (bp), coalesce(front.pod, r.bp) AS pod, coalesce(several, false) AS several FROM (%s) r LEFT JOIN front ON front.bp = r.bp))`, earlier("pod, trace"), earlier("pod, req"), earlier("pod"), sql)
}

// Linked is SQL for the requests of table par that led to the rows of a table with columns k, pod
// (who sent it), trace, traced, req, reqd and began: each row with the number pk of its
// request, and what that is. Where a row and a request name two traces, they do not
// belong together. grade is 0 by an id, 1 by time within the only open request, and 2 where
// several were open, the request has another id, or another pod may have served it.
func Linked(table string) string {
	one := func(from, requests, eq, grade string) string {
		return fmt.Sprintf(`SELECT i.*, p.k AS pk, p.pod AS ppod, p.up AS pup, p.trace AS ptrace, p.traced AS ptraced, p.req AS preq, p.reqd AS preqd, p.t0, p.t1, %s AS grade
			FROM (%s) i ASOF JOIN (SELECT * FROM par WHERE %s) p ON i.pod = p.pod %s AND i.began >= p.t0 WHERE i.began <= p.t1 AND i.k <> p.k`, grade, from, requests, eq)
	}
	const byTime = "CASE WHEN p.several OR p.busy >= i.began OR i.reqd AND p.reqd THEN 2 ELSE 1 END"
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

// What makes two calls equal.
const (
	// Asked are the columns with what a call asks of its server, without who that is.
	Asked = `protocol, method, path, query_string, host, postgresql_query, postgresql_params, redis_key`
	// Thing are the columns of x with what a call asks and of whom.
	Thing = `bn, far, ` + Asked
	// Carried are the columns with what a request carries to its server: its body, and the
	// request id or else the trace id, by which a client marks what it sends again.
	Carried = `request_body_sha256, coalesce(request_id, trace_id)`
	// Request is the SQL for a hash of x, equal for a call and for its retries: the same instance
	// sends the same to the same server.
	Request = `hash(ap, ` + Thing + `, ` + Carried + `)`
	// Again is the SQL for a failed call that a client may well make again: no answer, or one
	// that says so.
	Again = `(failed AND (status_code IS NULL OR status_code >= 500 OR status_code IN (408, 425, 429) OR error IS NOT NULL OR protocol = 'grpc'))`
	// MaxPauseNs is the longest time from the end of a failed call to its retry.
	MaxPauseNs = 120_000_000_000
)
