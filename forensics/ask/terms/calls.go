// Package terms has the SQL and KFL for the terms that questions share: the name and the place of
// a call's ends, its endpoint, what counts as a request, how long a call took. It only builds text,
// so each term is defined once for all questions.
// Arguments named p are "src_" or "dst_"; those named side are "src" or "dst".
package terms

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// carriers are the protocols whose rows are not requests of an application: handshakes, and
// payload that no dissector reads.
var carriers = table.ProtocolsIn(func(t *table.Traits) bool { return t.Carrier }, table.Undissected...)

// Shakes is the SQL condition for calls of protocols that encrypt what they carry: their handshakes.
var Shakes = "protocol IN " + table.ProtocolsIn(func(t *table.Traits) bool { return t.Encrypts })

// Sealed is the SQL condition for calls that were encrypted on the wire.
var Sealed = "(decrypted_by IS NOT NULL OR " + Shakes + ")"

// IsRequest is the SQL for a call that an application made.
var IsRequest = `(protocol NOT IN ` + carriers + messages(" AND (protocol <> '%s' OR ends_with(method, '%s'))") + `)`

// messages joins a condition for each protocol with rows that are messages, not requests. The condition has a place for
// the protocol, and one for the end of method in requests.
func messages(condition string) (all string) {
	for _, p := range table.AllTraits() {
		if p.Requests != "" {
			all += fmt.Sprintf(condition, p.Protocol, p.Requests)
		}
	}
	return all
}

// Holder is the property of a case that makes SQL shorter: which protocols it may have.
type Holder interface {
	MayHave(protocols ...string) bool
}

// RequestIn is IsRequest for the calls of a case, without comparisons with protocols that it has not.
func RequestIn(c Holder) string {
	cond := "(true"
	if list := heldIn(c, func(t *table.Traits) bool { return t.Carrier }, table.Undissected...); list != "" {
		cond += " AND protocol NOT IN (" + list + ")"
	}
	for _, p := range table.AllTraits() {
		if p.Requests != "" && c.MayHave(p.Protocol) {
			cond += fmt.Sprintf(" AND (protocol <> '%s' OR ends_with(method, '%s'))", p.Protocol, p.Requests)
		}
	}
	return cond + ")"
}

// SealedIn is Sealed for the calls of a case; see RequestIn.
func SealedIn(c Holder) string {
	if list := heldIn(c, func(t *table.Traits) bool { return t.Encrypts }); list != "" {
		return "(decrypted_by IS NOT NULL OR protocol IN (" + list + "))"
	}
	return "(decrypted_by IS NOT NULL)"
}

// heldIn is the SQL list of the protocols that a case may have, of those with a trait and others.
func heldIn(c Holder, has func(*table.Traits) bool, others ...string) string {
	var list []string
	for _, p := range table.AllTraits() {
		if has(&p.Traits) && c.MayHave(p.Protocol) {
			list = append(list, "'"+p.Protocol+"'")
		}
	}
	for _, name := range others {
		if c.MayHave(name) {
			list = append(list, "'"+name+"'")
		}
	}
	return strings.Join(list, ", ")
}

// PathTemplate is the SQL for what an endpoint adds to its method: a path with a blank before it, or nothing. An endpoint that
// does not begin with its method, such as "etcd range", is whole.
const PathTemplate = `(CASE WHEN path IS NULL OR endpoint = method THEN '' WHEN starts_with(endpoint, method || ' ') THEN substr(endpoint, length(method) + 1) ELSE endpoint END)`

// Fault is the SQL for a failed call that the caller did not cause.
const Fault = `(outcome IN ('server_error', 'refused', 'no_answer'))`

// Serving are the protocols whose calls cause other calls.
var Serving = table.ProtocolsIn(func(t *table.Traits) bool { return t.Serves })

// Web are the protocols with requests of HTTP.
var Web = table.ProtocolsIn(func(t *table.Traits) bool { return t.Web })

// why is the SQL for why a call has no complete response. Who ended the connection says more than that it ended.
const why = `CASE WHEN error IN ('no_response', 'cut', 'reset') AND ended_by IS NOT NULL THEN CASE error WHEN 'reset' THEN error ELSE 'closed' END || ' by the ' || ended_by || CASE ended_by WHEN 'client' THEN ', which gave up' ELSE '' END ELSE error END`

// status is the SQL for the status of a call, null if it has none. Without a response, the status code of a row is that of
// the request, as in ICMP. A response that broke off or came too late has its status and why: "200 OK, reset by the server".
const status = `CASE WHEN error = 'no_response' THEN ` + why + ` END, status_code::VARCHAR || coalesce(' ' || status_text, '') || CASE WHEN outcome = 'no_answer' AND error IN ('reset', 'timeout', 'cut', 'gap', 'abandoned') THEN ', ' || ` + why + ` ELSE '' END, status_text, ` + why

// Status is the SQL for the status of a call, empty if it has none.
const Status = "coalesce(" + status + ", '')"

// FailureStatus is the SQL for the status of a failed call.
const FailureStatus = "coalesce(" + status + ", 'failed')"

// NormalSQL is the SQL for a statement without its literals and runs of white space.
const NormalSQL = `trim(regexp_replace(regexp_replace(regexp_replace(regexp_replace(left(%s, 4000), $$'(?:[^']|'')*'$$, '?', 'g'), '\$[0-9]+|\b[0-9]+(?:\.[0-9]+)?\b', '?', 'g'), '\s+', ' ', 'g'), '\?(?: ?, ?\?)+', '?, …', 'g'))`

