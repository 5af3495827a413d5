package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/spans"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// bundled makes a bundle of a sample, once for each sample.
func bundled(t testing.TB, sample string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), strings.TrimSuffix(sample, filepath.Ext(sample))+".pcapsule")
	make, _ := made.LoadOrStore(sample, sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp(kept, "")
		if err != nil {
			return "", err
		}
		in, out := filepath.Join("..", "samples", sample), filepath.Join(dir, "bundle")
		opt := exporter.Options{Release: "test"}
		if kube := strings.TrimSuffix(in, filepath.Ext(in)) + ".kube.json"; exists(kube) {
			opt.Kube = []string{kube}
		}
		_, err = exporter.Run(context.Background(), []string{in}, out, opt)
		return out, err
	}))
	from, err := make.(func() (string, error))()
	if err == nil {
		err = os.CopyFS(path, os.DirFS(from))
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	made sync.Map // sample → func that makes its bundle
	kept string   // folder of the bundles
)

func TestMain(m *testing.M) {
	workertest.Main()
	var err error
	if kept, err = os.MkdirTemp("", "mcp"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(kept) // a folder for temporary files
	os.Exit(code)
}

// opener opens cases like the command.
func opener(o Options) func(context.Context, []string) (*forensics.Case, error) {
	return func(ctx context.Context, paths []string) (*forensics.Case, error) {
		return forensics.Open(ctx, paths, forensics.Options{MaskSecrets: o.Policy != nil, Policy: o.Policy})
	}
}

// serving makes a server for bundles, or for what o has.
func serving(t testing.TB, o Options, paths ...string) *Server {
	t.Helper()
	var c *forensics.Case
	if len(paths) > 0 {
		var err error
		if c, err = opener(o)(context.Background(), paths); err != nil {
			t.Fatal(err)
		}
	}
	if o.Release == "" {
		o.Release = "test"
	}
	if o.Questions == nil {
		o.Questions = all.Questions()
	}
	o.Spans = func(ctx context.Context, c *forensics.Case, q forensics.Query, write func([]byte) error) (int, error) {
		_, n, err := spans.Lines(ctx, c, q, "test", write)
		return n, err
	}
	s, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range s.env.Every {
		schemas.Store(name, e.Out)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// session opens a sample as a case and connects a client to a server for it.
func session(t *testing.T, sample string, o Options) *sdk.ClientSession {
	t.Helper()
	return connected(t, serving(t, o, bundled(t, sample)), nil)
}

func connected(t *testing.T, s *Server, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	a, b := sdk.NewInMemoryTransports()
	if _, err := s.MCP().Connect(context.Background(), a, nil); err != nil {
		t.Fatal(err)
	}
	c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o).Connect(context.Background(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// schemas has the schema of each tool's answer.
var schemas sync.Map

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// callTool calls a tool and decodes its structured answer into out. It returns the text of the
// tool's error, or "".
func callTool(t *testing.T, s *sdk.ClientSession, name string, args map[string]any, out any) string {
	t.Helper()
	r, err := s.CallTool(context.Background(), &sdk.CallToolParams{Name: name, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if r.IsError {
		return r.Content[0].(*sdk.TextContent).Text
	}
	data, err := json.Marshal(r.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > tools.AnswerBytes {
		t.Errorf("%s: an answer of %d bytes", name, len(data))
	}
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatalf("%s: %v: %s", name, err, data)
	}
	return ""
}

func TestFromFilterToCallToPackets(t *testing.T) {
	dir := t.TempDir()
	s := session(t, "shop.pcapng", Options{ExportDir: dir})
	var cases tools.ListCasesOut
	callTool(t, s, "list_cases", nil, &cases)
	if len(cases.Cases) != 1 || cases.Cases[0].Packets == 0 || cases.Coverage.State == "none" {
		t.Fatalf("cases %+v", cases)
	}
	var calls tools.ListAPICallsOut
	if e := callTool(t, s, "list_api_calls", map[string]any{"kfl": "http && status_code >= 500", "limit": 5}, &calls); e != "" {
		t.Fatal(e)
	}
	if len(calls.Calls) == 0 || calls.Matched != "some" || calls.Calls[0].Packets == "" {
		t.Fatalf("calls %+v", calls)
	}
	var one tools.GetAPICallOut
	callTool(t, s, "get_api_call", map[string]any{"call_id": calls.Calls[0].ID}, &one)
	if one.Packets != calls.Calls[0].Packets || len(one.Places) == 0 || one.Response == nil {
		t.Fatalf("call %+v", one)
	}
	var file tools.ExportPCAPOut
	if e := callTool(t, s, "export_pcap", map[string]any{"call_ids": []string{calls.Calls[0].ID}, "name": "x.pcapng"}, &file); e != "" {
		t.Fatal(e)
	}
	if file.Packets == 0 || !exists(filepath.Join(dir, "x.pcapng")) {
		t.Fatalf("export %+v", file)
	}
}

func TestNothingMatchedDiffersFromNotRecorded(t *testing.T) {
	s := session(t, "shop.pcapng", Options{})
	var out tools.ListAPICallsOut
	callTool(t, s, "list_api_calls", map[string]any{"kfl": `http && path == "/no/such/path"`}, &out)
	if out.Matched != "nothing_matched" || out.Coverage.State != "complete" {
		t.Errorf("matched %s, coverage %s", out.Matched, out.Coverage.State)
	}
	callTool(t, s, "list_api_calls", map[string]any{"kfl": "http", "from": "2001-01-01T00:00:00Z", "to": "2001-01-02T00:00:00Z"}, &out)
	if out.Matched != "not_recorded" || out.Coverage.State != "none" {
		t.Errorf("matched %s, coverage %s", out.Matched, out.Coverage.State)
	}
}

func TestCursorGoesThroughAllCalls(t *testing.T) {
	s := session(t, "shop.pcapng", Options{})
	seen := map[string]bool{}
	args := map[string]any{"limit": 7}
	for range 1000 {
		var out tools.ListAPICallsOut
		if e := callTool(t, s, "list_api_calls", args, &out); e != "" {
			t.Fatal(e)
		}
		for _, c := range out.Calls {
			if seen[c.ID+c.Time] {
				t.Fatalf("call %s twice", c.ID)
			}
			seen[c.ID+c.Time] = true
		}
		if out.Cursor == "" {
			break
		}
		args["cursor"] = out.Cursor
	}
	var n tools.RunSQLOut
	callTool(t, s, "run_sql", map[string]any{"sql": "select count(*) from calls"}, &n)
	if got := n.Rows[0][0].(float64); int(got) != len(seen) {
		t.Errorf("%d calls by cursor, %v in all", len(seen), got)
	}
}

func TestRefusals(t *testing.T) {
	s := session(t, "shop.pcapng", Options{})
	for _, tt := range []struct {
		name, tool string
		args       map[string]any
		want       string
	}{
		{"KFL with a misspelled field", "list_api_calls", map[string]any{"kfl": "stats_code == 1"}, "status_code"},
		{"SQL that writes", "run_sql", map[string]any{"sql": "copy calls to '/tmp/x'"}, "refused"},
		{"SQL that reads other files", "run_sql", map[string]any{"sql": "select * from read_text('/etc/passwd')"}, "refused"},
		{"no folder to write to", "export_pcap", map[string]any{}, "must not write files"},
		{"an unknown table", "describe_schema", map[string]any{"table": "passwords"}, `table "passwords"`},
		{"a cursor of another question", "list_api_calls", map[string]any{"cursor": "abc"}, "cursor"},
		{"an invalid time", "list_api_calls", map[string]any{"from": "yesterday"}, "2026-01-31T14:15:00Z"},
		{"an unknown call", "get_api_call", map[string]any{"call_id": "#99999999"}, "not found"},
	} {
		var out any
		if got := callTool(t, s, tt.tool, tt.args, &out); !strings.Contains(strings.ToLower(got), strings.ToLower(tt.want)) {
			t.Errorf("%s: %q, want it to say %q", tt.name, got, tt.want)
		}
	}
}

func TestFlows(t *testing.T) {
	s := session(t, "shop.pcapng", Options{})
	var flows tools.ListL4FlowsOut
	if e := callTool(t, s, "list_l4_flows", map[string]any{"l4proto": "tcp", "limit": 5}, &flows); e != "" || len(flows.Flows) != 5 || !flows.Truncated {
		t.Errorf("%s %d flows", e, len(flows.Flows))
	}
	for _, a := range []string{"pod", "namespace", "service", "node"} {
		if e := callTool(t, s, "list_l4_flows", map[string]any{"aggregate": a}, &flows); e != "" || len(flows.Flows) == 0 {
			t.Errorf("by %s: %s", a, e)
		}
	}
	var sum tools.GetL4FlowSummaryOut
	if e := callTool(t, s, "get_l4_flow_summary", nil, &sum); e != "" || sum.Totals["flows"].(float64) == 0 || len(sum.TopByBytes) == 0 {
		t.Errorf("%s %+v", e, sum)
	}
}

func TestCredentialsAreMaskedUnlessAsked(t *testing.T) {
	const sql = "select distinct h.value from (select unnest(headers) as h from calls) where lower(h.name) = 'authorization'"
	for _, secrets := range []bool{false, true} {
		o := Options{Policy: redact.Default()}
		if secrets {
			o.Policy = nil
		}
		s := session(t, "shop.pcapng", o)
		var out tools.RunSQLOut
		if e := callTool(t, s, "run_sql", map[string]any{"sql": sql}, &out); e != "" || len(out.Rows) == 0 {
			t.Fatalf("%s, %d rows", e, len(out.Rows))
		}
		for _, r := range out.Rows {
			if v := r[0].(string); (v == "Bearer [masked]") == secrets {
				t.Errorf("secrets %v: %q", secrets, v)
			}
		}
		raw := strings.Replace(sql, "from calls)", "from calls_raw)", 1)
		if e := callTool(t, s, "run_sql", map[string]any{"sql": raw}, &out); e == "" && !secrets {
			for _, r := range out.Rows {
				if v := r[0].(string); v != "Bearer [masked]" {
					t.Errorf("calls_raw: %q", v)
				}
			}
		}
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func defaultPolicy() *redact.Policy { return redact.Default() }

// copies are live copies of rings: each holds the calls of one bundle.
type copies struct{ path string }

func (c copies) Live(context.Context, time.Duration) ([]string, error) { return []string{c.path}, nil }

func (c copies) LiveAfter(context.Context, int64) ([]string, int64, error) {
	return []string{c.path}, 1, nil
}

// TestBundlesThatComeLater: a server that begins with live copies only opens bundles, and only these, as clients
// name them or as they appear.
func TestBundlesThatComeLater(t *testing.T) {
	live, first, second := bundled(t, "shop.pcapng"), bundled(t, "dns.pcap"), bundled(t, "tls.pcapng")
	begin := func() (*Server, *sdk.ClientSession) {
		s := serving(t, Options{Live: copies{live}, Open: opener(Options{}), Allow: []string{filepath.Dir(second), filepath.Dir(first)}})
		c := connected(t, s, nil)
		if v, e := answer(t, c, "list_cases", value{}); e != "" || !strings.Contains(fmt.Sprint(v), filepath.Base(live)) {
			t.Fatalf("%v %s", v, e)
		}
		return s, c
	}
	is := func(c *sdk.ClientSession, tool string, args value, want ...string) {
		t.Helper()
		v, e := answer(t, c, tool, args)
		if e != "" {
			t.Fatal(e)
		}
		var got []string
		for _, x := range v["cases"].([]any) {
			got = append(got, filepath.Base(x.(value)["path"].(string)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s %v: %q, want %q", tool, args, got, want)
		}
	}
	s, c := begin()
	is(c, "open_case", value{"path": second}, "tls.pcapsule")
	if err := s.Begin(t.Context(), []string{first}); err != nil {
		t.Fatal(err)
	}
	is(c, "list_cases", value{}, "tls.pcapsule")
	is(c, "open_case", value{"path": first}, "tls.pcapsule", "dns.pcapsule")
	s, c = begin()
	if err := s.Begin(t.Context(), []string{first}); err != nil {
		t.Fatal(err)
	}
	is(c, "list_cases", value{}, "dns.pcapsule")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(t.Context(), []string{second}); err != nil || s.cases.Replace(nil, nil) {
		t.Errorf("a server that is closed: %v", err)
	}
}
