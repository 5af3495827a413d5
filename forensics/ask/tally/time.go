package tally

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Amount is the amount of one kind in one bucket of time. Bucket times the bucket's length is the
// start of the bucket, in nanoseconds since 1970 UTC.
type Amount struct {
	Bucket int64  `json:"bucket"`
	Kind   string `json:"kind"`
	N      int64  `json:"n"`
}

// Bytes counts bytes on the wire by protocol, in buckets of the given length in nanoseconds.
func Bytes(ctx context.Context, c *forensics.Case, w *ask.Window, bucket int64) (Table[Amount], error) {
	return read[Amount](ctx, c, fmt.Sprintf(`SELECT p.ts_ns // %d AS bucket, coalesce(f.protocol, f.transport, 'not IP') AS kind, sum(p.len)::BIGINT AS n
FROM packets_raw p LEFT JOIN flows_raw f ON f.flow_id = p.flow_id%s WHERE %s
GROUP BY ALL ORDER BY ALL`, bucket, terms.SameBundle(c, "f", "p"), within(w, "p.")))
}

// Outcomes counts failed and other calls, in buckets of the given length in nanoseconds.
func Outcomes(ctx context.Context, c *forensics.Case, w *ask.Window, bucket int64) (Table[Amount], error) {
	return read[Amount](ctx, c, fmt.Sprintf(`SELECT ts_ns // %d AS bucket, CASE WHEN failed THEN 'failed' ELSE 'not failed' END AS kind, count(*) AS n
%s
GROUP BY ALL ORDER BY ALL`, bucket, calls(w)), w.Args...)
}

// Slowest returns the latency in microseconds that 99 % of the requests did not exceed, in buckets of the given length in nanoseconds.
func Slowest(ctx context.Context, c *forensics.Case, w *ask.Window, bucket int64) (Table[Amount], error) {
	return read[Amount](ctx, c, fmt.Sprintf(`SELECT ts_ns // %d AS bucket, 'p99' AS kind, ceil(quantile_disc(`+terms.Took+`, 0.99))::BIGINT AS n
%s AND `+terms.IsRequest+` AND `+terms.Took+` IS NOT NULL GROUP BY 1 ORDER BY 1`, bucket, calls(w)), w.Args...)
}

// Silence is a time without traffic: its end and its length in nanoseconds.
type Silence struct {
	End    int64 `json:"first_ns"`
	Length int64 `json:"silence"`
}

// Silences returns the longest times without traffic, longest first.
func Silences(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Silence], error) {
	return read[Silence](ctx, c, fmt.Sprintf(`SELECT first_ns, silence FROM (
  SELECT first_ns, first_ns - max(last_ns) OVER (ORDER BY first_ns, last_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS silence FROM flows_raw WHERE %s)
WHERE silence > 0 ORDER BY silence DESC, first_ns LIMIT 23`, during(w)))
}

// Gaps is SQL for the coverage gaps of a case, as in Case.Coverage.
const Gaps = "SELECT source, reason, from_ns, to_ns, packets, detail FROM coverage WHERE kind = 'hole' ORDER BY from_ns, source"

// Event is a group of equal Kubernetes events. Last is in nanoseconds since 1970 UTC.
type Event struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Kind    string `json:"kind"`
	Object  string `json:"object"`
	Message string `json:"message"`
	Times   int64  `json:"times"`
	Last    int64  `json:"last_ns"`
}

// Events returns Kubernetes events, warnings first.
func Events(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Event], error) {
	return read[Event](ctx, c, `SELECT type, reason, kind, concat_ws('/', namespace, name) AS object, message, sum(coalesce(count, 1))::BIGINT AS times, max(ts_ns) AS last_ns
FROM k8s_events WHERE `+within(w, "")+` GROUP BY ALL ORDER BY (max(type) = 'Warning') DESC, times DESC, last_ns, object, reason, message LIMIT 40`)
}

// Anomaly summarizes anomalies of one kind. Packet is a packet number of the bundle and is only
// meaningful in a case of one bundle.
type Anomaly struct {
	Source string `json:"source"`
	Kind   string `json:"kind"`
	Times  int64  `json:"times"`
	Lost   int64  `json:"lost_bytes"`
	Packet *int64 `json:"first_packet"`
	Detail string `json:"example"`
}

// Anomalies counts anomalies by kind, most frequent first.
func Anomalies(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Anomaly], error) {
	return read[Anomaly](ctx, c, `SELECT source, kind, sum(count)::BIGINT AS times, sum(lost_bytes)::BIGINT AS lost_bytes, min(packet_no) AS first_packet, arg_min(detail, (ts_ns, detail)) AS example
FROM anomalies WHERE `+within(w, "")+` GROUP BY source, kind ORDER BY times DESC, source, kind LIMIT 40`)
}

// Took is the number of calls that took as long as those of one class. Class k has the times from
// 2^(k-1) to under 2^k microseconds, class 0 those under one.
type Took struct {
	Class  int64  `json:"class"`
	Calls  int64  `json:"calls"`
	Failed int64  `json:"failed"`
	First  string `json:"first_call"`
}

// Latencies counts requests of HTTP and gRPC by the time that they took.
func Latencies(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Took], error) {
	return read[Took](ctx, c, `SELECT CASE WHEN `+terms.Took+` < 1 THEN 0 ELSE floor(log2(`+terms.Took+`))::BIGINT + 1 END AS class, count(*) AS calls, count(*) FILTER (WHERE failed) AS failed, `+firstCall(c)+`
`+calls(w)+` AND protocol IN `+terms.Serving+` AND `+terms.Took+` IS NOT NULL GROUP BY 1 ORDER BY 1`, w.Args...)
}

// Hour is the calls that began in one hour, in hours since 1970 UTC.
type Hour struct {
	Hour   int64 `json:"hour"`
	Calls  int64 `json:"calls"`
	Failed int64 `json:"failed"`
}

// Hours counts calls by hour.
func Hours(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Hour], error) {
	return read[Hour](ctx, c, `SELECT ts_ns // 3600000000000 AS hour, count(*) AS calls, count(*) FILTER (WHERE failed) AS failed
`+calls(w)+` GROUP BY 1 ORDER BY 1`, w.Args...)
}
