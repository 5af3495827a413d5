package download

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestWhoMayAskLive is every way to what is recorded now by every right: calls, counts, packets, the service map, SQL, a
// stream, metrics, and paths that are spelled otherwise. Questions reach the MCP server only for people who may see all, and without their token.
func TestWhoMayAskLive(t *testing.T) {
	asked := 0
	behind := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if asked++; r.Header.Get("Authorization") != "" {
			t.Error("the token was passed on")
		}
	}))
	defer behind.Close()
	u, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(Options{Answers: u, Log: slog.New(slog.DiscardHandler), Allow: func(_ context.Context, token string, what Content, _ func() ([]string, error)) (Grant, error) {
		if what != (Content{"liveconfigs", "default"}) {
			t.Errorf("asked about %+v", what)
		}
		switch token {
		case "all":
			return Grant{All: true}, nil
		case "shop":
			return Grant{Namespaces: []string{"shop"}}, nil
		case "none":
			return Grant{}, fmt.Errorf("%w: nothing", ErrDenied)
		}
		return Grant{}, ErrUnknown
	}})
	for _, path := range []string{"/mcp", "/mcp/tail", "/mcp/tail?kfl=http", "/mcp/calls?db=live", "/mcp/calls?db=live:5m", "/mcp/calls?db=/var/lib/pcapsule-hub/snapshots/x/bundles/a.pcapsule",
		"/mcp/sql?db=live&sql=select+1", "/mcp/ask/get_service_map", "/mcp/ask/get_overview", "/mcp/ask/export_pcap", "/mcp/packets", "/mcp/openapi.json", "/metrics"} {
		for token, want := range map[string]int{"all": 200, "shop": 403, "none": 403, "forged": 401, "": 401} {
			before := asked
			r := httptest.NewRequest(http.MethodGet, path, nil)
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want || (asked > before) != (want == 200) {
				t.Errorf("%s with token %q: %d, passed on: %v; want %d", path, token, w.Code, asked > before, want)
			}
		}
	}
	for _, path := range []string{"//mcp", "/mcp/../mcp/tail", "/./metrics", "/MCP", "/mcp%2ftail", "/%6dcp/calls", "/metrics/", "/v1/../mcp", "/mcp;x", "/v1/snapshots/..%2f..%2fmcp"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions} {
			before := asked
			r := httptest.NewRequest(method, path, nil)
			r.Header.Set("Authorization", "Bearer shop")
			r.Header.Set("X-Forwarded-User", "all")
			r.Header.Add("Authorization", "Bearer all")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == http.StatusOK || asked > before {
				t.Errorf("%s %s reached the answers: %d", method, path, w.Code)
			}
		}
	}
}
