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

// fieldsOf calls tools of a session: it returns the members of an answer, nil if it is an error, and its text.
func fieldsOf(t *testing.T, c *sdk.ClientSession) func(tool string, args value) ([]object.Field, string) {
	return func(tool string, args value) (list []object.Field, text string) {
		t.Helper()
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
}

// TestAnswersBeginWithASentence asks every question about several samples with small limits: each answer begins with a
// sentence, and says of each list of which it has a part how many of how many rows that is.
func TestAnswersBeginWithASentence(t *testing.T) {
	for _, sample := range nightly.Some([]string{"shop.pcapng", "apis.pcapng", "dns.pcap"}, 1) {
		c := connected(t, serving(t, Options{}, bundled(t, sample)), nil)
		fields := fieldsOf(t, c)
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

// TestListsSayHowMany asks for lists of rows page by page: each page says how many of how many rows it has.
func TestListsSayHowMany(t *testing.T) {
	const sample = "shop.pcapng"
	fields := fieldsOf(t, connected(t, serving(t, Options{}, bundled(t, sample)), nil))
	for _, c := range []struct {
		tool, list, words string
		args              value
	}{
		{"list_api_calls", "calls", "calls that match", value{}},
		{"list_api_calls", "calls", "calls that match", value{"kfl": "dns", "order": "elapsed_us desc", "columns": []string{"src_ip"}}},
		{"list_api_calls", "groups", "groups of calls that match", value{"group_by": []string{"call_id"}}},
		{"run_sql", "rows", "rows of the result", value{"sql": "select call_no, cites from calls order by all; \n"}},
		{"run_sql", "rows", "rows of the result", value{"sql": "with x as (select * from packets) select packet_no from x where packet_no < 300 order by 1 -- all"}},
		{"list_l4_flows", "flows", "flows that match", value{}},
		{"list_l4_flows", "flows", "pairs with flows that match", value{"aggregate": "pod"}},
	} {
		ask := func(cursor string, limit int) (list []object.Field, text string) {
			args := value{"limit": limit, "max_bytes": tools.MaxBytes}
			if cursor != "" {
				args["cursor"] = cursor
			}
			for k, v := range c.args {
				args[k] = v
			}
			if list, text = fields(c.tool, args); len(list) < 2 || list[1].Name != "answer" {
				t.Fatalf("%s %s begins with %.300s", sample, c.tool, text)
			}
			return list, text
		}
		whole, _ := ask("", 1000)
		n := 0
		for _, f := range whole {
			if f.Name == c.list {
				n = len(f.List())
			}
		}
		if all := string(whole[1].Value); n < 3 || !strings.Contains(all, fmt.Sprint(n)) || strings.Contains(all, " of "+fmt.Sprint(n)) {
			t.Errorf("%s %s: %s", sample, c.tool, all)
		}
		page, text := ask("", 2)
		if want := fmt.Sprintf(`"The first 2 of %d %s."`, n, c.words); string(page[1].Value) != want {
			t.Errorf("%s %s: %s, want %s", sample, c.tool, page[1].Value, want)
		}
		cursor := object.Text([]byte(text), "next_cursor")
		if cursor == "" {
			t.Fatalf("%s %s has no cursor: %s", sample, c.tool, text)
		}
		page, _ = ask(cursor, 1)
		if want := fmt.Sprintf(`"The next 1 of %d %s."`, n, c.words); string(page[1].Value) != want {
			t.Errorf("%s %s: %s, want %s", sample, c.tool, page[1].Value, want)
		}
	}
	list, text := fields("list_api_calls", value{"kfl": `path == "/nowhere"`})
	if len(list) < 2 || !strings.HasPrefix(string(list[1].Value), `"No matches.`) {
		t.Error(text)
	}
}
