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
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// serve serves one snapshot, which the token "good" may have.
func serve(t *testing.T, phase string) (u *url.URL, dir string) {
	t.Helper()
	return serveWith(t, phase, resource.Selection{}, nil)
}

// serveWith serves a snapshot of a selection, with an access log.
func serveWith(t *testing.T, phase string, selection resource.Selection, record func(Request) error) (u *url.URL, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "bundles") // views are beside it
	for name, text := range map[string]string{"a.pcapsule/data/x": "one", "a.pcapsule/bagit.txt": "two", "secret": "three"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &resource.Snapshot{ObjectMeta: v1.ObjectMeta{Name: "x", Namespace: "pcapsule", UID: "u"}, Spec: resource.Spec{Select: selection}, Status: resource.Status{Phase: phase, From: "f", To: "t",
		Nodes:      []resource.Node{{Name: "a", State: resource.Bundled, Bundle: "a.pcapsule"}, {Name: "b", State: resource.Missing, Reason: "missing", Message: "away"}},
		Conditions: []v1.Condition{{Type: resource.Done, Message: "why"}}}}
	if selection.Labels == "gap" {
		s.Status.Nodes[1].Bundle = "b.pcapsule"
	}
	server := httptest.NewServer(Handler(Options{Log: slog.New(slog.DiscardHandler), Record: record,
		Find: func(_, name string) (*resource.Snapshot, string, error) {
			if name != "x" {
				return nil, "", fmt.Errorf("%s: %w", name, ErrNone)
			}
			return s, dir, nil
		},
		Cutter: cutter{},
		Allow: func(_ context.Context, token string, _ Content, namespaces func() ([]string, error)) (Grant, error) {
			switch token {
			case "good":
				return Grant{User: "ada", All: true}, nil
			case "other":
				return Grant{User: "eve"}, fmt.Errorf("%w: eve may not", ErrDenied)
			case "away":
				return Grant{}, errors.New("the API is away")
			}
			if want, of := strings.CutPrefix(token, "of-"); of {
				return some(namespaces, strings.Split(want, "+"))
			}
			return Grant{}, ErrUnknown
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

// some grants those of the snapshot's namespaces that somebody has a right to.
func some(namespaces func() ([]string, error), right []string) (Grant, error) {
	list, err := namespaces()
	list = slices.DeleteFunc(slices.Clone(list), func(n string) bool { return !slices.Contains(right, n) })
	if err == nil && len(list) == 0 {
		err = ErrDenied
	}
	return Grant{User: "bob", Namespaces: list}, err
}

// cutter makes views of bundles whose only namespaces are shop and payments: a file that says which.
type cutter struct{}

func (cutter) Namespaces(context.Context, string) ([]string, error) {
	return []string{"empty", "payments", "shop"}, nil
}

func (c cutter) View(_ context.Context, _ []string, v View, _ *offer.Owners) (Cut, error) {
	return func(_ context.Context, bundle, to string) error { return c.cut(bundle, to, v) }, nil
}

func (cutter) cut(bundle, to string, v View) error {
	namespaces := v.Namespaces
	if slices.Equal(namespaces, []string{"empty"}) || v.Select.Filter == "port 1" || strings.HasSuffix(bundle, "b.pcapsule") {
		return ErrNothing
	}
	if err := os.MkdirAll(filepath.Join(to, "data"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "data", "x"), []byte("only "+strings.Join(namespaces, "+")+v.Select.OfPods()), 0o600)
}

// TestWhoSeesWhichNamespaces is every road to a snapshot's content by every right: the description with its sums, and
// files by name, also those that only the whole bundle has.
func TestWhoSeesWhichNamespaces(t *testing.T) {
	u, _ := serve(t, resource.Ready)
	for _, tt := range []struct {
		token      string
		code       int
		namespaces string
		bundles    int
		x          string // content of data/x
		bag        int    // code of bagit.txt, which only the whole bundle has
	}{
		{"good", 200, "", 1, "one", 200},
		{"of-shop", 200, "shop", 1, "only shop", 404},
		{"of-payments", 200, "payments", 1, "only payments", 404},
		{"of-shop+payments", 200, "payments,shop", 1, "only payments+shop", 404},
		{"of-shop+nowhere", 200, "shop", 1, "only shop", 404},
		{"of-empty", 200, "empty", 0, "", 404},
		{"of-nowhere", 403, "", 0, "", 403},
		{"of-", 403, "", 0, "", 403},
		{"other", 403, "", 0, "", 403},
	} {
		t.Run(tt.token, func(t *testing.T) {
			var s offer.Snapshot
			code, text := 0, ""
			for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				s = offer.Snapshot{}
				if code, text = get(t, u.JoinPath("x").String(), tt.token); code == 200 && json.Unmarshal([]byte(text), &s) != nil {
					t.Fatal(text)
				}
				if code != 200 || s.Ready || time.Now().After(end) {
					break
				}
				if len(s.Bundles) > 0 {
					t.Fatalf("a view that is being made lists bundles: %s", text)
				}
			}
			if code != tt.code || strings.Join(s.Namespaces, ",") != tt.namespaces || len(s.Bundles) != tt.bundles || s.Ready != (tt.code == 200) {
				t.Fatalf("description: %d %s", code, text)
			}
			for _, b := range s.Bundles {
				for _, f := range b.Files {
					if f.Name == "data/x" && f.Size != int64(len(tt.x)) {
						t.Errorf("the listing is of another bundle: %+v", f)
					}
				}
			}
			code, text = get(t, u.JoinPath("x", "bundles", "a", "data", "x").String(), tt.token)
			if tt.x != "" && text != tt.x || tt.x == "" && code == 200 {
				t.Errorf("data/x: %d %q, want %q", code, text, tt.x)
			}
			if code, _ := get(t, u.JoinPath("x", "bundles", "a", "bagit.txt").String(), tt.token); code != tt.bag {
				t.Errorf("bagit.txt: %d, want %d", code, tt.bag)
			}
			for _, path := range []string{"x/bundles/..%2fviews/data/x", "x/bundles/a/..%2f..%2fa.pcapsule%2fdata%2fx"} {
				if code, text := get(t, u.String()+"/"+path, tt.token); code == 200 {
					t.Errorf("%s: %q", path, text)
				}
			}
		})
	}
	for _, phase := range []string{resource.Collecting, resource.Bundling} {
		if u, _ := serve(t, phase); true {
			if code, text := get(t, u.JoinPath("x").String(), "of-shop"); code != 403 {
				t.Errorf("before it is ready: %d %s", code, text)
			}
		}
	}
}

// TestSnapshotsOfTenants: a snapshot outside the hub's namespace has the traffic of its own, for whoever has the right
// there. A right in the hub's namespace, also one to an object of the same name, is none.
func TestSnapshotsOfTenants(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundles")
	for name, text := range map[string]string{"a.pcapsule/data/x": "of all", "a.pcapsule/bagit.txt": "two"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	readers := make(chan string, 20)
	server := httptest.NewServer(Handler(Options{Log: slog.New(slog.DiscardHandler), Namespace: "pcapsule", Cutter: cutter{},
		Read: func(s *resource.Snapshot, user string) { readers <- s.Namespace + " " + user },
		Find: func(namespace, name string) (*resource.Snapshot, string, error) {
			if namespace == "" {
				namespace = "pcapsule"
			}
			s := &resource.Snapshot{ObjectMeta: v1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID("of " + namespace)}, Status: resource.Status{Phase: resource.Ready,
				Nodes: []resource.Node{{Name: "a", State: resource.Bundled, Bundle: "a.pcapsule"}}}}
			return s, dir, nil
		},
		Allow: func(_ context.Context, token string, what Content, _ func() ([]string, error)) (Grant, error) {
			switch {
			case what.Namespace == "" && token == "hub":
				return Grant{User: "ada", All: true}, nil
			case what.Namespace != "" && token == what.Namespace:
				return Grant{User: "bob", Namespaces: []string{what.Namespace}}, nil
			}
			return Grant{}, ErrDenied
		}}))
	t.Cleanup(server.Close)
	for _, tt := range []struct {
		path, token string
		code        int
		x           string
	}{
		{"snapshots/x", "hub", 200, "of all"},
		{"namespaces/pcapsule/snapshots/x", "hub", 200, "of all"},
		{"namespaces/shop/snapshots/x", "hub", 403, ""}, // also after the answer about the hub's is known
		{"namespaces/shop/snapshots/x", "shop", 200, "only shop"},
		{"namespaces/payments/snapshots/x", "shop", 403, ""},
		{"snapshots/x", "shop", 403, ""},
		{"namespaces/..%2fshop/snapshots/x", "shop", 400, ""},
	} {
		u := server.URL + "/v1/" + tt.path
		code, text := get(t, u, tt.token)
		for end := time.Now().Add(time.Minute); code == 200 && strings.Contains(text, `"ready":false`) && time.Now().Before(end); time.Sleep(time.Millisecond) {
			code, text = get(t, u, tt.token)
		}
		if code != tt.code {
			t.Errorf("%s with the right in %s: %d %s, want %d", tt.path, tt.token, code, text, tt.code)
		}
		if code, x := get(t, u+"/bundles/a/data/x", tt.token); tt.x != "" && x != tt.x || code != tt.code {
			t.Errorf("%s: data/x is %d %q, want %q", tt.path, code, x, tt.x)
		}
	}
	// Each reader once, and nobody who was refused.
	if got := []string{<-readers, <-readers}; len(readers) > 0 || !slices.Contains(got, "pcapsule ada") || !slices.Contains(got, "shop bob") {
		t.Errorf("announced readers %q and %d more", got, len(readers))
	}
}
