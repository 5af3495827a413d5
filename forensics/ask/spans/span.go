package spans

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// system is how the semantic conventions name the system behind a protocol.
type system struct{ attribute, name string }

var systems = map[string]system{
	"postgresql": {"db.system.name", "postgresql"}, "mysql": {"db.system.name", "mysql"}, "tds": {"db.system.name", "microsoft.sql_server"},
	"mongodb": {"db.system.name", "mongodb"}, "cassandra": {"db.system.name", "cassandra"}, "clickhouse": {"db.system.name", "clickhouse"},
	"redis": {"db.system.name", "redis"}, "memcached": {"db.system.name", "memcached"},
	"kafka": {"messaging.system", "kafka"}, "amqp": {"messaging.system", "rabbitmq"}, "amqp1": {"messaging.system", "amqp"}, "nats": {"messaging.system", "nats"},
	"mqtt": {"messaging.system", "mqtt"}, "stomp": {"messaging.system", "stomp"},
	"grpc": {"rpc.system", "grpc"}, "thrift": {"rpc.system", "thrift"}, "jsonrpc": {"rpc.system", "jsonrpc"}, "nfs": {"rpc.system", "onc_rpc"}, "dcerpc": {"rpc.system", "dce_rpc"},
}

// httpMethods are those that http.request.method may have; others are _OTHER.
var httpMethods = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// client is the span of the program that made a call.
func client(r row, p *place) *tracepb.Span {
	s := span(r, p)
	s.Kind, s.SpanId, s.ParentSpanId, s.Links = tracepb.Span_SPAN_KIND_CLIENT, p.client, p.parent, p.links
	a := []attribute{{"network.peer.address", r.text("dst_ip")}, {"network.peer.port", port(r, "dst_port")}}
	if isHTTP(r) {
		a = append(a, attribute{"url.full", urlOf(r)})
	}
	if p.parent != nil {
		a = append(a, evidence(p)...)
	}
	s.Attributes = append(s.Attributes, list(a...)...)
	return s
}

// server is the span of the program that answered it.
func server(r row, p *place) *tracepb.Span {
	s := span(r, p)
	s.Kind, s.SpanId, s.ParentSpanId = tracepb.Span_SPAN_KIND_SERVER, p.server, p.client
	a := []attribute{{"network.peer.address", r.text("src_ip")}, {"network.peer.port", port(r, "src_port")}, {"client.address", r.text("src_ip")}}
	if isHTTP(r) {
		a = append(a, attribute{"url.scheme", scheme(r)}, attribute{"url.path", r.text("path")}, attribute{"url.query", r.text("query_string")})
		if r.text("outcome") == "client_error" { // which is not the server's error
			s.Status = &tracepb.Status{}
		}
	}
	s.Attributes = append(s.Attributes, list(a...)...)
	return s
}

// span has what both spans of a call have.
func span(r row, p *place) *tracepb.Span {
	begin, _ := r.number("ts_ns")
	took, ok := r.number("elapsed_us")
	if !ok {
		took, _ = r.number("waited_us")
	}
	s := &tracepb.Span{TraceId: p.trace, Name: cmp.Or(r.text("endpoint"), r.text("protocol")), StartTimeUnixNano: uint64(begin), EndTimeUnixNano: uint64(begin + max(took, 0)*1000), Status: &tracepb.Status{}}
	a := []attribute{{"network.transport", transport(r)}, {"network.protocol.name", protocol(r)}, {"network.protocol.version", version(r)},
		{"server.address", cmp.Or(r.text("host"), r.text("dst_ip"))}, {"server.port", port(r, "dst_port")}}
	status, numbered := r.number("status_code")
	words := cmp.Or(r.text("status_text"), r.text("error"))
	if failed, _ := r["failed"].(bool); failed {
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: strings.ToValidUTF8(words, "\uFFFD")}
		kind := cmp.Or(r.text("error"), r.text("status_text"), r.text("outcome"))
		if isHTTP(r) && numbered && r.text("error") == "" {
			kind = strconv.FormatInt(status, 10)
		}
		a = append(a, attribute{"error.type", kind})
	}
	s.Attributes = list(slices.Concat(a, content(r), []attribute{{"pcapsule.call_id", r.id()}, {"pcapsule.protocol", r.text("protocol")}, {"pcapsule.outcome", r.text("outcome")}})...)
	return s
}

