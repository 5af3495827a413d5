package live

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
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

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/recorder/mutual"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

// filled is a ring of several segments.
func filled(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ring")
	if _, err := ringtest.Fill(dir, data, 1, 20); err != nil {
		t.Fatal(err)
	}
	return dir
}

func clientOf(t *testing.T, h http.Handler) *pins.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &pins.Client{URL: u, HTTP: s.Client()}
}

// follow follows one node, and returns the folder of its copy.
func follow(t *testing.T, c *pins.Client, bytes int64) (f *Follower, dir func() string) {
	t.Helper()
	return followAs(t, c, bytes, Choice{Name: "n"})
}

func followAs(t *testing.T, c *pins.Client, bytes int64, node Choice) (f *Follower, dir func() string) {
	t.Helper()
	return followWanted(t, c, bytes, func(context.Context) ([]Choice, error) { return []Choice{node}, nil })
}

func followWanted(t *testing.T, c *pins.Client, bytes int64, wanted func(context.Context) ([]Choice, error)) (f *Follower, dir func() string) {
	t.Helper()
	f = New(Options{Dir: filepath.Join(t.TempDir(), "live"), Bytes: bytes, Log: slog.New(slog.DiscardHandler), poll: 5 * time.Millisecond, ask: 10 * time.Millisecond, again: time.Millisecond,
		Wanted: wanted,
		Find:   func(context.Context, string) (*pins.Client, error) { return c, nil }})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f, func() string {
		for _, n := range f.Status().Nodes {
			if n.Dir != "" {
				return filepath.Join(f.o.Dir, n.Dir)
			}
		}
		return ""
	}
}

// state waits until the node has a state and, if it is not empty, a message.
func state(t *testing.T, f *Follower, want, message string) {
	t.Helper()
	var last []offer.LiveNode
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if last = f.Status().Nodes; len(last) == 1 && last[0].State == want && strings.Contains(last[0].Message, message) {
			return
		}
	}
	t.Fatalf("%+v, want %s %s", last, want, message)
}

// same waits until a copy has every file of a ring.
func same(t *testing.T, f *Follower, dir func() string, from string) {
	t.Helper()
	var missing string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if missing = differs(dir(), from); missing == "" {
			return
		}
	}
	t.Fatalf("%s; %+v", missing, f.Status().Nodes)
}

func differs(dir, from string) string {
	list, err := os.ReadDir(from)
	if err != nil || dir == "" {
		return "no copy"
	}
	for _, e := range list {
		if _, _, hidden, ok := ring.ParseName(e.Name()); !ok && e.Name() != pins.SealsFile || hidden {
			continue
		}
		a, err := os.ReadFile(filepath.Join(from, e.Name()))
		b, err2 := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			return e.Name() + " is missing or differs"
		}
	}
	return ""
}

// TestCopyIsTheRing: also over connections that are cut after every few bytes.
func TestCopyIsTheRing(t *testing.T) {
	from := filled(t)
	h := pins.Open(from, "n").Handler(slog.New(slog.DiscardHandler))
	for name, most := range map[string]int{"whole answers": 0, "cut connections": 3000} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if most > 0 && r.URL.Path != "/v1/follow" {
					w = &cutter{w, most}
				}
				h.ServeHTTP(w, r)
			}))
			f, dir := follow(t, c, 64<<20)
			same(t, f, dir, from)
			if _, err := ring.Open(dir()); err != nil {
				t.Error(err)
			}
		})
	}
}

// cutter ends a response after n bytes.
type cutter struct {
	http.ResponseWriter
	n int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.n {
		_, _ = c.ResponseWriter.Write(p[:c.n])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.n -= len(p)
	return c.ResponseWriter.Write(p)
}

// TestNodesThatLie: what a node lists must not leave its folder, or grow without bounds.
func TestNodesThatLie(t *testing.T) {
	for _, tt := range []struct{ name, files, want string }{
		{"a path", `{"name":"../../x","size":1}`, "not a file of a ring"},
		{"a path in a name", `{"name":"sockets-../../n-000000001.pcapng","size":1}`, "not a file of a ring"},
		{"another file", `{"name":"passwd","size":1}`, "not a file of a ring"},
		{"a hidden name", `{"name":".sockets-n-000000001.pcapng","size":1}`, "not a file of a ring"},
		{"a negative size", `{"name":"sockets-n-000000001.pcapng","size":-1}`, "not a file of a ring"},
		{"a file that is too large", `{"name":"sockets-n-000000001.pcapng","size":1000000000000}`, "a copy may have"},
		{"side files that are too large", `{"name":"sockets-n-000000001.pcapng","size":1},{"name":"sockets-n-000000001.owners.jsonl","size":1000000000000}`, "a copy may have"},
		{"a file without bytes", `{"name":"seals.jsonl","size":10}`, "getting seals.jsonl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/follow" {
					_, _ = io.WriteString(w, `{"node":"n","ring":"r","now":"2026-11-23T00:00:00Z","files":[`+tt.files+`]}`)
				}
			}))
			f, _ := follow(t, c, 1)
			state(t, f, offer.Unreachable, tt.want)
		})
	}
}

