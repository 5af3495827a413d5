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

// TestWhoMayAskLive: questions reach the MCP server only for people who may see all, and without their token.
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
	for _, path := range []string{"/mcp", "/mcp/tail", "/mcp/calls?db=live", "/metrics"} {
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
}
