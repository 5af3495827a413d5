package relation

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// A client makes the same call again if the same instance sends the same request, with the same id if it has one, to the
// same server (Request). Such a call is a retry if the previous one had failed in a way that allows one, and it is soon if it
// begins at once, retry or not. All questions read both from Repeats, or from Retry and Soon.

const (
	// MaxPauseNs is the longest pause between a failed call and its retry, in nanoseconds.
	MaxPauseNs = 120_000_000_000
	// SoonNs is the longest time between the beginnings of two equal calls of which the second begins at once, in
	// nanoseconds.
	SoonNs = 100_000_000
	// earlyNs is how much a retry can seem to begin before the end of the call that it repeats: the end is known in
	// microseconds, and the capture has its own delays.
	earlyNs = 1_000_000
)

// SQL that compares calls.
const (
	// AskedWeb are the columns with the content of an HTTP or gRPC request, without server and body.
	AskedWeb = `protocol, method, path, query_string, host`
	// Identity is the id that a client repeats in a retry. The request id may be a new one if there is an
	// Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07 section 2).
	Identity = `coalesce(idempotency_key, request_id, trace_id)`
	// Carried are the columns that identify one logical request.
	Carried = `request_body_sha256, ` + Identity
	// Retryable is the SQL for a failed call that a client may retry: no response, or a response that
	// allows a retry.
	Retryable = `(failed AND (status_code IS NULL OR status_code >= 500 OR status_code IN (408, 425, 429) OR error IS NOT NULL OR protocol = 'grpc'))`
	// Done is the SQL for the time at which a client learned how a call had ended; that at which it began if it never did.
	Done = `ts_ns + coalesce(elapsed_us, 0) * 1000`
)

// SQL that compares calls of all protocols.
var (
	// Asked are the columns with the content of a request, without its server.
	Asked = AskedWeb + `, redis_key, ` + statements.Columns("query", "params")
	// Thing are the columns of x with the content of a request and its server.
	Thing = `bn, far, ` + Asked
	// Request is the SQL for a hash of a row of x. The same call again has the same hash.
	Request = `hash(ap, ` + Thing + `, ` + Carried + `)`
	// Content is the SQL for the part of Request that rows of calls have without x: all but client and server.
	Content = `hash(` + Asked + `, ` + Carried + `)`
	// RequestWeb is Request for rows of HTTP calls without x.
	RequestWeb = func(c terms.Several) string {
		return `hash(` + terms.Key(c, "") + `src_id, ` + terms.Who("dst_") + `, ` + AskedWeb + `, ` + Carried + `)`
	}
)

// Compared is the SQL for the columns that Repeats needs of rows, with the hash of their request and the column of ties.
func Compared(request, tie string) string {
	return request + ` AS h, ` + tie + ` AS tie, ts_ns, ` + Done + ` AS done, ` + Retryable + ` AS bad`
}

// Repeats is SQL for the rows of a table with the columns of Compared. It adds the previous equal call of each: when it began
// and ended, and whether it was Retryable (prior_ns, prior_done, prior_bad, null if there is none), and whether the
// row is a retry of it, and soon after it.
func Repeats(table string) string {
	return fmt.Sprintf(`SELECT *, coalesce(ts_ns - prior_ns <= %[2]d, false) AS soon, coalesce(prior_bad AND ts_ns - prior_done <= %[3]d AND NOT (ts_ns - prior_ns <= %[2]d AND prior_done - ts_ns > %[4]d), false) AS retry
		FROM (SELECT *, lag(ts_ns) OVER v AS prior_ns, lag(done) OVER v AS prior_done, lag(bad) OVER v AS prior_bad FROM %[1]s WINDOW v AS (PARTITION BY h ORDER BY ts_ns, tie))`, table, SoonNs, int64(MaxPauseNs), earlyNs)
}

// Soon reports whether a call that began then is soon after an equal one, as in Repeats.
func Soon(prior, began int64) bool { return began-prior <= SoonNs }

// Retry reports whether a call is a retry of an equal one that is Retryable, as in Repeats. A call at once that does not wait
// for the end of the first is none: its client did not know of a failure.
func Retry(prior, done, began int64) bool {
	return began-done <= MaxPauseNs && !(Soon(prior, began) && done-began > earlyNs)
}
