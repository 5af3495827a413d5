package mcp

import (
	"context"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestToolNamesOfOtherProductsAreAnswered(t *testing.T) {
	s := session(t, "http1.pcapng", Options{Tools: "core"})
	list, err := s.ListTools(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		if unavailable[tool.Name] != "" || aliases[tool.Name] != "" {
			t.Errorf("%s is listed", tool.Name)
		}
	}
	var out map[string]any
	for name, want := range map[string]string{"apply_filter": "pass kfl", "start_kubeshark": "needs a cluster", "upload_snapshot_to_cloud": "no access to cloud storage"} {
		if got := callTool(t, s, name, map[string]any{"anything": 1}, &out); !strings.Contains(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"create_snapshot", "capture_traffic"} {
		if got := callTool(t, s, name, nil, &out); !strings.Contains(got, "--ring") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := callTool(t, s, "list_snapshot_dissections", nil, &out); got != "" || len(out["dissections"].([]any)) != 1 {
		t.Errorf("the bundle is not listed as a dissection: %q, %v", got, out)
	}
	if got := callTool(t, s, "resolve_workload", nil, &out); got != "" || out["workloads"] == nil {
		t.Errorf("an alias of a tool: %q, %v", got, out)
	}
	if got := callTool(t, s, "get_api_call", map[string]any{"id": "#0"}, &out); got != "" || out["call"] == nil {
		t.Errorf("an argument by its name in other products: %q, %v", got, out)
	}
	if got := callTool(t, s, "get_api_call", map[string]any{"id": "#0", "call_id": "#1"}, &out); !strings.Contains(got, "id: unknown") {
		t.Errorf("an argument by both names: %q", got)
	}
	if got := callTool(t, s, "list_ips", nil, &out); got != "" || out["ips"] == nil {
		t.Errorf("a tool that is not listed: %q, %v", got, out)
	}
	if _, err := s.CallTool(context.Background(), &sdk.CallToolParams{Name: "nonsense"}); err == nil {
		t.Error("a tool without a name was called")
	}
}
