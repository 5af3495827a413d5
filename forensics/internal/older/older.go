// Package older derives the columns that bundles of earlier releases lack from those that they have.
package older

// Bundles of releases before 2026-11 lack columns that questions need. The views derive them from
// other columns; docs/format/calls.md lists the differences. Columns of protocols are not listed here:
// those that a bundle lacks are absent, as those of protocols that it has no calls of.
var laterColumns = map[string][]struct{ column, sql string }{
	"calls": {
		{"outcome", ", " + Outcome + " AS outcome, elapsed_us AS waited_us, " + Endpoint + " AS endpoint"},
		{"payload_protocol", noPayload},
		{"idempotency_key", ", list_filter(headers, h -> h.kind = 'request' AND lower(h.name) = 'idempotency-key')[1].value AS idempotency_key"},
		{"proxied_to", ", CASE WHEN protocol = 'socks' OR protocol IN ('http1', 'http2', 'http3') AND method = 'CONNECT' AND path IS NULL THEN host END AS proxied_to"},
	},
	"connections": {{"payload_protocol", noPayload}},
	"coverage":    {{"silence_ns", ", NULL::BIGINT AS silence_ns"}},
	"endpoints":   {{"who", ", " + Who + " AS who"}},
	"objects":     {{"object_id", noFile}},
	"workloads": {
		{"ports", ", NULL::VARCHAR[] AS services, NULL::STRUCT(name VARCHAR, value VARCHAR)[] AS ports"},
		{"spec", ", NULL::VARCHAR AS spec"},
		{"seen_ns", ", 0::BIGINT AS seen_ns, NULL::BIGINT AS since_ns"},
	},
}

const noFile = `, NULL::BLOB AS object_id, NULL::BLOB AS call_id, NULL::VARCHAR AS protocol, NULL::BIGINT AS ts_ns, NULL::TIMESTAMP AS ts, NULL::VARCHAR AS name, NULL::VARCHAR AS named_by,
	NULL::VARCHAR AS detected_type, NULL::VARCHAR AS why, NULL::BIGINT AS file_offset, NULL::VARCHAR AS mime_part, NULL::BLOB AS body_sha256, 0::BIGINT AS body_offset, size AS body_size,
	NULL::VARCHAR AS transfer_encoding`

const noPayload = ", NULL::VARCHAR AS payload_protocol, NULL::VARCHAR AS payload_evidence"

// Outcome is the SQL for the column outcome of calls.
const Outcome = `CASE WHEN protocol = transport OR protocol = 'ip' THEN 'unread'
	WHEN NOT failed AND error IN ('cut', 'no_request') THEN 'cut'
	WHEN NOT failed AND error IN ('gap', 'malformed') AND status_code IS NULL AND status_text IS NULL THEN 'unread'
	WHEN NOT failed THEN 'ok'
	WHEN error IN ('no_response', 'reset', 'timeout') THEN 'no_answer'
	WHEN protocol = 'dns' AND status_code = 5 THEN 'refused'
	WHEN protocol IN ('http1', 'http2', 'http3') AND status_code BETWEEN 400 AND 499 OR protocol = 'dns' AND status_code NOT IN (0, 2, 4)
		OR protocol = 'grpc' AND status_text IN ('CANCELLED', 'INVALID_ARGUMENT', 'NOT_FOUND', 'ALREADY_EXISTS', 'PERMISSION_DENIED', 'FAILED_PRECONDITION', 'OUT_OF_RANGE', 'UNAUTHENTICATED')
		OR protocol = 'postgresql' AND left(status_text, 2) NOT IN ('08', '40', '53', '57', '58', 'XX')
		OR protocol = 'redis' AND status_text NOT IN ('OOM', 'LOADING', 'READONLY', 'CLUSTERDOWN', 'MASTERDOWN', 'BUSY', 'MISCONF', 'TRYAGAIN', 'NOREPLICAS') THEN 'client_error'
	WHEN error = 'cut' THEN 'cut'
	WHEN error IN ('gap', 'malformed') THEN 'unread'
	ELSE 'server_error' END`

// Endpoint is the SQL for the column endpoint of calls.
const Endpoint = `CASE WHEN path IS NOT NULL THEN coalesce(method || ' ', '') || array_to_string(list_transform(string_split(path, '/'), x -> CASE WHEN
	regexp_matches(x, '^[0-9]+$|[0-9]{3}|@|[-_][0-9]+$|^([a-uw-zA-UW-Z]|[A-Za-z]{2})[0-9]+$|^[0-9a-fA-F-]{16,}$') THEN '{id}' ELSE x END), '/')
	ELSE coalesce(method, protocol) END`

// Who is the SQL for column who of endpoints.
const Who = `(CASE WHEN namespace IS NULL THEN '' ELSE namespace || '/' END ||
	CASE WHEN external AND service IS NULL THEN coalesce(dns_name, hostname, name) ELSE coalesce(service, workload, pod, name, ip) END)`

// Missing returns the SQL for the later columns of a table that it does not have.
func Missing(name string, has func(column string) bool) (sql string) {
	for _, later := range laterColumns[name] {
		if !has(later.column) {
			sql += later.sql
		}
	}
	return sql
}
