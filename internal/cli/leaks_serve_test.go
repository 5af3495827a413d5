package cli

import (
	"net/http/httptest"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/internal/leaktest"
	"github.com/pcapsule/pcapsule/mcp"
)

// TestTheServersReportShowsNoSecret reads the report as an assistant does.
func TestTheServersReportShowsNoSecret(t *testing.T) {
	bundle, secrets := leaktest.Bundle(t)
	read := func(a answerFlags) string {
		t.Helper()
		a.tools, a.memory, a.deadline, a.parallel = "all", 1<<30, 60e9, 2
		s, end, err := a.server(t.Context(), []string{bundle}, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		web := httptest.NewServer(s.Handler(mcp.HTTPOptions{}))
		defer web.Close()
		c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: web.URL + "/mcp"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "pcapsule://report"})
		if err != nil {
			t.Fatal(err)
		}
		return r.Contents[0].Text
	}
	if shown := leaktest.Shown(read(answerFlags{}), secrets); shown != "" {
		t.Errorf("the report shows %s", shown)
	}
	if shown := leaktest.Shown(read(answerFlags{secrets: true}), secrets); shown == "" {
		t.Error("an unmasked report shows no secret: the test does not check the right values")
	}
}
