// Package grpc reads gRPC streams from the HTTP that carries them.
//
// Content never identifies it: http2 finds a gRPC content type on a stream and then makes a Row
// of this package instead of its own; http1 does so for gRPC-Web. One stream is one row. The
// body keeps the bytes of the wire, messages with their 5-byte prefixes; Messages walks them.
// Text columns show the first messages without a schema, so that values can be searched.
// gRPC-Web (trailers in the body, or everything in base64) is read too.
package grpc

import (
	"iter"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/etcd"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// maxText is how much of the messages the text columns show, each way.
const maxText = 4 << 10

// Row is one gRPC stream.
type Row struct {
	table.Call
	Authority      table.Opt[string] `col:"grpc_authority" enc:"dict" doc:":authority as sent, with port"`
	Service        table.Opt[string] `col:"grpc_service" enc:"dict" doc:"service with its package, the path up to the last slash"`
	RPC            table.Opt[string] `col:"grpc_method" enc:"dict" doc:"method, the path after the last slash"`
	Status         table.Opt[int32]  `col:"grpc_status" doc:"grpc-status of the trailers, of a response that is trailers only, or of gRPC-Web's trailers in the body; null if none was seen"`
	StatusName     table.Opt[string] `col:"grpc_status_name" enc:"dict" doc:"name of grpc_status, such as OK or NOT_FOUND"`
	Message        table.Opt[string] `col:"grpc_message" doc:"grpc-message, percent-decoded"`
	StatusDetails  table.Opt[string] `col:"grpc_status_details" doc:"grpc-status-details-bin shown without a schema"`
	RequestCount   table.Opt[int32]  `col:"grpc_request_messages" doc:"number of messages from the client; null if a gap made the count uncertain"`
	ResponseCount  table.Opt[int32]  `col:"grpc_response_messages" doc:"number of messages from the server; null if a gap made the count uncertain"`
	Encoding       table.Opt[string] `col:"grpc_encoding" enc:"dict" doc:"grpc-encoding of the request: compression of its messages"`
	AnswerEncoding table.Opt[string] `col:"grpc_response_encoding" enc:"dict" doc:"grpc-encoding of the response"`
	TimeoutUs      table.Opt[int64]  `col:"grpc_timeout_us" unit:"us" doc:"grpc-timeout of the request"`
	Web            bool              `col:"grpc_web" doc:"gRPC-Web; the trailers in its body are in headers too"`
	RequestText    table.Opt[string] `col:"grpc_request_text" doc:"first messages of the client, one per line, shown without a schema, at most 4 KiB"`
	ResponseText   table.Opt[string] `col:"grpc_response_text" doc:"first messages of the server, one per line, shown without a schema, at most 4 KiB"`
	ResetCode      table.Opt[int64]  `col:"grpc_reset_code" doc:"error code of the RST_STREAM or GOAWAY that ended the stream, RFC 9113 section 7; over HTTP/3 that of RFC 9114 section 8.1"`
	ResetName      table.Opt[string] `col:"grpc_reset_name" enc:"dict" doc:"name of grpc_reset_code, such as CANCEL"`
	ResetBy        table.Opt[string] `col:"grpc_reset_by" enc:"dict" doc:"sender of the reset: client or server"`
	Guessed        bool              `col:"grpc_guessed" doc:"recognized only by the form of its messages, because content-type was in a compression table entry that was not captured"`
	UnknownHeaders int32             `col:"grpc_unknown_headers" doc:"number of headers whose name or value was in a compression table entry that was not captured"`
	*etcd.Operation
}

// Etcd describes the calls of etcd for readers.
var Etcd = content.Protocol{
	Name:     "etcd",
	Doc:      "API of etcd: keys, transactions, watches, leases, users, members",
	Versions: "version 3 (etcdserverpb, v3lockpb, v3electionpb)",
	Depth:    "operations with keys, ranges, conditions, counts, revisions, leases, users; keys of answers and watches",
	Inside:   []string{"grpc"},
}

// Protocol is gRPC.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "grpc",
		Doc:        "gRPC over HTTP/2 and HTTP/3, gRPC-Web also over HTTP/1.1: one row per stream",
		Versions:   "gRPC and gRPC-Web",
		Depth:      "streams with messages, metadata, status; fields of messages without their names",
		Inside:     []string{"http1", "http2", "http3"},
		Transports: []dissect.Transport{dissect.TCP},
		Row:        &Row{},
		Traits:     table.Traits{Serves: true, Wireshark: "http2"},
	}
}

