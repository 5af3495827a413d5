package nearest

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	protocols := []string{"http1", "dns", "http2", "redis", "postgresql", "mysql", "nats", "ssh", "ftp", "cassandra", "jsonrpc", "ws"}
	fields := []string{"http", "ip", "services", "src.pod", "src.service", "src.name", "src_ip", "status_code", "elapsed_time", "for_every"}
	questions := []string{"find-failures", "get-latency", "list-external", "list-findings", "show"}
	for _, c := range []struct {
		why   string
		typed string
		among []string
		want  string
	}{
		{"a letter left out, and a digit", "htp", protocols, "http1"},
		{"the beginning of a name", "postgres", protocols, "postgresql"},
		{"a short beginning", "cass", protocols, "cassandra"},
		{"a letter too many, and the beginning", "reddis", protocols, "redis"},
		{"a letter for a digit", "https", protocols, "http1"},
		{"capitals", "DNS", protocols, "dns"},
		{"a joint too many", "json-rpc", protocols, "jsonrpc"},
		{"the first of two equally near", "http9", protocols, "http1"},
		{"a letter left out", "stats_code", fields, "status_code"},
		{"two letters swapped", "elapsed_tiem", fields, "elapsed_time"},
		{"a dot for an underscore", "src.ip", fields, "src_ip"},
		{"the last word of a name", "failures", questions, "find-failures"},
		{"a word in the middle", "external", questions, "list-external"},
		{"a misspelt word of a name", "latncy", questions, "get-latency"},
		{"the first word of a name", "find", questions, "find-failures"},
		{"two letters of six left out", "dctr", []string{"doctor", "ring"}, "doctor"},

		{"another word", "foo", fields, ""},
		{"another word of the same length", "tsk", []string{"ask"}, ""},
		{"one letter", "x", []string{"/", "ip"}, ""},
		{"two letters", "id", fields, ""},
		{"nothing", "", fields, ""},
		{"a long text", strings.Repeat("a", 100), fields, ""},
	} {
		if got := Name(c.typed, c.among); got != c.want {
			t.Errorf("%s: %q is near %q, want %q", c.why, c.typed, got, c.want)
		}
	}
}
