package snapshots

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// api is a server for a ring, with its OpenAPI description.
type api struct {
	t      *testing.T
	server *mcp.Server
	url    string
	router routers.Router
}

func newAPI(t *testing.T) *api {
	t.Helper()
	s := opened(t, ringOf(t, "http1.pcapng"), filepath.Join(t.TempDir(), "store"))
	server, err := mcp.New(nil, mcp.Options{Release: "test", Questions: all.Questions(), Store: s, ExportDir: t.TempDir(), Open: func(ctx context.Context, paths []string) (*forensics.Case, error) {
		return forensics.Open(ctx, paths, forensics.Options{Threads: 2, MaskSecrets: true})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	web := httptest.NewServer(server.Handler(mcp.HTTPOptions{}))
	t.Cleanup(web.Close)
	text, err := server.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &api{t, server, web.URL, router}
}

// do sends a request and validates request and response against the description.
func (f *api) do(method, path, body string, want int) map[string]any {
	f.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if res.StatusCode != want {
		f.t.Fatalf("%s %s: %d %s, want %d", method, path, res.StatusCode, data, want)
	}
	u, err := url.Parse(path)
	if err != nil {
		f.t.Fatal(err)
	}
	plain := &http.Request{Method: method, URL: u, Header: req.Header, Body: io.NopCloser(strings.NewReader(body))}
	route, params, err := f.router.FindRoute(plain)
	if err != nil {
		f.t.Fatalf("%s %s is not described: %v", method, path, err)
	}
	in := &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route, Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		ExcludeResponseBody: strings.HasSuffix(u.Path, "/pcap") && want == 200}}
	if want < 300 {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			f.t.Errorf("%s %s: %v", method, path, err)
		}
	}
	if err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: want, Header: res.Header,
		Body: io.NopCloser(bytes.NewReader(data)), Options: in.Options}); err != nil {
		f.t.Errorf("%s %s answers %s: %v", method, path, data, err)
	}
	var out map[string]any
	_ = json.Unmarshal(data, &out) // packets are not JSON
	return out
}

