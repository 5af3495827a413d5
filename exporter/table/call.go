package table

// Call is one request with its response, or one message if a protocol has no pairs. Every
// protocol's row embeds it. The engine fills it, except for the fields under "Set by the
// dissector".
type Call struct {
	CallNo   int64  `col:"call_no" doc:"number of the call in this bundle, from 0 without gaps, in the order of the packet that completed it"`
	CallID   ID     `col:"call_id" doc:"identity by content: equal in every bundle and on both sides of a NAT; see docs/format/calls.md"`
	Protocol string `col:"protocol" enc:"dict" doc:"application protocol: http1, http2, http3, grpc, dns, tls, quic, redis, postgresql, kafka, icmp, tcp, udp, …"`
	TsNs     int64  `col:"ts_ns" unit:"ns" doc:"time of the packet with the first byte of the request, nanoseconds since 1970 UTC"`
	Ts       Micros `col:"ts" unit:"us" doc:"ts_ns truncated to microseconds, UTC"`

	ElapsedUs Opt[int64] `col:"elapsed_us" unit:"us" doc:"first byte of the request to last byte of the response"`
	WaitedUs  Opt[int64] `col:"waited_us" unit:"us" doc:"how long the caller waited: elapsed_us if an answer came, else until it repeated the request, or until the connection or the capture ended; null if the request was not captured"`
	TTFBUs    Opt[int64] `col:"ttfb_us" unit:"us" doc:"first byte of the request to first byte of the response"`
	DNSUs     Opt[int64] `col:"dns_us" unit:"us" doc:"DNS lookup before the connection; only on a connection's first call"`
	ConnectUs Opt[int64] `col:"connect_us" unit:"us" doc:"TCP handshake as the client saw it; only on a connection's first call"`
	TLSUs     Opt[int64] `col:"tls_us" unit:"us" doc:"TLS handshake; only on a connection's first call"`
	SendUs    Opt[int64] `col:"send_us" unit:"us" doc:"first to last byte of the request"`
	WaitUs    Opt[int64] `col:"wait_us" unit:"us" doc:"last byte of the request to first byte of the response"`
	ReceiveUs Opt[int64] `col:"receive_us" unit:"us" doc:"first to last byte of the response"`
	NetworkUs Opt[int64] `col:"network_us" unit:"us" doc:"client's wait minus the server's wait; null unless both sides were captured completely"`
	ClockID   int32      `col:"clock_id" doc:"clock that stamped ts_ns; see table clocks"`

	Transport string     `col:"transport" enc:"dict" doc:"tcp, udp, quic, sctp, icmp or another IP protocol's name"`
	ConnID    int64      `col:"conn_id" doc:"connection; see table connections"`
	FlowID    int64      `col:"flow_id" doc:"flow from which the bytes were read; see table flows"`
	StreamID  Opt[int64] `col:"stream_id" doc:"stream within the connection, if the protocol has streams (HTTP/2; of RTP, the SSRC)"`
	Ordinal   int64      `col:"ordinal" doc:"number of the call within its connection, from 0"`
	SrcID     int64      `col:"src_id" doc:"client; see table endpoints"`
	DstID     int64      `col:"dst_id" doc:"server; see table endpoints"`
	SrcIP     string     `col:"src_ip" enc:"dict" doc:"client address, RFC 5952"`
	SrcPort   int32      `col:"src_port" doc:"client port; 0 if the transport has none"`
	DstIP     string     `col:"dst_ip" enc:"dict" doc:"server address as used by the client, RFC 5952"`
	DstPort   int32      `col:"dst_port" doc:"server port; 0 if the transport has none"`

	// Set by the dissector.

	Complete   bool        `col:"complete" doc:"request and response are complete, or the single message if the protocol has no pairs"`
	Error      Opt[string] `col:"error" enc:"dict" doc:"why the caller has no complete answer: no_response, abandoned (the caller closed the connection before it had the whole response, and rejected the rest), cancelled (the caller gave up the request before it could expect an answer), undelivered (an ICMP error reports that; its words are in status_text), no_request, reset, timeout, skipped (the server did not execute it, because an earlier one in the same batch failed), cut, gap, malformed, unread (its format is not known)"`
	Outcome    string      `col:"outcome" enc:"dict" doc:"how the call ended: ok, client_error, server_error, refused, no_answer, cancelled (by the client), skipped, cut (by the capture) or unread; see docs/format/calls.md"`
	Failed     bool        `col:"failed" doc:"outcome is client_error, server_error, refused or no_answer"`
	Method     Opt[string] `col:"method" enc:"dict" doc:"verb: HTTP method, Redis command, SQL command, Kafka API, DNS opcode, ICMP type"`
	Host       Opt[string] `col:"host" enc:"dict" doc:"name that the client requested: Host, :authority or CONNECT target without port, SNI, DNS name"`
	ProxiedTo  Opt[string] `col:"proxied_to" enc:"dict" doc:"host and port to which the server, a proxy, is to pass the call: target of a SOCKS request, of CONNECT or of a request with an absolute URI, also for all that such a connection carries; host is then a name of that host, not of the server; null if the server is not used as a proxy"`
	Path       Opt[string] `col:"path" doc:"HTTP path without query; gRPC /service/method; Kafka topic or group"`
	Endpoint   string      `col:"endpoint" enc:"dict" doc:"the requested operation without the parts that differ between calls: method and path with {id} for such segments, else the method, else the protocol"`
	Query      Opt[string] `col:"query_string" doc:"URL query without the question mark, as sent"`
	StatusCode Opt[int32]  `col:"status_code" doc:"HTTP status, DNS rcode, gRPC's HTTP status, Kafka error code, ICMP code"`
	StatusText Opt[string] `col:"status_text" enc:"dict" doc:"the protocol's own text for the outcome: reason phrase, NXDOMAIN, SQLSTATE, Redis error word, Kafka error name, gRPC code name, TLS alert"`
	Summary    string      `col:"summary" doc:"the call in one line"`
	Attempt    Opt[int32]  `col:"attempt" doc:"number of this attempt to send the same request, from 1"`

	*Delivery

	RequestBytes  int64 `col:"request_bytes" unit:"bytes" doc:"payload bytes of the request on the wire, headers and body"`
	ResponseBytes int64 `col:"response_bytes" unit:"bytes" doc:"payload bytes of the response on the wire, headers and body"`

	RequestContentType  Opt[string] `col:"request_content_type" enc:"dict" doc:"Content-Type of the request"`
	ResponseContentType Opt[string] `col:"response_content_type" enc:"dict" doc:"Content-Type of the response"`
	RequestBodyHash     Opt[Hash]   `col:"request_body_sha256" doc:"SHA-256 of the request body after transfer and content decoding; see table bodies"`
	ResponseBodyHash    Opt[Hash]   `col:"response_body_sha256" doc:"SHA-256 of the response body after transfer and content decoding; see table bodies"`
	RequestBodySize     Opt[int64]  `col:"request_body_size" unit:"bytes" doc:"decoded size of the request body"`
	ResponseBodySize    Opt[int64]  `col:"response_body_size" unit:"bytes" doc:"decoded size of the response body"`
	RequestBodyWire     Opt[int64]  `col:"request_body_wire_size" unit:"bytes" doc:"request body before content decoding"`
	ResponseBodyWire    Opt[int64]  `col:"response_body_wire_size" unit:"bytes" doc:"response body before content decoding"`
	RequestHeadersSize  Opt[int64]  `col:"request_headers_size" unit:"bytes" doc:"request line and headers on the wire"`
	ResponseHeadersSize Opt[int64]  `col:"response_headers_size" unit:"bytes" doc:"status line and headers on the wire"`
	Headers             []Header    `col:"headers" doc:"headers and trailers of both sides in wire order and spelling; kind is request, response, request_trailer or response_trailer"`
	UserAgent           Opt[string] `col:"user_agent" enc:"dict" doc:"User-Agent of the request"`
	RequestID           Opt[string] `col:"request_id" enc:"bloom" doc:"X-Request-Id, X-Correlation-Id or Correlation-Id of the request, else of the response"`
	IdempotencyKey      Opt[string] `col:"idempotency_key" doc:"Idempotency-Key of the request, equal in all attempts to send it"`
	TraceID             Opt[string] `col:"trace_id" enc:"bloom" doc:"trace id of traceparent (W3C), b3 or X-B3-TraceId, X-Amzn-Trace-Id, uber-trace-id, x-datadog-trace-id or X-Cloud-Trace-Context, lower case"`
	SpanID              Opt[string] `col:"span_id" doc:"the caller's span id of the same header"`
	AuthKind            Opt[string] `col:"auth_kind" enc:"dict" doc:"kind of credentials sent: the scheme of Authorization in lower case, apikey (also for a header such as X-Api-Key), cookie, password, md5, scram-sha-256, …; never the credentials"`

	DecryptedBy Opt[string] `col:"decrypted_by" enc:"dict" doc:"encryption layer that was decrypted to read the call: tls, dtls, quic or plaintext; null if there was none"`
	Anomalies   int32       `col:"anomalies" doc:"number of anomalies in this call; see table anomalies"`
	Cites       Cites       `col:"cites" unit:"packets" doc:"packets that carry the bytes of this call; see table packets"`
}

