package terms

// Accepted is the SQL for a connection that its server accepted, or whose datagrams it answered. A TCP connection that
// was captured from its middle was accepted before, even if only one direction was captured. An SCTP server answers an
// INIT that it refuses with one packet (RFC 9260 section 8.4).
const Accepted = `(CASE transport WHEN 'tcp' THEN coalesce(state NOT IN ('syn_sent', 'refused'), true) WHEN 'sctp' THEN src_packets > 1 AND dst_packets > 1 ELSE dst_packets > 0 END)`

// Port is the SQL for the transport and the port of a connection's server, as in tcp/443, or icmp.
const Port = `(transport || CASE WHEN transport IN ('tcp', 'udp', 'sctp') THEN '/' || dst_port ELSE '' END)`

// Reports is the SQL condition for flows of ICMP with nothing but error messages: reports about other traffic, which
// their receiver sent.
func Reports(c Several) string {
	id := Key(c, "") + "flow_id"
	return "(transport = 'icmp' AND (" + id + ") IN (SELECT (" + id + ") FROM calls_raw WHERE protocol = 'icmp' GROUP BY ALL HAVING bool_and(outcome = 'refused' AND response_bytes = 0)))"
}
