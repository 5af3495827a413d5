// Package connect reads the Connect protocol (connectrpc.com): remote procedure calls as plain HTTP,
// unary and streaming. gRPC and gRPC-Web calls of the same servers are rows of package grpc.
package connect

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "connect",
	Doc:      "Connect: remote procedure calls of connectrpc.com",
	Versions: "Connect protocol version 1",
	Depth:    "service, method, streams, error codes",
	Inside:   []string{"http"},
}

// Procedure is a remote procedure call.
type Procedure struct {
	Service   table.Opt[string] `col:"connect_service" enc:"dict" doc:"service with its package, the path's part before the last slash. Not null in every Connect call"`
	RPC       table.Opt[string] `col:"connect_method" enc:"dict" doc:"method, the path's part after the last slash"`
	Stream    table.Opt[bool]   `col:"connect_stream" doc:"a streaming call: messages in envelopes"`
	Requests  table.Opt[int32]  `col:"connect_request_messages" doc:"messages of the client, of a streaming call; null if a gap made the count uncertain"`
	Responses table.Opt[int32]  `col:"connect_response_messages" doc:"messages of the server, of a streaming call, without the last envelope; null if a gap made the count uncertain"`
	Code      table.Opt[string] `col:"connect_code" enc:"dict" doc:"error code of the body, of a streaming call that of the last envelope, such as not_found"`
	Message   table.Opt[string] `col:"connect_message" doc:"message of the error"`
}

const (
	streaming = "application/connect+"
	endStream = 0x02 // flag of the last envelope
	zipped    = 0x01
	maxFrames = 1 << 20
	maxEnd    = 64 << 10 // bytes of the last envelope
)

// Read implements content.Reader.
func Read(x *content.Exchange, p *Procedure) bool {
	stream := strings.HasPrefix(x.Request.Type, streaming)
	unary := x.Header(httpfield.Request, "Connect-Protocol-Version") == "1" && (x.Method.V == "POST" || x.Method.V == "GET")
	unary = unary || x.Method.V == "GET" && strings.Contains("&"+x.Query.V, "&connect=v1")
	i := strings.LastIndexByte(x.Path.V, '/')
	if !stream && !unary || x.Socket || i <= 0 || i == len(x.Path.V)-1 {
		return false
	}
	service := x.Path.V[:i]
	p.Service, p.RPC = content.Some(service[strings.LastIndexByte(service, '/')+1:]), content.Some(x.Path.V[i+1:])
	p.Stream = table.Some(stream)
	if x.Within = stream; stream {
		p.Requests, _ = frames(&x.Request)
		var last []byte
		p.Responses, last = frames(&x.Response)
		p.failed(content.Member(last, "error"))
	} else if x.StatusCode.V != 200 && x.Response.JSON() {
		p.failed(x.Response.Bytes())
	}
	x.Name("Connect "+p.Service.V+"/"+p.RPC.V, x.EndpointOf())
	if p.Code.OK {
		x.Add(", " + p.Code.V)
		x.Fail(outcome(p.Code.V), p.Code.V)
	}
	return true
}

// frames counts the messages of a body, and returns the content of its last envelope.
func frames(b *content.Body) (n table.Opt[int32], last []byte) {
	count := int32(0)
	for data := b.Bytes(); len(data) > 0 && count < maxFrames; {
		if len(data) < 5 {
			break
		}
		size := int64(binary.BigEndian.Uint32(data[1:]))
		body := data[5:min(5+size, int64(len(data)))]
		if data[0]&endStream == 0 {
			count++
		} else if last = body; data[0]&zipped != 0 {
			last = unzip(body)
		}
		data = data[5+len(body):]
	}
	if b.Lost {
		return n, last
	}
	return table.Some(count), last
}

// unzip decompresses the last envelope, which Connect's libraries compress with gzip.
func unzip(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	out, _ := io.ReadAll(io.LimitReader(r, maxEnd)) // what came before an error is enough
	return out
}

// failed reads an error.
func (p *Procedure) failed(e []byte) {
	for name, v := range content.Members(e) {
		switch name {
		case "code":
			p.Code = content.Some(content.String(v))
		case "message":
			p.Message = content.Some(content.String(v))
		}
	}
}

// outcome is the outcome of a code, as for gRPC.
func outcome(code string) string {
	switch code {
	case "canceled", "invalid_argument", "not_found", "already_exists", "permission_denied", "failed_precondition", "out_of_range", "unauthenticated":
		return table.ClientError
	}
	return table.ServerError
}
