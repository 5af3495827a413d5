package kfl

import (
	"slices"
	"strings"
	"testing"
)

// Times of the rows below.
const (
	noon    = int64(1_790_000_000_000_000_000)
	seconds = int64(1_000_000_000)
)

func testMacros() map[string]string {
	return map[string]string{"secure": "tls and (http or http2)", "slow": "elapsed_time > 1s"}
}

// sample returns the calls for the queries below.
func sample() map[string]*testRow {
	web := row(map[string]Value{
		"protocol": Text("http1"), "ts_ns": Int(noon), "elapsed_us": Int(6_000_000), "method": Text("GET"), "host": Text("shop"),
		"path": Text("/api/v2/users/7"), "query_string": Text("a=1&b=x%20y&a=2&c"), "status_code": Int(503), "status_text": Text("Service Unavailable"),
		"request_bytes": Int(300), "response_bytes": Int(20_000), "complete": Bool(true), "failed": Bool(true),
		"src_ip": Text("10.1.2.3"), "dst_ip": Text("172.20.0.9"), "src_port": Int(40000), "dst_port": Int(8080),
		"src_pod": Text("frontend-abc"), "src_namespace": Text("shop"), "src_name": Text("frontend-abc"), "src_service": Text("frontend"),
		"dst_service": Text("payment-service"), "dst_namespace": Text("pay"), "dst_pod": Text("payment-1"), "dst_name": Text("payment-1"), "dst_external": Bool(false),
		"src_labels": Pairs([]Pair{{"app", "checkout"}, {"team", "web"}}), "dst_labels": Pairs([]Pair{}),
		"src_node": Text("node-1"), "trace_id": Text("abc"), "request_id": Text("r-17"), "call_id": Bytes([]byte{0xab, 0xcd}), "src_workload": Text("frontend"), "src_workload_kind": Text("Deployment"),
		"headers": Headers([]Header{
			{"Authorization", "Bearer x", "request"}, {"Accept", "a", "request"}, {"accept", "b", "request"}, {"Cookie", "sid=1; theme = dark", "request"},
			{"Content-Type", "text/html", "response"}, {"Set-Cookie", "sid=2; Path=/", "response"}, {"X-Sum", "9", "response_trailer"}}),
	})
	web.body(Request, `{"order":{"id":12345,"items":[{"sku":"a","n":2},{"sku":"b","n":1.5}]},"note":null,"paid":true,"a/b":"x"}`)
	web.body(Response, "upstream said: no such card 4111")
	dns := row(map[string]Value{
		"protocol": Text("dns"), "ts_ns": Int(noon + 60*seconds), "elapsed_us": Int(900), "method": Text("QUERY"), "host": Text("api.x.com"), "status_code": Int(3), "status_text": Text("NXDOMAIN"),
		"request_bytes": Int(40), "response_bytes": Int(90), "src_ip": Text("10.1.2.3"), "dst_ip": Text("fd00::53"), "src_port": Int(5353), "dst_port": Int(53), "src_pod": Text("frontend-abc"), "src_namespace": Text("shop"),
		"dns_questions": Texts([]string{"api.x.com"}), "dns_question_types": Texts([]string{"A"}), "dns_answers": Texts([]string{}), "dns_request": Bool(true), "dns_response": Bool(true), "complete": Bool(true), "failed": Bool(true), "dst_external": Bool(false),
	})
	grpc := row(map[string]Value{
		"protocol": Text("grpc"), "ts_ns": Int(noon + 120*seconds), "method": Text("POST"), "path": Text("/shop.Cart/Add"), "status_code": Int(200), "grpc_status": Int(14), "grpc_method": Text("Add"),
		"elapsed_us": Int(1500), "src_ip": Text("10.1.2.4"), "dst_ip": Text("8.8.8.8"), "src_port": Int(1), "dst_port": Int(443), "dst_external": Bool(true), "dst_dns_name": Text("api.example.com"), "decrypted_by": Text("keylog"),
		"request_bytes": Int(1), "response_bytes": Int(2), "complete": Bool(true), "failed": Bool(true), "headers": Headers([]Header{}),
	})
	redis := row(map[string]Value{
		"protocol": Text("redis"), "ts_ns": Int(noon + 180*seconds), "method": Text("GET"), "redis_type": Text("GET"), "redis_command": Text("GET session:9"), "redis_key": Text("session:9"),
		"src_ip": Text("::1"), "dst_ip": Text("::ffff:10.0.0.1"), "src_port": Int(2), "dst_port": Int(6379), "request_bytes": Int(20), "response_bytes": Int(5), "error": Text("no_response"), "failed": Bool(true), "complete": Bool(false),
	})
	pg := row(map[string]Value{
		"protocol": Text("postgresql"), "ts_ns": Int(noon + 240*seconds), "postgresql_command": Text("SELECT"), "postgresql_error_code": Text("23505"), "postgresql_success": Bool(false),
		"src_ip": Text("10.1.2.4"), "dst_ip": Text("10.9.9.9"), "src_port": Int(3), "dst_port": Int(5432), "request_bytes": Int(20), "response_bytes": Int(5), "failed": Bool(true), "complete": Bool(true), "dst_service": Text("user-database"),
	})
	tls := row(map[string]Value{
		"protocol": Text("tls"), "ts_ns": Int(noon + 300*seconds), "tls_sni": Text("s3.amazonaws.com"), "tls_cipher_suites": Texts([]string{"TLS_RSA_WITH_RC4_128_SHA", "TLS_AES_128_GCM_SHA256"}), "summary": Text("TLS s3"),
		"src_ip": Text("10.1.2.4"), "dst_ip": Text("52.1.1.1"), "src_port": Int(4), "dst_port": Int(443), "request_bytes": Int(20), "response_bytes": Int(5), "failed": Bool(false), "complete": Bool(true),
	})
	bare := row(map[string]Value{
		"protocol": Text("http2"), "ts_ns": Int(noon + 360*seconds), "method": Text("GET"), "path": Text("/"), "headers": Headers([]Header{}), "error": Text("no_response"), "failed": Bool(true), "complete": Bool(false),
		"src_ip": Text("10.1.2.4"), "dst_ip": Text("10.9.9.9"), "src_port": Int(5), "dst_port": Int(80), "request_bytes": Int(20), "response_bytes": Int(0), "decrypted_by": Text("keylog"),
		"src_pod": Text("database"), "dst_pod": Text("database"), "dst_namespace": Text("kube-system"),
	})
	tcp := row(map[string]Value{
		"protocol": Text("tcp"), "ts_ns": Int(noon + 420*seconds), "payload_request_head": Bytes([]byte{0, 0xff, 'G', 'E', 'T', 0x40}),
		"src_ip": Text("2001:db8::1"), "dst_ip": Text("2001:db8:0:1::2"), "src_port": Int(5), "dst_port": Int(80), "request_bytes": Int(20), "response_bytes": Int(0), "failed": Bool(false), "complete": Bool(false),
	})
	tcp.body(Request, "\x00\xffGET@")
	return map[string]*testRow{"web": web, "dns": dns, "grpc": grpc, "redis": redis, "pg": pg, "tls": tls, "bare": bare, "tcp": tcp}
}

