// Package terms has the SQL and KFL for the words that questions share: who is at an end of a
// call, where that is, which endpoint was called, what counts as a request, how long it took.
// It is text only and imports nothing of ours, so each word is defined once, for every question.
// Arguments named p are "src_" or "dst_"; those named side are "src" or "dst".
package terms

import (
	"strings"
)

// carriers are the protocols whose rows are no requests of an application: handshakes,
// and payload that no dissector knows.
const carriers = `('tls', 'dtls', 'quic', 'tcp', 'udp')`

// IsRequest is the SQL for a call that an application made.
const IsRequest = `(protocol NOT IN ` + carriers + `)`

// PathTemplate is the SQL for the path of an endpoint, empty where there is none.
const PathTemplate = `(CASE WHEN path IS NULL THEN '' WHEN method IS NULL THEN endpoint ELSE substr(endpoint, length(method) + 2) END)`

// Fault is the SQL for a failed call that is not its caller's doing.
const Fault = `(outcome IN ('server_error', 'refused', 'no_answer'))`

// Serving are the protocols whose calls lead to others.
const Serving = `('http1', 'http2', 'http3', 'grpc')`

// FailureStatus is the SQL for the outcome of a failed call.
const FailureStatus = `coalesce(status_code::VARCHAR || CASE WHEN status_text IS NULL THEN '' ELSE ' ' || status_text END, status_text, error, 'failed')`

// NormalSQL is the SQL for a statement without its literals and runs of white space.
const NormalSQL = `trim(regexp_replace(regexp_replace(regexp_replace(regexp_replace(left(%s, 4000), $$'(?:[^']|'')*'$$, '?', 'g'), '\$[0-9]+|\b[0-9]+(?:\.[0-9]+)?\b', '?', 'g'), '\s+', ' ', 'g'), '\?(?: ?, ?\?)+', '?, …', 'g'))`

// Slowest is the SQL for the id of the slowest call of a group. Of equally slow ones it is
// the first by number, so that it does not depend on who read first.
const Slowest = `arg_max(call_id, least(coalesce(elapsed_us, -1), 2000000000000) * 4194304 - call_no % 4194304)`

// EndpointName writes an endpoint: "GET /orders/{id}", "SELECT", "dns".
func EndpointName(protocol, method, path string) string {
	switch {
	case path != "" && method != "":
		return method + " " + path
	case path != "":
		return path
	case method != "":
		return method
	}
	return protocol
}

// Took is how long a call took for its caller: one that got no answer as long as the caller waited.
// A call of which the capture has only a part took nobody knows how long.
const Took = `(CASE WHEN outcome = 'no_answer' THEN waited_us ELSE elapsed_us END)`

// Executed is the condition that a call is no mere preparation: PostgreSQL's PREPARE and
// start-up are not statements that were executed.
const Executed = `coalesce(postgresql_kind IN ('query', 'execute', 'function_call'), true)`

// Until is when a call ended for its caller, also one that got no answer.
const Until = `ts_ns + coalesce(waited_us, elapsed_us, 0) * 1000`

// CallColumns are the columns of a Call, for SQL FROM calls. In a case of several bundles
// packet numbers belong to the call's bundle.
func CallColumns() string {
	return `call_id, make_timestamp_ns(ts_ns) AS time, ` + Who("src_") + ` AS src, ` + Who("dst_") + ` AS dst, protocol, left(summary, 300) AS summary,
		coalesce(status_code::VARCHAR || CASE WHEN status_text IS NULL THEN '' ELSE ' ' || status_text END, status_text, error, '') AS status,
		coalesce(elapsed_us, 0) / 1000.0 AS elapsed_ms, cites AS packets`
}

// SomeCalls is SQL for the call_ids of up to three calls of a group, the earliest.
const SomeCalls = `list_transform(arg_min(call_id, ts_ns, 3), x -> lower(hex(x))) AS call_ids`

// Qualified puts k before the columns of a condition of mine.
func Qualified(cond string) string {
	return strings.NewReplacer("src_id", "k.src_id", "dst_id", "k.dst_id", "bundle =", "k.bundle =").Replace(cond)
}

// NamedEndpoint is endpoint with the names that DNS and TLS ask for.
var NamedEndpoint = `(CASE WHEN protocol IN ('dns', 'tls', 'quic') THEN protocol || coalesce(' ' || host, '') ELSE ` + Endpoint + ` END)`
