// Package relation has the SQL that relates calls: which request caused a call, which calls make
// the same request, which call is a retry of another. Questions, findings and checks about many
// calls use it. It only builds SQL; package chain follows a few calls by the same rules and
// examines each of them in more detail.
package relation

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// The cause of a call is a request that its sender was serving: the one with the same trace id,
// otherwise the one with the same request id, otherwise the one that began last among those still
// open. A request to a service's address was served by one of the pods behind it.

// Made is the condition that a request can have caused a call.
var Made = terms.IsRequest + ` AND protocol <> 'icmp'`

// Ties are the columns that link calls to requests: hashes of ids, which need a third of the
// memory of the ids.
const Ties = `hash(trace_id) AS trace, trace_id IS NOT NULL AS traced, hash(request_id) AS req, request_id IS NOT NULL AS reqd`

// Children is SQL for table c0: the calls of x that match the condition, with the columns that
// Linked needs and the columns in more. No request causes a call that asks a broker for messages.
func Children(c terms.Several, condition, more string) string {
	return fmt.Sprintf("c0 AS MATERIALIZED (SELECT %s AS k, ap AS pod, %s, ts_ns AS began%s FROM x WHERE %s AND (%s))", terms.NumberOf(c), Ties, more, Caused, condition)
}

// Caused is the condition that a request can have caused a call as in Children.
var Caused = Made + " AND NOT coalesce(" + polls + ", false)"

// Serving is SQL that follows ends, and the condition of Parents: only requests that an instance served which also made
// calls can have caused one.
func Serving() (with, condition string) {
	return ", sends AS MATERIALIZED (SELECT DISTINCT ap AS pod FROM x)", "bp IN (SELECT pod FROM sends UNION ALL SELECT f.bp FROM front f JOIN sends USING (pod))"
}

// Parents is SQL that follows ends: table par has the calls that may have caused others; see
// Requests. The condition is about their server bp. A call that published a message causes what its
// consumers do then; for these rows bp is the consumer. Without messages, see ask.MayHaveMessages, there are none.
func Parents(c terms.Several, condition string, messages bool) string {
	requests := fmt.Sprintf("SELECT %s AS k, bp, ap AS up, %s, ts_ns AS t0, %s AS t1, %s FROM x WHERE protocol IN %s", terms.NumberOf(c), Ties, terms.Until, Waits, terms.Serving)
	with := ""
	if messages {
		requests, with = requests+" UNION ALL "+consumed, Messages(c)
	}
	return with + ", par AS MATERIALIZED (" + Requests("SELECT * FROM ("+requests+") WHERE "+condition) + ")"
}

// Requests is SQL for the facts that Linked needs about requests. Its input has the columns k, bp
// (the server), trace, traced, req, reqd, t0, t1 and those of Waits: when the call itself began, whether
// time may link calls to it, the best grade of these links, and the time in a queue, null if the
// sender waits for the server. In its output pod is the pod that served the
// request: one row for each pod that table front lists for a service, with several true if there
// is more than one. busy is the end of earlier requests there. If any request is open, the one
// with the latest end so far is open: lead marks it among all requests of the pod, tlead and rlead
// among those of the same trace or request id.
func Requests(sql string) string {
	earlier := func(what, of string) string {
		return "max(" + what + ") OVER (PARTITION BY " + of + " ORDER BY t0, k ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
	}
	return fmt.Sprintf(`SELECT *, row_number() OVER () AS parent, timed AND t1 >= coalesce(busy, t1) AS lead, t1 >= coalesce(CASE WHEN traced THEN %s END, t1) AS tlead, t1 >= coalesce(CASE WHEN reqd THEN %s END, t1) AS rlead
		FROM (SELECT *, %s AS busy FROM (SELECT r.* EXCLUDE (bp), coalesce(front.pod, r.bp) AS pod, coalesce(several, false) AS several FROM (%s) r LEFT JOIN front ON front.bp = r.bp))`, earlier("t1", "pod, trace"), earlier("t1", "pod, req"), earlier("CASE WHEN timed THEN t1 END", "pod"), sql)
}

// Linked is SQL for the requests of table par that caused the rows of a table with columns k, pod
// (the sender), trace, traced, req, reqd and began. It adds to each row the number pk and the
// columns of its request; born is when that began. A row and a request of different traces are never
// linked. grade is 0 if
// an id links them, 1 if the row lies in the only open request, and 2 if several were open, the
// request has another id, or another pod may have served it.
func Linked(table string) string {
	const byTime = "CASE WHEN p.several OR p.busy >= i.began OR i.reqd AND p.reqd THEN 2 ELSE 1 END"
	steps := []struct{ rows, requests, id, grade string }{
		{"traced", "traced", "trace", "0"},
		{"traced", "traced AND tlead", "trace", "0"},
		{"reqd", "reqd", "req", "0"},
		{"reqd", "reqd AND rlead", "req", "0"},
		{"true", "timed AND NOT traced", "pod", byTime},
		{"true", "NOT traced AND lead", "pod", byTime},
		{"NOT traced", "timed", "pod", byTime},
		{"NOT traced", "lead", "pod", byTime},
	}
	var with, all []string
	for n, s := range steps {
		rows := "SELECT k, pod, trace, req, reqd, began FROM " + table + " WHERE " + s.rows
		if n > 0 {
			rows += " AND k NOT IN (" + strings.ReplaceAll(strings.Join(all, " UNION ALL "), "*", "k") + ")"
		}
		// Sort only requests with an id or pod of the rows: after the first steps few are left.
		with = append(with, fmt.Sprintf(`i%[1]d AS MATERIALIZED (%[2]s), s%[1]d AS MATERIALIZED (SELECT i.k, p.parent, greatest(%[3]s, p.floor) AS grade
			FROM i%[1]d i ASOF JOIN (SELECT * FROM par WHERE %[4]s AND %[5]s IN (SELECT %[5]s FROM i%[1]d)) p ON i.pod = p.pod AND i.%[5]s = p.%[5]s AND i.began >= p.t0 WHERE i.began <= p.t1 AND i.k <> p.k)`, n, rows, s.grade, s.requests, s.id))
		all = append(all, fmt.Sprintf("SELECT * FROM s%d", n))
	}
	return fmt.Sprintf(`WITH %s SELECT i.*, p.k AS pk, p.pod AS ppod, p.up AS pup, p.trace AS ptrace, p.traced AS ptraced, p.req AS preq, p.reqd AS preqd, p.t0, p.t1, p.born, p.queue, s.grade
		FROM (%s) s JOIN %s i USING (k) JOIN par p USING (parent)`, strings.Join(with, ", "), strings.Join(all, " UNION ALL "), table)
}

// MaxParents is the highest number of requests whose calls are searched.
const MaxParents = 150_000

// Grades are the words for the grades of Linked.
var Grades = [...]string{"exact", "likely", "guess"}
