package all

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/contenttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const (
	jsonBoth = "Content-Type: application/json\n\nContent-Type: application/json"
	events   = "Content-Type: application/json\nAccept: application/json, text/event-stream\n\nContent-Type: text/event-stream"
)

// read reads an exchange.
func read(x content.Exchange) (*table.Call, *Columns) {
	return x.Call, Read(x)
}

// line is the call, and the columns that have a value.
func line(c *table.Call, columns *Columns) string {
	s := c.Summary
	if c.Outcome != "" {
		s += " [" + c.Outcome + " " + c.StatusText.V + "]"
	}
	if c.Endpoint != "" {
		s += " endpoint=" + c.Endpoint
	}
	if columns != nil {
		s += values(reflect.ValueOf(columns).Elem())
	}
	return s
}

func values(v reflect.Value) (s string) {
	for i := range v.NumField() {
		f, x := v.Type().Field(i), v.Field(i)
		name := f.Tag.Get("col")
		switch {
		case f.Anonymous:
			s += values(x)
		case name == "" || x.IsZero():
		case x.Kind() == reflect.Struct:
			s += fmt.Sprintf(" %s=%v", name, x.Field(0).Interface())
		default:
			s += fmt.Sprintf(" %s=%v", name, x.Interface())
		}
	}
	return s
}

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		name string
		e    content.Exchange
		want string
	}{
		{"a page", contenttest.HTTP("GET /", "\nContent-Type: text/html", "", 200, "<html>"), "GET / → 200"},
		{"a search that is not GraphQL", contenttest.HTTP("POST /search", jsonBoth, `{"query":"red shoes"}`, 200, `{}`), "POST /search → 200"},
		{"words that look like an operation", contenttest.HTTP("POST /search", jsonBoth, `{"query":"mutation in a gene { }"}`, 200, `{}`), "POST /search → 200"},
		{"a query of Elasticsearch is not GraphQL", contenttest.HTTP("POST /x", jsonBoth, `{"query":{"match_all":{}}}`, 200, `{}`), "POST /x → 200"},
		{"aliases, arguments, directives and fragments", contenttest.HTTP("POST /g", jsonBoth,
			`{"operationName":"B","query":"query A { no } query B($i: [Int!]! = [1, 2]) @live { x: user(name: \"} {\", n: {a: [1]}) @include(if: $i) { id } ...F ... on Query @x { me } ... { we } } fragment F on Query { orders { id } ...G } fragment G on Query { total }"}`,
			200, `{"data":{"x":1}}`), "query B {user, me, we, orders, total} → 200 endpoint=POST /g query B graphql_type=query graphql_operation=B graphql_fields=[user me we orders total] graphql_errors=0"},
		{"comments and block strings", contenttest.HTTP("POST /g", jsonBoth, `{"query":"# { \n{ a(t: \"\"\"x \\\"\"\" } \"\"\") b,c }"}`, 200, `{"data":null}`), "query {a, b, c} → 200 endpoint=POST /g query a graphql_type=query graphql_fields=[a b c] graphql_errors=0"},
		{"errors without a code and a field", contenttest.HTTP("POST /g", jsonBoth, `{"query":"{ a }"}`, 200, `{"errors":[{"message":"Syntax"}]}`),
			"query {a} → 200, 1 error [client_error GraphQL error] endpoint=POST /g query a graphql_type=query graphql_fields=[a] graphql_errors=1 graphql_error=Syntax"},
		{"an error without a field, beside data", contenttest.HTTP("POST /g", jsonBoth, `{"query":"{ a }"}`, 200, `{"data":{"a":1},"errors":[{"message":"late"}]}`),
			"query {a} → 200, 1 error [server_error GraphQL error] endpoint=POST /g query a graphql_type=query graphql_fields=[a] graphql_errors=1 graphql_error=late"},
		{"an error of a field, after a lot of data", contenttest.HTTP("POST /g", jsonBoth, `{"query":"mutation { a }"}`, 200, `{"data":{"a":"`+strings.Repeat("x", 1<<20)+`"},"errors":[{"message":"no","path":["a"]},{"message":"b","extensions":{"code":"X"}}]}`),
			"mutation {a} → 200, 2 errors: X [server_error X] endpoint=POST /g mutation a graphql_type=mutation graphql_fields=[a] graphql_errors=2 graphql_error_code=X graphql_error=no"},
		{"HTTP's own error stays", contenttest.HTTP("POST /g", jsonBoth, `{"query":"{ a }"}`, 500, `{"errors":[{"message":"no","extensions":{"code":"FORBIDDEN"}}]}`),
			"query {a} → 500, 1 error: FORBIDDEN [server_error ] endpoint=POST /g query a graphql_type=query graphql_fields=[a] graphql_errors=1 graphql_error_code=FORBIDDEN graphql_error=no"},
		{"an upload", contenttest.HTTP("POST /g", "Content-Type: multipart/form-data; boundary=x\n\nContent-Type: application/json",
			"--x\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{\"query\":\"mutation Up { up }\"}\r\n--x--", 200, `{"data":{}}`),
			"mutation Up {up} → 200 endpoint=POST /g mutation Up graphql_type=mutation graphql_operation=Up graphql_fields=[up] graphql_errors=0"},
		{"a subscription by events", contenttest.HTTP("POST /g", events, `{"query":"subscription { tick }"}`, 200, "event: next\r\ndata: {\"data\":{}}\r\n\r\n: ping\r\n\r\nevent: next\r\ndata: {\"data\":{}}\r\n\r\nevent: complete\r\ndata:\r\n\r\n"),
			"subscription {tick} → 200, 3 events endpoint=POST /g subscription tick sse_events=3 sse_types=[next complete] graphql_type=subscription graphql_fields=[tick] graphql_errors=0 graphql_events=2"},
		{"events with ids, in three kinds of lines", contenttest.HTTP("GET /e", "Last-Event-ID: 4\n\nContent-Type: text/event-stream;charset=utf-8", "", 200, "\ufeffid: 5\rdata: a\r\revent: x\ndata: b\ndata: c\n\nretry: 100\nid\ndata\r\n\r\ndata: cut"),
			"GET /e → 200, 3 events sse_events=3 sse_types=[message x] sse_after_id=4 sse_retry_ms=100"},
		{"JSON-RPC", contenttest.HTTP("POST /rpc", jsonBoth, `{"jsonrpc":"2.0","method":"add","params":["secret"],"id":"a\u0062"}`, 200, `{"jsonrpc":"2.0","result":3,"id":"ab"}`),
			"add → 200 endpoint=POST /rpc add jsonrpc_method=add jsonrpc_id=ab jsonrpc_errors=0"},
		{"a batch with an error", contenttest.HTTP("POST /rpc", jsonBoth, `[{"jsonrpc":"2.0","method":"a","id":1},{"jsonrpc":"2.0","method":"b"}]`, 200, `[{"jsonrpc":"2.0","error":{"code":-32603,"message":"no"},"id":1}]`),
			"a → 200, batch of 2, error -32603 [server_error -32603] endpoint=POST /rpc a jsonrpc_method=a jsonrpc_id=1 jsonrpc_batch=2 jsonrpc_error_code=-32603 jsonrpc_error=no jsonrpc_errors=1"},
		{"version 1 is not read", contenttest.HTTP("POST /rpc", jsonBoth, `{"method":"a","id":1}`, 200, `{}`), "POST /rpc → 200"},
		{"MCP by its method, answered in events", contenttest.HTTP("POST /mcp", events+"\nMcp-Session-Id: abc", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm","arguments":{"path":"/secret"}}}`, 200,
			"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"isError\":true,\"content\":[]}}\n\n"),
			"MCP tools/call rm → 200, 2 events, the tool failed [server_error tool error] endpoint=POST /mcp tools/call rm sse_events=2 sse_types=[message] jsonrpc_method=tools/call jsonrpc_id=1 jsonrpc_errors=0 jsonrpc_server_messages=1 mcp_action=tools/call mcp_tool=rm mcp_session=ba7816bf8f01cfea mcp_tool_failed=true"},
		{"a resource of MCP without its query", contenttest.HTTP("POST /mcp", jsonBoth, `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"https://u:p@h/x?key=1"}}`, 200, `{"jsonrpc":"2.0","id":1,"result":{}}`),
			"MCP resources/read https://h/x → 200 endpoint=POST /mcp resources/read jsonrpc_method=resources/read jsonrpc_id=1 jsonrpc_errors=0 mcp_action=resources/read mcp_resource=https://h/x"},
		{"a resource of MCP that does not exist", contenttest.HTTP("POST /mcp", jsonBoth, `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///x"}}`, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"Resource not found"}}`),
			"MCP resources/read file:///x → 200, error -32002 [client_error -32002] endpoint=POST /mcp resources/read jsonrpc_method=resources/read jsonrpc_id=1 jsonrpc_error_code=-32002 jsonrpc_error=Resource not found jsonrpc_errors=1 mcp_action=resources/read mcp_resource=file:///x"},
		{"the stream of a session of the first version of MCP", contenttest.HTTP("GET /sse", "Accept: text/event-stream\n\nContent-Type: text/event-stream", "", 200, "event: endpoint\r\ndata: /messages/?session_id=abc\r\n\r\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}\r\n\r\n"),
			"MCP listen → 200, 2 events endpoint=GET /sse listen sse_events=2 sse_types=[endpoint message] mcp_action=listen mcp_session=ba7816bf8f01cfea"},
		{"a message to it", contenttest.HTTP("POST /messages/?session_id=abc", "Content-Type: application/json\n", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}`, 202, "Accepted"),
			"MCP tools/call rm → 202 endpoint=POST /messages/ tools/call rm jsonrpc_method=tools/call jsonrpc_id=1 mcp_action=tools/call mcp_tool=rm mcp_session=ba7816bf8f01cfea"},
		{"a stream whose first event has another address", contenttest.HTTP("GET /e", "Accept: text/event-stream\n\nContent-Type: text/event-stream", "", 200, "event: endpoint\ndata: /x?id=abc\n\n"),
			"GET /e → 200, 1 event sse_events=1 sse_types=[endpoint]"},
		{"a request that names its sender, since 2026-07-28", contenttest.HTTP("POST /mcp", "Mcp-Protocol-Version: 2026-07-28\n"+jsonBoth, `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"agent","version":"0.1.0"}}}}`, 200,
			`{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"weather","version":"2"}}}}`),
			"MCP server/discover → 200 endpoint=POST /mcp server/discover jsonrpc_method=server/discover jsonrpc_id=1 jsonrpc_errors=0 mcp_action=server/discover mcp_version=2026-07-28 mcp_client=agent 0.1.0 mcp_server=weather 2"},
		{"a client that lacks a capability", contenttest.HTTP("POST /mcp", "Mcp-Protocol-Version: 2026-07-28\n"+jsonBoth, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}`, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32021,"message":"no elicitation"}}`),
			"MCP tools/call rm → 200, error -32021 [client_error -32021] endpoint=POST /mcp tools/call rm jsonrpc_method=tools/call jsonrpc_id=1 jsonrpc_error_code=-32021 jsonrpc_error=no elicitation jsonrpc_errors=1 mcp_action=tools/call mcp_tool=rm mcp_version=2026-07-28"},
		{"the end of a session", contenttest.HTTP("DELETE /mcp", "Mcp-Session-Id: abc\n", "", 204, ""), "MCP end → 204 endpoint=DELETE /mcp end mcp_action=end mcp_session=ba7816bf8f01cfea"},
		{"Connect, unary, with an error", contenttest.HTTP("POST /api/shop.v1.Cart/Add", "Connect-Protocol-Version: 1\nContent-Type: application/proto\n\nContent-Type: application/json", "\x0a\x01x", 404, `{"code":"not_found","message":"no cart"}`),
			"Connect shop.v1.Cart/Add → 404, not_found [client_error ] endpoint=POST /api/shop.v1.Cart/Add connect_service=shop.v1.Cart connect_method=Add connect_stream=false connect_code=not_found connect_message=no cart"},
		{"Connect, streaming, with an error at the end of a 200", contenttest.HTTP("POST /shop.v1.Cart/Watch", "Content-Type: application/connect+json\n\nContent-Type: application/connect+json", "\x00\x00\x00\x00\x02{}", 200,
			"\x00\x00\x00\x00\x02{}\x01\x00\x00\x00\x01x\x02\x00\x00\x00\x25{\"error\":{\"code\":\"unavailable\"}}      "),
			"Connect shop.v1.Cart/Watch → 200, unavailable [server_error unavailable] endpoint=POST /shop.v1.Cart/Watch connect_service=shop.v1.Cart connect_method=Watch connect_stream=true connect_request_messages=1 connect_response_messages=2 connect_code=unavailable"},
		{"an object that does not exist", contenttest.HTTP("GET /photos/2026/a%20b.jpg?versionId=3", "Host: s3.internal\nAuthorization: AWS4-HMAC-SHA256 Credential=K/20260101/eu/s3/aws4_request, Signature=x\n\nContent-Type: application/xml", "", 404, "<Error><Code>NoSuchKey</Code></Error>"),
			"S3 GetObject photos/2026/a b.jpg → 404, NoSuchKey [client_error ] endpoint=S3 GetObject photos s3_operation=GetObject s3_bucket=photos s3_key=2026/a b.jpg s3_version_id=3 s3_error=NoSuchKey"},
		{"an error in the 200 of DeleteObjects, and a bucket in the host", contenttest.HTTP("POST /?delete", "Host: photos.s3.eu-west-1.amazonaws.com\nAuthorization: AWS4-HMAC-SHA256 Credential=K/20260101/eu/s3/aws4_request\n\nContent-Type: application/xml", "<Delete/>", 200, "<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error></DeleteResult>"),
			"S3 DeleteObjects photos → 200, AccessDenied [client_error AccessDenied] endpoint=S3 DeleteObjects photos s3_operation=DeleteObjects s3_bucket=photos s3_error=AccessDenied"},
		{"a signed URL of version 2", contenttest.HTTP("GET /b/k?AWSAccessKeyId=K&Signature=x%3D&Expires=1795785976", "Host: 10.0.0.1\n", "", 200, ""),
			"S3 GetObject b/k → 200 endpoint=S3 GetObject b s3_operation=GetObject s3_bucket=b s3_key=k"},
		{"a signed URL of another service", contenttest.HTTP("GET /q?Action=SendMessage&AWSAccessKeyId=K&Signature=x&SignatureVersion=2&Expires=1795785976", "Host: 10.0.0.1\n", "", 200, ""), "GET /q → 200"},
		{"a signed URL, a part of an upload", contenttest.HTTP("PUT /b/k?partNumber=2&uploadId=u&X-Amz-Credential=K%2F20260101%2Feu%2Fs3%2Faws4_request&X-Amz-Signature=x", "Host: 10.0.0.1\n", "", 200, ""),
			"S3 UploadPart b/k → 200 endpoint=S3 UploadPart b s3_operation=UploadPart s3_bucket=b s3_key=k"},
		{"an upload by a signed form", contenttest.HTTP("POST /photos", "Host: 10.0.0.1\nContent-Type: multipart/form-data; boundary=B\n", "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na/b.txt\r\n--B\r\nContent-Disposition: form-data; name=\"policy\"\r\n\r\nx\r\n"+
			"--B\r\nContent-Disposition: form-data; name=\"x-amz-signature\"\r\n\r\nx\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhello\r\n--B--\r\n", 204, ""),
			"S3 PostObject photos/a/b.txt → 204 endpoint=S3 PostObject photos s3_operation=PostObject s3_bucket=photos s3_key=a/b.txt"},
		{"a form that is not one of S3", contenttest.HTTP("POST /photos", "Host: 10.0.0.1\nContent-Type: multipart/form-data; boundary=B\n", "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhello\r\n--B--\r\n", 204, ""), "POST /photos → 204"},
		{"a list of a bucket in the host", contenttest.HTTP("GET /?list-type=2&prefix=x%2F", "Host: photos.shop.example\nAuthorization: AWS K:x\n", "", 200, ""),
			"S3 ListObjectsV2 photos/x/ → 200 endpoint=S3 ListObjectsV2 photos s3_operation=ListObjectsV2 s3_bucket=photos s3_key=x/"},
		{"a list of buckets", contenttest.HTTP("GET /?prefix=x", "Host: photos.shop.example\nAuthorization: AWS K:x\n\nContent-Type: application/xml", "", 200, "<ListAllMyBucketsResult/>"),
			"S3 ListBuckets /x → 200 endpoint=S3 ListBuckets s3_operation=ListBuckets s3_key=x"},
		{"an error that names the key, and so shows a bucket in the host", contenttest.HTTP("GET /a%20b/c", "Host: photos.shop.example\nAuthorization: AWS K:x\n\nContent-Type: application/xml", "", 404, "<Error><Code>NoSuchKey</Code><Key>a b/c</Key></Error>"),
			"S3 GetObject photos/a b/c → 404, NoSuchKey [client_error ] endpoint=S3 GetObject photos s3_operation=GetObject s3_bucket=photos s3_key=a b/c s3_error=NoSuchKey"},
		{"an error that names the key of a bucket in the path", contenttest.HTTP("GET /photos/c", "Host: s3.shop.example\nAuthorization: AWS K:x\n\nContent-Type: application/xml", "", 404, "<Error><Code>NoSuchKey</Code><Key>c</Key></Error>"),
			"S3 GetObject photos/c → 404, NoSuchKey [client_error ] endpoint=S3 GetObject photos s3_operation=GetObject s3_bucket=photos s3_key=c s3_error=NoSuchKey"},
		{"a host name with s3 after the bucket", contenttest.HTTP("GET /a/c", "Host: photos.s3.shop.example\nAuthorization: AWS K:x\n", "", 200, ""),
			"S3 GetObject photos/a/c → 200 endpoint=S3 GetObject photos s3_operation=GetObject s3_bucket=photos s3_key=a/c"},
		{"an object behind a content delivery network", contenttest.HTTP("GET /hashes.json", "Host: cdn.example.net\n\nServer: AmazonS3\nX-Amz-Request-Id: 1\nX-Amz-Id-2: 2", "", 200, ""),
			"S3 GetObject /hashes.json → 200 endpoint=S3 GetObject s3_operation=GetObject s3_key=hashes.json s3_request_id=1"},
		{"an object behind one with its own name in Server", contenttest.HTTP("GET /hashes.json", "Host: cdn.example.net\n\nServer: cdn\nX-Amz-Request-Id: 1\nX-Amz-Id-2: X5QpZCfZO+4FEZvSFGRmiX7Sgyamn/vaWalmA/AOReXzLJAqrdirPPJlYoB/eJlt1XuFnTu8UzQ=", "", 404, ""),
			"S3 GetObject /hashes.json → 404 [client_error ] endpoint=S3 GetObject s3_operation=GetObject s3_key=hashes.json s3_request_id=1"},
		{"an object of a MinIO server behind a proxy", contenttest.HTTP("GET /photos/c", "Host: store.example.net\n\nServer: nginx\nX-Amz-Request-Id: 1\nX-Amz-Id-2: dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8", "", 200, ""),
			"S3 GetObject photos/c → 200 endpoint=S3 GetObject photos s3_operation=GetObject s3_bucket=photos s3_key=c s3_request_id=1"},
		{"the root behind one", contenttest.HTTP("GET /", "Host: cdn.example.net\n\nServer: AmazonS3\nX-Amz-Request-Id: 1\nX-Amz-Id-2: 2", "", 200, ""), "GET / → 200"},
		{"a list with a prefix", contenttest.HTTP("GET /b?list-type=2&prefix=x%2F", "Host: h\nAuthorization: AWS K:x\n", "", 200, ""), "S3 ListObjectsV2 b/x/ → 200 endpoint=S3 ListObjectsV2 b s3_operation=ListObjectsV2 s3_bucket=b s3_key=x/"},
		{"a patch of a deployment", contenttest.HTTP("PATCH /apis/apps/v1/namespaces/shop/deployments/checkout/scale", "Content-Type: application/strategic-merge-patch+json\n\nContent-Type: application/json", "{}", 200, `{"kind":"Scale","apiVersion":"autoscaling/v1"}`),
			"k8s patch deployments/scale shop/checkout → 200 endpoint=k8s patch deployments/scale k8sapi_verb=patch k8sapi_group=apps k8sapi_version=v1 k8sapi_resource=deployments k8sapi_namespace=shop k8sapi_name=checkout k8sapi_subresource=scale"},
		{"a watch that ended", contenttest.HTTP("GET /api/v1/pods?watch=true", "\nContent-Type: application/json", "", 200, `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1"}}`+"\n"+`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired"}}`),
			"k8s watch pods → 200, 2 events, Expired [client_error Expired] endpoint=k8s watch pods k8sapi_verb=watch k8sapi_version=v1 k8sapi_resource=pods k8sapi_reason=Expired k8sapi_watch_events=2"},
		{"a secret that may not be read", contenttest.HTTP("GET /api/v1/namespaces/shop/secrets/db", "\nContent-Type: application/json", "", 403, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden"}`),
			"k8s get secrets shop/db → 403, Forbidden [client_error ] endpoint=k8s get secrets k8sapi_verb=get k8sapi_version=v1 k8sapi_resource=secrets k8sapi_namespace=shop k8sapi_name=db k8sapi_reason=Forbidden"},
		{"an API whose paths look alike", contenttest.HTTP("GET /api/v1/users/7", "\nContent-Type: application/json", "", 200, `{"kind":"user","name":"x"}`), "GET /api/v1/users/7 → 200"},
		{"a bulk of which a part failed", contenttest.HTTP("POST /orders/_bulk", "Content-Type: application/x-ndjson\n\nContent-Type: application/json", "{}", 200, `{"took":3,"errors":true,"items":[{"index":{"_id":"1","status":201}},{"index":{"_id":"2","status":409,"error":{"type":"version_conflict_engine_exception"}}}]}`),
			"Elasticsearch bulk orders → 200, 1 of 2 items failed, version_conflict_engine_exception [client_error version_conflict_engine_exception] endpoint=Elasticsearch bulk orders elasticsearch_operation=bulk elasticsearch_index=orders elasticsearch_took_ms=3 elasticsearch_items=2 elasticsearch_errors=1 elasticsearch_error_type=version_conflict_engine_exception"},
		{"a search", contenttest.HTTP("POST /orders,items/_search", jsonBoth, `{"query":{"match_all":{}}}`, 200, `{"took":5,"_shards":{"failed":0},"hits":{"total":{"value":12}}}`),
			"Elasticsearch search orders,items → 200 endpoint=Elasticsearch search orders,items elasticsearch_operation=search elasticsearch_index=orders,items elasticsearch_took_ms=5 elasticsearch_hits=12"},
		{"a multi-search of which one failed", contenttest.HTTP("POST /_msearch", jsonBoth, "{}\n", 200, `{"took":1,"responses":[{"hits":{}},{"error":{"type":"index_not_found_exception"},"status":404}]}`),
			"Elasticsearch msearch → 200, 1 of 2 items failed, index_not_found_exception [client_error index_not_found_exception] endpoint=Elasticsearch msearch elasticsearch_operation=msearch elasticsearch_took_ms=1 elasticsearch_items=2 elasticsearch_errors=1 elasticsearch_error_type=index_not_found_exception"},
		{"an update by query that a conflict stopped", contenttest.HTTP("POST /orders/_update_by_query", jsonBoth, "{}", 200, `{"took":1,"total":2,"version_conflicts":1,"failures":[{"cause":{"type":"version_conflict_engine_exception"},"status":409}]}`),
			"Elasticsearch update_by_query orders → 200, 1 documents failed, version_conflict_engine_exception [client_error version_conflict_engine_exception] endpoint=Elasticsearch update_by_query orders elasticsearch_operation=update_by_query elasticsearch_index=orders elasticsearch_took_ms=1 elasticsearch_errors=1 elasticsearch_error_type=version_conflict_engine_exception"},
		{"exec over WebSocket", contenttest.HTTP("GET /api/v1/namespaces/shop/pods/x/exec", "\nSec-WebSocket-Protocol: v5.channel.k8s.io", "", 101, ""),
			"k8s connect pods/exec shop/x → 101 endpoint=k8s connect pods/exec k8sapi_verb=connect k8sapi_version=v1 k8sapi_resource=pods k8sapi_namespace=shop k8sapi_name=x k8sapi_subresource=exec"},
		{"a document", contenttest.HTTP("GET /orders/_doc/7", "\nContent-Type: application/json", "", 200, `{"_index":"orders","_id":"7","found":true}`), "Elasticsearch get orders → 200 endpoint=Elasticsearch get orders elasticsearch_operation=get elasticsearch_index=orders elasticsearch_id=7"},
		{"whether a document exists", contenttest.HTTP("HEAD /orders/_doc/9", "\nX-Elastic-Product: Elasticsearch", "", 404, ""),
			"Elasticsearch get orders → 404 [client_error ] endpoint=Elasticsearch get orders elasticsearch_operation=get elasticsearch_index=orders elasticsearch_id=9"},
		{"whether an index exists", contenttest.HTTP("HEAD /orders", "\nX-Elastic-Product: Elasticsearch", "", 200, ""),
			"Elasticsearch indices/exists orders → 200 endpoint=Elasticsearch indices/exists orders elasticsearch_operation=indices/exists elasticsearch_index=orders"},
		{"a table of text", contenttest.HTTP("GET /_cat/indices", "\nContent-Type: text/plain; charset=UTF-8\nX-Elastic-Product: Elasticsearch", "", 200, "green open orders\n"),
			"Elasticsearch cat/indices → 200 endpoint=Elasticsearch cat/indices elasticsearch_operation=cat/indices"},
		{"a table of text of another server", contenttest.HTTP("GET /_cat/indices", "\nContent-Type: text/plain", "", 200, "green open orders\n"), "GET /_cat/indices → 200"},
		{"another API with an underscore", contenttest.HTTP("GET /x/_search", "\nContent-Type: application/json", "", 200, `{"took":1}`), "GET /x/_search → 200"},
		{"SOAP with the client's fault", contenttest.HTTP("POST /ws", "Content-Type: text/xml; charset=utf-8\nSOAPAction: \"urn:pay\"\n\nContent-Type: text/xml", `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><a/></s:Header><s:Body><p:Pay xmlns:p="x"><card>1</card></p:Pay></s:Body></s:Envelope>`, 500,
			`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>no card</faultstring></s:Fault></s:Body></s:Envelope>`),
			"SOAP Pay → 500, fault Client [client_error Client] endpoint=POST /ws Pay soap_action=urn:pay soap_operation=Pay soap_version=1.1 soap_fault_code=Client soap_fault=no card"},
		{"SOAP with attachments", contenttest.HTTP("POST /ws", "Content-Type: multipart/related; boundary=b; type=\"application/xop+xml\"; start=\"<root>\"; start-info=\"text/xml\"\nSOAPAction: urn:pay\n\nContent-Type: multipart/related; boundary=c; type=\"text/xml\"",
			"--b\r\nContent-ID: <scan>\r\n\r\n\x89PNG\r\n--b\r\nContent-ID: <root>\r\nContent-Type: application/xop+xml\r\n\r\n"+`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><Pay/></s:Body></s:Envelope>`+"\r\n--b--\r\n", 500,
			"--c\r\n\r\n"+`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>no card</faultstring></s:Fault></s:Body></s:Envelope>`+"\r\n--c--\r\n"),
			"SOAP Pay → 500, fault Client [client_error Client] endpoint=POST /ws Pay soap_action=urn:pay soap_operation=Pay soap_version=1.1 soap_fault_code=Client soap_fault=no card"},
		{"SOAP with a kind of the client's fault", contenttest.HTTP("POST /ws", "Content-Type: text/xml\n\nContent-Type: text/xml", `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><Pay/></s:Body></s:Envelope>`, 500,
			`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client.Authentication</faultcode><faultstring>who are you</faultstring></s:Fault></s:Body></s:Envelope>`),
			"SOAP Pay → 500, fault Client.Authentication [client_error Client.Authentication] endpoint=POST /ws Pay soap_operation=Pay soap_version=1.1 soap_fault_code=Client.Authentication soap_fault=who are you"},
		{"SOAP 1.2 with the server's fault", contenttest.HTTP("POST /ws", "Content-Type: application/soap+xml; action=\"urn:pay\"\n\nContent-Type: application/soap+xml", `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><Pay/></e:Body></e:Envelope>`, 200,
			`<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>e:Receiver</e:Value></e:Code><e:Reason><e:Text>down</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>`),
			"SOAP Pay → 200, fault Receiver [server_error Receiver] endpoint=POST /ws Pay soap_action=urn:pay soap_operation=Pay soap_version=1.2 soap_fault_code=Receiver soap_fault=down"},
		{"packets of Socket.IO in long polling", contenttest.HTTP("POST /socket.io/?token=x&EIO=4&transport=polling&sid=x", "Content-Type: text/plain;charset=UTF-8\n", "2\x1e42/chat/7,12[\"say\",{\"password\":\"x\"}]\x1e42[\"leave\"]", 200, "ok"),
			"Socket.IO event say /chat/7 → 200, 3 packets endpoint=POST /socket.io/ event say /chat/{id} socketio_packet=event socketio_event=say socketio_events=[say leave] socketio_namespace=/chat/7 socketio_ack_id=12 socketio_packets=3"},
		{"a refused connection in long polling", contenttest.HTTP("GET /socket.io/?EIO=4&transport=polling&sid=x", "\nContent-Type: text/plain", "", 200, `44/chat,{"message":"not authorized"}`),
			"Socket.IO connect_error /chat → 200, not authorized [client_error not authorized] endpoint=GET /socket.io/ connect_error /chat socketio_packet=connect_error socketio_namespace=/chat socketio_packets=1 socketio_error=not authorized"},
		{"lengths of Engine.IO 3 are in units of UTF-16", contenttest.HTTP("POST /socket.io/?EIO=3&transport=polling&sid=x", "\n", "13:42[\"a\",\"✓😀\"]7:42[\"b\"]", 200, "ok"),
			"Socket.IO event a → 200, 2 packets endpoint=POST /socket.io/ event a socketio_packet=event socketio_event=a socketio_events=[a b] socketio_namespace=/ socketio_packets=2"},
		{"a binary payload of Engine.IO 3", contenttest.HTTP("POST /socket.io/?EIO=3&transport=polling&sid=x", "Content-Type: application/octet-stream\n", "\x00\x01\x02\xff451-[\"a\",{}]\x01\x03\xff\x04\x00\xff\x00\x08\xff42[\"é\"]", 200, "ok"),
			"Socket.IO binary_event a → 200, 3 packets endpoint=POST /socket.io/ binary_event a socketio_packet=binary_event socketio_event=a socketio_events=[a é] socketio_namespace=/ socketio_packets=3"},
		{"a binary payload of Engine.IO 3 with a wrong length", contenttest.HTTP("POST /socket.io/?EIO=3&transport=polling&sid=x", "\n", "\x00\x09\x09\xff42[\"a\"]", 200, "ok"), "POST /socket.io/ → 200"},
		{"JSONP polling of a server", contenttest.HTTP("GET /socket.io/?EIO=3&transport=polling&j=0&sid=x", "\nContent-Type: text/javascript; charset=UTF-8", "", 200, `___eio[0]("12:42[\"a\",\"\\n\"]7:42[\"b\"]");`),
			"Socket.IO event a → 200, 2 packets endpoint=GET /socket.io/ event a socketio_packet=event socketio_event=a socketio_events=[a b] socketio_namespace=/ socketio_packets=2"},
		{"JSONP polling of a client", contenttest.HTTP("POST /socket.io/?EIO=4&transport=polling&j=1&sid=x", "Content-Type: application/x-www-form-urlencoded\n", `d=42%5B%22say%22%2C%22a%5C%5Cn%22%5D%1e42%5B%22leave%22%5D`, 200, "ok"),
			"Socket.IO event say → 200, 2 packets endpoint=POST /socket.io/ event say socketio_packet=event socketio_event=say socketio_events=[say leave] socketio_namespace=/ socketio_packets=2"},
		{"a script that is not JSONP polling", contenttest.HTTP("GET /socket.io/?EIO=4&transport=polling&j=0", "\nContent-Type: text/javascript", "", 200, `alert("42[]");`), "GET /socket.io/ → 200"},
		{"a packet of Engine.IO 3 with a wrong length", contenttest.HTTP("POST /socket.io/?EIO=3&transport=polling&sid=x", "\n", "99:42[\"a\"]", 200, "ok"), "POST /socket.io/ → 200"},
		{"a message of Engine.IO without Socket.IO", contenttest.HTTP("POST /engine.io/?EIO=4&transport=polling&sid=x", "\n", `42 apples`, 200, "ok"),
			"Engine.IO message → 200 endpoint=POST /engine.io/ message socketio_packet=message socketio_packets=1"},
		{"a session of Engine.IO that has ended", contenttest.HTTP("GET /socket.io/?EIO=4&transport=polling&sid=x", "\nContent-Type: application/json", "", 400, `{"code":1,"message":"Session ID unknown"}`),
			"Engine.IO request → 400, Session ID unknown [client_error ] endpoint=GET /socket.io/ socketio_packet=error socketio_error=Session ID unknown"},
		{"a page with such a query", contenttest.HTTP("GET /?EIO=4&transport=polling", "\nContent-Type: text/html", "", 200, `<html>`), "GET / → 200"},
		{"packets without such a query", contenttest.HTTP("POST /socket.io/", "\n", `42["a"]`, 200, "ok"), "POST /socket.io/ → 200"},
		{"XML that is not SOAP", contenttest.HTTP("POST /ws", "Content-Type: text/xml\n\nContent-Type: text/xml", "<a/>", 200, "<b/>"), "POST /ws → 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := line(read(tc.e)); got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestAnswered has a client that closes the stream of events when it has what it asked for, as that of MCP for Python.
func TestAnswered(t *testing.T) {
	const answer = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n"
	for _, c := range []struct{ name, request, response, want string }{
		{"the answer", `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, answer, table.OK},
		{"the answer to another request", `{"jsonrpc":"2.0","id":8,"method":"tools/list"}`, answer, ""},
		{"a part of a batch", `[{"jsonrpc":"2.0","id":7,"method":"a"},{"jsonrpc":"2.0","id":8,"method":"b"}]`, answer, ""},
		{"progress only", `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n", ""},
		{"an error", `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32603,\"message\":\"no\"}}\n\n", table.ServerError},
		{"a tool that fails", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"rm"}}`, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"isError\":true}}\n\n", table.ServerError},
	} {
		call := &table.Call{Method: table.Some("POST"), Path: table.Some("/mcp"), StatusCode: table.Some(int32(200)), Error: table.Some("cut"), Summary: "POST /mcp → 200",
			RequestContentType: table.Some("application/json"), ResponseContentType: table.Some(content.EventStream)}
		if Read(content.NewExchange(call, contenttest.Body(c.request), contenttest.Body(c.response))); call.Outcome != c.want {
			t.Errorf("%s: outcome %q, want %q", c.name, call.Outcome, c.want)
		}
	}
}

// TestContentIsBounded reads content that is nested, endless or cut. None may take long, whatever
// reads it.
func TestContentIsBounded(t *testing.T) {
	const n = 4 << 20
	deep, quotes := strings.Repeat("[", n), strings.Repeat(`\"`, n/2)
	fields := strings.Repeat("{a ", 300_000)
	rpc := `{"jsonrpc":"2.0","id":1,"method":"a","params":`
	for _, body := range []string{deep, `{"query":` + deep, `{"query":"` + quotes, `{"query":"` + fields, `{"query":"{` + strings.Repeat("...on X{", n/8), `{"query":"` + strings.Repeat("fragment a on b {c}", 50_000),
		rpc + deep, rpc + `"` + quotes, strings.Repeat(rpc, n/len(rpc)), "[" + strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"a"},`, 100_000), strings.Repeat(`{"`, n/2)} {
		for _, response := range []string{deep, `{"errors":` + deep, strings.Repeat(`{"errors":[{}]}`, n/15), "data:" + strings.Repeat("\ndata:", n/6), strings.Repeat("data:{\n\n", n/8), strings.Repeat("\n", n)} {
			for _, headers := range []string{jsonBoth, events} {
				start := time.Now()
				c, columns := read(contenttest.HTTP("POST /x", headers, body, 200, response))
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("%.40q and %.40q took %s", body, response, took)
				}
				if l := line(c, columns); len(l) > 20_000 {
					t.Errorf("%.40q and %.40q give %d bytes", body, response, len(l))
				}
			}
		}
	}
}

// TestNamesOnly sends a secret in each place that no column may show.
func TestNamesOnly(t *testing.T) {
	const secret = "hunter2"
	for _, e := range []content.Exchange{
		contenttest.HTTP("POST /g", jsonBoth, `{"query":"query A($p: String = \"`+secret+`\") { login(password: \"`+secret+`\") { t } }","variables":{"p":"`+secret+`"}}`, 200, `{"data":{"login":"`+secret+`"}}`),
		contenttest.HTTP("GET /g?query={a(p:\""+secret+"\")}&variables={\"p\":\""+secret+"\"}", "\nContent-Type: application/json", "", 200, `{"data":{}}`),
		contenttest.HTTP("POST /rpc", jsonBoth, `{"jsonrpc":"2.0","id":1,"method":"login","params":["`+secret+`"]}`, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no","data":"`+secret+`"}}`),
		contenttest.HTTP("POST /mcp", events+"\nMcp-Session-Id: "+secret, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"k":"`+secret+`"}}}`, 200, "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":\""+secret+"\"}}\n\n"),
		contenttest.HTTP("POST /mcp?sessionId="+secret, jsonBoth, `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"http://u:`+secret+`@h/p?token=`+secret+`"}}`, 200, `{}`),
	} {
		c, columns := read(e)
		if columns == nil || strings.Contains(line(c, columns), secret) {
			t.Errorf("%s: %s", e.Summary, line(c, columns))
		}
	}
}

func FuzzContent(f *testing.F) {
	f.Add("POST /g?query={a}", events, `{"query":"query A { a }"}`, "data: {\"errors\":[{}]}\n\n")
	f.Add("GET /g?query={a}", jsonBoth, `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"},"id":1}`, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	f.Fuzz(func(t *testing.T, request, headers, body, response string) {
		for _, s := range []string{request, headers} { // the columns of a call are valid text
			if strings.ToValidUTF8(s, "") != s {
				return
			}
		}
		c, columns := read(contenttest.HTTP(request, headers, body, 200, response))
		if l := line(c, columns); strings.ToValidUTF8(l, "") != l {
			t.Errorf("text that is not UTF-8: %q", l)
		}
	})
}

