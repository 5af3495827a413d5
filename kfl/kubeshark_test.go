package kfl

import (
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// variables are the variables of KFL2 with their KFL2 types: s text, i int, b bool, t time,
// B bytes, l list of text, m map.
const variables = `
s src.ip dst.ip protocol node_id stream worker capture_source capture_backend method url path http_version
i src.port dst.port id index elapsed_time conn_id flow_id capture_source_code status_code
t timestamp
b has_pcap http grpc ws gql gqlv1 gqlv2 dns icmp redis kafka amqp ldap radius diameter mongodb mysql postgresql sctp tcp udp tls tlsx conn tcp_conn udp_conn flow tcp_flow udp_flow
m capture query_string request.headers response.headers request.cookies response.cookies
i request_headers_size request_body_size response_headers_size response_body_size grpc_status
s grpc_method
l dns_questions dns_answers dns_question_types
b dns_request dns_response
i dns_request_length dns_response_length dns_total_size tls_request_size tls_response_size tls_total_size
s tls_summary tls_info tlsx_sni tlsx_alpn tlsx_summary tlsx_info
i tlsx_cipher_suite tlsx_version
l tlsx_cipher_suites
s tcp_method tcp_error_type tcp_error_message
B tcp_payload udp_payload
i udp_length udp_checksum sctp_checksum sctp_length icmp_version icmp_length
s sctp_chunk_type icmp_type ws_opcode ws_request_payload_data
b ws_request ws_response
i ws_request_payload_length ws_response_payload_length redis_request_size redis_response_size redis_total_size
s redis_type redis_command redis_key kafka_api_key_name kafka_client_id kafka_request_summary
i kafka_api_key kafka_size kafka_request_size kafka_response_size
b kafka_request kafka_response amqp_request amqp_response ldap_request ldap_response radius_request radius_response diameter_request diameter_response
s amqp_method amqp_summary ldap_type ldap_summary radius_code_name radius_request_authenticator diameter_method diameter_summary
i amqp_request_length amqp_response_length amqp_total_size ldap_request_length ldap_response_length ldap_total_size radius_code radius_request_length radius_response_length radius_total_size
i diameter_request_length diameter_response_length diameter_total_size mongodb_request_size mongodb_response_size mongodb_total_size mongodb_error_code
s mongodb_command mongodb_database mongodb_collection mongodb_opcode mongodb_error_message mongodb_error_code_name
b mongodb_success mysql_success postgresql_success
s mysql_command mysql_query mysql_database mysql_error_message
i mysql_statement_id mysql_error_code mysql_request_size mysql_response_size mysql_total_size postgresql_request_size postgresql_response_size postgresql_total_size
s postgresql_command postgresql_query postgresql_database postgresql_user postgresql_error_message postgresql_error_code
s conn_state flow_state
i conn_local_pkts conn_local_bytes conn_remote_pkts conn_remote_bytes conn_group_id flow_local_pkts flow_local_bytes flow_remote_pkts flow_remote_bytes flow_local_pps flow_local_bps flow_remote_pps flow_remote_bps flow_group_id
l conn_l7_detected flow_l7_detected namespaces pods services dns_resolutions
s src.pod.name src.pod.namespace dst.pod.name dst.pod.namespace src.service.name src.service.namespace dst.service.name dst.service.namespace src.name dst.name src.namespace dst.namespace
m local_labels remote_labels local_annotations remote_annotations node
s node_name node_ip local_node_name remote_node_name local_process_name remote_process_name src.dns dst.dns local_resolution_status remote_resolution_status
`

// TestEveryVariableOfKFL2 compiles each variable in all forms that KFL2 allows for its type, and
// runs the SQL.
func TestEveryVariableOfKFL2(t *testing.T) {
	rows := []*testRow{row(map[string]any{})}
	for _, r := range sample() {
		rows = append(rows, r)
	}
	db := duck(t, rows)
	forms := map[string][]string{
		"s": {`@ == "x"`, `@ != ""`, `@.contains("x")`, `@.startsWith("x")`, `@.endsWith("x")`, `@.matches("x.*")`, `size(@) > 0`, `@ in ["a", "b"]`, `@ < "x"`},
		"i": {`@ == 1`, `@ != 1`, `@ < 1`, `@ >= 1`, `@ + 1 > 2 * 3 - @ % 7`, `@ in [1, 2]`, `(@ > 1 ? 1 : 2) == 2`},
		"t": {`@ > timestamp("2026-01-31T12:00:00Z")`, `@ > now() - duration("5m")`, `@ < now()`},
		"b": {`@`, `!@`, `@ == true`, `@ && !@`},
		"B": {`size(@) > 0`, `@.contains("x")`},
		"l": {`"x" in @`, `size(@) > 0`, `@.exists(s, s.contains("x"))`, `@.all(s, s == "x")`, `size(@.filter(s, s != "x")) == 1`, `"x" in @.map(s, s + "y")`},
		"m": {`"x" in @`, `@["x"] == "y"`, `map_get(@, "x", "") == "y"`},
	}
	count := 0
	for _, line := range strings.Split(strings.TrimSpace(variables), "\n") {
		words := strings.Fields(line)
		for _, name := range words[1:] {
			count++
			for i, form := range forms[words[0]] {
				if strings.HasSuffix(name, "ip") { // text that is not an address is an error
					form = strings.NewReplacer(`== "x"`, `== "10.0.0.7"`, `["a", "b"]`, `["10.0.0.7", "::1"]`).Replace(form)
				}
				src := strings.ReplaceAll(form, "@", name)
				q, err := Compile(src, Env{Now: noon})
				if err != nil {
					t.Errorf("%s: %v", src, err)
					continue
				}
				if (count+i)%3 > nightly.Of(0, 2) {
					continue // others ask DuckDB
				}
				yes := matching(t, db, rows, q)
				if yes[0] && !strings.HasPrefix(src, "!") && !strings.Contains(src, "?") && !strings.Contains(src, ".all(") && name != "has_pcap" {
					t.Errorf("%s matches a call without any value", src)
				}
			}
		}
	}
	if count < 200 {
		t.Errorf("%d variables", count)
	}
}

// TestUnsupportedFieldsAreFalse tests keywords and fields of protocols without a dissector, and
// those for internals of the KFL2 recorder.
func TestUnsupportedFieldsAreFalse(t *testing.T) {
	rows := samples()
	db := duck(t, rows)
	for _, src := range []string{
		`ws && ws_opcode == "text"`, `kafka && kafka_api_key_name == "PRODUCE" && kafka_request_summary.contains("orders")`, `amqp && amqp_method == "basic.publish"`,
		`ldap && ldap_type == "bind"`, `radius && radius_code == 1`, `diameter && diameter_method != ""`, `mongodb && !mongodb_success`, `mysql && !mysql_success`,
		`sctp && sctp_length > 0`, `gql && status_code >= 400`, `gqlv1 || gqlv2`, `conn || flow || tcp_conn || udp_conn || tcp_flow || udp_flow`, `capture["source"] == "ebpf"`,
		`tcp && tcp_error_type != ""`, `worker != ""`, `local_annotations["a"] == "b"`,
	} {
		q, err := Compile(src, Env{})
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		for i, yes := range matching(t, db, rows, q) {
			if yes {
				t.Errorf("%s matches %s", src, sampleOrder[i])
			}
		}
	}
}

// TestOlderForms uses the selectors and helpers of the language before KFL2.
func TestOlderForms(t *testing.T) {
	rows := samples()
	db := duck(t, rows)
	for _, tt := range []struct{ src, want string }{
		{`src.ip == "10.1.2.3" and dst.port == 8080`, "web"},
		{`src.name == "frontend-abc" and src.namespace == "shop"`, "web"},
		{`src.pod.name == "frontend-.*"`, "web dns"},
		{`node.name == "node-1"`, "web"},
		{`protocol.name == "http"`, "web bare"},
		{`protocol.abbr == "HTTP"`, "web bare"},
		{`request.method == "GET" and request.path == "/api/v2/users/7"`, "web"},
		{`request.headers["Authorization"] == "Bearer x"`, "web"},
		{`request.headers.authorization == "Bearer x"`, "web"},
		{`request.query["a"] == "1, 2"`, "web"},
		{`request.query.b == "x y"`, "web"},
		{`response.status == 503`, "web"},
		{`response.status == r"5.."`, "web"},
		{`response.headers["content-type"] contains "html"`, "web"},
		{`request.body.json().order.id == 12345`, "web"},
		{`request.body.json().order.items[0].sku == "a"`, "web"},
		{`request.body.json().order.items.*.sku == "b"`, "web"},
		{`request.body.json().order.items[*].n > 1.9`, "web"},
		{`request.body.json().*.id == 12345`, "web"},
		{`request.body.json()..sku == "b"`, "web"},
		{`request.body.json()..sku == "c"`, ""},
		{`request.body.json()..n >= 2`, "web"},
		{`request.body.json()..sku in ["b", "z"]`, "web"},
		{`request.body.json()..paid`, "web"},
		{`request.body.json()..sku startsWith "a"`, "web"},
		{`request.headers.* == "Bearer x"`, "web"},
		{`dns_questions.* == "api.x.com"`, "dns"},
		{`dns_questions[*] endsWith ".com"`, "dns"},
		{`timestamp >= datetime("9/21/2026, 2:13:20.000 PM")`, "web dns grpc redis pg tls bare tcp"},
		{`timestamp > minutes(-6) and timestamp < now()`, "redis pg tls bare tcp"},
		{`timestamp > months(-1) and timestamp > years(-1) and timestamp > weeks(-1) and timestamp > days(-1)`, "web dns grpc redis pg tls bare tcp"},
		{`elapsedTime > 1000`, "web"},
		{`requestSize > 100 or responseSize > 10000`, "web"},
		{`error == "no_response"`, "redis bare"},
		{`id == nil and http`, "web bare"},
		{`http and limit(100)`, "web bare"},
		{`tls and not http`, "grpc tls"},
		{`outgoing`, ""},
	} {
		q, err := Compile(tt.src, Env{Now: noon + 480*seconds})
		if err != nil {
			t.Errorf("%s: %v", tt.src, err)
			continue
		}
		var got []string
		for i, yes := range matching(t, db, rows, q) {
			if yes {
				got = append(got, sampleOrder[i])
			}
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("%s: %q, want %q", tt.src, g, tt.want)
		}
	}
	q, err := Compile(`limit(20) and (http or limit(5))`, Env{})
	if err != nil || q.Limit() != 5 {
		t.Errorf("limit %d, %v", q.Limit(), err)
	}
}

// injections try to break out of a quoted text.
var injections = []string{
	`'`, `''`, `"`, `\`, `' OR 1=1 --`, `"; DROP TABLE calls; --`, `') OR ('1'='1`, `?`, `$1`, `@`, `%s`, `/* */`, `'||'`, `]`, `}`, `a' UNION SELECT 1 --`, `kfl_v1`, "a\x00b", "a\nb", `\'`, `$$`, `'::BLOB`, `☃'`,
}

// TestInjectionIsText checks that no text of a query becomes part of the SQL: the SQL is the same
// as for harmless text, and the text is an argument.
func TestInjectionIsText(t *testing.T) {
	rows := []*testRow{sample()["web"], sample()["tcp"]}
	forms := []string{
		`host == @`, `host != @`, `host in [@, "b"]`, `host contains @`, `host.startsWith(@)`, `url.endsWith(@)`, `request.headers[@] == @`, `@ in request.headers`, `map_get(src.labels, @, @) == @`,
		`request.cookies[@] == ""`, `query_string[@] == @`, `request.body contains @`, `request.body == @`, `request.body.json()[@] == @`, `request.body.json().a[@][@].exists()`, `@ in request.body.json()`,
		`request.body.json()..a == @`, `request.body.json().*[@] contains @`, `pods.exists(p, p == @)`, `size(@ + host) > 1`, `(http ? @ : host) == @`, `protocol == @`, `src.pod == "x" || call_id == @`, `tcp_payload contains @`, `tls.cert_subject == @`, `dst_name + @ == @`,
		`summary.json()[@] == @`, `conn_l7_detected.* == @`,
	}
	db := duck(t, rows)
	// The length of a header's name is compared first, and a body is searched for required plain
	// text before it is parsed as JSON.
	length := regexp.MustCompile(`= [0-9]+ AND lower|\(contains\(kfl_text, '\\'\) OR TRUE( AND contains\(kfl_text, CAST\(\? AS VARCHAR\)\))*\)|AND TRUE`)
	for _, form := range forms {
		plain, err := Compile(strings.ReplaceAll(form, "@", `"harmless"`), Env{})
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		want, _ := plain.SQL()
		for _, text := range injections {
			if strings.ContainsAny(text, "\x00\n") && strings.Contains(form, "call_id") {
				continue
			}
			q, err := Compile(strings.ReplaceAll(form, "@", parse.Quote(text)), Env{})
			if err != nil {
				t.Errorf("%s with %q: %v", form, text, err)
				continue
			}
			got, args := q.SQL()
			// Text that is not hexadecimal, or not a protocol, may be compared differently.
			if same := length.ReplaceAllString(got, ""); strings.ReplaceAll(same, "AND )", ")") != strings.ReplaceAll(length.ReplaceAllString(want, ""), "AND )", ")") && isASCII(text) &&
				!strings.Contains(form, "call_id") && !strings.Contains(form, "src.pod") {
				t.Errorf("%s with %q: SQL\n%.2000s\nwant\n%.2000s", form, text, got, want)
			}
			if strings.Contains(got, text) && len(text) > 3 && text != "kfl_v1" {
				t.Errorf("%s: SQL contains %q: %s", form, text, got)
			}
			if len(args) == 0 && got != "FALSE" {
				t.Errorf("%s with %q has no arguments: %s", form, text, got)
			}
			if !strings.Contains(text, "\x00") {
				matching(t, db, rows, q)
			}
		}
	}
	// Names come from one list, or from the columns of the view, which are quoted because a
	// bundle may be hostile.
	q, err := Compile(`x`, Env{Columns: map[string]string{`x`: "BIGINT", `x" OR 1=1 --`: "BIGINT"}, Tables: map[string]map[string]string{"flows": {`a"b`: "BIGINT"}}})
	if err != nil {
		t.Fatal(err)
	}
	if sql, _ := q.SQL(); sql != `("x" IS NOT NULL)` {
		t.Errorf("SQL %s", sql)
	}
}

// TestNestedBodies queries bodies with the deepest nesting that fits in a part. DuckDB's own walk
// over such a document takes minutes.
func TestNestedBodies(t *testing.T) {
	const depth = 100_000
	nested, wide := row(map[string]any{}), row(map[string]any{})
	nested.body("request", strings.Repeat(`{"a":`, depth)+"1"+strings.Repeat("}", depth))
	wide.body("request", "["+strings.Repeat(`{"a" : 1 },`, depth/2)+"1]")
	rows := []*testRow{nested, wide}
	db := duck(t, rows)
	for src, want := range map[string][2]bool{
		`request.body.json()..a == 1`: {true, true}, `request.body.json()..a == 2`: {false, false}, `size(request.body.json()..a) > 1`: {false, true},
		`request.body.json().*.a == 1`: {false, true}, `request.body.json().*.*.*.*.a`: {true, false}, `request.body.json().a.a.a`: {true, false},
	} {
		q, err := Compile(src, Env{})
		if err != nil {
			t.Fatal(err)
		}
		if got := matching(t, db, rows, q); got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%s: %v, want %v", src, got, want)
		}
	}
}
