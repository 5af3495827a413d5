package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

func TestTheSameQuestionIsAnsweredOnce(t *testing.T) {
	k := newAnswerCache(1 << 20)
	var made atomic.Int64
	begin := make(chan struct{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			raw, err := k.get(context.Background(), topic{tool: "a"}, func() (json.RawMessage, error) {
				<-begin
				return json.RawMessage(fmt.Sprint(made.Add(1))), nil
			})
			if err != nil || string(raw) != "1" {
				t.Errorf("%s, %v", raw, err)
			}
		})
	}
	close(begin)
	all.Wait()
	c := &forensics.Case{}
	for i, other := range []topic{{tool: "b"}, {tool: "a", args: "{}"}, {tool: "a", most: 1}, {tool: "a", db: "x"}, {tool: "a", verified: true}, {tool: "a", c: c}, {tool: "a", c: &forensics.Case{}}} {
		raw, err := k.get(context.Background(), other, func() (json.RawMessage, error) { return json.RawMessage(fmt.Sprint(made.Add(1))), nil })
		if err != nil || string(raw) != fmt.Sprint(i+2) {
			t.Errorf("%+v: %s, %v; want a separate answer", other, raw, err)
		}
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	k := newAnswerCache(1 << 20)
	begun, fail := make(chan struct{}), make(chan struct{})
	bad := errors.New("cut")
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := k.get(context.Background(), topic{}, func() (json.RawMessage, error) { close(begun); <-fail; return nil, bad }); !errors.Is(err, bad) {
			t.Errorf("%v, want its own error", err)
		}
	})
	<-begun
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.get(gone, topic{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled question: %v", err)
	}
	all.Go(func() {
		raw, err := k.get(context.Background(), topic{}, func() (json.RawMessage, error) { return json.RawMessage("1"), nil })
		if err != nil || string(raw) != "1" {
			t.Errorf("the waiting question: %s, %v; want it to make the answer", raw, err)
		}
	})
	close(fail)
	all.Wait()
	func() {
		defer func() { _ = recover() }()
		_, _ = k.get(context.Background(), topic{tool: "panics"}, func() (json.RawMessage, error) { panic("x") })
	}()
	raw, err := k.get(context.Background(), topic{tool: "panics"}, func() (json.RawMessage, error) { return json.RawMessage("2"), nil })
	if err != nil || string(raw) != "2" {
		t.Errorf("after a panic: %s, %v", raw, err)
	}
}

func TestKeptAnswersAreBounded(t *testing.T) {
	k := newAnswerCache(10_000)
	made := 0
	ask := func(i, size int) {
		if _, err := k.get(context.Background(), topic{most: i}, func() (json.RawMessage, error) {
			made++
			return json.RawMessage(strings.Repeat("1", size)), nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		ask(i, 1000)
		ask(0, 1000) // used again and again, so it is kept
		if k.size > k.most || k.last.Len() != len(k.by) || len(k.pending) != 0 {
			t.Fatalf("%d bytes in %d answers", k.size, len(k.by))
		}
	}
	if made != 1000 {
		t.Errorf("%d answers made, want one for each question", made)
	}
	ask(2000, 5000)
	ask(2000, 5000)
	if made != 1002 {
		t.Errorf("an answer larger than a quarter of the cache is kept")
	}
}

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
