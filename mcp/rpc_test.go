package mcp

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/mcp/rpc"
)

// TestStreamsWithInvalidLines sends invalid lines between valid messages.
func TestStreamsWithInvalidLines(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	say := func(lines ...string) (string, error) {
		var out bytes.Buffer
		err := s.ServeStdio(context.Background(), strings.NewReader(strings.Join(lines, "\n")), &out)
		return out.String(), err
	}
	begin := []string{initialize, `{"jsonrpc":"2.0","method":"notifications/initialized"}`}
	for _, tt := range []struct {
		name, line string
		want       string
	}{
		{"not JSON", `{"jsonrpc"`, `"id":null,"error":{"code":-32700`},
		{"too long", `{"jsonrpc":"2.0","id":9,"method":"ping","params":{"x":"` + strings.Repeat("x", rpc.MaxLine) + `"}}`, `-32600`},
		{"an unknown method", `{"jsonrpc":"2.0","id":9,"method":"x"}`, `"id":9,"error":{"code":-32601`},
		{"a batch in a revision without batches", `[{"jsonrpc":"2.0","id":9,"method":"ping"}]`, `-32600`},
		{"params that are not an object", `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":"x"}`, `-32602`},
		{"a number that is too large as id", `{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}`, `-32600`},
		{"names in capitals", `{"jsonrpc":"2.0","ID":9,"method":"ping"}`, `-32600`},
		{"an unknown notification", `{"jsonrpc":"2.0","method":"notifications/x"}`, `"id":8`},
		{"an escaped id", `{"jsonrpc":"2.0","id":"\u0061","method":"ping"}`, `"id":"a"`},
		{"an unknown tool", `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"x"}}`, `"id":9,"error":{"code":-32602`},
	} {
		start := time.Now()
		out, err := say(append(begin, tt.line, `{"jsonrpc":"2.0","id":8,"method":"ping"}`)...)
		if err != nil || !strings.Contains(out, tt.want) || !strings.Contains(out, `"id":8`) || time.Since(start) > rpc.AnswerWait/2 {
			t.Errorf("%s: %v, %s in %s, want %s and an answer to what follows", tt.name, err, ask.Clip(out, 1000), time.Since(start), tt.want)
		}
	}
	const early = `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`
	if out, err := say(early, begin[0], begin[1], `{"jsonrpc":"2.0","id":8,"method":"tools/list"}`); err != nil || !strings.Contains(out, `"id":7,"error":{"code":-32600,"message":"tools/list before initialize`) || !strings.Contains(out, `"id":8,"result"`) {
		t.Errorf("a request before initialize: %v %s", err, ask.Clip(out, 1000))
	}
	old := strings.Replace(initialize, "2025-11-25", "2025-03-26", 1)
	if out, err := say(old, begin[1], `[{"jsonrpc":"2.0","id":5,"method":"ping"},{"jsonrpc":"2.0","id":6,"method":"tools/list"}]`); err != nil || !strings.Contains(out, `[{"jsonrpc"`) {
		t.Errorf("a batch in a revision with batches: %v %s", err, out[max(0, len(out)-600):])
	}
	if _, err := say("hello", "world"); err == nil || !strings.Contains(err.Error(), "the input has no JSON-RPC message") {
		t.Errorf("no valid message: %v", err)
	}
	if out, err := say(); err != nil || out != "" {
		t.Errorf("empty input: %v %s", err, out)
	}
}

// TestStreamsAnswerAllBeforeTheEnd pipes a file of many requests.
func TestStreamsAnswerAllBeforeTheEnd(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	in := initialize + "\n" + `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"
	for i := range 50 {
		in += fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"list_api_calls","arguments":{"limit":%d}}}`+"\n", i+2, i+1)
	}
	var out bytes.Buffer
	if err := s.ServeStdio(context.Background(), strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 51 || strings.Contains(out.String(), `"isError":true`) {
		t.Errorf("%d answers, want 51", n)
	}
}
