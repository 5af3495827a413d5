// Package http3 reads HTTP/3 connections: RFC 9114, with header compression as RFC 9204.
//
// It reads the streams of a QUIC connection one by one, each in order, and never sees a packet.
// One request stream is one row, a pushed response is another; a stream with a gRPC content type
// becomes a row of package grpc instead. A header section may have to wait for another stream,
// but only for a limited time. A header that depends on missing bytes is marked as unknown, see
// docs/format/protocols/http3.md.
package http3

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is one HTTP/3 request with its response. The pseudo headers are columns and not in
// headers: :method, :path (path and query_string), :status, :scheme, :authority and
// :protocol.
type Row struct {
	table.Call
	Scheme         table.Opt[string] `col:"http3_scheme" enc:"dict" doc:":scheme"`
	Authority      table.Opt[string] `col:"http3_authority" enc:"dict" doc:":authority as sent, with port"`
	Tunnel         table.Opt[string] `col:"http3_protocol" enc:"dict" doc:":protocol of an extended CONNECT, such as websocket, webtransport or connect-udp (RFC 9220)"`
	Interim        table.Opt[string] `col:"http3_interim" enc:"dict" doc:"status codes of interim (1xx) responses before the final one, separated by commas; their headers have the kind interim"`
	Pushed         bool              `col:"http3_pushed" doc:"the server pushed it; the request is its PUSH_PROMISE"`
	PushedOn       table.Opt[int64]  `col:"http3_pushed_on" doc:"stream whose request the server answered with this push"`
	PushID         table.Opt[int64]  `col:"http3_push_id" doc:"push id, RFC 9114 section 4.6"`
	Priority       table.Opt[string] `col:"http3_priority" enc:"dict" doc:"value of the last PRIORITY_UPDATE frame for the request, such as u=1, i (RFC 9218)"`
	ErrorCode      table.Opt[int64]  `col:"http3_error_code" doc:"error code of the RESET_STREAM, STOP_SENDING or CONNECTION_CLOSE that ended the stream, RFC 9114 section 8.1"`
	ErrorName      table.Opt[string] `col:"http3_error_name" enc:"dict" doc:"name of http3_error_code, such as H3_REQUEST_CANCELLED"`
	ResetBy        table.Opt[string] `col:"http3_reset_by" enc:"dict" doc:"side that gave up the stream first: client or server; null if the connection was closed"`
	UnknownHeaders int32             `col:"http3_unknown_headers" doc:"number of headers whose name or value was in a compression table entry that was not captured"`
	Datagrams      table.Opt[int64]  `col:"http3_datagrams" doc:"number of HTTP datagrams of both sides that belong to the call, RFC 9297 section 2.1"`
	DatagramBytes  table.Opt[int64]  `col:"http3_datagram_bytes" unit:"bytes" doc:"payload bytes of the HTTP datagrams that belong to the call"`
	Capsules       table.Opt[string] `col:"http3_capsules" doc:"types of the capsules in both bodies with the number of each, such as DATAGRAM 12 (RFC 9297 section 3), if capsule-protocol is ?1, and of connect-udp, connect-ip and webtransport"`
	SessionStreams table.Opt[int64]  `col:"http3_webtransport_streams" doc:"streams of the WebTransport session that this request opened"`
	SessionBytes   table.Opt[int64]  `col:"http3_webtransport_bytes" unit:"bytes" doc:"bytes of the streams of the WebTransport session, both ways"`
	SessionList    table.Opt[string] `col:"http3_webtransport_list" doc:"the first 64 streams of the WebTransport session, as id:bytes from client/bytes from server"`
	*all.Columns
}

// Protocol is HTTP/3. Rows of gRPC streams need grpc.Protocol in the same engine.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "http3",
		Doc:        "HTTP/3 inside QUIC: one row per request",
		Versions:   "RFC 9114 and drafts 27 to 34",
		Depth:      "requests with headers (QPACK), decoded bodies, datagrams",
		Inside:     []string{"quic"},
		Transports: []dissect.Transport{dissect.QUIC},
		NewStreams: newConn,
		ALPN:       []string{"h3", "h3-34", "h3-33", "h3-32", "h3-31", "h3-30", "h3-29", "h3-28", "h3-27"},
		Row:        &Row{},
		Traits:     table.Traits{Web: true, Serves: true},
	}
}