// Slowest is the SQL for the id of the slowest call of a group. Among equally slow calls it is the
// one with the lowest number, so that the result does not depend on the order of threads.
const Slowest = `arg_max(call_id, least(coalesce(elapsed_us, -1), 2000000000000) * 4194304 - call_no % 4194304)`

// EndpointName writes an endpoint as column endpoint has it: "GET /orders/{id}", "SELECT", "dns". path is that of
// PathTemplate.
func EndpointName(protocol, method, path string) string {
	switch {
	case strings.HasPrefix(path, " "):
		return method + path
	case path != "":
		return path
	case method != "":
		return method
	}
	return protocol
}

// Took is the SQL for the duration of a call as its caller saw it. For a call without a response
// this is the time that the caller waited. It is null for a call that is only partly captured.
const Took = `(CASE WHEN outcome = 'no_answer' THEN waited_us ELSE elapsed_us END)`

// WaitSeen is the SQL condition that packets show how long a caller waited. Those of datagrams do not show when it gave up.
const WaitSeen = "(outcome <> 'no_answer' OR transport IN ('tcp', 'quic', 'sctp'))"

// Unanswered is the SQL condition that a call got no response and packets show how long its caller waited.
const Unanswered = "(outcome = 'no_answer' AND " + WaitSeen + ")"

// What became of a call without a response.
const (
	FateNotDelivered = "not delivered"
	FateNotAnswered  = "delivered and not answered"
	FateInPart       = "answered in part"
	FateLate         = "answered too late"
	FateUnknown      = "delivery unknown" // the capture does not show it
)

// Fates are all of them.
func Fates() []string {
	return []string{FateNotDelivered, FateNotAnswered, FateInPart, FateLate, FateUnknown}
}

// Fate is the SQL for what became of the request of a call without a response; empty for one with a response.
const Fate = `(CASE WHEN outcome <> 'no_answer' THEN '' WHEN error = '` + table.Abandoned + `' AND elapsed_us > waited_us THEN '` + FateLate + `' WHEN response_bytes > 0 THEN '` + FateInPart + `' WHEN request_delivered = '` + table.NotDelivered + `' THEN '` + FateNotDelivered + `'
	WHEN request_delivered = '` + table.Delivered + `' THEN '` + FateNotAnswered + `' ELSE '` + FateUnknown + `' END)`

// SaysTimeout is the SQL condition that the response of a failed call says that a time had passed: 408 and 504 of HTTP and
// SIP, DEADLINE_EXCEEDED of gRPC, or the words of another protocol's status.
const SaysTimeout = "(outcome <> 'no_answer' AND (status_code IN (408, 504) AND protocol IN ('http1', 'http2', 'http3', 'sip') OR regexp_matches(coalesce(status_text, ''), '(?i)tim(e|ed)[ _-]?(out|limit)|deadline')))"

// Until is the SQL for the time at which a call ended for its caller, with or without a response.
const Until = `ts_ns + coalesce(waited_us, elapsed_us, 0) * 1000`

// CallColumns are the columns of a Call in SQL that reads calls. In a case of several bundles the
// packet numbers belong to the call's bundle.
func CallColumns(c Several) string {
	return `call_id, make_timestamp_ns(ts_ns) AS time, ` + Who("src_") + ` AS src, ` + Who("dst_") + ` AS dst, protocol, left(summary, 300) AS summary,
		` + Status + ` AS status,
		coalesce(elapsed_us, 0) / 1000.0 AS elapsed_ms, ` + Cites(c, "") + ` AS packets`
}

// SomeCalls is SQL for the call_ids of the three earliest calls of a group.
const SomeCalls = `list_transform(arg_min(call_id, (ts_ns, call_id), 3), x -> lower(hex(x))) AS call_ids`

// Qualified adds the alias k to the columns of a condition from this package.
func Qualified(cond string) string {
	return strings.NewReplacer("src_id", "k.src_id", "dst_id", "k.dst_id", "src_ip", "k.src_ip", "dst_ip", "k.dst_ip", "bundle =", "k.bundle =").Replace(cond)
}

// elsewhere are the protocols whose host is no name of the server, such as that of a DNS question.
var elsewhere = table.ProtocolsIn(func(t *table.Traits) bool { return t.Elsewhere })

// NamesServer is the SQL condition that the host of a call, if it has one, is a name of its server. Behind a proxy it is a
// name of another host.
var NamesServer = "(protocol NOT IN " + elsewhere + " AND proxied_to IS NULL)"

// Called is the SQL condition that rows of calls went to a server that its client called by a name, or one of a pattern. It is
// empty if the name includes a namespace.
func Called(name string) string {
	text := "'" + strings.ReplaceAll(name, "'", "''") + "'"
	switch {
	case strings.Contains(name, "/"):
		return ""
	case strings.ContainsAny(name, "*?"):
		return "coalesce(host LIKE " + Pattern(text) + ` ESCAPE '\' AND ` + NamesServer + ", false)"
	}
	return "coalesce(host = " + text + " AND " + NamesServer + ", false)"
}

// HostIs is the SQL condition that a name, its argument, is that of the server that the client used.
var HostIs = "coalesce(host = ? AND " + NamesServer + ", false)"

// Asked is the SQL condition for calls whose client used the name far; see EndsOf.
var Asked = "protocol NOT IN " + elsewhere + " AND host = far"

// NamedEndpoint is Endpoint with the host names of DNS and TLS.
var NamedEndpoint = `(CASE WHEN protocol IN ('dns', 'tls', 'quic') THEN protocol || coalesce(' ' || host, '') ELSE ` + Endpoint + ` END)`