// TestCopyIsBounded: the oldest segments go.
func TestCopyIsBounded(t *testing.T) {
	dir := t.TempDir()
	c := &ringCopy{dir: dir, files: map[string]*file{}}
	for i := range 10 {
		id := ring.ID{Series: "sockets", Node: "n", Sequence: uint64(i + 1)}
		for _, name := range []string{id.Segment(), id.Side("owners.jsonl")} {
			if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 100), 0o600); err != nil {
				t.Fatal(err)
			}
			c.files[name] = &file{GrowingFile: pins.GrowingFile{Name: name, Size: 100, Changed: ring.Time(i)}, id: id, segment: strings.HasSuffix(name, ".pcapng"), have: 100, whole: true}
		}
	}
	if err := c.retire(500); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 4 || list[0].Name() != "sockets-n-000000009.owners.jsonl" {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestForgedCertificates: a recorder and a hub know each other by an authority and a name.
func TestForgedCertificates(t *testing.T) {
	now := time.Now()
	issuer := func() (*mutual.Issuer, []byte) {
		root, key, err := mutual.NewIssuer("test", time.Hour, now)
		if err != nil {
			t.Fatal(err)
		}
		i, err := mutual.ReadIssuer(root, key)
		if err != nil {
			t.Fatal(err)
		}
		return i, root
	}
	ours, root := issuer()
	others, _ := issuer()
	pair := func(i *mutual.Issuer, name string, server bool) mutual.Source {
		key, text, err := mutual.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := i.Issue(key.Public(), []string{name}, server, time.Hour, now)
		if err != nil {
			t.Fatal(err)
		}
		p, err := mutual.Parse(cert, text, root)
		if err != nil {
			t.Fatal(err)
		}
		return func() (*mutual.Pair, error) { return p, nil }
	}
	from := filled(t)
	for _, tt := range []struct {
		name     string
		node     mutual.Source
		hub      mutual.Source
		followed bool
	}{
		{"both are ours", pair(ours, mutual.Node("n"), true), pair(ours, mutual.Hub, false), true},
		{"a recorder of another authority", pair(others, mutual.Node("n"), true), pair(ours, mutual.Hub, false), false},
		{"another node", pair(ours, mutual.Node("m"), true), pair(ours, mutual.Hub, false), false},
		{"a hub of another authority", pair(ours, mutual.Node("n"), true), pair(others, mutual.Hub, false), false},
		{"a recorder that asks", pair(ours, mutual.Node("n"), true), pair(ours, mutual.Node("m"), false), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var served atomic.Bool
			h := pins.Open(from, "n").Handler(slog.New(slog.DiscardHandler))
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				served.Store(true)
				h.ServeHTTP(w, r)
			}))
			s.Listener = tls.NewListener(s.Listener, mutual.Server(tt.node, mutual.Hub))
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
			s.Start()
			defer s.Close()
			u, err := url.Parse(strings.Replace(s.URL, "http:", "https:", 1))
			if err != nil {
				t.Fatal(err)
			}
			f, dir := follow(t, &pins.Client{URL: u, HTTP: mutual.Client(tt.hub, mutual.Node("n"))}, 64<<20)
			if tt.followed {
				same(t, f, dir, from)
				return
			}
			state(t, f, offer.Unreachable, "tls: ")
			if served.Load() {
				t.Error("it was served")
			}
		})
	}
}

// TestAnotherRing: a node that was set up again gets another copy.
func TestAnotherRing(t *testing.T) {
	one, two := filled(t), filled(t)
	var second atomic.Bool
	a, b := pins.Open(one, "n").Handler(slog.New(slog.DiscardHandler)), pins.Open(two, "n").Handler(slog.New(slog.DiscardHandler))
	f, dir := follow(t, clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if second.Load() {
			b.ServeHTTP(w, r)
		} else {
			a.ServeHTTP(w, r)
		}
	})), 64<<20)
	same(t, f, dir, one)
	old := dir()
	second.Store(true)
	same(t, f, dir, two)
	if _, err := os.Stat(old); !os.IsNotExist(err) || dir() == old {
		t.Errorf("%s is left: %v", old, err)
	}
}
