package relation

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// A message links the call that published it with each call by which a consumer got it. The broker
// answers the first before it makes the second, so neither is open during the other.

// Limits of links through a broker, in nanoseconds.
const (
	MaxQueueNs  = 3_600_000_000_000 // longest time between publishing and getting a message
	maxSameNs   = 60_000_000_000    // the same if only topic and payload link the two
	maxWorkNs   = 10_000_000_000    // longest work on a message that nobody acknowledged
	ClockUnsure = 5_000_000         // assumed difference of two clocks if the recording does not state it
	maxTurns    = 16                // deliveries of one message to one consumer
)

// Brokers are the protocols of message brokers.
const Brokers = `('kafka', 'nats', 'amqp', 'amqp1', 'mqtt', 'stomp', 'redis')`

// The roles of a call at a broker. A consumer asks for messages, or the broker sends them.
const (
	puts = `(protocol = 'kafka' AND kafka_api_key = 0 OR protocol = 'nats' AND method = 'PUB' AND path IS NOT NULL AND nats_api IS NULL OR protocol = 'amqp' AND amqp_method = 'basic.publish'
		OR protocol = 'amqp1' AND method = 'transfer' AND NOT amqp1_delivered AND path IS NOT NULL OR protocol = 'stomp' AND method = 'SEND' AND stomp_destination IS NOT NULL OR protocol = 'mqtt' AND method = 'PUBLISH' AND NOT mqtt_delivered OR protocol = 'redis' AND method IN ('XADD', 'PUBLISH', 'SPUBLISH') AND NOT failed)`
	polls = `(protocol = 'kafka' AND kafka_api_key = 1 AND kafka_records > 0 AND NOT starts_with(coalesce(kafka_client_id, ''), 'broker-') OR protocol = 'amqp' AND amqp_method = 'basic.get' AND amqp_delivery_tag IS NOT NULL
		OR protocol = 'redis' AND (method IN ('XREAD', 'XREADGROUP', 'XCLAIM', 'XAUTOCLAIM') AND redis_elements > 0 OR redis_push IN ('message', 'smessage', 'pmessage')))`
	sent = `(protocol = 'nats' AND method = 'MSG' AND path IS NOT NULL OR protocol = 'amqp' AND amqp_method = 'basic.deliver' OR protocol = 'amqp1' AND method = 'transfer' AND amqp1_delivered AND path IS NOT NULL OR protocol = 'stomp' AND method = 'MESSAGE' AND stomp_destination IS NOT NULL OR protocol = 'mqtt' AND method = 'PUBLISH' AND mqtt_delivered)`
)

// names is SQL for the identities of the messages of a call: a name with a range of numbers. alone
// is true if the publisher chose the name, so that it may use it again.
const names = `CASE WHEN protocol = 'kafka' THEN list_transform(kafka_offsets, o -> {'name': 'kafka ' || split_part(o, ':', 1), 'lo': split_part(split_part(o, ':', 2), '-', 1)::BIGINT, 'hi': split_part(split_part(o, ':', 2), '-', -1)::BIGINT, 'alone': false})
	WHEN protocol = 'nats' AND nats_stream_sequence IS NOT NULL THEN [{'name': 'nats ' || nats_stream, 'lo': nats_stream_sequence, 'hi': nats_stream_sequence, 'alone': false}]
	WHEN protocol = 'nats' AND starts_with(nats_reply_to, '_INBOX.') THEN [{'name': concat_ws(' ', 'nats', nats_subject, nats_reply_to), 'lo': 0, 'hi': 0, 'alone': true}]
	WHEN protocol = 'amqp' AND amqp_message_id IS NOT NULL THEN [{'name': concat_ws(chr(0), 'amqp', amqp_exchange, amqp_routing_key, amqp_message_id), 'lo': 0, 'hi': 0, 'alone': true}]
	WHEN protocol = 'amqp1' AND amqp1_message_id IS NOT NULL THEN [{'name': concat_ws(chr(0), 'amqp1', amqp1_message_id), 'lo': 0, 'hi': 0, 'alone': true}]
	WHEN protocol = 'stomp' AND stomp_publisher_id IS NOT NULL THEN [{'name': concat_ws(chr(0), 'stomp', stomp_destination, stomp_publisher_id), 'lo': 0, 'hi': 0, 'alone': true}]
	WHEN protocol = 'mqtt' AND mqtt_response_topic IS NOT NULL AND mqtt_correlation_data IS NOT NULL THEN [{'name': concat_ws(chr(0), 'mqtt', mqtt_topic, mqtt_response_topic, mqtt_correlation_data), 'lo': 0, 'hi': 0, 'alone': true}]
	WHEN method = 'XADD' THEN [{'name': concat_ws(' ', 'redis', redis_key, redis_reply), 'lo': 0, 'hi': 0, 'alone': true}]
	WHEN protocol = 'redis' AND redis_push IS NULL AND redis_keys <= 1 THEN list_transform(regexp_extract_all(redis_reply, '\[([0-9]+-[0-9]+),? \[', 1), i -> {'name': concat_ws(' ', 'redis', redis_key, i), 'lo': 0, 'hi': 0, 'alone': true}) END`