func TestAnswersAreAsDescribed(t *testing.T) {
	f := newAPI(t)
	f.do("GET", "/mcp/data-boundaries", "", 200)
	f.do("GET", "/mcp/calls", "", 409) // no dissection yet
	f.do("POST", "/mcp/snapshots", `{"name":"one","duration":"1h"}`, 200)
	f.do("POST", "/mcp/snapshots", `{"name":"one","duration":"1h"}`, 409)
	f.do("POST", "/mcp/snapshots", `{"name":"../two"}`, 400)
	f.do("POST", "/mcp/snapshots", `{"wrong":"one"}`, 400)
	f.do("POST", "/mcp/snapshots", `[`, 400)
	f.do("POST", "/mcp/snapshots", `{"name":"two","duration":"long"}`, 400)
	f.do("GET", "/mcp/snapshots", "", 200)
	f.do("GET", "/mcp/snapshots/one", "", 200)
	f.do("GET", "/mcp/snapshots/none", "", 404)
	f.do("POST", "/delayed_dissection.DelayedDissection/Start", `{"snapshot_name":"none"}`, 404)
	f.do("POST", "/delayed_dissection.DelayedDissection/Start", `{"snapshot_name":"one","dissection_name":"d"}`, 200)
	for range 3000 {
		d := f.do("GET", "/delayed_dissection.DelayedDissection/GetStatus?snapshot_name=one&dissection_name=d", "", 200)
		if d["status"] == "completed" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.do("POST", "/delayed_dissection.DelayedDissection/GetStatus", `{"snapshot_name":"one","dissection_name":"d"}`, 200)
	f.do("GET", "/mcp/dissections", "", 200)
	f.do("GET", "/mcp/databases", "", 200)
	calls := f.do("GET", "/mcp/calls?db=one/d&kfl=http&limit=2", "", 200)
	if list, ok := calls["calls"].([]any); !ok || len(list) != 2 || calls["truncated"] != true {
		t.Errorf("%v", calls)
	}
	next := f.do("GET", "/mcp/calls?db=one/d&kfl=http&limit=2&cursor="+url.QueryEscape(calls["next_cursor"].(string)), "", 200)
	if a, b := calls["calls"].([]any)[1].(map[string]any), next["calls"].([]any)[0].(map[string]any); a["id"] == b["id"] {
		t.Error("the second page repeats the first")
	}
	f.do("GET", "/mcp/calls?format=full&limit=5", "", 200) // the newest dissection
	f.do("GET", "/mcp/calls?format=raw&limit=2", "", 200)
	f.do("GET", "/mcp/calls?kfl="+url.QueryEscape("http &&"), "", 400)
	f.do("GET", "/mcp/calls?limit=100000", "", 400)
	f.do("GET", "/mcp/resolve/workloads?name_regex=(", "", 400)
	f.do("GET", "/mcp/calls?format=odd", "", 400)
	f.do("GET", "/mcp/calls?db=none/d", "", 404)
	f.do("GET", "/mcp/flows?limit=5", "", 200)
	f.do("GET", "/mcp/flows/summary", "", 200)
	f.do("GET", "/mcp/resolve/workloads?limit=5", "", 200)
	f.do("GET", "/mcp/resolve/workloads?labels=odd", "", 400)
	f.do("GET", "/mcp/resolve/ips?limit=5", "", 200)
	f.do("GET", "/mcp/snapshots/one/pcap?bpf_filter=tcp", "", 200)
	f.do("GET", "/mcp/snapshots/one/pcap?start_time=x", "", 400)
	f.do("DELETE", "/mcp/snapshots/one", "", 200)
	f.do("DELETE", "/mcp/snapshots/one", "", 404)
}

func TestPacketsAreRefusedIfAnswersAreMasked(t *testing.T) {
	s := opened(t, ringOf(t, "http1.pcapng"), filepath.Join(t.TempDir(), "store"))
	if _, err := s.CreateSnapshot(ctx, store.SnapshotRequest{Name: "one", Last: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		packets bool
		want    int
	}{{false, http.StatusForbidden}, {true, http.StatusOK}} {
		server, err := mcp.New(nil, mcp.Options{Store: s, Policy: redact.Default(), Packets: v.packets, Open: func(context.Context, []string) (*forensics.Case, error) { return nil, errors.New("none") }})
		if err != nil {
			t.Fatal(err)
		}
		web := httptest.NewServer(server.Handler(mcp.HTTPOptions{}))
		res, err := http.Get(web.URL + "/mcp/snapshots/one/pcap")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != v.want {
			t.Errorf("packets %v: %d", v.packets, res.StatusCode)
		}
		web.Close()
		server.Close()
	}
}

func TestAssistantGetsPacketsOfARing(t *testing.T) {
	f := newAPI(t)
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil)
	here, there := sdk.NewInMemoryTransports()
	if _, err := f.server.MCP().Connect(ctx, there, nil); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(ctx, here, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	call := func(name string, args map[string]any) map[string]any {
		t.Helper()
		r, err := session.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: args})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, ok := r.StructuredContent.(map[string]any)
		if !ok || r.IsError {
			t.Fatalf("%s: %v", name, r.Content[0])
		}
		return out
	}
	list, err := session.ListTools(ctx, nil)
	if err != nil || len(list.Tools) > 44 { // clients that take fewer choose a set with --tools
		t.Fatalf("%d tools, %v", len(list.Tools), err)
	}
	if r, err := session.CallTool(ctx, &sdk.CallToolParams{Name: "list_api_calls", Arguments: map[string]any{}}); err != nil || !r.IsError || !strings.Contains(r.Content[0].(*sdk.TextContent).Text, "create_snapshot") {
		t.Errorf("without a dissection: %v, %v", r, err)
	}
	if b := call("get_data_boundaries", nil); len(b["nodes"].([]any)) != 1 {
		t.Errorf("%v", b)
	}
	call("create_snapshot", map[string]any{"name": "hour", "duration": "1h"})
	call("create_snapshot", map[string]any{"name": "day", "start": "1971-01-01 00:00", "end": "0s"})
	if r, err := session.CallTool(ctx, &sdk.CallToolParams{Name: "create_snapshot", Arguments: map[string]any{"name": "x", "start": "noon"}}); err != nil || !r.IsError || !strings.Contains(r.Content[0].(*sdk.TextContent).Text, `start "noon": must be a time such as`) {
		t.Errorf("a start that is no time: %v, %v", r, err)
	}
	db := call("start_snapshot_dissection", map[string]any{"name": "hour"})["db"]
	for range 3000 {
		list := call("get_snapshot_dissection_status", map[string]any{"snapshot": "hour"})["dissections"].([]any)
		if list[0].(map[string]any)["status"] == "completed" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	calls := call("list_api_calls", map[string]any{"db": db, "kfl": "http && status_code == 404"})
	if calls["db"] != db || len(calls["calls"].([]any)) == 0 {
		t.Fatalf("%v", calls)
	}
	id := calls["calls"].([]any)[0].(map[string]any)["call_id"]
	if p := call("export_pcap", map[string]any{"db": db, "call_ids": []any{id}, "name": "one.pcapng"}); p["packets"].(float64) == 0 {
		t.Errorf("%v", p)
	}
	if p := call("export_snapshot_pcap", map[string]any{"id": "hour", "bpf_filter": "tcp"}); p["packets"].(float64) == 0 {
		t.Errorf("%v", p)
	}
	call("delete_snapshot", map[string]any{"name": "hour"})
	names := []string{}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
		if tool.InputSchema == nil || tool.Annotations == nil {
			t.Errorf("%s has no schema or annotations", tool.Name)
		}
	}
	if !slices.Contains(names, "capture_traffic") {
		t.Errorf("%v", names)
	}
	if text, err := json.Marshal(list); err != nil || len(text) > tools.MaxList {
		t.Errorf("the list of %d tools has %d bytes, want at most %d: %v", len(names), len(text), tools.MaxList, err)
	}
}
