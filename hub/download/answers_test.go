package download

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
)

// TestWhoMayAskLive is every way to what is recorded now by every right: calls, counts, packets, the service map, SQL, a
// stream, metrics, and paths that are spelled otherwise. Questions reach the MCP server without the token, with the
// namespaces that the person may see, whatever the person says.
func TestWhoMayAskLive(t *testing.T) {
	asked := 0
	var limit []string // of the last question
	behind := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		limit = r.Header.Values(offer.NamespacesHeader)
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
		if what != (Content{Resource: "liveconfigs", Name: "default"}) {
			t.Errorf("asked about %+v", what)
		}
		switch token {
		case "all":
			return Grant{All: true}, nil
		case "shop":
			return Grant{Namespaces: []string{"shop"}}, nil
		case "two":
			return Grant{Namespaces: []string{"cart", "shop"}}, nil
		case "empty":
			return Grant{}, nil
		case "none":
			return Grant{}, fmt.Errorf("%w: nothing", ErrDenied)
		}
		return Grant{}, ErrUnknown
	}})
	for _, path := range []string{"/mcp", "/mcp/tail", "/mcp/tail?kfl=http", "/mcp/calls?db=live", "/mcp/calls?db=live:5m", "/mcp/calls?db=/var/lib/pcapsule-hub/snapshots/x/bundles/a.pcapsule",
		"/mcp/sql?db=live&sql=select+1", "/mcp/ask/get_service_map", "/mcp/ask/get_overview", "/mcp/ask/export_pcap", "/mcp/packets", "/mcp/openapi.json", "/metrics"} {
		for token, want := range map[string]int{"all": 200, "shop": 200, "two": 200, "empty": 200, "none": 403, "forged": 401, "": 401} {
			before := asked
			limit = nil
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set(offer.NamespacesHeader, "shop,payments")
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want || (asked > before) != (want == 200) {
				t.Errorf("%s with token %q: %d, passed on: %v; want %d", path, token, w.Code, asked > before, want)
			}
			if want := map[string][]string{"shop": {"shop"}, "two": {"cart,shop"}, "empty": {""}}[token]; !slices.Equal(limit, want) {
				t.Errorf("%s with token %q: limited to %q, want %q", path, token, limit, want)
			}
		}
	}
	for _, path := range []string{"//mcp", "/mcp/../mcp/tail", "/./metrics", "/MCP", "/mcp%2ftail", "/%6dcp/calls", "/metrics/", "/v1/../mcp", "/mcp;x", "/v1/snapshots/..%2f..%2fmcp"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions} {
			before := asked
			r := httptest.NewRequest(method, path, nil)
			r.Header.Set("Authorization", "Bearer none")
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

// TestRightsOfAStream: a stream ends when the right by which it began is taken away, or is another.
func TestRightsOfAStream(t *testing.T) {
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer behind.Close()
	u, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, after := range map[string]Grant{"less": {Namespaces: []string{"shop"}}, "more": {All: true}, "none": {}} {
		t.Run(name, func(t *testing.T) {
			var changed atomic.Bool
			h := &handler{Options: Options{Log: slog.New(slog.DiscardHandler), Allow: func(context.Context, string, Content, func() ([]string, error)) (Grant, error) {
				switch {
				case !changed.Load():
					return Grant{Namespaces: []string{"cart", "shop"}}, nil
				case name == "none":
					return Grant{}, fmt.Errorf("%w: nothing", ErrDenied)
				}
				return after, nil
			}}, grants: map[[32]byte]granted{}, again: 10 * time.Millisecond}
			front := httptest.NewServer(h.answers(u, h.ofLive))
			defer front.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+"/mcp/tail", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer x")
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			ended := make(chan error, 1)
			go func() { _, err := res.Body.Read(make([]byte, 1)); ended <- err }()
			select {
			case err := <-ended:
				t.Fatalf("it ended early: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			changed.Store(true)
			h.mu.Lock()
			clear(h.grants)
			h.mu.Unlock()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("the stream continues")
			}
		})
	}
}

// TestThePageNeedsNoRights reads the files of the page: nothing of the request is passed on, and no other path is open.
func TestThePageNeedsNoRights(t *testing.T) {
	var asked []string
	behind := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String())
		for _, name := range []string{"Authorization", "Cookie", "Origin", offer.NamespacesHeader} {
			if r.Header.Get(name) != "" {
				t.Errorf("%s was passed on", name)
			}
		}
	}))
	defer behind.Close()
	u, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(Options{Answers: u, Log: slog.New(slog.DiscardHandler), Allow: func(context.Context, string, Content, func() ([]string, error)) (Grant, error) {
		return Grant{}, ErrUnknown
	}})
	for target, want := range map[string]int{"GET /": 200, "HEAD /": 200, "GET /page/page.js?x=1": 200, "POST /": 405, "GET /page/": 404, "GET /page/a/b": 404, "GET /connect": 404, "GET /mcp/calls": 401, "GET /page/..%2f..%2fmcp%2fcalls": 404} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Cookie", "a=b")
		r.Header.Set("Origin", "https://attacker.example")
		r.Header.Set(offer.NamespacesHeader, "shop")
		if !strings.HasPrefix(path, "/mcp") {
			r.Header.Set("Authorization", "Bearer all")
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	for _, x := range asked {
		if x != "GET /" && x != "HEAD /" && x != "GET /page/page.js" {
			t.Errorf("passed on: %s", x)
		}
	}
}