// likeness is SQL for the fields in which a message and its copies are equal: topic, payload, and
// the trace in its headers.
const likeness = `CASE WHEN protocol = 'kafka' AND put AND len(kafka_partitions) = 1 THEN concat_ws(chr(0), 'kafka', kafka_partitions[1], coalesce(trace_id, ''), hex(request_body_sha256))
	WHEN protocol = 'kafka' AND len(kafka_offsets) = 1 THEN concat_ws(chr(0), 'kafka', split_part(kafka_offsets[1], ':', 1), coalesce(trace_id, ''), hex(response_body_sha256))
	WHEN protocol = 'amqp' THEN concat_ws(chr(0), 'amqp', amqp_exchange, amqp_routing_key, coalesce(amqp_correlation_id, ''), coalesce(trace_id, ''), hex(coalesce(request_body_sha256, response_body_sha256)))
	WHEN protocol = 'amqp1' THEN concat_ws(chr(0), 'amqp1', path, coalesce(amqp1_correlation_id, ''), coalesce(trace_id, ''), hex(request_body_sha256))
	WHEN protocol = 'stomp' THEN concat_ws(chr(0), 'stomp', stomp_destination, coalesce(stomp_correlation_id, ''), coalesce(trace_id, ''), hex(request_body_sha256))
	WHEN protocol = 'nats' THEN concat_ws(chr(0), 'nats', nats_subject, coalesce(trace_id, ''), hex(request_body_sha256))
	WHEN protocol = 'mqtt' THEN concat_ws(chr(0), 'mqtt', mqtt_topic, coalesce(trace_id, ''), hex(request_body_sha256))
	WHEN method IN ('PUBLISH', 'SPUBLISH') THEN concat_ws(chr(0), 'redis', redis_channel, substr(redis_command, length(method) + length(redis_channel) + 3)) END`

