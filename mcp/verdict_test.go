package mcp

import (
	"context"
	"fmt"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// questionArgs are arguments of questions that need some, for every sample.
var questionArgs = map[string]value{
	"trace_request": {"kfl": "protocol"}, "audit_access": {"kfl": "protocol"}, "search_content": {"text": "200"}, "check_expectations": {"expectations": "rules:\n  - name: a\n    calls: http\n    latency: {max: 1ms}\n"},
	"describe_service": {"service": "*"}, "get_dependencies": {"service": "*"}, "generate_openapi": {"service": "*"}, "get_timeline": {"workload": "*"}, "get_pair": {"src": "*", "dst": "*"}, "compare_periods": {"period_from": "1s", "from": "1s"},
}

// TestAnswersBeginWithASentence asks every question about several samples with small limits: each answer begins with a
// sentence, and says of each list of which it has a part how many of how many rows that is.
func TestAnswersBeginWithASentence(t *testing.T) {
	for _, sample := range nightly.Some([]string{"shop.pcapng", "apis.pcapng", "dns.pcap"}, 1) {
		c := connected(t, serving(t, Options{}, bundled(t, sample)), nil)
		fields := func(tool string, args value) (list []object.Field, text string) {
			r, err := c.CallTool(context.Background(), &sdk.CallToolParams{Name: tool, Arguments: args})
			if err != nil {
				t.Fatalf("%s: %v", tool, err)
			}
			text = r.Content[0].(*sdk.TextContent).Text
			if r.IsError {
				return nil, text
			}
			return object.Fields([]byte(text)), text
		}
		asked := 0
		for _, q := range all.Questions() {
			args := func(limit, most int) value {
				v := value{"max_bytes": most}
				if q.In.Properties["limit"] != nil {
					v["limit"] = limit
				}
				for k, a := range questionArgs[q.Name] {
					v[k] = a
				}
				return v
			}
			full, _ := fields(q.Name, args(1000, tools.MaxBytes))
			if full == nil {
				continue
			}
			asked++
			rows := map[string]int{}
			for _, f := range full {
				rows[f.Name] = len(f.List())
			}
			for _, limit := range []int{1, 3} {
				part, text := fields(q.Name, args(limit, tools.MinBytes))
				if part == nil {
					t.Errorf("%s %s: %s", sample, q.Name, text)
					continue
				}
				if len(part) < 2 || part[1].Name != "answer" || len(part[1].Value) < 12 || !strings.HasSuffix(string(part[1].Value), `."`) && !strings.Contains(string(part[1].Value), "…") {
					t.Errorf("%s %s begins with %.200s", sample, q.Name, text)
				}
				notes := object.Text([]byte(text), "notes")
				for _, f := range part {
					if f.Name == q.Keyed { // its total is a number of the answer
						continue
					}
					if f.Name == "notes" || f.Remark() || len(f.Value) == 0 || f.Value[0] != '[' || len(f.List()) >= rows[f.Name] {
						continue
					}
					if !strings.Contains(text, fmt.Sprintf(" of %d", rows[f.Name])) {
						t.Errorf("%s %s limit %d: %d of %d rows of %s without saying so: %s", sample, q.Name, limit, len(f.List()), rows[f.Name], f.Name, notes)
					}
				}
			}
		}
		if asked < 15 {
			t.Errorf("%s: only %d questions", sample, asked)
		}
	}
}
