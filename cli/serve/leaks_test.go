package serve_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli"
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
		if code := cli.Main(append([]string{"mcp", bundle}, args...), strings.NewReader(requests), &out, &errs); code != 0 || !strings.Contains(out.String(), "text/html") {
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
