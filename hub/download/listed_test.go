package download

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// TestWhoMayAskAboutSnapshots is every way to questions about a snapshot by every right. The MCP server learns the
// bundles of that person's view, whatever the person says, and nothing of the token.
func TestWhoMayAskAboutSnapshots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundles")
	var got http.Header
	path := ""
	behind := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, path = r.Header, r.URL.String() }))
	defer behind.Close()
	u, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	phase := resource.Ready
	of := func(namespace, name string) *resource.Snapshot {
		return &resource.Snapshot{ObjectMeta: v1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID("of " + namespace)}, Status: resource.Status{Phase: phase, From: "f",
			Nodes: []resource.Node{{Name: "a", State: resource.Bundled, Bundle: "a.pcapsule"}}}}
	}
	h := Handler(Options{Log: slog.New(slog.DiscardHandler), Namespace: "pcapsule", Cutter: cutter{}, Answers: u,
		Find: func(namespace, name string) (*resource.Snapshot, string, error) {
			if name != "x" {
				return nil, "", ErrNone
			}
			return of(namespace, name), dir, nil
		},
		List: func() ([]*resource.Snapshot, error) {
			return []*resource.Snapshot{of("pcapsule", "x"), of("shop", "x"), of("payments", "x")}, nil
		},
		Allow: func(_ context.Context, token string, what Content, _ func() ([]string, error)) (Grant, error) {
			switch {
			case token == "forged":
				return Grant{}, ErrUnknown
			case what.Resource != resource.Snapshots.Resource:
				return Grant{}, ErrDenied // a right to live calls is another one
			case what.Namespace == "" && token == "hub":
				return Grant{User: "ada", All: true}, nil
			case what.Namespace != "" && token == what.Namespace, what.Namespace == "" && token == "shop":
				return Grant{User: "bob", Namespaces: []string{"shop"}}, nil
			}
			return Grant{}, ErrDenied
		}})
	ask := func(method, target, token string) *httptest.ResponseRecorder {
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			got, path = nil, ""
			r := httptest.NewRequest(method, target, nil)
			r.Header.Set(offer.BundlesHeader, "/etc")
			r.Header.Set(offer.NamespacesHeader, "payments")
			r.Header.Set("Cookie", "a=b")
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusServiceUnavailable || time.Now().After(end) {
				return w
			}
		}
	}
	shop := viewFolder(dir, &View{Namespaces: []string{"shop"}})
	for _, tt := range []struct {
		in, token, folder string
		code              int
	}{
		{"/v1/snapshots/x", "hub", dir, 200},
		{"/v1/namespaces/pcapsule/snapshots/x", "hub", dir, 200},
		{"/v1/snapshots/x", "shop", shop, 200},
		{"/v1/namespaces/shop/snapshots/x", "shop", shop, 200},
		{"/v1/namespaces/shop/snapshots/x", "hub", "", 403},
		{"/v1/namespaces/payments/snapshots/x", "shop", "", 403},
		{"/v1/snapshots/x", "payments", "", 403},
		{"/v1/snapshots/x", "forged", "", 401},
		{"/v1/snapshots/x", "", "", 401},
		{"/v1/snapshots/y", "hub", "", 404},
		{"/v1/snapshots/..%2fx", "hub", "", 400},
	} {
		for _, to := range []string{"/mcp", "/mcp/calls?kfl=http", "/mcp/ask/get_overview", "/mcp/snapshots", "/mcp/..%2fcalls"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				w := ask(method, tt.in+to, tt.token)
				if w.Code != tt.code || (got != nil) != (tt.code == 200) {
					t.Errorf("%s %s with the right in %q: %d %.100s, want %d", method, tt.in+to, tt.token, w.Code, w.Body, tt.code)
				}
				if tt.code != 200 {
					continue
				}
				if b := got[offer.BundlesHeader]; len(b) != 1 || b[0] != tt.folder || got.Get(offer.NamespacesHeader)+got.Get("Authorization")+got.Get("Cookie") != "" {
					t.Errorf("%s with the right in %q: passed on with %v, want bundles of %s", tt.in+to, tt.token, got, tt.folder)
				}
				if want := strings.ReplaceAll(to, "%2f", "/"); path != want {
					t.Errorf("%s is passed on to %s", tt.in+to, path)
				}
			}
		}
		if w := ask(http.MethodGet, tt.in+"/metrics", tt.token); w.Code != 404 && w.Code != 400 {
			t.Errorf("%s/metrics: %d", tt.in, w.Code)
		}
	}
	if w := ask(http.MethodGet, "/v1/namespaces/payments/snapshots/x/", ""); w.Code != 200 || path != "/" || got.Get("Cookie") != "" {
		t.Errorf("the page: %d, %s", w.Code, path)
	}
	for token, want := range map[string][]string{"hub": {"pcapsule/x"}, "shop": {"pcapsule/x", "shop/x"}, "payments": nil, "nobody": nil} {
		w := ask(http.MethodGet, "/mcp/snapshots", token)
		var l offer.Listed
		err := json.Unmarshal(w.Body.Bytes(), &l)
		if token == "payments" {
			want = []string{"payments/x"}
		}
		var names []string
		for _, s := range l.Snapshots {
			names = append(names, s.Name)
			if s.Page != "/v1/namespaces/"+strings.Replace(s.Name, "/", "/snapshots/", 1)+"/" || s.Status != "completed" || (s.Nodes > 0) != (token == "hub") {
				t.Errorf("%+v", s)
			}
		}
		if w.Code != 200 || err != nil || !reflect.DeepEqual(names, want) || l.Total != len(want) {
			t.Errorf("the list for %s: %d %s, want %q", token, w.Code, w.Body, want)
		}
	}
	for token, want := range map[string]int{"": 401, "forged": 401} {
		if w := ask(http.MethodGet, "/mcp/snapshots", token); w.Code != want {
			t.Errorf("the list for %q: %d", token, w.Code)
		}
	}
	phase = resource.Failed
	if w := ask(http.MethodGet, "/v1/snapshots/x/mcp/calls", "hub"); w.Code != 409 || got != nil {
		t.Errorf("of a snapshot without bundles: %d %s", w.Code, w.Body)
	}
}
