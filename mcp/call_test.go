package mcp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/mcp/queue"
)

// fillSlots takes n slots, each for another client.
func fillSlots(t *testing.T, f *queue.Fair, n int) (release func()) {
	t.Helper()
	var releases []func()
	for i := range n {
		release, err := f.Acquire(context.Background(), fmt.Sprint("holder ", i))
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	return func() {
		for _, g := range releases {
			g()
		}
	}
}

// TestShortQuestionsDoNotWaitForLongOnes fills the queue for long questions first.
func TestShortQuestionsDoNotWaitForLongOnes(t *testing.T) {
	s := serving(t, Options{Parallel: 2, Deadline: time.Minute}, bundled(t, "http1.pcapng"))
	release := fillSlots(t, s.long, 2)
	c := connected(t, s, nil)
	for _, tool := range []string{"list_cases", "describe_schema", "list_workloads", "list_ips"} {
		if text := callTool(t, c, tool, nil, &map[string]any{}); text != "" {
			t.Errorf("%s: %s", tool, text)
		}
	}
	if text := callTool(t, c, "get_api_call", map[string]any{"call_id": "#0"}, &map[string]any{}); text != "" {
		t.Error(text)
	}
	release()
	release = fillSlots(t, s.short, shortSlots)
	if text := callTool(t, c, "list_api_calls", nil, &map[string]any{}); text != "" {
		t.Error(text)
	}
	release()
	s.o.Deadline = time.Second
	release = fillSlots(t, s.long, 2)
	if text := callTool(t, c, "run_sql", map[string]any{"sql": "select 1"}, &map[string]any{}); !strings.Contains(text, "busy") {
		t.Errorf("no slot within the deadline: %q", text)
	}
	release()
}
