package terms

import "fmt"

// Accepted is the SQL for a connection that its server accepted, or whose datagrams it answered. A TCP connection that
// was captured from its middle was accepted before, even if only one direction was captured, but a Probe was not. An SCTP server answers an
// INIT that it refuses with one packet (RFC 9260 section 8.4).
const Accepted = `(CASE transport WHEN 'tcp' THEN coalesce(state NOT IN ('syn_sent', 'refused') AND NOT ` + Probe + `, true) WHEN 'sctp' THEN src_packets > 1 AND dst_packets > 1 ELSE dst_packets > 0 END)`

// Back is the SQL that counts the calls of a group on connections that the callee opened, from outside.
func Back(c Several) string {
	return fmt.Sprintf("count(*) FILTER ((%[1]sflow_id, src_id) IN (SELECT (%[1]sflow_id, dst_id) FROM flows_raw WHERE (%[1]sdst_id) IN (SELECT (%[1]sendpoint_id) FROM endpoints_raw WHERE external)))", Key(c, ""))
}

// NotCompleted is the SQL condition for TCP flows of connections that were refused, not answered or reset.
const NotCompleted = `state IN ('refused', 'syn_sent', 'reset')`

// Probe is the SQL for a TCP flow of segments with neither SYN, ACK, RST nor payload, which belong to no connection, as in a
// FIN, NULL or Xmas scan. A closed port answers them with RST, an open one never does (RFC 9293 section 3.10.7).
const Probe = `(completeness & 47 = 0)`

// Shut is the SQL condition for rows of connections that their servers refused or did not answer, by their flows.
func Shut(c Several) string {
	id := "(" + Key(c, "") + "flow_id)"
	return "(" + id + " IN (SELECT " + id + " FROM flows_raw WHERE NOT " + Accepted + "))"
}

// Refused is the SQL for a connection that its server refused, as opposed to one that it did not answer.
const Refused = `(NOT ` + Accepted + ` AND transport IN ('tcp', 'sctp') AND dst_packets > 0)`

// Port is the SQL for the transport and the port of a connection's server, as in tcp/443, or icmp.
const Port = `(transport || CASE WHEN transport IN ('tcp', 'udp', 'sctp') THEN '/' || dst_port ELSE '' END)`

// Reports is the SQL condition for flows of ICMP with nothing but error messages: reports about other traffic, which
// their receiver sent.
func Reports(c Several) string {
	id := Key(c, "") + "flow_id"
	return "(transport = 'icmp' AND (" + id + ") IN (SELECT (" + id + ") FROM calls_raw WHERE protocol = 'icmp' GROUP BY ALL HAVING bool_and(" + ICMPErrors + ")))"
}

// ICMPErrors is the SQL condition for rows of ICMP that are errors about a packet of their receiver.
const ICMPErrors = "icmp_reply_type IS NULL AND (icmp_version = 4 AND icmp_type_number IN (3, 4, 11, 12) OR icmp_version = 6 AND icmp_type_number < 128)"

// NotDelivered is the SQL condition for ICMP errors that say that a packet was not delivered and will not be if it is sent
// again, as one that was too long or too frequent may be.
const NotDelivered = "(method IN ('destination_unreachable', 'time_exceeded', 'parameter_problem') AND coalesce(status_text, '') <> 'fragmentation_needed')"

// ReportClass is the SQL for the outcome of a call whose request an ICMP error says was not delivered.
const ReportClass = "(CASE method WHEN 'time_exceeded' THEN 'no_answer' ELSE 'refused' END)"

// OneDirection is the condition for TCP flows of which only one direction was captured. A SYN that nobody answers does not
// count.
const OneDirection = `(one_sided AND transport = 'tcp' AND ` + Accepted + `)`

// ResetBy is SQL for the side that aborted a connection, from flows AS l: the side that sent the
// first reset. If the client had closed its side before, it is the client, because the reset only
// responded to that.
func ResetBy(c Several, where string) string {
	return fmt.Sprintf(`SELECT x.bundle, x.conn_id, CASE WHEN p.ns < x.ns THEN 'client' ELSE x.side END AS side
		FROM (SELECT %[1]s, l.conn_id, arg_min(t.side, (t.ts_ns, t.packet_no)) AS side, arg_min(t.flow_id, (t.ts_ns, t.packet_no)) AS flow_id, min(t.ts_ns) AS ns
			FROM tcp_events_raw t JOIN flows_raw l ON l.flow_id = t.flow_id%[2]s WHERE t.event = 'reset' AND %[3]s GROUP BY 1, 2) x
		LEFT JOIN (SELECT %[4]s, f.flow_id, min(f.ts_ns) AS ns FROM packets_raw f WHERE f.flags & 257 = 1 AND %[5]s IN (SELECT %[6]sl.flow_id FROM flows_raw l WHERE l.fins > 0 AND l.resets > 0 AND %[3]s) GROUP BY 1, 2) p
			ON p.flow_id = x.flow_id%[7]s`, BundleOf(c, "l."), SameBundle(c, "l", "t"), where, BundleOf(c, "f."), "("+Key(c, "f")+"f.flow_id)", Key(c, "l"), SameBundle(c, "p", "x"))
}
