package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/mcp/door"
	"github.com/pcapsule/pcapsule/mcp/rpc"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

var revisions = []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// listening serves on a real listener and returns the URL.
func listening(t testing.TB, s *Server, o HTTPOptions) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String() + "/mcp"
}

// dial connects the SDK's client with one revision.
func dial(t testing.TB, url, revision string, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o).Connect(context.Background(), &sdk.StreamableClientTransport{Endpoint: url, MaxRetries: -1},
		&sdk.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEveryRevisionOverHTTP(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "shop.pcapng")), HTTPOptions{})
	for _, revision := range revisions {
		t.Run(revision, func(t *testing.T) {
			c := dial(t, url, revision, nil)
			if got := c.InitializeResult().ProtocolVersion; got != revision {
				t.Errorf("revision %s, want %s", got, revision)
			}
			if has := c.ID() != ""; has != (revision < rpc.Newest) {
				t.Errorf("session id %q", c.ID())
			}
			talk(t, c)
		})
	}
}

func TestEveryRevisionOverStreams(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "shop.pcapng"))
	for _, revision := range revisions {
		t.Run(revision, func(t *testing.T) {
			inR, inW := io.Pipe()
			outR, outW := io.Pipe()
			ended := make(chan error, 1)
			go func() { ended <- s.ServeStdio(context.Background(), inR, outW) }()
			c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(context.Background(), &sdk.IOTransport{Reader: outR, Writer: inW},
				&sdk.ClientSessionOptions{ProtocolVersion: revision})
			if err != nil {
				t.Fatal(err)
			}
			if got := c.InitializeResult().ProtocolVersion; got != revision {
				t.Errorf("revision %s, want %s", got, revision)
			}
			talk(t, c)
			inW.Close()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Error("the server keeps running after the end of its input")
			}
			outR.Close()
		})
	}
}

// talk uses tools, resources, prompts and completion.
func talk(t *testing.T, c *sdk.ClientSession) {
	t.Helper()
	ctx := context.Background()
	var calls tools.ListAPICallsOut
	if e := callTool(t, c, "list_api_calls", map[string]any{"kfl": "http", "limit": 3}, &calls); e != "" || len(calls.Calls) != 3 {
		t.Fatalf("%s, %d calls", e, len(calls.Calls))
	}
	r, err := c.ReadResource(ctx, &sdk.ReadResourceParams{URI: "pcapsule://calls/" + calls.Calls[0].ID})
	if err != nil || !strings.Contains(r.Contents[0].Text, calls.Calls[0].ID) {
		t.Errorf("resource: %v", err)
	}
	if list, err := c.ListPrompts(ctx, nil); err != nil || len(list.Prompts) < 8 {
		t.Errorf("prompts: %v", err)
	}
	v, err := c.Complete(ctx, &sdk.CompleteParams{Ref: &sdk.CompleteReference{Type: "ref/resource", URI: "pcapsule://schema/{table}"}, Argument: sdk.CompleteParamsArgument{Name: "table", Value: "fl"}})
	if err != nil || !slices.Equal(v.Completion.Values, []string{"flows"}) {
		t.Errorf("completion: %v %v", v, err)
	}
	if _, err := c.CallTool(ctx, &sdk.CallToolParams{Name: "no_such_tool"}); err == nil || !strings.Contains(err.Error(), "unknown tool") {
		t.Errorf("unknown tool: %v", err)
	}
}

// post sends a message and returns status and body.
func post(t testing.TB, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i+1 < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// modern makes a request of the newest revision with its headers.
func modern(method, name, params string) (body string, header []string) {
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"raw","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	if params = strings.TrimSuffix(strings.TrimPrefix(params, "{"), "}"); params != "" {
		meta += "," + params
	}
	header = []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", method}
	if name != "" {
		header = append(header, "Mcp-Name", name)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, meta), header
}