// CallRow is a protocol's row: a struct that embeds Call.
type CallRow interface{ Base() *Call }

// Base returns the part that all protocols share.
func (c *Call) Base() *Call { return c }

// Receipt says what the transport did with the response of a call after the row of the call was made. Queries of calls may name
// its columns.
type Receipt struct {
	CallNo            int64      `col:"call_no" doc:"the call; see table calls"`
	ResponseDelivered string     `col:"response_delivered" enc:"dict" doc:"yes if its receiver acknowledged the last byte of the response, no if the capture shows that it did not; unknown for a call with a response that has no row; see docs/format/calls.md"`
	ResponseAck       int64      `col:"response_ack" doc:"packet that shows what response_delivered says: the first one that acknowledges it, or, if none did, the one that acknowledged most"`
	ResentSegments    Opt[int32] `col:"response_resent_segments" doc:"TCP segments with bytes of the response that were sent again after the row of the call was complete, until it was acknowledged; null if none was"`
	ResentUs          Opt[int64] `col:"response_resent_us" unit:"us" doc:"time from the first byte of the response until the last of these segments"`
}

// Delivery says what the transport did with a call. It is set when the call ends: calls that wait would need its memory.
type Delivery struct {
	RequestDelivered Opt[string] `col:"request_delivered" enc:"dict" doc:"yes if its receiver acknowledged the last byte of the request, no if the capture shows that it did not, else unknown; see docs/format/calls.md"`
	RequestAck       Opt[int64]  `col:"request_ack" doc:"packet that shows what request_delivered says: the first one that acknowledges it, or, if none did, the one that acknowledged most; see table packets"`
	ResentSegments   Opt[int32]  `col:"resent_segments" doc:"TCP segments with bytes of the request or the response that were sent again before the row was complete; null if none was"`
	EndedBy          Opt[string] `col:"ended_by" enc:"dict" doc:"of a call without a complete response: the side that ended its stream or connection first (RST_STREAM, FIN, RST), client or server; null if neither did, or the capture does not show which was first"`
	ResentUs         Opt[int64]  `col:"resent_us" unit:"us" doc:"longest time from the first byte of the request or the response until a segment of it was sent again: at most so much of the call's time was lost to the network"`
}