// TestInterpretationsAreComplete checks that each interpretation has a page, a word of KFL and
// columns with its name.
func TestInterpretationsAreComplete(t *testing.T) {
	const repo = "../../../../"
	names, err := os.ReadFile(repo + "kfl/names.tsv")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(repo + "docs/format/protocols.md")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	known := " "
	for _, p := range Protocols() {
		known += p.Name + " "
	}
	for _, f := range folders {
		if f.IsDir() && f.Name() != "all" && !strings.Contains(known, " "+f.Name()+" ") {
			t.Errorf("folder %s is not in Protocols", f.Name())
		}
	}
	for _, p := range Protocols() {
		name := p.Name
		if p.Doc == "" || p.Versions == "" || p.Depth == "" || len(p.Inside) == 0 {
			t.Errorf("%s is not described", name)
		}
		page := "protocols/" + name + ".md"
		if _, err := os.Stat(repo + "docs/format/" + page); err != nil || !bytes.Contains(index, []byte(page)) {
			t.Errorf("%s has no page that docs/format/protocols.md lists", name)
		}
		if !regexp.MustCompile(`(?m)^` + name + "\tbool\t=").Match(names) {
			t.Errorf("%s is no word of KFL: add it to kfl/names.tsv", name)
		}
	}
	for _, c := range table.SchemaOf("content", "d", Columns{}).Columns {
		if first, _, _ := strings.Cut(c.Name, "_"); !strings.Contains(known, " "+first+" ") {
			t.Errorf("column %s does not begin with the name of an interpretation", c.Name)
		}
	}
}