// Messages is SQL that follows ends, for tables got (the calls by which consumers got messages) and
// via (the calls gk and pk that got and published a message). ns is when a message was published or
// arrived, until when the work on it ended, acked when the broker learned that. pod is the
// publisher or the consumer, endpoint its number in table endpoints. A publisher that asked for an answer
// (NATS) waits for it until then, else for nothing. A consumer that asks again (loop) is done with what
// it got, unless it asks in advance as those of Kafka do. grade is 0 if a number or id of
// the message links both at one broker, also a trace with topic and payload, else 1; puts counts the calls that published what one call
// got, queue is the time between both.
//
// A call with several messages, such as Fetch, has a list of identities. For each consumer, and each
// time that it got a message, an ASOF join finds the range with the offset. Without an identity on
// both sides, the only message with this topic and payload of a minute is taken.
func Messages(c terms.Several) string {
	return fmt.Sprintf(`, msg AS MATERIALIZED (SELECT %[1]s AS k, put, CASE WHEN put OR sent THEN ts_ns ELSE ts_ns + coalesce(elapsed_us, 0) * 1000 END AS ns, CASE WHEN sent AND protocol IN ('nats', 'amqp', 'amqp1', 'stomp') OR put AND protocol = 'nats' THEN ts_ns + elapsed_us * 1000 END AS acked,
			ap AS up, CASE WHEN sent THEN bp ELSE ap END AS pod, CASE WHEN sent THEN dst_id ELSE src_id END AS endpoint, CASE WHEN sent THEN src_who ELSE dst_who END AS broker, hash(%[2]sclock_id) AS clock, CASE WHEN NOT put AND NOT sent AND protocol <> 'kafka' THEN hash(%[2]sconn_id) END AS loop, %[3]s, ts_ns AS began,
			coalesce(%[4]s, []) AS ids, CASE WHEN coalesce(request_body_size, response_body_size, 1) > 0 THEN %[5]s END AS same
			FROM (SELECT *, coalesce(%[6]s, false) AS put, coalesce(%[7]s, false) AS sent FROM x WHERE protocol IN %[8]s) WHERE put OR sent OR coalesce(%[9]s, false)),
		got AS MATERIALIZED (SELECT *, coalesce(acked, least(ns + %[10]d, CASE WHEN loop IS NOT NULL THEN lead(began) OVER (PARTITION BY loop ORDER BY ns, k) END)) AS until FROM msg WHERE NOT put),
		gotid AS MATERIALIZED (SELECT *, row_number() OVER (PARTITION BY name, pod, lo ORDER BY ns, k) AS turn FROM (SELECT k, ns, broker, clock, pod, i.name AS name, i.lo AS lo, i.hi AS hi FROM (SELECT *, unnest(ids) AS i FROM got))),
		putid AS (SELECT k, ns, broker, clock, i.name AS name, i.lo AS lo, i.hi AS hi, i.alone AS alone FROM (SELECT *, unnest(ids) AS i FROM msg WHERE put)),
		near AS (SELECT p.k AS pk, g.k AS gk, p.name, p.hi, p.alone, p.ns AS since, p.broker = g.broker AS one
			FROM (SELECT * FROM putid JOIN (SELECT DISTINCT name, pod, turn FROM gotid WHERE turn <= %[11]d) USING (name)) p ASOF JOIN gotid g ON p.name = g.name AND p.pod = g.pod AND p.turn = g.turn AND p.hi >= g.lo
			WHERE p.lo <= g.hi AND g.ns >= p.ns - %[12]s AND g.ns - p.ns <= %[13]d),
		sure AS MATERIALIZED (SELECT gk, pk, min(CASE WHEN one THEN 0 ELSE 1 END) AS grade FROM (SELECT *, row_number() OVER (PARTITION BY gk, name, hi ORDER BY one DESC, since DESC, pk) AS nth, count(*) OVER (PARTITION BY gk, name, hi, one) AS rivals FROM near)
			WHERE nth = 1 AND (rivals = 1 OR one AND NOT alone) GROUP BY 1, 2),
		alike AS (SELECT k, put, ns, clock, traced, len(ids) > 0 AS named, count(*) FILTER (put) OVER w AS n, max(k) FILTER (put) OVER w AS pk, max(ns) FILTER (put) OVER w AS since, max(clock) FILTER (put) OVER w AS source, bool_or(len(ids) > 0) FILTER (put) OVER w AS known,
			count(*) FILTER (NOT put) OVER (PARTITION BY same, broker, pod ORDER BY ns RANGE BETWEEN %[14]d PRECEDING AND %[14]d FOLLOWING) AS copies
			FROM msg WHERE same IS NOT NULL WINDOW w AS (PARTITION BY same, broker ORDER BY ns RANGE BETWEEN %[14]d PRECEDING AND %[15]d FOLLOWING)),
		via AS MATERIALIZED (SELECT v.*, count(*) OVER (PARTITION BY gk) AS puts, p.ns AS since, p.acked AS answered FROM (SELECT gk, pk, grade FROM sure
			UNION ALL SELECT k, pk, CASE WHEN traced THEN 0 ELSE 1 END FROM alike g WHERE NOT put AND n = 1 AND copies = 1 AND NOT (named AND known) AND ns >= since - CASE WHEN clock = source THEN 0 ELSE %[15]d END AND k NOT IN (SELECT gk FROM sure)) v JOIN msg p ON p.k = pk)`,
		terms.NumberOf(c), terms.Key(c, ""), Ties, names, likeness, puts, sent, Brokers, polls, int64(maxWorkNs), maxTurns,
		fmt.Sprintf("CASE WHEN p.clock = g.clock THEN 0 ELSE %d END", ClockUnsure), int64(MaxQueueNs), int64(maxSameNs), ClockUnsure)
}

// consumed is SQL for the calls that caused calls of consumers, as requests: of the publisher if it
// is known. If one call got messages of several publishers, only an id shows to which of them a
// later call belongs.
const consumed = `SELECT coalesce(p.k, g.k) AS k, g.pod AS bp, coalesce(p.up, g.up) AS up, p.trace, coalesce(p.traced, false) AS traced, p.req, coalesce(p.reqd, false) AS reqd, g.ns AS t0, g.until AS t1,
	coalesce(p.began, g.began) AS born, coalesce(v.puts, 1) = 1 AS timed, coalesce(v.grade, 0) AS floor, CASE WHEN coalesce(g.acked <= p.acked, false) THEN NULL WHEN p.k IS NOT NULL THEN g.ns - p.ns END AS queue FROM got g LEFT JOIN via v ON v.gk = g.k LEFT JOIN msg p ON p.k = v.pk`

// Waits are the columns of a request in Requests that its sender waits for.
const Waits = "ts_ns AS born, true AS timed, 0 AS floor, NULL::BIGINT AS queue"
