package serve_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/samples/leaktest"
)

// TestTheServersReportShowsNoSecret reads the report as an assistant does.
func TestTheServersReportShowsNoSecret(t *testing.T) {
	bundle, secrets := leaktest.Bundle(t)
	const requests = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"resources/read","params":{"uri":"pcapsule://report"}}
`
	read := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := cli.Main(append([]string{"mcp", bundle}, args...), strings.NewReader(requests), &out, &errs); code != 0 || !strings.Contains(out.String(), "text/markdown") {
			t.Fatalf("exit code %d: %s %.500s", code, &errs, &out)
		}
		return out.String()
	}
	if shown := leaktest.Shown(read(), secrets); shown != "" {
		t.Errorf("the report shows %s", shown)
	}
	if shown := leaktest.Shown(read("--secrets"), secrets); shown == "" {
		t.Error("an unmasked report shows no secret: the test does not check the right values")
	}
}

// TestShownSecretsAreNotMasked asks questions that cut texts from bodies, headers and statements, with --secrets.
func TestShownSecretsAreNotMasked(t *testing.T) {
	bundle, _ := leaktest.Bundle(t)
	requests := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
`
	for i, call := range []string{`"search_content","arguments":{"text":"planted"}`, `"search_content","arguments":{"text":"password"}`, `"list_api_calls","arguments":{"limit":100}`, `"get_api_call","arguments":{"call_id":"#3"}`, `"find_failures","arguments":{}`} {
		requests += fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%s}}`+"\n", i+2, call)
	}
	for _, secrets := range []bool{false, true} {
		args := []string{"mcp", bundle}
		if secrets {
			args = append(args, "--secrets")
		}
		var out, errs bytes.Buffer
		if code := cli.Main(args, strings.NewReader(requests), &out, &errs); code != 0 || strings.Count(out.String(), "structuredContent") < 4 {
			t.Fatalf("exit code %d: %s %.500s", code, &errs, &out)
		}
		if at := strings.Index(out.String(), redact.Mask); at >= 0 == secrets {
			t.Errorf("%q: masked at %d: %.300s", args, at, out.String()[max(at-200, 0):])
		}
	}
}