// Is reports whether a content type is one of gRPC or gRPC-Web.
func Is(contentType string) bool {
	const prefix = "application/grpc"
	if len(contentType) < len(prefix) || !httpfield.Is(contentType[:len(prefix)], prefix) {
		return false
	}
	rest := contentType[len(prefix):]
	if isWeb(contentType) {
		rest = rest[len("-web"):]
		if len(rest) >= 5 && httpfield.Is(rest[:5], "-text") {
			rest = rest[5:]
		}
	}
	return rest == "" || rest[0] == '+' || rest[0] == ';' || rest[0] == ' '
}

// Prefixed reports whether bodies of this content type are plain length-prefixed messages, so
// that a Counter can count them.
func Prefixed(contentType string) bool { return Is(contentType) && !isBase64(contentType) }

func isWeb(contentType string) bool {
	const prefix = "application/grpc-web"
	return len(contentType) >= len(prefix) && httpfield.Is(contentType[:len(prefix)], prefix)
}

// statusNames are the codes of gRPC's status codes page, in order.
var statusNames = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
	"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
	"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

// StatusName is the name of a status code; the name of an unknown one is its number.
func StatusName(code int32) string {
	if code >= 0 && int(code) < len(statusNames) {
		return statusNames[code]
	}
	return strconv.Itoa(int(code))
}

// Stream has the fields of a gRPC stream that HTTP adds to its Call.
type Stream struct {
	Req, Resp Counter // they receive the bodies as sent; unused for base64
	X         *dissect.Exchange
	Unsure    bool // the status may have been in bytes or headers that could not be decoded
}

// Fill sets the gRPC columns and failed, status_text and summary, from a call whose other columns
// are set, including error and status_code. It finishes the bodies, and removes those with a
// password from the exchange, because fields have no names by which masking could find it.
func (r *Row) Fill(s *Stream) {
	r.Web = isWeb(r.RequestContentType.V) || !r.RequestContentType.OK && isWeb(r.ResponseContentType.V)
	if i := strings.LastIndexByte(r.Path.V, '/'); i > 0 {
		r.Service, r.RPC = table.Some(strings.TrimPrefix(r.Path.V[:i], "/")), table.Some(r.Path.V[i+1:])
	}
	for i := range r.Headers {
		r.header(&r.Headers[i])
	}
	r.RequestCount, r.RequestText = r.side(s.X.ReqBody, &s.Req, r.RequestContentType.V, r.Encoding.V)
	if typ := r.ResponseContentType.V; Is(typ) || typ == "" && (r.Guessed || s.Unsure) {
		r.ResponseCount, r.ResponseText = r.side(s.X.RespBody, &s.Resp, typ, r.AnswerEncoding.V)
	} else if r.StatusCode.OK {
		r.ResponseCount = table.Some(int32(0)) // for example a proxy's page
	}
	r.outcome(s.Unsure)
	r.interpret(s)
}

// healthWatch is a call that only the client ends (gRPC Health Checking Protocol).
const healthWatch = "/grpc.health.v1.Health/Watch"

// interpret reads the content of the messages.
func (r *Row) interpret(s *Stream) {
	o := &etcd.Operation{}
	lost := s.X.RespBody != nil && (s.X.RespBody.Lost() > 0 || s.X.RespBody.Over())
	if named, ok := etcd.Read(r.Path.V, decoded(s.X.ReqBody, r.RequestContentType.V, r.Encoding.V), decoded(s.X.RespBody, r.ResponseContentType.V, r.AnswerEncoding.V), lost, o); ok {
		r.Operation = o
		x := content.Exchange{Call: &r.Call}
		x.Name(named.What, "etcd "+o.Name.V)
		x.Add(named.End)
		if o.Reason.OK {
			x.Fail(table.ClientError, o.Reason.V)
		}
	}
	if endless := etcd.Endless(r.Path.V) || r.Path.V == healthWatch; endless && s.X.Left && r.ResponseCount.V > 0 && r.Outcome == "" {
		r.Outcome = table.OK
	}
	if etcd.SendsSecret(r.Path.V) {
		s.X.ReqBody, s.X.RespBody = nil, nil
		r.RequestText, r.ResponseText, r.AuthKind = table.Opt[string]{}, table.Opt[string]{}, table.Some("password")
	}
}

// decoded are the whole messages of a body.
func decoded(b *dissect.Body, contentType, encoding string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if b == nil {
			return
		}
		for m := range Messages(Payload(contentType, b.Bytes()), encoding) {
			if !m.Trailer && !m.Cut && m.Err == nil && !yield(m.Data) {
				return
			}
		}
	}
}

