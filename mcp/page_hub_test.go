package mcp

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/hub/download"
	"github.com/pcapsule/pcapsule/hub/offer"
	of "github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// pageLive has live data only, as the server beside a hub.
type pageLive struct{ pageRing }

func (p pageLive) Within([]string) store.Live { return p }

// besideAHub is a server whose snapshots are in a folder that it may open, and that folder.
func besideAHub(t *testing.T) (s *Server, dir string) {
	t.Helper()
	root := t.TempDir()
	dir = filepath.Join(root, "snapshots", "u", "bundles")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, sample := range map[string]string{"node-a": "shop.pcapng", "node-b": "dns.pcap"} {
		if err := os.CopyFS(filepath.Join(dir, name+offer.Extension), os.DirFS(bundled(t, sample))); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(nil, Options{Release: "test", Allow: []string{root}, Live: pageLive{pageRing{live: bundled(t, "http1.pcapng"), asked: &atomic.Int64{}}},
		Open: func(ctx context.Context, paths []string) (*forensics.Case, error) {
			return forensics.Open(ctx, paths, forensics.Options{Threads: 1})
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dir
}

// TestBundlesOfARequest: a request that names bundles is answered about these, and about nothing else.
func TestBundlesOfARequest(t *testing.T) {
	s, dir := besideAHub(t)
	h := s.Handler(HTTPOptions{})
	ask := func(path string, header http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
		for name, values := range header {
			r.Header[name] = values
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	only := func(paths ...string) http.Header { return http.Header{BundlesHeader: paths} }
	one := filepath.Join(dir, "node-b"+offer.Extension)
	for _, tt := range []struct {
		path   string
		header http.Header
		code   int
		has    string
	}{
		{"/mcp/calls/groups?by=protocol", only(dir), 200, `"redis"`},
		{"/mcp/calls/groups?by=protocol", only(dir), 200, `"dns"`},
		{"/mcp/calls/groups?by=protocol", only(one), 200, `"dns"`},
		{"/mcp/calls/groups?by=protocol", nil, 200, `"http`}, // live data
		{"/mcp/calls?db=live", only(dir), 409, "ring"},
		{"/mcp/calls", only("/etc"), 400, "--allow"},
		{"/mcp/calls", only(dir, "/etc"), 400, "--allow"},
		{"/mcp/calls", only(dir + "/../../../.."), 400, "--allow"},
		{"/mcp/calls", only(""), 400, "--allow"},
		{"/mcp/calls", only(filepath.Join(dir, "none")), 400, "--allow"},
		{"/mcp/calls", only(filepath.Dir(dir)), 400, "no bundle"},
		{"/mcp/calls", http.Header{BundlesHeader: {dir}, NamespacesHeader: {"shop"}}, 400, "exclude"},
	} {
		if w := ask(tt.path, tt.header); w.Code != tt.code || !strings.Contains(w.Body.String(), tt.has) {
			t.Errorf("%s %v: %d %.300s; want %d and %s", tt.path, tt.header, w.Code, w.Body, tt.code, tt.has)
		}
	}
	if w := ask("/mcp/calls/groups?by=protocol", only(one)); strings.Contains(w.Body.String(), "redis") {
		t.Errorf("of one bundle: %.300s", w.Body)
	}
	// At most four are open. Those that nobody asks about make room.
	for i := range 2 * maxOpened {
		to := filepath.Join(dir, "..", "other"+string(rune('a'+i))+offer.Extension)
		if err := os.CopyFS(to, os.DirFS(one)); err != nil {
			t.Fatal(err)
		}
		if w := ask("/mcp/calls", only(to)); w.Code != 200 {
			t.Fatalf("%d: %.200s", w.Code, w.Body)
		}
	}
	if n := len(s.parts.list); n != maxOpened {
		t.Errorf("%d are open", n)
	}
	// While all are being asked about, another one has to wait.
	for _, p := range s.parts.list {
		p.using++
	}
	if w := ask("/mcp/calls", only(dir)); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
}

// TestPageOfAHub follows live data, chooses a snapshot, sees what it has, and goes back. The page of another snapshot
// says why it shows nothing.
func TestPageOfAHub(t *testing.T) {
	t.Parallel()
	s, dir := besideAHub(t)
	beside := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer beside.Close()
	u, err := url.Parse(beside.URL)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := &of.Snapshot{ObjectMeta: v1.ObjectMeta{Name: "incident", Namespace: "pcapsule", UID: "u", CreationTimestamp: v1.NewTime(time.Unix(1, 0))},
		Status: of.Status{Phase: of.Ready, Nodes: []of.Node{{Name: "node-a", State: of.Bundled, Bundle: "node-a" + offer.Extension}, {Name: "node-b", State: of.Bundled, Bundle: "node-b" + offer.Extension}}}}
	hub := httptest.NewServer(download.Handler(download.Options{Log: slog.New(slog.DiscardHandler), Namespace: "pcapsule", Answers: u,
		Find: func(namespace, name string) (*of.Snapshot, string, error) {
			if name != "incident" {
				return nil, "", download.ErrNone
			}
			return snapshot, dir, nil
		},
		List: func() ([]*of.Snapshot, error) { return []*of.Snapshot{snapshot}, nil },
		Allow: func(_ context.Context, token string, what download.Content, _ func() ([]string, error)) (download.Grant, error) {
			if token != "good" {
				return download.Grant{}, download.ErrUnknown
			}
			return download.Grant{User: "ada", All: true}, nil
		}}))
	defer hub.Close()
	b := browse(t, hub.URL)
	b.open("#token=good")
	b.open("#v=calls")
	b.until(`[...document.querySelectorAll(".live option")].map((x) => x.innerText).join() === "last 30 s,last 2 min,last 10 min,snapshot pcapsule/incident" && document.querySelectorAll(".grid .row").length > 2`)
	b.do(chromedp.Evaluate(`if ([...document.querySelectorAll(".live button")].some((x) => x.innerText.startsWith("Snapshot"))) throw new Error("it offers to make a snapshot")`, nil))
	b.do(chromedp.Evaluate(`(() => { const s = document.querySelector(".live select"); s.value = "/v1/namespaces/pcapsule/snapshots/incident/"; s.dispatchEvent(new Event("change", {bubbles: true})); })()`, nil))
	b.until(`location.pathname === "/v1/namespaces/pcapsule/snapshots/incident/" && document.querySelector(".live")?.innerText.startsWith("snapshot pcapsule/incident") && document.body.ariaBusy === "false" && document.body.innerText.includes("node-b")`)
	b.do(chromedp.Evaluate(`location.hash = "#v=calls"`, nil))
	b.until(`document.querySelector(".found")?.innerText.startsWith("397 of 397 calls")`)
	b.do(chromedp.Evaluate(`document.querySelector(".live a").click()`, nil))
	b.until(`location.pathname === "/" && document.querySelectorAll(".live option").length === 4`)
	b.do(chromedp.Navigate(hub.URL + "/v1/snapshots/gone/"))
	b.until(`document.body.innerText.includes("there is no such snapshot")`)
	b.quiet()
}
