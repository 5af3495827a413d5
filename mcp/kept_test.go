package mcp

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

func TestWhichAnswersAreKept(t *testing.T) {
	path := bundled(t, "shop.pcapng")
	on, off := serving(t, Options{}, path), serving(t, Options{Keep: -1}, path)
	asks := func(s *Server, tool string, args map[string]any) (text string, kept bool) {
		t.Helper()
		r, err := connected(t, s, nil).CallTool(context.Background(), &sdk.CallToolParams{Name: tool, Arguments: args})
		if err != nil {
			t.Fatal(err)
		}
		return r.Content[0].(*sdk.TextContent).Text, r.Meta["pcapsule/kept"] == true
	}
	for _, x := range []struct {
		name, tool string
		args       map[string]any
		kept       bool
	}{
		{"a list of calls", "list_api_calls", map[string]any{"kfl": "http", "limit": 3}, true},
		{"a question", "get_overview", nil, true},
		{"SQL, which may be random", "run_sql", map[string]any{"sql": "select random()"}, false},
		{"the open bundles", "list_cases", nil, false},
		{"an invalid question", "list_api_calls", map[string]any{"kfl": "htpt"}, false},
	} {
		first, kept := asks(on, x.tool, x.args)
		if kept {
			t.Errorf("%s: kept before the first question", x.name)
		}
		again, kept := asks(on, x.tool, x.args)
		if kept != x.kept || kept && again != first {
			t.Errorf("%s: kept %v, want %v; same answer: %v", x.name, kept, x.kept, again == first)
		}
		if _, kept := asks(off, x.tool, x.args); kept {
			t.Errorf("%s: kept without a cache", x.name)
		}
		if other, kept := asks(off, x.tool, x.args); kept || x.kept && other != first {
			t.Errorf("%s: kept without a cache, or a different answer", x.name)
		}
	}
	if _, kept := asks(on, "list_api_calls", map[string]any{"limit": 3, "kfl": "http"}); !kept {
		t.Error("the same arguments in another order were not recognized")
	}
	if _, kept := asks(on, "list_api_calls", map[string]any{"limit": 4, "kfl": "http"}); kept {
		t.Error("other arguments returned a kept answer")
	}
	rename(t, path, path+".away")
	if text, kept := asks(on, "list_api_calls", map[string]any{"kfl": "http", "limit": 3}); kept || !strings.Contains(text, "removed, moved") {
		t.Errorf("the bundle was moved away: %.200s, kept %v", text, kept)
	}
	rename(t, path+".away", path)
}

// TestPagesAreCutFromOneAnswer counts how often a question is asked while all pages are read.
func TestPagesAreCutFromOneAnswer(t *testing.T) {
	type in struct{ ask.Scope }
	type row struct {
		N int `json:"n"`
	}
	type out struct {
		ask.Frame
		Rows []row `json:"rows"`
	}
	path := bundled(t, "http1.pcapng")
	for _, tt := range []struct {
		keep int
		want int64
	}{{0, 1}, {-1, 4}} {
		var asked atomic.Int64
		q := ask.New("count_slowly", "Count", "Count.", false, func(ctx context.Context, c *forensics.Case, in in) (*out, error) {
			asked.Add(1)
			w, err := in.Scope.Read(ctx, c)
			if err != nil {
				return nil, err
			}
			a := &out{Rows: []row{{1}, {2}, {3}, {4}}}
			a.Frame, err = w.Frame(ctx, c)
			return a, err
		})
		c := connected(t, serving(t, Options{Keep: tt.keep, Questions: []ask.Question{q}}, path), nil)
		var all []row
		next := ""
		for page := 0; page == 0 || next != ""; page++ {
			var got struct {
				Rows []row  `json:"rows"`
				Next string `json:"next_cursor"`
			}
			args := map[string]any{"limit": 1}
			if next != "" {
				args["cursor"] = next
			}
			callTool(t, c, q.Name, args, &got)
			all, next = append(all, got.Rows...), got.Next
		}
		if fmt.Sprint(all) != "[{1} {2} {3} {4}]" {
			t.Errorf("keep %d: rows %v", tt.keep, all)
		}
		if n := asked.Load(); n != tt.want {
			t.Errorf("keep %d: asked %d times, want %d", tt.keep, n, tt.want)
		}
	}
}
