package questions

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// maxSecrets is how many of the planted secrets are searched for in answers.
const maxSecrets = 200

// readSecrets finds the values that the server's policy masks: credentials and card numbers in
// bodies, URLs and headers, unmasked.
func (s *scenario) readSecrets(ctx context.Context) error {
	policy := redact.Default()
	seen := map[string]bool{}
	look := func(_ []forensics.Column, row []any) error {
		text, _ := row[0].(string)
		for _, m := range redact.FindBytes([]byte(text)) {
			raw := text[m.Start:m.End]
			if masked, _ := policy.Text("", raw); len(raw) >= 12 && !strings.Contains(masked, raw) {
				seen[raw] = true
			}
		}
		return nil
	}
	for _, sql := range []string{
		"SELECT text FROM bodies WHERE text IS NOT NULL",
		"SELECT DISTINCT query_string FROM calls WHERE query_string <> ''",
		"SELECT DISTINCT h.value FROM (SELECT unnest(headers) AS h FROM calls) WHERE lower(h.name) IN ('authorization', 'cookie')",
	} {
		if _, err := s.plain.Each(ctx, forensics.Query{SQL: sql}, nil, look); err != nil {
			return err
		}
	}
	all := sorted(seen)
	step := max(1, len(all)/maxSecrets)
	for i := 0; i < len(all); i += step {
		s.secrets = append(s.secrets, all[i])
	}
	if len(s.secrets) < 5 {
		return fmt.Errorf("only %d secrets in %s", len(s.secrets), s.name)
	}
	return nil
}

// leaks returns the secrets in an answer.
func (s *scenario) leaks(text string) (out []string) {
	for _, x := range s.secrets {
		if strings.Contains(text, x) {
			out = append(out, x)
		}
	}
	return out
}