// content is what the conventions for its protocol ask for.
func content(r row) (a []attribute) {
	method, path := r.text("method"), r.text("path")
	switch x := systems[r.text("protocol")]; {
	case isHTTP(r):
		if slices.Contains(httpMethods, method) {
			a = append(a, attribute{"http.request.method", method})
		} else if method != "" {
			a = append(a, attribute{"http.request.method", "_OTHER"}, attribute{"http.request.method_original", method})
		}
		a = append(a, number(r, "status_code", "http.response.status_code"), number(r, "request_body_size", "http.request.body.size"), number(r, "response_body_size", "http.response.body.size"))
	case x.attribute == "db.system.name":
		a = append(a, attribute{x.attribute, x.name}, attribute{"db.operation.name", method}, attribute{"db.query.text", statement(r)})
		if failed, _ := r["failed"].(bool); failed {
			a = append(a, attribute{"db.response.status_code", r.text("status_text")})
		}
	case x.attribute == "messaging.system":
		if x.name == "kafka" {
			topics, _ := r["kafka_topics"].([]any)
			if path = ""; len(topics) == 1 {
				path, _ = topics[0].(string)
			}
		}
		a = append(a, attribute{x.attribute, x.name}, attribute{"messaging.operation.name", method}, attribute{"messaging.destination.name", path}, attribute{"messaging.consumer.group.name", r.text("kafka_group")})
	case x.attribute == "rpc.system":
		a = append(a, attribute{x.attribute, x.name})
		if service, name, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/"); ok && x.name == "grpc" {
			a = append(a, attribute{"rpc.service", service}, attribute{"rpc.method", name}, number(r, "grpc_status", "rpc.grpc.status_code"))
		} else {
			a = append(a, attribute{"rpc.method", method})
		}
	case r.text("protocol") == "dns":
		a = append(a, attribute{"dns.question.name", r.text("host")})
	}
	return a
}

func number(r row, column, key string) attribute {
	if n, ok := r.number(column); ok {
		return attribute{key, n}
	}
	return attribute{key, nil}
}

func port(r row, column string) any {
	if n, ok := r.number(column); ok && n > 0 {
		return n
	}
	return nil
}

// statement is the text of a statement of a database.
func statement(r row) string {
	for _, d := range table.Databases() {
		if text := r.text(d.Column("query")); text != "" {
			return text
		}
	}
	return ""
}

func isHTTP(r row) bool {
	return slices.Contains([]string{"http1", "http2", "http3"}, r.text("protocol"))
}

func transport(r row) string {
	switch t := r.text("transport"); t {
	case "tcp", "udp", "quic":
		return t
	}
	return ""
}

func protocol(r row) string {
	if isHTTP(r) || r.text("protocol") == "grpc" {
		return "http"
	}
	return r.text("protocol")
}

func version(r row) string {
	switch r.text("protocol") {
	case "http1":
		return strings.TrimPrefix(cmp.Or(r.text("http1_version"), "HTTP/1.1"), "HTTP/")
	case "http2", "grpc":
		return "2"
	case "http3":
		return "3"
	}
	return ""
}

func scheme(r row) string {
	switch {
	case r.text("http2_scheme") != "":
		return r.text("http2_scheme")
	case r.text("decrypted_by") != "", r.text("transport") == "quic":
		return "https"
	}
	return "http"
}

// urlOf is the requested URL, with the host that the client named.
func urlOf(r row) string {
	host := cmp.Or(r.text("host"), r.text("dst_ip"))
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	if n, ok := r.number("dst_port"); ok && n != map[string]int64{"http": 80, "https": 443}[scheme(r)] {
		host += ":" + strconv.FormatInt(n, 10)
	}
	u := scheme(r) + "://" + host + r.text("path")
	if q := r.text("query_string"); q != "" {
		u += "?" + q
	}
	return u
}
