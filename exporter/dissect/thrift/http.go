package thrift

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// HTTP describes calls over HTTP for readers.
var HTTP = content.Protocol{
	Name:     "thrift",
	Doc:      "Apache Thrift over HTTP (THttpClient)",
	Versions: "TBinaryProtocol with and without a version, TCompactProtocol 1, TJSONProtocol 1",
	Depth:    "calls with results, the fields of arguments and results, exceptions",
	Inside:   []string{"http"},
}

// httpTypes are the media types of a call. The first is that of the libraries; some clients send another one, or none.
var httpTypes = []string{"application/x-thrift", "application/vnd.apache.thrift.binary", "application/vnd.apache.thrift.compact", "application/vnd.apache.thrift.json",
	"application/octet-stream", ""}

// ReadHTTP implements content.Reader. A body is one message. Both sides, or the media type and the call, must prove that.
func ReadHTTP(x *content.Exchange, i *Invocation) bool {
	if x.Socket || x.Method.V != "POST" || x.Request.Size == 0 || !slices.Contains(httpTypes, x.Request.Type) {
		return false
	}
	call, arguments, ok := readBody(&x.Request)
	if !ok || !call.fromClient() {
		return false
	}
	reply, result, answered := readBody(&x.Response)
	answered = answered && !reply.fromClient() && reply.name == call.name
	if !answered && !slices.Contains(httpTypes[:4], x.Request.Type) {
		return false
	}
	i.begins(call)
	i.describe(call)
	i.Arguments = table.NonEmpty(string(arguments.text))
	status, outcome := "", ""
	if answered {
		i.Result = table.NonEmpty(string(result.text))
		if reply.kind == kindException || result.any && result.first != 0 {
			status, outcome = i.fail(reply.kind, result)
		}
	}
	x.Name("Thrift "+i.asked(), x.EndpointOf()+" "+i.method())
	if end := i.ends(status); end != "" {
		x.Add(", " + end)
	}
	if outcome != "" {
		x.Fail(outcome, status)
	}
	return true
}

// readBody reads the message that a body is. A lost or long body has only its beginning.
func readBody(b *content.Body) (h head, v *values, ok bool) {
	p := b.Bytes()
	if len(p) < 4 {
		return h, nil, false
	}
	json := p[0] == '['
	if json {
		if p, ok = fromJSON(p, b.Lost); !ok {
			return h, nil, false
		}
	}
	h, n, err := readHead2(p, false)
	h.json = json
	if err != nil || n == more {
		return h, nil, false
	}
	fields := newValues(h.compact)
	used, err := fields.read(p[n:])
	return h, &fields, err == nil && (b.Lost || fields.done && n+used == len(p))
}
