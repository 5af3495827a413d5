// Package http2 reads HTTP/2 connections: RFC 9113, with header compression as RFC 7541.
//
// One stream is one row: a request with its answer, a pushed answer, or a tunnel. A stream with
// a gRPC content type becomes a row of package grpc instead. Concurrent streams are kept
// separate and bodies are read piece by piece. Missing bytes (the start of the capture, a
// segment inside a body or between frames) cost as little as the protocol allows: see
// docs/format/protocols/http2.md.
package http2

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is one HTTP/2 stream. The pseudo headers are columns and not in headers: :method,
// :path (path and query_string), :status, :scheme, :authority and :protocol.
type Row struct {
	table.Call
	Scheme         table.Opt[string] `col:"http2_scheme" enc:"dict" doc:":scheme"`
	Authority      table.Opt[string] `col:"http2_authority" enc:"dict" doc:":authority as sent, with port"`
	Tunnel         table.Opt[string] `col:"http2_protocol" enc:"dict" doc:":protocol of an extended CONNECT, such as websocket (RFC 8441)"`
	Interim        table.Opt[string] `col:"http2_interim" enc:"dict" doc:"status codes of interim (1xx) responses before the final one, separated by commas; their headers have the kind interim"`
	Pushed         bool              `col:"http2_pushed" doc:"the server pushed it; the request is its PUSH_PROMISE"`
	PushedOn       table.Opt[int64]  `col:"http2_pushed_on" doc:"stream whose request the server answered with this push"`
	Upgraded       bool              `col:"http2_upgraded" doc:"the request came as HTTP/1.1 with Upgrade: h2c"`
	ErrorCode      table.Opt[int64]  `col:"http2_error_code" doc:"error code of the RST_STREAM or GOAWAY that ended the stream, RFC 9113 section 7"`
	ErrorName      table.Opt[string] `col:"http2_error_name" enc:"dict" doc:"name of http2_error_code, such as CANCEL"`
	ResetBy        table.Opt[string] `col:"http2_reset_by" enc:"dict" doc:"sender of the reset: client or server"`
	UnknownHeaders int32             `col:"http2_unknown_headers" doc:"number of headers whose name or value was in a compression table entry that was not captured"`
	*all.Columns
}

// Protocol is HTTP/2. Rows of gRPC streams need grpc.Protocol in the same engine.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "http2",
		Doc:        "HTTP/2, with prior knowledge, after an upgrade from HTTP/1.1 or inside TLS: one row per stream",
		Versions:   "RFC 9113",
		Depth:      "streams with headers (HPACK), decoded bodies, pushes, resets",
		Transports: []dissect.Transport{dissect.TCP},
		Detect:     detect,
		Prefaced:   true, // RFC 9113 section 3.4
		Resume:     resume,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Web: true, Serves: true, Wireshark: "http2"},
	}
}
