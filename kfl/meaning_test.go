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
	web := row(map[string]any{
		"protocol": "http1", "ts_ns": noon, "elapsed_us": 6_000_000, "method": "GET", "host": "shop",
		"path": "/api/v2/users/7", "query_string": "a=1&b=x%20y&a=2&c", "status_code": 503, "status_text": "Service Unavailable",
		"request_bytes": 300, "response_bytes": 20_000, "complete": true, "failed": true,
		"src_ip": "10.1.2.3", "dst_ip": "172.20.0.9", "src_port": 40000, "dst_port": 8080,
		"src_pod": "frontend-abc", "src_namespace": "shop", "src_name": "frontend-abc", "src_service": "frontend",
		"dst_service": "payment-service", "dst_namespace": "pay", "dst_pod": "payment-1", "dst_name": "payment-1", "dst_external": false,
		"src_labels": []pair{{"app", "checkout"}, {"team", "web"}}, "dst_labels": []pair{},
		"src_node": "node-1", "trace_id": "abc", "request_id": "r-17", "call_id": []byte{0xab, 0xcd}, "src_workload": "frontend", "src_workload_kind": "Deployment",
		"headers": []header{
			{"Authorization", "Bearer x", "request"}, {"Accept", "a", "request"}, {"accept", "b", "request"}, {"Cookie", "sid=1; theme = dark", "request"},
			{"Content-Type", "text/html", "response"}, {"Set-Cookie", "sid=2; Path=/", "response"}, {"X-Sum", "9", "response_trailer"}},
	})
	web.body("request", `{"order":{"id":12345,"items":[{"sku":"a","n":2},{"sku":"b","n":1.5}]},"note":null,"paid":true,"a/b":"x"}`)
	web.body("response", "upstream said: no such card 4111")
	dns := row(map[string]any{
		"protocol": "dns", "ts_ns": noon + 60*seconds, "elapsed_us": 900, "method": "QUERY", "host": "api.x.com", "status_code": 3, "status_text": "NXDOMAIN",
		"request_bytes": 40, "response_bytes": 90, "src_ip": "10.1.2.3", "dst_ip": "fd00::53", "src_port": 5353, "dst_port": 53, "src_pod": "frontend-abc", "src_namespace": "shop",
		"dns_questions": []string{"api.x.com"}, "dns_question_types": []string{"A"}, "dns_answers": []string{}, "dns_request": true, "dns_response": true, "complete": true, "failed": true, "dst_external": false,
	})
	grpc := row(map[string]any{
		"protocol": "grpc", "ts_ns": noon + 120*seconds, "method": "POST", "path": "/shop.Cart/Add", "status_code": 200, "grpc_status": 14, "grpc_method": "Add",
		"elapsed_us": 1500, "src_ip": "10.1.2.4", "dst_ip": "8.8.8.8", "src_port": 1, "dst_port": 443, "dst_external": true, "dst_dns_name": "api.example.com", "decrypted_by": "keylog",
		"request_bytes": 1, "response_bytes": 2, "complete": true, "failed": true, "headers": []header{},
	})
	redis := row(map[string]any{
		"protocol": "redis", "ts_ns": noon + 180*seconds, "method": "GET", "redis_reply_type": "bulk_string", "redis_command": "GET session:9", "redis_key": "session:9",
		"src_ip": "::1", "dst_ip": "::ffff:10.0.0.1", "src_port": 2, "dst_port": 6379, "request_bytes": 20, "response_bytes": 5, "error": "no_response", "failed": true, "complete": false,
	})
	pg := row(map[string]any{
		"protocol": "postgresql", "ts_ns": noon + 240*seconds, "postgresql_command": "SELECT", "postgresql_error_code": "23505", "postgresql_success": false,
		"src_ip": "10.1.2.4", "dst_ip": "10.9.9.9", "src_port": 3, "dst_port": 5432, "request_bytes": 20, "response_bytes": 5, "failed": true, "complete": true, "dst_service": "user-database",
	})
	tls := row(map[string]any{
		"protocol": "tls", "ts_ns": noon + 300*seconds, "tls_sni": "s3.amazonaws.com", "tls_cipher_suites": []string{"TLS_RSA_WITH_RC4_128_SHA", "TLS_AES_128_GCM_SHA256"}, "summary": "TLS s3",
		"src_ip": "10.1.2.4", "dst_ip": "52.1.1.1", "src_port": 4, "dst_port": 443, "request_bytes": 20, "response_bytes": 5, "failed": false, "complete": true,
	})
	bare := row(map[string]any{
		"protocol": "http2", "ts_ns": noon + 360*seconds, "method": "GET", "path": "/", "headers": []header{}, "error": "no_response", "failed": true, "complete": false,
		"src_ip": "10.1.2.4", "dst_ip": "10.9.9.9", "src_port": 5, "dst_port": 80, "request_bytes": 20, "response_bytes": 0, "decrypted_by": "keylog",
		"src_pod": "database", "dst_pod": "database", "dst_namespace": "kube-system",
	})
	tcp := row(map[string]any{
		"protocol": "tcp", "ts_ns": noon + 420*seconds, "payload_request_head": []byte{0, 0xff, 'G', 'E', 'T', 0x40},
		"src_ip": "2001:db8::1", "dst_ip": "2001:db8:0:1::2", "src_port": 5, "dst_port": 80, "request_bytes": 20, "response_bytes": 0, "failed": false, "complete": false,
	})
	tcp.body("request", "\x00\xffGET@")
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

// samples returns the rows in the order of sampleOrder.
func samples() (rows []*testRow) {
	all := sample()
	for _, n := range sampleOrder {
		rows = append(rows, all[n])
	}
	return rows
}

func TestMeaning(t *testing.T) {
	rows := samples()
	db := duck(t, rows)
	env := Env{Now: noon + 420*seconds, Macros: testMacros()}
	for _, m := range meanings {
		t.Run(m.why, func(t *testing.T) {
			q, err := Compile(m.src, env)
			if err != nil {
				t.Fatalf("%s\n%v", m.src, err)
			}
			var got []string
			for i, yes := range matching(t, db, rows, q) {
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
