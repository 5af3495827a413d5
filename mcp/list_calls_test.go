package mcp

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// TestListOfCallsHasColumns asks for columns.
func TestListOfCallsHasColumns(t *testing.T) {
	c := session(t, "shop.pcapng", Options{})
	v, refusal := answer(t, c, "list_api_calls", value{"kfl": "http", "columns": []string{"path", "dst.service"}, "limit": 3})
	if refusal != "" {
		t.Fatal(refusal)
	}
	for _, x := range v["calls"].([]any) {
		call := x.(value)
		columns := call["columns"].(value)
		if columns["path"] == nil || len(columns) != 2 || call["packets"] == "" || call["call_id"] == "" || call["summary"] != nil || call["request"] != nil {
			t.Errorf("%v", call)
		}
		if _, ok := columns["dst_service"]; !ok {
			t.Errorf("there is no column for dst.service: %v", columns)
		}
	}
	for want, args := range map[string]value{
		`did you mean path?`:              {"columns": []string{"pth"}},
		`no column "a\"b"`:                {"columns": []string{`a"b`}},
		`did you mean dst_service?`:       {"group_by": []string{"dst_servce"}},
		`cannot be combined with columns`: {"group_by": []string{"protocol"}, "columns": []string{"path"}},
		`with columns or max_body`:        {"group_by": []string{"protocol"}, "max_body": 1},
		`must be calls, failed`:           {"group_by": []string{"protocol"}, "order": "calls; select 1"},
		`must be 1 to 4096`:               {"max_body": 5000},
	} {
		if _, refusal := answer(t, c, "list_api_calls", args); !strings.Contains(refusal, want) {
			t.Errorf("%v: %q, want %s", args, refusal, want)
		}
	}
}

// TestListOfCallsHasBodies compares the bodies in a list, which are read for many calls at once, with those of single calls.
func TestListOfCallsHasBodies(t *testing.T) {
	c := session(t, "shop.pcapng", Options{Policy: defaultPolicy()})
	v, refusal := answer(t, c, "list_api_calls", value{"kfl": "http", "max_body": 200, "limit": 120, "max_bytes": 1 << 20})
	list, _ := v["calls"].([]any)
	if refusal != "" || len(list) != 120 {
		t.Fatal(refusal, len(list))
	}
	bodies := 0
	for i := 0; i < len(list); i += 7 {
		call := list[i].(value)
		one, _ := answer(t, c, "get_api_call", value{"call_id": call["call_id"], "max_body": 200})
		for _, side := range []string{"request", "response"} {
			got, _ := call[side].(value)
			want, _ := one[side].(value)
			want = maps.Clone(want)
			delete(want, "headers")
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s of %s: %v, want %v", side, call["call_id"], got, want)
			}
			bodies += len(got)
		}
	}
	if bodies == 0 {
		t.Error("no call has a body")
	}
}

// TestListOfCallsGroups compares groups with what SQL counts, on pages of any size.
func TestListOfCallsGroups(t *testing.T) {
	c := session(t, "shop.pcapng", Options{})
	const sql = `SELECT dst_service, status_code, count(*), count(*) FILTER (failed) FROM calls WHERE protocol = 'http1' GROUP BY ALL ORDER BY 3 DESC, 1, 2`
	var want tools.RunSQLOut
	callTool(t, c, "run_sql", value{"sql": sql, "limit": 1000}, &want)
	for _, limit := range []int{2, 1000} {
		var got []string
		args := value{"kfl": `protocol == "http1"`, "group_by": []string{"dst_service", "status_code"}, "limit": limit}
		for {
			v, refusal := answer(t, c, "list_api_calls", args)
			if refusal != "" {
				t.Fatal(refusal)
			}
			for _, x := range v["groups"].([]any) {
				g := x.(value)
				of := g["of"].(value)
				got = append(got, fmt.Sprint([]any{of["dst_service"], of["status_code"], g["calls"], g["failed"]}))
			}
			if v["next_cursor"] == nil {
				break
			}
			args["cursor"] = v["next_cursor"]
		}
		if len(got) != len(want.Rows) {
			t.Fatalf("limit %d: %d groups, want %d", limit, len(got), len(want.Rows))
		}
		for i, row := range want.Rows {
			if got[i] != fmt.Sprint(row) {
				t.Errorf("limit %d, group %d: %s, want %v", limit, i, got[i], row)
			}
		}
	}
	v, _ := answer(t, c, "list_api_calls", value{"group_by": []string{"protocol"}, "from": "2001-01-01T00:00:00Z", "to": "2001-01-02T00:00:00Z"})
	if v["matched"] != "not_recorded" || v["calls"] != nil {
		t.Errorf("%v", v)
	}
}

// TestSQLHasTheValuesOfCommands compares values of each shape with what commands print.
func TestSQLHasTheValuesOfCommands(t *testing.T) {
	c := session(t, "shop.pcapng", Options{})
	opened, err := forensics.Open(t.Context(), []string{bundled(t, "shop.pcapng")}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	for _, sql := range []string{
		"0.0 / 0", "1 / 0", "-1 / 0", "'inf'::FLOAT", "[1 / 0]", "{'x': 0 / 0}", "1e300", "1e20", "0.1 + 0.2", "-0.5::DOUBLE",
		"row(1, 'two', row(3, 4))", "{'a': 1, 'b': [{'y': 1, 'z': 2}]}", "map {[1, 2]: 'x', [3]: 'y'}", "map {'\\xff'::BLOB: 1}", "map {'k': 1, 'K': 2}", "map {1: 2}",
		"12345678901234567890123::HUGEINT", "1.50::DECIMAL(5, 2)", "'<a&b>'", "'a' || chr(0) || chr(27)", "TIMESTAMP '2026-01-02 03:04:05.678'", "INTERVAL 1 DAY", "'\\x00\\xff'::BLOB", "NULL", "[NULL, TRUE]",
	} {
		r, err := opened.Query(t.Context(), forensics.Query{SQL: "SELECT " + sql + " AS v"})
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		var got struct{ Rows [][]json.RawMessage }
		a, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: "run_sql", Arguments: value{"sql": "SELECT " + sql + " AS v"}})
		if err != nil {
			t.Fatal(err)
		}
		text := a.Content[0].(*sdk.TextContent).Text
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: %s", sql, text)
			continue
		}
		if want := encode.JSON(nil, r.Rows[0][0]); string(got.Rows[0][0]) != string(want) {
			t.Errorf("%s: %s, want %s", sql, got.Rows[0][0], want)
		}
	}
}