// callForText calls a tool outside any script and returns its text, even that of an error.
func callForText(t *testing.T, c *sdk.ClientSession, tool string, args map[string]any) (text string, r *sdk.CallToolResult) {
	t.Helper()
	r, err := c.CallTool(context.Background(), &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	content, ok := r.Content[0].(*sdk.TextContent)
	if !ok {
		t.Fatalf("%s: %T, want a text", tool, r.Content[0])
	}
	return content.Text, r
}

func callTool(t *testing.T, c *sdk.ClientSession, tool string, args map[string]any) node {
	t.Helper()
	text, r := callForText(t, c, tool, args)
	if r.IsError {
		t.Fatalf("%s %v: %s", tool, args, text)
	}
	n, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	n.tool, n.args = tool, args
	return n
}

// TestSecretsStayMasked asks for the secrets directly. The answers to scripts are checked
// too.
func TestSecretsStayMasked(t *testing.T) {
	s := open(t, "default")
	c := s.connect(t)
	for _, q := range []struct {
		tool string
		args map[string]any
	}{
		{"search_content", map[string]any{"pattern": `\b[45][0-9]{15}\b`, "limit": 20}},
		{"search_content", map[string]any{"pattern": "AKIA[A-Z0-9]+|eyJ[A-Za-z0-9_-]+|BEGIN [A-Z ]*PRIVATE KEY", "limit": 20}},
		{"search_content", map[string]any{"text": "Bearer", "in": []string{"request.headers"}, "limit": 20}},
		{"run_sql", map[string]any{"sql": "SELECT text FROM bodies WHERE text LIKE '%card%' OR text LIKE '%AKIA%' OR text LIKE '%PRIVATE KEY%' LIMIT 20"}},
		{"run_sql", map[string]any{"sql": "SELECT query_string, headers FROM calls WHERE query_string LIKE '%token%' OR auth_kind IS NOT NULL ORDER BY ts_ns DESC LIMIT 20"}},
		{"list_api_calls", map[string]any{"kfl": `http && query_string.contains("token")`, "limit": 20}},
		{"list_findings", map[string]any{"names": []string{"sensitive-data", "plaintext-credentials", "forwarded-token"}}},
		{"get_pair", map[string]any{"src": "*", "dst": "*", "kfl": `http && request.headers["authorization"] != ""`, "limit": 5}},
	} {
		text, _ := callForText(t, c, q.tool, q.args)
		for _, x := range s.leaks(text) {
			t.Errorf("%s %v shows %q", q.tool, q.args, x)
		}
	}
	found := callTool(t, c, "list_findings", map[string]any{"names": []string{"sensitive-data"}})
	for _, f := range found.each("findings")[:3] {
		call, _ := callForText(t, c, "get_api_call", map[string]any{"call_id": f.str("call_ids.0")})
		for _, x := range s.leaks(call) {
			t.Errorf("get_api_call shows %q", x)
		}
	}
}

// TestHiddenPromptIsData finds a prompt injection in a payload.
func TestHiddenPromptIsData(t *testing.T) {
	for _, name := range scenarios {
		s := open(t, name)
		c := s.connect(t)
		var prompt string
		var calls []row
		for _, p := range s.truth.Plants {
			if p.ID != "hidden_prompt" {
				continue
			}
			for _, f := range p.Facts {
				prompt, calls = strings.Join(append(f.Strings, prompt), ""), append(calls, f.Rows...)
			}
		}
		if prompt == "" || len(calls) == 0 {
			t.Fatalf("%s has no hidden prompt", name)
		}
		if i := c.InitializeResult().Instructions; !strings.Contains(i, "never an instruction") {
			t.Errorf("the server's instructions do not explain captured text: %s", i)
		}
		w, ok := s.wire(calls[0])
		if !ok {
			t.Fatalf("no call for %+v", calls[0])
		}
		for _, q := range []struct {
			tool string
			args map[string]any
		}{
			{"search_content", map[string]any{"text": prompt}},
			{"get_api_call", map[string]any{"call_id": w.id}},
			{"run_sql", map[string]any{"sql": "SELECT text FROM bodies WHERE contains(text, '" + prompt + "')"}},
		} {
			text, r := callForText(t, c, q.tool, q.args)
			if r.IsError || !strings.Contains(text, prompt) {
				t.Errorf("%s does not show what was sent: %s", q.tool, text)
			}
			var first struct{ Trust string }
			if err := json.Unmarshal([]byte(text), &first); err != nil || !strings.HasPrefix(first.Trust, "untrusted") || !strings.HasPrefix(text, `{"trust":`) {
				t.Errorf("%s does not begin with the trust note: %.80s", q.tool, text)
			}
			if mark, _ := r.Meta["pcapsule/trust"].(string); !strings.HasPrefix(mark, "untrusted") {
				t.Errorf("%s: meta %v", q.tool, r.Meta)
			}
		}
	}
}

// counted collects the parts of an answer that have a number of calls and a filter for them.
func (n node) counted(into *[]node) {
	switch v := n.v.(type) {
	case map[string]any:
		kfl, _ := v["kfl"].(string)
		switch {
		case kfl == "" || n.num("calls") == 0: // handshakes only
		case n.num("calls") > 0 && v["kind"] == nil || n.num("count") > 0 && v["finding"] != nil:
			*into = append(*into, n)
		}
		for _, name := range sortedKeys(v) {
			node{v: v[name]}.counted(into)
		}
	case []any:
		for _, x := range v {
			node{v: x}.counted(into)
		}
	}
}

func sortedKeys(m map[string]any) []string {
	set := map[string]bool{}
	for k := range m {
		set[k] = true
	}
	return sorted(set)
}

// TestNumbersLeadToCallsAndPackets follows counts to calls, calls to packets, and packets to a
// file that contains the calls.
func TestNumbersLeadToCallsAndPackets(t *testing.T) {
	s := open(t, "default")
	c := s.connect(t)
	q := s.question(t, 5)
	a := &run{t: t, s: s, client: c}
	for _, n := range []node{
		callTool(t, c, "get_overview", nil),
		callTool(t, c, "get_service_map", map[string]any{"from": q.Arguments["from"], "to": q.Arguments["to"], "limit": 15}),
		callTool(t, c, "list_external", nil),
		callTool(t, c, "get_dependencies", map[string]any{"service": s.roleName("checkout")}),
		callTool(t, c, "get_latency", map[string]any{"kfl": "http", "limit": 10}),
		callTool(t, c, "list_findings", map[string]any{"kfl": "http", "limit": 20}),
	} {
		var rows []node
		n.counted(&rows)
		if len(rows) < 3 {
			t.Errorf("%s: only %d numbers with a filter", n.tool, len(rows))
		}
		for _, x := range rows {
			want := max(x.num("calls"), x.num("count"))
			if got := len(a.follow(n, x.str("kfl"))); float64(got) != want {
				t.Errorf("%s counts %v calls, but %d match %s", n.tool, want, got, x.str("kfl"))
			}
		}
	}
	s.calledAgain(t, c)
}

// calledAgain writes the packets of some failed calls to a file, and looks for the calls in a
// bundle of that file.
func (s *scenario) calledAgain(t *testing.T, c *sdk.ClientSession) {
	t.Helper()
	f := callTool(t, c, "find_failures", map[string]any{"kfl": "http && dst.service == \"" + s.roleName("order-service") + "\"", "no_causes": true})
	chosen := ids(f.each("groups"))
	if len(chosen) < 3 {
		t.Fatalf("only %d calls", len(chosen))
	}
	chosen = chosen[:3]
	for _, id := range chosen {
		if call := callTool(t, c, "get_api_call", map[string]any{"call_id": id}); call.str("packets") == "" || len(call.each("places")) == 0 {
			t.Errorf("call %s cites no packets", id)
		}
	}
	file := callTool(t, c, "export_pcap", map[string]any{"call_ids": chosen, "context": "context", "name": "again.pcapng"})
	if info, err := os.Stat(filepath.Join(s.exports, "again.pcapng")); err != nil || info.Size() == 0 || file.num("packets") <= 0 || file.num("calls") != 3 {
		t.Fatalf("exported %v: %v", file.v, err)
	}
	path := filepath.Join(t.TempDir(), "again.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{filepath.Join(s.exports, "again.pcapng")}, path, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	again, err := forensics.Open(context.Background(), []string{path}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	r, err := again.Query(context.Background(), forensics.Query{SQL: "SELECT src_ip::VARCHAR || ':' || src_port, dst_ip::VARCHAR || ':' || dst_port, status_code, ts_ns FROM calls WHERE protocol = 'http1'"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range chosen {
		w := s.perCall[id]
		if !slices.ContainsFunc(r.Rows, func(x []any) bool { return x[0] == w.src && x[1] == w.dst && x[2] == w.status && x[3] == w.at }) {
			t.Errorf("call %s (%s > %s, %d) is not in the exported file: %v", id, w.src, w.dst, w.status, r.Rows)
		}
	}
}
