package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/accesslog"
)

// TestPolicyMasksEveryAnswer plants secrets in many forms and asks every tool.
func TestPolicyMasksEveryAnswer(t *testing.T) {
	secrets := []string{"plantedNote4711", "plantedPass4712", "plantedToken4713", "4111111111111111", "EMPL-90210", "plantedCookie4714"}
	body := `{"user":{"password":"plantedPass4712","card":"4111111111111111"},"note":"see EMPL-90210"}`
	in := filepath.Join(t.TempDir(), "secret.pcap")
	writeExchange(t, in, "POST /login?access_token=plantedToken4713&x=1 HTTP/1.1\r\nHost: shop\r\nX-Internal-Note: plantedNote4711\r\nCookie: sid=plantedCookie4714\r\nAuthorization: Bearer plantedToken4713\r\nContent-Type: application/json\r\nContent-Length: "+
		fmt.Sprint(len(body))+"\r\n\r\n"+body, "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: "+fmt.Sprint(len(body))+"\r\n\r\n"+body)
	path := filepath.Join(t.TempDir(), "secret.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{in}, path, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	policy, err := redact.Parse([]byte("version: 1\nheaders: [x-internal-note]\npatterns:\n- {name: employee, match: 'EMPL-[0-9]{5}'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	logPath := filepath.Join(t.TempDir(), "access")
	log, err := accesslog.Open(logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := connected(t, serving(t, Options{Policy: policy, AccessLog: log}, path), nil)
	shown := connected(t, serving(t, Options{}, path), nil)
	questions := []struct {
		tool string
		args value
	}{
		{"list_api_calls", value{}}, {"get_api_call", value{"call_id": "#0"}}, {"run_sql", value{"sql": "select * exclude (cites) from calls", "max_bytes": 200000}},
		{"run_sql", value{"sql": "select h.name, h.value from (select unnest(headers) as h from calls)"}}, {"run_sql", value{"sql": "select h.value from (select unnest(headers) as h from calls_raw)"}},
		{"run_sql", value{"sql": "select headers::varchar as x, query_string as y from calls"}}, {"run_sql", value{"sql": "select text from bodies"}},
		{"run_sql", value{"sql": "select text as anything from bodies_raw"}}, {"run_sql", value{"sql": "select {'a': [text]} as nested from bodies"}},
		{"run_sql", value{"sql": "select cast(text as integer) from bodies"}}, {"run_sql", value{"sql": "select error(text) from bodies"}},
		{"run_sql", value{"sql": "select 'password=plantedPass4712' as x where nosuch = 'password=plantedPass4712'"}},
		{"search_content", value{"text": "EMPL-90210"}}, {"find_failures", value{"list_calls": true}}, {"list_findings", value{}}, {"get_overview", value{}}, {"generate_openapi", value{"service": "shop"}},
		{"list_api_calls", value{"kfl": `request.headers["x"] == "password=plantedPass4712" &&`}},
	}
	met := map[string]bool{}
	for _, q := range questions {
		if serving := q.tool; serving == "generate_openapi" || serving == "list_findings" || serving == "search_content" || serving == "find_failures" || serving == "get_overview" {
			if list, err := c.ListTools(context.Background(), nil); err != nil || !hasTool(list, q.tool) {
				continue
			}
		}
		r, err := c.CallTool(context.Background(), &sdk.CallToolParams{Name: q.tool, Arguments: q.args})
		if err != nil {
			t.Fatal(err)
		}
		text := r.Content[0].(*sdk.TextContent).Text
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s %v shows %s: …%s…", q.tool, q.args, s, around(text, s))
			}
		}
		if r, err := shown.CallTool(context.Background(), &sdk.CallToolParams{Name: q.tool, Arguments: q.args}); err == nil {
			for _, s := range secrets {
				met[s] = met[s] || strings.Contains(r.Content[0].(*sdk.TextContent).Text, s)
			}
		}
	}
	for _, s := range secrets {
		if !met[s] {
			t.Errorf("without a policy, %s is not in any answer either: the test does not ask for it", s)
		}
	}
	r, err := c.ReadResource(context.Background(), &sdk.ReadResourceParams{URI: "pcapsule://calls"})
	if err != nil {
		t.Fatal(err)
	}
	logged := string(readFile(t, logPath))
	for _, s := range secrets {
		if strings.Contains(r.Contents[0].Text, s) {
			t.Errorf("a resource shows %s", s)
		}
		if strings.Contains(logged, s) {
			t.Errorf("the access log shows %s: …%s…", s, around(logged, s))
		}
	}
}

func hasTool(list *sdk.ListToolsResult, name string) bool {
	for _, x := range list.Tools {
		if x.Name == name {
			return true
		}
	}
	return false
}

func around(text, s string) string {
	i := strings.Index(text, s)
	return text[max(0, i-80):min(len(text), i+80)]
}

// TestOwnWordsStay masks answers whose own words are names of secrets.
func TestOwnWordsStay(t *testing.T) {
	s := &Server{o: Options{Policy: redact.Default()}, own: func() ownWords {
		return ownWords{"auth": true, "scheme": true, "change": true, "bearer": true, "token": true, "headers": true}
	}}
	for _, tt := range []struct{ name, in, want string }{
		{"a word of a closed list", `{"auth":"bearer"}`, `{"auth":"bearer"}`},
		{"a word that is not in a schema", `{"auth":"negotiate","token":"expired"}`, `{"auth":"negotiate","token":"expired"}`},
		{"a sentence with a captured name", `{"change":"POST /session: faster, median 2.56 ms; token: none seen"}`, `{"change":"POST /session: faster, median 2.56 ms; token: none seen"}`},
		{"a secret by its form in a sentence", `{"change":"sees glpat-abc123DEF in 3 calls"}`, `{"change":"sees glpat-[masked] in 3 calls"}`},
		{"a captured name", `{"headers":{"x-password":"hunter2","auth":"bearer"}}`, `{"headers":{"x-password":"[masked]","auth":"bearer"}}`},
		{"a header", `{"headers":[{"name":"Cookie","value":"a=b"}]}`, `{"headers":[{"name":"Cookie","value":"a=[masked]"}]}`},
	} {
		got, err := s.masked(t.Context(), nil, []byte(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, want %s %v", tt.name, got, tt.want, err)
		}
	}
}

// TestMaskingKeepsOwnWords asks every tool with and without masking, about traffic whose passwords are words of answers.
func TestMaskingKeepsOwnWords(t *testing.T) {
	in := filepath.Join(t.TempDir(), "words.pcap")
	writeExchange(t, in, "POST /session?access_token=client_error HTTP/1.1\r\nHost: shop\r\nCookie: sid=server_error; id=status_code; n=12345678\r\nAuthorization: Bearer no_answer\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 20\r\n\r\npassword=outcome_key",
		"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
	path := filepath.Join(t.TempDir(), "words.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{in}, path, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	shop := bundled(t, "shop.pcapng")
	for _, path := range []string{path, shop} {
		masks, shows := serving(t, Options{Policy: redact.Default()}, path), serving(t, Options{}, path)
		own, compared := masks.own(), 0
		for name, e := range masks.env.Every {
			if name == "export_pcap" || name == "open_case" || name == "close_case" || e.Tool.Free {
				continue
			}
			var answers [2]any
			for i, s := range []*Server{masks, shows} {
				raw, err := s.Call(t.Context(), caller{}, name, nil)
				if err == nil {
					if err = json.Unmarshal(raw, &answers[i]); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				}
			}
			var compare func(where string, a, b any)
			compare = func(where string, a, b any) {
				switch b := b.(type) {
				case map[string]any:
					m, _ := a.(map[string]any)
					for k, v := range b {
						if x, ok := m[k]; ok || own[k] {
							compare(where+"."+k, x, v)
						}
					}
				case []any:
					l, _ := a.([]any)
					for i := range min(len(l), len(b)) {
						compare(where, l[i], b[i])
					}
				case string:
					if own[b] {
						if compared++; a != b {
							t.Errorf("%s %s: %q became %q", name, where, b, a)
						}
					}
				}
			}
			if answers[0] != nil && answers[1] != nil {
				compare("", answers[0], answers[1])
			}
		}
		if compared < 20 {
			t.Errorf("%s: only %d own words were compared", path, compared)
		}
	}
}
