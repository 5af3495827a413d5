package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// growing is a store whose live run shows other data at every question.
type growing struct {
	store.Store
	views []string
	asked *atomic.Int64
}

func (g growing) Live(context.Context, time.Duration) ([]string, error) {
	return []string{g.views[int(g.asked.Add(1))%len(g.views)]}, nil
}

// TestLivePagesContinue follows the pages of answers about live traffic, over MCP and over HTTP: each row of
// the first page's view comes once. When the view is gone, the error says so.
func TestLivePagesContinue(t *testing.T) {
	views := []string{bundled(t, "shop.pcapng"), bundled(t, "http1.pcapng"), bundled(t, "dns.pcap")}
	s, err := New(nil, Options{Release: "test", Store: growing{views: views, asked: &atomic.Int64{}}, Open: func(ctx context.Context, paths []string) (*forensics.Case, error) {
		return forensics.Open(ctx, paths, forensics.Options{Threads: 1})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	type page struct {
		Calls []struct {
			ID     string `json:"id"`
			CallID string `json:"call_id"`
		} `json:"calls"`
		Next  string `json:"next_cursor"`
		Total int    `json:"total"`
	}
	ask := map[string]func(cursor string) (json.RawMessage, error){
		"mcp": func(cursor string) (json.RawMessage, error) {
			return s.Call(t.Context(), caller{}, "list_api_calls", json.RawMessage(fmt.Sprintf(`{"db": "live", "limit": 9, "cursor": %q}`, cursor)))
		},
		"http": func(cursor string) (json.RawMessage, error) {
			r, err := http.Get(web.URL + "/mcp/calls?" + url.Values{"db": {"live:10s"}, "limit": {"9"}, "cursor": {cursor}}.Encode())
			if err != nil {
				return nil, err
			}
			defer r.Body.Close()
			var raw json.RawMessage
			if err := json.NewDecoder(r.Body).Decode(&raw); err != nil || r.StatusCode != http.StatusOK {
				return nil, fmt.Errorf("%s: %s, %v", r.Status, raw, err)
			}
			return raw, nil
		},
	}
	last := ""
	for face, get := range ask {
		seen, cursor, total := map[string]int{}, "", -1
		for pages := 0; pages == 0 || cursor != ""; pages++ {
			raw, err := get(cursor)
			if err != nil {
				t.Fatalf("%s: page %d: %v", face, pages, err)
			}
			var p page
			if err := json.Unmarshal(raw, &p); err != nil {
				t.Fatal(err)
			}
			for _, c := range p.Calls {
				seen[c.ID+c.CallID]++
			}
			if total < 0 {
				total, last = p.Total, p.Next
			}
			cursor = p.Next
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s: call %s comes %d times", face, id, n)
			}
		}
		if total > 0 && len(seen) != total || len(seen) < 20 {
			t.Errorf("%s: %d calls, of %d", face, len(seen), total)
		}
	}
	for _, v := range views {
		if err := os.RemoveAll(v); err != nil {
			t.Fatal(err)
		}
	}
	for face, get := range ask {
		if _, err := get(last); err == nil || !strings.Contains(err.Error(), "begin again without a cursor") {
			t.Errorf("%s after the view was removed: %v", face, err)
		}
	}
}
