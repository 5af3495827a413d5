package download

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// serve serves one snapshot, which the token "good" may have.
func serve(t *testing.T, phase string) (u *url.URL, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"a.pcapsule/data/x": "one", "a.pcapsule/bagit.txt": "two", "secret": "three"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &resource.Snapshot{ObjectMeta: v1.ObjectMeta{Name: "x", Namespace: "pcapsule", UID: "u"}, Status: resource.Status{Phase: phase, From: "f", To: "t",
		Nodes:      []resource.Node{{Name: "a", State: resource.Bundled, Bundle: "a.pcapsule"}, {Name: "b", State: resource.Missing, Reason: "missing", Message: "away"}},
		Conditions: []v1.Condition{{Type: resource.Done, Message: "why"}}}}
	server := httptest.NewServer(Handler(Options{Log: slog.New(slog.DiscardHandler),
		Find: func(name string) (*resource.Snapshot, string, error) {
			if name != "x" {
				return nil, "", fmt.Errorf("%s: %w", name, ErrNone)
			}
			return s, dir, nil
		},
		Allow: func(_ context.Context, token, _ string) (string, error) {
			switch token {
			case "good":
				return "ada", nil
			case "other":
				return "eve", fmt.Errorf("%w: eve may not", ErrDenied)
			case "away":
				return "", errors.New("the API is away")
			}
			return "", ErrUnknown
		}}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL + "/v1/snapshots")
	if err != nil {
		t.Fatal(err)
	}
	return u, dir
}

func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestBundlesAreServed(t *testing.T) {
	u, dir := serve(t, resource.Ready)
	code, text := get(t, u.JoinPath("x").String(), "good")
	var s offer.Snapshot
	if err := json.Unmarshal([]byte(text), &s); code != 200 || err != nil || s.Check() != nil {
		t.Fatalf("%d %s", code, text)
	}
	if !s.Ready || len(s.Bundles) != 1 || s.Bundles[0].Name != "x-a.pcapsule" || len(s.Bundles[0].Files) != 2 || len(s.Missing) != 1 || s.Missing[0].Message != "away" {
		t.Errorf("%s", text)
	}
	to := t.TempDir()
	from := transfer.Web{Base: u.JoinPath("x", "bundles", "a"), Client: http.DefaultClient, Header: http.Header{"Authorization": {"Bearer good"}}}
	if err := (&transfer.Fetcher{Tries: 1}).Fetch(t.Context(), from, s.Bundles[0].Files, to); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(to, "data", "x")); string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "a.pcapsule")); err != nil {
		t.Fatal(err)
	}
	if code, text := get(t, u.JoinPath("x").String(), "good"); code != 500 {
		t.Errorf("without its files: %d %s", code, text)
	}
}

func TestNotReady(t *testing.T) {
	u, _ := serve(t, resource.Collecting)
	code, text := get(t, u.JoinPath("x").String(), "good")
	var s offer.Snapshot
	if err := json.Unmarshal([]byte(text), &s); code != 200 || err != nil || s.Ready || len(s.Bundles) > 0 || s.Phase != resource.Collecting || s.Message != "why" {
		t.Errorf("%d %s", code, text)
	}
}

func TestWhoGetsWhat(t *testing.T) {
	u, _ := serve(t, resource.Ready)
	for _, tt := range []struct {
		name, path, token string
		want              int
	}{
		{"no token", "x", "", 401},
		{"an unknown token", "x", "bad", 401},
		{"somebody without the right", "x", "other", 403},
		{"Kubernetes is away", "x", "away", 503},
		{"a file without a token", "x/bundles/a/data/x", "", 401},
		{"a file without the right", "x/bundles/a/data/x", "other", 403},
		{"a file", "x/bundles/a/data/x", "good", 200},
		{"another snapshot", "y", "good", 404},
		{"another snapshot without the right", "y", "other", 403},
		{"an upward name", "..%2fx", "good", 400},
		{"an upward node", "x/bundles/..%2fa/data/x", "good", 404},
		{"a node without a bundle", "x/bundles/b/data/x", "good", 404},
		{"an upward file", "x/bundles/a/..%2f..%2fsecret", "good", 404},
		{"a file that is not listed", "x/bundles/a/data/y", "good", 404},
		{"a folder", "x/bundles/a/data", "good", 404},
	} {
		if code, text := get(t, u.String()+"/"+tt.path, tt.token); code != tt.want || code != 200 && strings.Contains(text, "three") {
			t.Errorf("%s: %d %s, want %d", tt.name, code, text, tt.want)
		}
	}
}
