package download

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// described waits until the description of the snapshot has bundles.
func described(t *testing.T, u *url.URL, token string) (s offer.Snapshot) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s = offer.Snapshot{}
		code, text := get(t, u.JoinPath("x").String(), token)
		if err := json.Unmarshal([]byte(text), &s); code != 200 || err != nil || time.Now().After(end) {
			t.Fatalf("%d %s, %v", code, text, err)
		}
		if s.Ready {
			return s
		}
	}
}

// TestWhatASelectionHandsOut: the bundle that was cut, with the rights of a person, and no other.
func TestWhatASelectionHandsOut(t *testing.T) {
	for _, tt := range []struct {
		name     string
		s        resource.Selection
		token    string
		x        string // content of data/x
		selected string
		nothing  string
		kfl      string
	}{
		{"nothing selected", resource.Selection{}, "good", "one", "", "", ""},
		{"pods", resource.Selection{Namespaces: []string{"shop"}}, "good", "only namespaces shop", "namespaces shop", "", ""},
		{"pods for a person with some rights", resource.Selection{Namespaces: []string{"shop"}}, "of-payments", "only paymentsnamespaces shop", "", "", ""},
		{"a filter that leaves nothing", resource.Selection{Filter: "port 1"}, "good", "", "packets that match port 1", "a", ""},
		{"what readers apply", resource.Selection{KFL: "http"}, "good", "one", "", "", "http"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, _ := serveWith(t, resource.Ready, tt.s, nil)
			s := described(t, u, tt.token)
			if s.Selected != tt.selected || s.KFL != tt.kfl || strings.Join(s.Nothing, " ") != tt.nothing || len(s.Bundles) != map[bool]int{true: 0, false: 1}[tt.x == ""] {
				t.Errorf("%+v", s)
			}
			if _, text := get(t, u.JoinPath("x", "bundles", "a", "data", "x").String(), tt.token); tt.x != "" && text != tt.x || strings.Contains(text, "one") && tt.x != "one" {
				t.Errorf("data/x: %q, want %q", text, tt.x)
			}
		})
	}
}

// TestGapOfASelection: a node whose part is missing has its bundle, which states the gap, although nothing is selected of
// it; but not for people who may not see all.
func TestGapOfASelection(t *testing.T) {
	for token, want := range map[string]int{"good": 2, "of-shop": 1} {
		u, dir := serveWith(t, resource.Ready, resource.Selection{Namespaces: []string{"shop"}, Labels: "gap"}, nil)
		gap := filepath.Join(dir, "b.pcapsule")
		if err := os.MkdirAll(gap, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(gap, "x"), []byte("gap"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := described(t, u, token)
		code, text := get(t, u.JoinPath("x", "bundles", "b", "x").String(), token)
		if len(s.Bundles) != want || (text == "gap") != (want == 2) || len(s.Nothing) > 0 {
			t.Errorf("%s: %+v, file: %d %q", token, s.Bundles, code, text)
		}
	}
}

// TestAccessLog: each request is in the log before it has its answer.
func TestAccessLog(t *testing.T) {
	var list []Request
	u, _ := serveWith(t, resource.Ready, resource.Selection{}, func(r Request) error { list = append(list, r); return nil })
	for _, tt := range []struct{ path, token, user, name, query, err string }{
		{"x", "good", "ada", "/v1/snapshots/x", "", ""},
		{"x/bundles/a/data/x?kfl=dns", "good", "ada", "/v1/snapshots/x/bundles/a/data/x", "kfl=dns", ""},
		{"x/bundles/a/data/y", "good", "ada", "/v1/snapshots/x/bundles/a/data/y", "", "404 Not Found"},
		{"x", "other", "eve", "/v1/snapshots/x", "", "403 Forbidden"},
		{"x", "bad", "", "/v1/snapshots/x", "", "401 Unauthorized"},
		{"x", "", "", "/v1/snapshots/x", "", "401 Unauthorized"},
		{"x", "away", "", "/v1/snapshots/x", "", "503 Service Unavailable"},
		{"/", "", "", "/v1/snapshots/", "", "404 Not Found"},
	} {
		list = nil
		get(t, u.String()+"/"+strings.TrimPrefix(tt.path, "/"), tt.token)
		if len(list) != 1 {
			t.Fatalf("%s: %+v", tt.path, list)
		}
		if e := list[0]; e.User != tt.user || e.Path != tt.name || e.Query != tt.query || e.Error != tt.err || e.Method != "http GET" || e.Remote == "" || e.At.IsZero() {
			t.Errorf("%s with %q: %+v", tt.path, tt.token, e)
		}
	}
	u, _ = serveWith(t, resource.Ready, resource.Selection{}, func(Request) error { return errors.New("no space left on device") })
	for _, path := range []string{"x", "x/bundles/a/data/x"} {
		if code, text := get(t, u.String()+"/"+path, "good"); code != 503 || strings.Contains(text, "one") {
			t.Errorf("%s without a log: %d %q", path, code, text)
		}
	}
}

// TestAccessLogOfAStream: a tail has its line at once, and flows.
func TestAccessLogOfAStream(t *testing.T) {
	var list []Request
	h := &handler{Options: Options{Record: func(r Request) error { list = append(list, r); return nil }}}
	w := httptest.NewRecorder()
	h.audited(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by(r, "ada")
		w.WriteHeader(http.StatusEarlyHints)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		if len(list) != 1 || list[0].User != "ada" || list[0].Path != "/mcp/tail" {
			t.Errorf("while it flows: %+v", list)
		}
		w.Write([]byte("more"))
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/mcp/tail?kfl=http", nil))
	if !w.Flushed || w.Body.String() != "more" || len(list) != 1 || !slices.Contains([]int{200, 103}, w.Code) {
		t.Errorf("%d %q, %+v", w.Code, w.Body, list)
	}
}