func (r *Row) header(h *table.Header) {
	if len(h.Name) < 5 || !httpfield.Is(h.Name[:5], "grpc-") {
		return
	}
	answer := h.Kind == httpfield.Response || h.Kind == httpfield.ResponseTrailer
	switch name := h.Name[5:]; {
	case answer && httpfield.Is(name, "status"):
		if n, err := strconv.ParseInt(httpfield.Trim(h.Value), 10, 32); err == nil {
			r.Status = table.Some(int32(n))
			r.StatusName = table.Some(StatusName(int32(n)))
		}
	case answer && httpfield.Is(name, "message"):
		r.Message = table.Some(httpfield.ValidText(unescape(h.Value)))
	case answer && httpfield.Is(name, "status-details-bin"):
		if t, ok := details(h.Value); ok {
			r.StatusDetails = table.Some(t)
		}
	case httpfield.Is(name, "encoding"):
		if answer {
			r.AnswerEncoding = table.Some(h.Value)
		} else {
			r.Encoding = table.Some(h.Value)
		}
	case !answer && httpfield.Is(name, "timeout"):
		r.TimeoutUs = timeout(h.Value)
	}
}

// side counts and renders the messages of one direction.
func (r *Row) side(b *dissect.Body, c *Counter, contentType, encoding string) (count table.Opt[int32], text table.Opt[string]) {
	var body []byte
	if b != nil {
		b.Finish()
		body = b.Bytes()
	}
	if b != nil && (isBase64(contentType) || b.Codings != "") {
		// The prefixes are inside a content coding, so the pieces could not be counted as they
		// arrived.
		body = Payload(contentType, body)
		*c = Counter{lost: b.Lost() > 0 || b.Large}
		c.Write(body)
	}
	if !c.lost {
		count = table.Some(c.count)
	}
	if len(body) == 0 {
		return count, text
	}
	var out []byte
	for m := range Messages(body, encoding) {
		if m.Trailer {
			r.trailers(m.Data)
			continue
		}
		if len(out) > 0 {
			out = append(out, '\n')
		}
		if out = m.appendText(out, contentType, maxText-len(out)); len(out) >= maxText && !r.Web {
			break // gRPC-Web has its trailers at the end
		}
	}
	if len(out) > 0 {
		text = table.Some(valid(out))
	}
	return count, text
}

// trailers adds the trailers in the last frame of a gRPC-Web body to the headers.
func (r *Row) trailers(b []byte) {
	for line := range strings.SplitSeq(string(b), "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if !ok || len(r.Headers) >= maxHeaders {
			continue
		}
		h := table.Header{Name: httpfield.ValidText(name), Value: httpfield.ValidText(httpfield.Trim(value)), Kind: httpfield.ResponseTrailer}
		r.Headers = append(r.Headers, h)
		r.header(&h)
	}
}

// outcome sets the result of the stream.
func (r *Row) outcome(unsure bool) {
	end := ""
	if r.Status.OK || r.StatusCode.V < 400 { // else the reason of HTTP/1.1 says more: that of 200 is OK, whatever the call was
		r.StatusText = r.StatusName
	}
	switch {
	case r.Status.OK:
		end = r.StatusName.V
		if r.Outcome = statusOutcome(r.Status.V); r.Outcome == "" {
			r.Outcome = table.HTTPOutcome(r.StatusCode.V)
		}
	case r.StatusCode.V >= 400:
		r.Outcome = table.HTTPOutcome(r.StatusCode.V)
		end = "HTTP " + strconv.Itoa(int(r.StatusCode.V))
	case r.Error.OK:
		if unsure && (r.Error.V == "reset" || r.Error.V == "gap") { // the status is in the trailers
			r.Outcome = table.Unread
		}
		end = strings.ReplaceAll(r.Error.V, "_", " ")
		if r.ResetName.OK && r.Error.V == "reset" {
			end += " " + r.ResetName.V
		}
	default:
		if r.Outcome = table.ServerError; unsure { // a stream ends with a status
			r.Outcome = table.Unread
		}
		end = "no status"
	}
	path := r.Path.V
	if !r.Path.OK {
		path = "?"
	}
	r.Summary = clip.Text(path, maxSummaryPath) + " → " + end
}

const (
	maxSummaryPath = 200
	maxHeaders     = 4096
)

// statusOutcome maps a status to an outcome, following google.rpc.Code: whether the request is
// at fault.
func statusOutcome(status int32) string {
	switch status {
	case 0:
		return ""
	case 1, 3, 5, 6, 7, 9, 11, 16:
		return table.ClientError
	}
	return table.ServerError
}
