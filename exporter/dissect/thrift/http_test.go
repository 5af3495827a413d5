package thrift

import (
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/contenttest"
)

func TestReadHTTP(t *testing.T) {
	const ours = "application/x-thrift"
	add, sum := binaryMessage(1, "add", 0, two), binaryMessage(2, "add", 0, three)
	for _, c := range []struct {
		name, method, kind, request, response, want string
	}{
		{"a call", "POST", ours, add, sum, "Thrift add(1: 1, 2: 2) → 200, 0: 3 [ ] POST /t add"},
		{"a call with a type that others have too", "POST", "application/octet-stream", add, sum, "Thrift add(1: 1, 2: 2) → 200, 0: 3 [ ] POST /t add"},
		{"a call with such a type, whose reply is missing", "POST", "application/octet-stream", add, "", "no"},
		{"a call without a reply", "POST", ours, add, "", "Thrift add(1: 1, 2: 2) → 200 [ ] POST /t add"},
		{"a multiplexed call in the compact protocol", "POST", ours, compactMessage(1, "Calc:ping", 0, ""), compactMessage(2, "Calc:ping", 0, ""), "Thrift Calc:ping() → 200 [ ] POST /t Calc:ping"},
		{"a declared exception", "POST", ours, add, binaryMessage(2, "add", 0, declared), "Thrift add(1: 1, 2: 2) → 200, declared exception 1: div 0 [client_error declared exception 1] POST /t add"},
		{"an exception of the library", "POST", ours, add, binaryMessage(3, "add", 0, unknown), "Thrift add(1: 1, 2: 2) → 200, UNKNOWN_METHOD: no such [client_error UNKNOWN_METHOD] POST /t add"},
		{"the reply of another method", "POST", "", add, binaryMessage(2, "sub", 0, three), "no"},
		{"bytes after the call", "POST", ours, add + "x", sum, "no"},
		{"a reply as a request", "POST", ours, sum, sum, "no"},
		{"another type", "POST", "text/plain", add, sum, "no"},
		{"another method of HTTP", "PUT", ours, add, sum, "no"},
		{"other bytes", "POST", ours, "\x82\xff\xff\xff", "", "no"},
		{"a call in JSON", "POST", "application/vnd.apache.thrift.json", `[1,"add",1,0,{"1":{"i32":1},"2":{"i32":2}}]`, `[1,"add",2,0,{"0":{"i32":3}}]`, "Thrift add(1: 1, 2: 2) → 200, 0: 3 [ ] POST /t add"},
		{"an exception in JSON", "POST", ours, `[1,"add",1,0,{}]`, `[1,"add",3,0,{"1":{"str":"no such"},"2":{"i32":1}}]`, "Thrift add() → 200, UNKNOWN_METHOD: no such [client_error UNKNOWN_METHOD] POST /t add"},
	} {
		x := contenttest.HTTP(c.method+" /t", "Content-Type: "+c.kind, c.request, 200, c.response)
		var i Invocation
		got := "no"
		if ReadHTTP(&x, &i) {
			got = fmt.Sprintf("%s [%s %s] %s", x.Summary, x.Outcome, x.StatusText.V, x.Endpoint)
		} else if i != (Invocation{}) {
			t.Errorf("%s: %+v was changed", c.name, i)
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