// sampleOrder is the order of the rows in answers.
var sampleOrder = []string{"web", "dns", "grpc", "redis", "pg", "tls", "bare", "tcp"}

// meanings are queries with the rows of the sample that match.
var meanings = []struct{ why, src, rows string }{
	{"an empty query matches all", ``, "web dns grpc redis pg tls bare tcp"},
	{"a query with only comments matches all", "# all\n// of it", "web dns grpc redis pg tls bare tcp"},

	// Examples of the newer language.
	{"errors of a service", `http && status_code >= 500 && dst.service.name == "payment-service"`, "web"},
	{"slow calls, in microseconds", `http && elapsed_time > 5000000`, "web"},
	{"a header is present", `"authorization" in request.headers`, "web"},
	{"a pattern on the URL", `http && url.matches(".*/api/v[0-9]+/users.*")`, "web"},
	{"a protocol without a dissector", `gql && status_code >= 400`, ""},
	{"a name in a list", `dns && "api.x.com" in dns_questions`, "dns"},
	{"the size of a list", `dns && dns_response && size(dns_answers) > 0`, ""},
	{"an empty list has a size", `dns && dns_response && size(dns_answers) == 0`, "dns"},
	{"the beginning of a key", `redis && redis_key.startsWith("session:")`, "redis"},
	{"fields of a protocol without a dissector", `kafka && kafka_api_key_name == "PRODUCE" && kafka_request_summary.contains("orders")`, ""},
	{"a negated field of a protocol without a dissector", `mysql && !mysql_success`, ""},
	{"an error code that is text", `postgresql && postgresql_error_code != ""`, "pg"},
	{"a false flag", `postgresql && !postgresql_success`, "pg"},
	{"a gRPC status", `grpc && grpc_status == 14`, "grpc"},
	{"TCP errors of records that are not calls", `tcp && tcp_error_type != ""`, ""},
	{"connection records", `tcp_conn && "HTTP" in conn_l7_detected`, ""},
	{"flow records", `tcp_flow && flow_local_bps > 5000000`, ""},
	{"two fields compared, false if one is absent", `src.service.namespace != dst.service.namespace`, "web"},
	{"a label with a default", `map_get(local_labels,"app","") == "checkout"`, "web"},
	{"the default if the key is absent", `map_get(local_labels,"zone","none") == "none"`, "web"},
	{"a DNS name", `dst.dns != "" && !dst.dns.endsWith(".internal")`, "grpc"},
	{"time before now", `timestamp > now() - duration("5m")`, "redis pg tls bare tcp"},
	{"a negated comparison", `!(src.pod.namespace == "kube-system")`, "web dns grpc redis pg tls bare tcp"},
	{"a server name", `tlsx && tlsx_sni.contains("amazonaws.com")`, "tls"},
	{"a macro over a list", `tlsx_cipher_suites.exists(s, s.contains("RC4"))`, "tls"},
	{"all of a list", `tlsx_cipher_suites.all(s, s.startsWith("TLS_"))`, "tls"},
	{"exactly one", `tlsx_cipher_suites.exists_one(s, s.contains("RC4"))`, "tls"},
	{"filter and size", `size(tlsx_cipher_suites.filter(s, s.contains("RC4"))) == 1`, "tls"},
	{"map", `"A!" in dns_question_types.map(q, q + "!")`, "dns"},
	{"an rcode is a status", `dns && dns_response && status_code != 0`, "dns"},

	// Older forms.
	{"and, response.status", `http and response.status == 500`, ""},
	{"response.status without spaces", `response.status==503`, "web"},
	{"ordered response.status", `response.status >= 400`, "web"},
	{"request.path", `request.path=="/api/v2/users/7" and response.status==503`, "web"},
	{"infix contains", `request.path contains "/api/v2"`, "web"},
	{"a pod that contains", `src.pod contains "frontend"`, "web dns"},
	{"svc", `dst.svc=="payment-service"`, "web"},
	{"pod", `dst.pod == "database"`, "bare"},
	{"ns", `src.ns == "shop"`, "web dns"},
	{"latency in milliseconds", `response.latency > 1000`, "web"},
	{"latency has fractions", `response.latency == 0.9`, "dns"},
	{"an absent header is empty text", `request.headers["Authorization"] == ""`, "grpc bare"},
	{"status", `http and status >= 400`, "web"},
	{"an invalid name is a pattern", `src.pod.name == "frontend-.*"`, "web dns"},
	{"unequal to a pattern", `src.pod.name != "frontend-.*"`, "bare"},
	{"exists() without arguments", `dns && !dst.namespace.exists()`, "dns"},
	{"an rcode by name", `dns and response.code == "NXDOMAIN"`, "dns"},
	{"a gRPC status by an older name", `grpc and response.status.code != 0`, "grpc"},
	{"a set in braces, words in capitals", `src.namespace in {"shop", "x"} OR dst.namespace IN {"kube-system"}`, "web dns bare"},
	{"a pattern for a number", `response.status == r"5.*"`, "web"},
	{"a pattern must match the whole number", `response.status == r"0"`, ""},
	{"seconds from now", `timestamp >= seconds(-61)`, "bare tcp"},
	{"a chart's macro", `secure`, "bare"},
	{"a macro with a duration", `slow`, "web"},
	{"nil", `dst.dns == nil && http`, "web bare"},
	{"not nil", `dst.dns != nil`, "grpc"},

	// Words of protocols.
	{"http is every version", `http`, "web bare"},
	{"protocol in capitals", `protocol == "HTTP"`, "web bare"},
	{"protocol unlike", `protocol != "HTTP"`, "dns grpc redis pg tls tcp"},
	{"protocols in a list", `protocol in ["HTTP", "dns"]`, "web dns bare"},
	{"https", `https`, "bare"},
	{"tls is decrypted or a handshake", `tls`, "grpc tls bare"},
	{"tcp is a payload of an unknown protocol", `tcp`, "tcp"},

	// What is absent.
	{"a bare field tests its presence", `status_code`, "web dns grpc"},
	{"a negated bare field", `!status_code`, "redis pg tls bare tcp"},
	{"unequal is false if absent", `redis_key != "x"`, "redis"},
	{"negated equal is true if absent", `!(redis_key == "x")`, "web dns grpc redis pg tls bare tcp"},
	{"a flag that is absent is false", `!postgresql_success`, "web dns grpc redis pg tls bare tcp"},
	{"a flag compared with false must be present", `postgresql_success == false`, "pg"},
	{"not binds less tightly than a comparison", `not status_code == 503 and http`, "bare"},
	{"not in is false if absent", `src.pod not in ["database"]`, "web dns"},
	{"a bare empty list is false", `dns_answers`, ""},
	{"a bare empty map is false", `dst.labels`, ""},
	{"has", `has(dns_questions) || has(redis_key)`, "dns redis"},
	{"arithmetic on an absent value", `status_code + 1 > 0`, "web dns grpc"},
	{"a condition in a ternary", `(http ? status_code : 0) == 0`, "dns grpc redis pg tls tcp"},
	{"division by zero is absent", `status_code / 0 == 0 || status_code % 0 == 0`, ""},
	{"overflow is absent", `status_code + 9223372036854775807 != 0`, ""},

	// Maps.
	{"a header, repeats joined", `request.headers["ACCEPT"] == "a, b"`, "web"},
	{"a bare header", `request.headers["accept"]`, "web"},
	{"response headers of a call without response", `response.headers["x"] == ""`, "web grpc"},
	{"a trailer", `response.trailers["x-sum"] == "9"`, "web"},
	{"a cookie", `request.cookies["theme"] == "dark" && response.cookies["sid"] == "2"`, "web"},
	{"a query value, decoded", `query_string["b"] == "x y" && query_string["a"] == "1, 2" && "c" in query_string`, "web"},
	{"a query as text", `query_string contains "b=x%20"`, "web"},
	{"a label as a part", `src.labels.team == "web"`, "web"},
	{"keys of a map", `request.headers.exists(k, k.startsWith("auth"))`, "web"},
	{"the size of a map", `size(src.labels) == 2`, "web"},
	{"node as a map", `node["name"] == "node-1" && "name" in node && map_get(node, "name", "") == "node-1"`, "web"},

	// Addresses.
	{"an aligned range", `src.ip in "10.0.0.0/8"`, "web dns grpc pg tls bare"},
	{"an unaligned range", `dst.ip in "172.16.0.0/12"`, "web"},
	{"ranges in a list", `dst.ip in ["172.16.0.0/12", "8.8.8.8", cidr("52.0.0.0/7")]`, "web grpc tls"},
	{"one address as a range", `dst.ip in cidr("8.8.8.8/32")`, "grpc"},
	{"all of IPv4", `dst.ip in "0.0.0.0/0"`, "web grpc redis pg tls bare"},
	{"an IPv6 range", `dst.ip in "fd00::/8"`, "dns"},
	{"a narrow IPv6 range", `dst.ip in "2001:db8:0:1::/64" && src.ip in "2001:db8::/64"`, "tcp"},
	{"mapped addresses are IPv6", `dst.ip in "::ffff:0:0/96" && src.ip in "::1/128"`, "redis"},
	{"an address in another spelling", `dst.ip == "FD00:0::53"`, "dns"},
	{"outside", `dst.external`, "grpc"},

	// Durations and sizes.
	{"a duration", `elapsed_time > 500ms`, "web"},
	{"a duration finer than the unit", `elapsed_time > 899999ns && elapsed_time < 900001ns`, "dns"},
	{"a duration on the left", `1s < latency_ms`, "web"},
	{"sizes", `response_bytes >= 20KB && response_bytes < 20KiB`, "web"},
	{"a time", `timestamp >= timestamp("2026-09-21T14:16:00Z") && timestamp.getMinutes() <= 16`, "redis"},
	{"a span of time", `now() - timestamp < duration("2m")`, "bare tcp"},

	// Content.
	{"a body contains", `response.body contains "card 4111"`, "web"},
	{"bytes contain, at any place", `request.body contains "GET"`, "tcp"},
	{"bytes do not match across a half", `request.body.contains("\x0f")`, ""},
	{"a whole body", `response.body == "upstream said: no such card 4111"`, "web"},
	{"unlike a body", `response.body != "x"`, "web"},
	{"a body begins and ends", `response.body.startsWith("upstream") && response.body.endsWith("4111")`, "web"},
	{"a body of bytes ends", `request.body.endsWith("GET@")`, "tcp"},
	{"a body matches", `response.body.matches("card [0-9]{4}")`, "web"},
	{"the size of a body", `size(response.body) == 32`, "web"},
	{"a bare body", `request.body`, "web tcp"},
	{"text of a body", `response.body.text().startsWith("up")`, "web"},
	{"a member of JSON", `request.body.json().order.id == 12345`, "web"},
	{"a member with another type", `request.body.json().order.id == "12345"`, ""},
	{"unlike, with another type", `request.body.json().order.id != "12345"`, "web"},
	{"a JSON string", `request.body.json().order.items[0].sku == "a"`, "web"},
	{"a float in JSON", `request.body.json().order.items[1].n < 2`, "web"},
	{"a key that needs quotes", `request.body.json()["a/b"] contains "x"`, "web"},
	{"null is absent", `request.body.json().note || request.body.json().note == nil && http1`, "web"},
	{"a bare member that is true", `request.body.json().paid`, "web"},
	{"a list in JSON", `request.body.json().order.items.exists(i, i.sku == "b" && i.n > 1)`, "web"},
	{"a value in a JSON list", `2 in request.body.json().order.items.map(i, i.n)`, "web"},
	{"the size of a JSON list", `size(request.body.json().order.items) == 2`, "web"},
	{"bytes of an unknown payload", `tcp_payload contains "GET" && tcp_payload.startsWith("\x00") == false`, ""},
	{"the first bytes", `tcp_payload contains "GET"`, "tcp"},
	{"numbers in text", `int(response.trailers["x-sum"]) == 9 && double("1.5") == 1.5`, "web"},
	{"numbers as text", `string(status_code).startsWith("5")`, "web"},
	{"an identity in hexadecimal", `call_id == "ABCD"`, "web"},
	{"an invalid identity", `call_id == "xyz"`, ""},
}

func TestMeaning(t *testing.T) {
	all := sample()
	var rows []*testRow
	for _, n := range sampleOrder {
		rows = append(rows, all[n])
	}
	db := duck(t, rows)
	env := Env{Now: noon + 420*seconds, Macros: testMacros()}
	for _, m := range meanings {
		t.Run(m.why, func(t *testing.T) {
			q, err := Compile(m.src, env)
			if err != nil {
				t.Fatalf("%s\n%v", m.src, err)
			}
			var got []string
			for i, yes := range agree(t, db, rows, q) {
				if yes {
					got = append(got, sampleOrder[i])
				}
			}
			if strings.Join(got, " ") != m.rows {
				where, args := q.SQL()
				t.Errorf("%s\ngot  %v\nwant %v\nSQL %s\nwith %q", m.src, got, strings.Fields(m.rows), where, args)
			}
			if !slices.IsSorted(q.Columns()) {
				t.Errorf("columns %v are not sorted", q.Columns())
			}
		})
	}
}
