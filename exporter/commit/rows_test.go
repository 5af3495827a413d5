package commit

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestEveryColumnHasAGroup lists columns whose group must not change: a seal is about it.
func TestEveryColumnHasAGroup(t *testing.T) {
	for column, want := range map[string]string{
		"call_no": "citation", "first_packet": "citation", "cites": "citation", "ts_ns": "when", "wait_us": "when", "clock_id": "when", "pid": "process", "exe": "process",
		"src_ip": "who", "owner_kind": "who", "namespace": "who", "request_body_sha256": "body", "text": "body", "headers": "request_headers", "user_agent": "request_headers",
		"path": "request", "grpc_request_text": "request", "redis_command": "request", "request_bytes": "request", "status_code": "response", "grpc_response_text": "response",
		"redis_reply": "response", "error": "response", "tls_sni": "other", "no_such_column": "other",
	} {
		if got := rowGroups[groupOf(column)].name; got != want {
			t.Errorf("column %s is in group %s, want %s", column, got, want)
		}
	}
}

func TestGroupsAreJSON(t *testing.T) {
	text := "a\"b\\c\n\x01\u00e9\xff"
	for _, row := range []struct {
		v    any
		want string
	}{
		{true, "true"}, {int32(-1), "-1"}, {int64(1) << 60, "1152921504606846976"}, {"plain", `"plain"`}, {text, `"a\"b\\c\n\u0001\u00e9\\xff"`},
		{[]byte{1, 0xab}, `"01ab"`}, {[]string{"x", ""}, `["x",""]`}, {[]int64{}, "[]"}, {table.Cites{{First: 1, Last: 3}}, "[[1,3]]"},
		{[]table.Header{{Name: "a", Value: "b", Kind: "request"}}, `[["a","b","request"]]`}, {[]table.Pair{{Name: "a", Value: "b"}}, `[["a","b"]]`},
	} {
		got := string(appendJSON(nil, row.v))
		if got != strings.ReplaceAll(row.want, `\u00e9`, "\u00e9") || !json.Valid([]byte(got)) {
			t.Errorf("%v is written as %s, want %s", row.v, got, row.want)
		}
	}
}