func TestInvalidMessagesGetJSONRPCCodes(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{MaxBody: 64 << 10})
	for _, tt := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"not JSON", `{"jsonrpc":`, 400, `"id":null,"error":{"code":-32700`},
		{"nothing", ``, 400, `-32700`},
		{"bytes", "\x00\xff\xfe", 400, `-32700`},
		{"nested too deeply", strings.Repeat("[", 20000), 400, `-32700`},
		{"a number", `5`, 400, `-32600`},
		{"another protocol", `{"id":1,"method":"ping"}`, 400, `"id":1,"error":{"code":-32600`},
		{"an invalid id", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, 400, `"id":null,"error":{"code":-32600`},
		{"method twice", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`, 400, `"id":1,"error":{"code":-32600,"message":"not a JSON-RPC message: member \"method\" is given twice`},
		{"params twice", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"\u0070arams":{}}`, 400, `-32600`},
		{"id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, 400, `"id":null,"error":{"code":-32600`},
		{"one member twice in two cases", `{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/list"}`, 400, `-32600`},
		{"twice in a batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping","method":"ping"}]`, 400, `"id":2,"error":{"code":-32600`},
		{"name of a tool twice", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_sql","name":"get_overview"}}`, 200, `"code":-32602`},
		{"an empty batch", `[]`, 400, `-32600`},
		{"a batch of numbers", `[1,2]`, 400, `-32600`},
		{"neither method nor result", `{"jsonrpc":"2.0","id":1}`, 400, `-32600`},
		{"an unknown method", `{"jsonrpc":"2.0","id":"a","method":"tools/guess"}`, 200, `"id":"a","error":{"code":-32601`},
		{"params that are not an object", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}`, 200, `-32602`},
		{"no params", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, 200, `-32602`},
		{"a request before initialize", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, 400, `"id":1,"error":{"code":-32600,"message":"tools/list before initialize`},
		{"an unknown notification", `{"jsonrpc":"2.0","method":"notifications/guess"}`, 202, ``},
		{"too long", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", 65<<10) + `"}}`, 413, `larger than 65536 bytes`},
	} {
		if status, body := post(t, url, tt.body); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: status %d, %s; want %d, %s", tt.name, status, ask.Clip(body, 300), tt.status, tt.want)
		}
	}
	for _, tt := range []struct {
		name, method, tool, params string
		status                     int
		want                       string
	}{
		{"an unknown method", "tools/guess", "", `{}`, 404, `-32601`},
		{"an unknown tool", "tools/call", "guess", `{"name":"guess"}`, 400, `-32602`},
		{"a name of another type", "tools/call", "x", `{"name":5}`, 400, `"code":-32`},
		{"arguments of another type", "tools/call", "run_sql", `{"name":"run_sql","arguments":5}`, 200, `"isError":true`},
		{"an argument of another type", "tools/call", "run_sql", `{"name":"run_sql","arguments":{"sql":5}}`, 200, `"isError":true`},
		{"a missing argument", "tools/call", "run_sql", `{"name":"run_sql"}`, 200, `"isError":true`},
		{"an unknown argument", "tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"filter":"http"}}`, 200, `filter`},
		{"a huge limit", "tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"limit":1e300}}`, 200, `"isError":true`},
		{"a negative limit", "tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"limit":-5}}`, 200, `limit: must be 1 to 1000, not -5`},
		{"max_bytes that is too small", "tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"max_bytes":1}}`, 200, `max_bytes`},
		{"KFL that is SQL", "tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"kfl":"http' OR 1=1; DROP VIEW calls --"}}`, 200, `KFL`},
		{"an order that is SQL", "tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"order":"ts; drop view calls"}}`, 200, `"isError":true`},
		{"a path outside the folder", "tools/call", "export_pcap", `{"name":"export_pcap","arguments":{"name":"../x.pcapng"}}`, 200, `"isError":true`},
		{"a missing resource", "resources/read", "pcapsule://calls/00000000000000", `{"uri":"pcapsule://calls/00000000000000"}`, 200, `not found`},
		{"a malformed id of a call", "resources/read", "pcapsule://calls/zz", `{"uri":"pcapsule://calls/zz"}`, 400, `"code":-32602,"message":"call`},
		{"an argument that is given twice", "tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"limit":1,"limit":2}}`, 200, `\"limit\" is given twice`},
		{"half of a character", "tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"kfl":"path == \"\ud800\""}}`, 200, `surrogate pair`},
		{"a long name", "tools/call", "list_l4_flows", `{"name":"list_l4_flows","arguments":{"pod":"` + strings.Repeat("*a", 20_000) + `"}}`, 200, `pod: must have at most 4096 bytes`},
		{"another URI scheme", "resources/read", "file:///etc/passwd", `{"uri":"file:///etc/passwd"}`, 400, `not found`},
		{"a missing prompt", "prompts/get", "guess", `{"name":"guess"}`, 400, `-32602`},
		{"a missing argument of a prompt", "prompts/get", "trace_request", `{"name":"trace_request"}`, 400, `call_id`},
	} {
		body, header := modern(tt.method, tt.tool, tt.params)
		if status, got := post(t, url, body, header...); (status != tt.status && tt.status != 200) || !strings.Contains(strings.ToLower(got), strings.ToLower(tt.want)) {
			t.Errorf("%s: status %d, %s; want %d, %s", tt.name, status, ask.Clip(got, 300), tt.status, tt.want)
		}
	}
	talk(t, dial(t, url, "2025-11-25", nil)) // it is still there
}

func TestDiscovery(t *testing.T) {
	url := listening(t, serving(t, Options{Release: "1.2.3"}, bundled(t, "http1.pcapng")), HTTPOptions{})
	get := func(accept string) (int, string, string) {
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		data, _ := io.ReadAll(res.Body)
		return res.StatusCode, res.Header.Get("Content-Type"), string(data)
	}
	for _, accept := range []string{"", "*/*", "application/json"} {
		status, kind, body := get(accept)
		var d struct {
			Name, Version, Description string
			Endpoints                  []struct {
				Path, Method, Description string
				Params                    []param
			}
		}
		if err := json.Unmarshal([]byte(body), &d); err != nil || status != 200 || kind != "application/json" || d.Name != "pcapsule" || d.Version != "1.2.3" || d.Description == "" ||
			len(d.Endpoints) == 0 || d.Endpoints[0].Params == nil {
			t.Errorf("Accept %q: %d %s %s %v", accept, status, kind, body, err)
		}
	}
	if status, _, body := get("text/event-stream"); status != 400 { // no session
		t.Errorf("an event stream without a session: %d %s", status, body)
	}
}

func TestHostsOriginsAndTokens(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	open := listening(t, s, HTTPOptions{Hosts: []string{"evidence.example.org"}, Origins: []string{"https://tool.example.org"}})
	closed := listening(t, s, HTTPOptions{Tokens: []door.Token{door.NewToken("anna", "0123456789abcdef"), door.NewToken("ben", "fedcba9876543210")}})
	ping := initialize
	for _, tt := range []struct {
		name, url string
		header    []string
		status    int
	}{
		{"this machine", open, nil, 200},
		{"by name", open, []string{"Host", "localhost:8898"}, 200},
		{"a rebound name", open, []string{"Host", "evil.example.com"}, 403},
		{"a name with ours as its prefix", open, []string{"Host", "localhost.evil.example.com"}, 403},
		{"another address", open, []string{"Host", "192.0.2.1:80"}, 403},
		{"an allowed name", open, []string{"Host", "Evidence.example.org:443"}, 200},
		{"a page from another port", open, []string{"Origin", "http://localhost:3000"}, 403},
		{"this server's page", open, []string{"Origin", strings.TrimSuffix(open, "/mcp")}, 200},
		{"this server's page with another scheme", open, []string{"Origin", "https" + strings.TrimSuffix(open[4:], "/mcp")}, 403},
		{"this server's page on the usual port", open, []string{"Host", "localhost", "Origin", "http://localhost:80"}, 200},
		{"this server's page by another name", open, []string{"Host", "localhost:8898", "Origin", "http://127.0.0.1:8898"}, 403},
		{"a message that is not JSON", open, []string{"Content-Type", "text/plain"}, 415},
		{"a message with parameters of its type", open, []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"a page from elsewhere", open, []string{"Origin", "http://evil.example.com"}, 403},
		{"a page without an origin", open, []string{"Origin", "null"}, 403},
		{"an image of a page from elsewhere", open, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "image"}, 403},
		{"a link of a page from elsewhere", open, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document"}, 200},
		{"this server's own page", open, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "empty"}, 200},
		{"an allowed page", open, []string{"Origin", "https://tool.example.org", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "empty"}, 200},
		{"an allowed page with another scheme", open, []string{"Origin", "http://tool.example.org"}, 403},
		{"no token", closed, nil, 401},
		{"another token", closed, []string{"Authorization", "Bearer 0123456789abcdeX"}, 401},
		{"a prefix of a token", closed, []string{"Authorization", "Bearer 0123456789abcde"}, 401},
		{"another authentication scheme", closed, []string{"Authorization", "Basic MDEyMw=="}, 401},
		{"a token", closed, []string{"Authorization", "Bearer fedcba9876543210"}, 200},
	} {
		if status, body := post(t, tt.url, ping, tt.header...); status != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.name, status, tt.status, body)
		}
	}
}

func TestASessionBelongsToItsToken(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{Tokens: []door.Token{door.NewToken("anna", "0123456789abcdef"), door.NewToken("ben", "fedcba9876543210")}})
	req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer 0123456789abcdef")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	id := res.Header.Get("Mcp-Session-Id")
	if status, body := post(t, url, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, "Mcp-Session-Id", id, "Authorization", "Bearer fedcba9876543210"); status != 403 {
		t.Errorf("another client's session: status %d: %s", status, body)
	}
}

func TestSessionsAreLimited(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{MaxSessions: 2})
	first := dial(t, url, "2025-11-25", nil)
	dial(t, url, "2025-11-25", nil)
	ask := initialize
	if status, body := post(t, url, ask); status != 503 || !strings.Contains(body, "-32000") {
		t.Errorf("a third: %d %s", status, body)
	}
	talk(t, dial(t, url, rpc.Newest, nil)) // it needs no session
	first.Close()
	wait(t, "a session that ended makes room", func() bool { status, _ := post(t, url, ask); return status == 200 })
}

// wait polls until a condition is true.
func wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not in 30 s: %s", what)
}

func TestAThousandConnections(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{MaxConns: 1100})
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp")
	for i := range 1000 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Skipf("needs open files: %d, %v", 2*i, err)
		}
		defer c.Close()
		if i%2 == 0 { // send only half of a header
			if _, err := c.Write([]byte("POST /mcp HTTP/1.1\r\nHost: localhost\r\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	talk(t, dial(t, url, rpc.Newest, nil))
	talk(t, dial(t, url, "2025-11-25", nil))
}

// TestSlowBodiesLockNoOtherOut opens more connections than the server keeps, each of which
// sends one byte of a body, while others are answered.
func TestSlowBodiesLockNoOtherOut(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{MaxConns: 20})
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp")
	var slow []net.Conn
	for i := range 100 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		slow = append(slow, c)
		path := []string{"/mcp", "/mcp/snapshots", "/mcp/calls", "/nowhere"}[i%4]
		// The server may have closed it already.
		_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", path)
		if i%10 == 0 {
			talk(t, dial(t, url, rpc.Newest, nil))
		}
	}
	talk(t, dial(t, url, rpc.Newest, nil))
	_ = slow[0].SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.Copy(io.Discard, slow[0]); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the oldest slow connection is still open")
	}
}

// TestAnswersKeepTheirConnections checks that only connections without a complete request are
// closed to make room.
func TestAnswersKeepTheirConnections(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{MaxConns: 2})
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp")
	ask := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		body, header := modern("subscriptions/listen", "", `{"notifications":{"toolsListChanged":true}}`)
		fmt.Fprintf(c, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: %d\r\n", len(body))
		for i := 0; i < len(header); i += 2 {
			fmt.Fprintf(c, "%s: %s\r\n", header[i], header[i+1])
		}
		fmt.Fprintf(c, "\r\n%s", body)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, _ := ask(), ask()
	third, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	_ = third.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third connection is not closed: %v", err)
	}
	first.Close()
	wait(t, "a connection that ended makes room", func() bool {
		res, err := http.Get(url)
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == 200
	})
}

func TestTenClientsDoNotStarveEachOther(t *testing.T) {
	s := serving(t, Options{Parallel: 2, Deadline: 10 * time.Minute}, bundled(t, "shop.pcapng"))
	url := listening(t, s, HTTPOptions{})
	greedy := dial(t, url, "2025-11-25", nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var slow sync.WaitGroup
	var done atomic.Int64
	for range 20 {
		slow.Go(func() {
			_, _ = greedy.CallTool(ctx, &sdk.CallToolParams{Name: "run_sql", Arguments: map[string]any{"sql": "select count(*) from range(3000000000) a where sin(a.range) > 2"}})
			done.Add(1)
		})
	}
	wait(t, "the greedy client has its slots", func() bool { _, waiting := s.long.Load(); return waiting > 10 })
	var others sync.WaitGroup
	for range 9 {
		c := dial(t, url, "2025-11-25", nil)
		others.Go(func() {
			for range 3 {
				var out tools.ListAPICallsOut
				if e := callTool(t, c, "list_api_calls", map[string]any{"limit": 3}, &out); e != "" {
					t.Error(e)
				}
			}
		})
	}
	others.Wait()
	if n := done.Load(); n > 18 {
		t.Errorf("the others waited for %d of 20 slow questions", n)
	}
	cancel() // the SDK's client then sends notifications/cancelled, and the queries end
	slow.Wait()
	wait(t, "cancelled questions release their slots", func() bool {
		free, waiting := s.long.Load()
		return free == 2 && waiting == 0
	})
}

func TestCancelledQuestionsEnd(t *testing.T) {
	s := serving(t, Options{Parallel: 2, Deadline: 10 * time.Minute}, bundled(t, "http1.pcapng"))
	url := listening(t, s, HTTPOptions{})
	for _, revision := range []string{rpc.Newest, "2025-11-25"} {
		c := dial(t, url, revision, nil)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = c.CallTool(ctx, &sdk.CallToolParams{Name: "run_sql", Arguments: map[string]any{"sql": "select count(*) from range(100000000000) a where sin(a.range) > 2"}})
		}()
		wait(t, "the question runs", func() bool { free, _ := s.long.Load(); return free == 1 })
		cancel()
		wait(t, revision+": the query ends", func() bool { free, _ := s.long.Load(); return free == 2 })
		<-ended
	}
}

func TestDeadlinesAndProgress(t *testing.T) {
	s := serving(t, Options{Deadline: 5 * time.Second}, bundled(t, "http1.pcapng"))
	url := listening(t, s, HTTPOptions{})
	for _, revision := range []string{rpc.Newest, "2025-11-25"} {
		var notified atomic.Int64
		c := dial(t, url, revision, &sdk.ClientOptions{ProgressNotificationHandler: func(context.Context, *sdk.ProgressNotificationClientRequest) { notified.Add(1) }})
		p := &sdk.CallToolParams{Name: "run_sql", Arguments: map[string]any{"sql": "select count(*) from range(100000000000) a where sin(a.range) > 2"}}
		p.SetProgressToken("p")
		r, err := c.CallTool(context.Background(), p)
		if err != nil || !r.IsError || !strings.Contains(r.Content[0].(*sdk.TextContent).Text, "deadline") {
			t.Fatalf("%s: %v %v", revision, r, err)
		}
		wait(t, revision+": progress is reported", func() bool { return notified.Load() > 0 })
	}
}

func TestServerKeepsRunningWhenABundleIsRemoved(t *testing.T) {
	path := bundled(t, "http1.pcapng")
	s := serving(t, Options{}, path)
	url := listening(t, s, HTTPOptions{})
	c := dial(t, url, "2025-11-25", nil)
	talk(t, c)
	away := path + ".away"
	rename(t, path, away)
	var out any
	got := ""
	for _, tool := range []string{"list_api_calls", "run_sql", "get_l4_flow_summary", "get_api_stats"} {
		args := map[string]any{}
		if tool == "run_sql" {
			args["sql"] = "select path from calls order by path"
		}
		if e := callTool(t, c, tool, args, &out); e != "" {
			got = e
			if !strings.Contains(e, "was removed") {
				t.Errorf("%s: %s", tool, e)
			}
		}
	}
	if got == "" {
		t.Error("no question reported that the bundle was removed")
	}
	rename(t, away, path)
	talk(t, c)
}

func TestAccessLogRecordsWhoAskedWhat(t *testing.T) {
	path := t.TempDir() + "/audit.jsonl"
	log, err := accesslog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	o := Options{AccessLog: log, Policy: defaultPolicy()}
	url := listening(t, serving(t, o, bundled(t, "shop.pcapng")), HTTPOptions{Tokens: []door.Token{door.NewToken("anna", "0123456789abcdef")}})
	body, header := modern("tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"limit":3,"kfl":"\"password=hunter2222\" == \"x\""}}`)
	if status, got := post(t, url, body, append(header, "Authorization", "Bearer 0123456789abcdef")...); status != 200 {
		t.Fatalf("%d %s", status, got)
	}
	body, header = modern("tools/call", "list_api_calls", `{"name":"list_api_calls","arguments":{"limit":3}}`)
	post(t, url, body, append(header, "Authorization", "Bearer 0123456789abcdef")...)
	rename(t, path, path+".1") // as log rotation does
	body, header = modern("resources/read", "pcapsule://cases", `{"uri":"pcapsule://cases"}`)
	post(t, url, body, append(header, "Authorization", "Bearer 0123456789abcdef")...)
	post(t, url, body, append(header, "Authorization", "Bearer wrong-and-secret-token")...)
	first, second := accessEntries(t, path+".1"), accessEntries(t, path)
	if len(first) != 2 || len(second) != 2 {
		t.Fatalf("%d and %d lines, want 2 and 2: %+v %+v", len(first), len(second), first, second)
	}
	if e := first[0]; e.User != "anna" || e.Client != "raw 1" || e.Remote != "127.0.0.1" || e.Method != "tools/call" || e.Name != "list_api_calls" || e.SHA256 == "" ||
		strings.Contains(e.Arguments, "hunter2222") {
		t.Errorf("%+v", e)
	}
	if e := first[1]; e.Rows != 3 || e.Bytes == 0 || e.Error != "" || e.Time == "" {
		t.Errorf("%+v", e)
	}
	if e := second[0]; e.Method != "resources/read" || e.Name != "pcapsule://cases" {
		t.Errorf("%+v", e)
	}
	if e := second[1]; !strings.Contains(e.Error, "token refused") || strings.Contains(fmt.Sprint(e), "wrong-and-secret") {
		t.Errorf("%+v", e)
	}
}

func accessEntries(t *testing.T, path string) (out []accesslog.Entry) {
	t.Helper()
	for _, line := range bytes.Split(bytes.TrimSpace(readFile(t, path)), []byte("\n")) {
		var e accesslog.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// TestALongAddressIsAnswered sends a request line above the limit, which the server does not read to its end.
func TestALongAddressIsAnswered(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{})
	c, err := net.Dial("tcp", strings.Split(url, "/")[2])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET /mcp/calls?kfl=" + strings.Repeat("a", 2*maxHeader) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 431 ") {
		t.Errorf("%q, %v", got, err)
	}
}
