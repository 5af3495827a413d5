package snapshots

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/spans"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/hub/live"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/recorder/pins"
)

// watched is a cluster of rings whose copies are served.
type watched struct {
	t      *testing.T
	url    string
	dir    string
	nodes  map[string]*pins.Client
	cut    map[string]*atomic.Bool // the node cannot be reached
	all    *Copies
	opened atomic.Int32 // cases of its server
	stop   func()       // ends the hub's follower, as when it is killed but for its files

	mu       sync.Mutex
	dissects map[string]bool        // the nodes that send rows only
	runs     map[string]*agentsRows // their runs
	rings    map[string]*growing
}

// watch serves nodes. Those of rows dissect themselves and send rows only.
func watch(t *testing.T, rings map[string]*growing, rows ...string) *watched {
	t.Helper()
	w := &watched{t: t, dir: filepath.Join(t.TempDir(), "live"), nodes: map[string]*pins.Client{}, cut: map[string]*atomic.Bool{}, dissects: map[string]bool{}, runs: map[string]*agentsRows{}, rings: rings}
	for name, r := range rings {
		off := &atomic.Bool{}
		store := pins.Open(r.dir, name)
		if slices.Contains(rows, name) {
			w.dissects[name] = true
			store.ServeRows(w.dissect(name))
		}
		h := store.Handler(slog.New(slog.DiscardHandler))
		agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if off.Load() {
				panic(http.ErrAbortHandler)
			}
			h.ServeHTTP(w, r)
		}))
		t.Cleanup(agent.Close)
		u, err := url.Parse(agent.URL)
		if err != nil {
			t.Fatal(err)
		}
		w.nodes[name], w.cut[name] = &pins.Client{URL: u, HTTP: agent.Client()}, off
	}
	w.startHub()
	c := FollowCopies(CopiesOptions{Dir: w.dir, Keep: 5 * time.Minute, Owners: derive.AddOwners, OnError: func(err error) { t.Log(err) },
		Follow: func(ctx context.Context, ring string, _ int64, gaps func() []bundle.LiveGap, onError func(error)) (Live, error) {
			return exporter.Follow(ctx, ring, exporter.FollowOptions{Keep: 5 * time.Minute, OnError: onError, Gaps: gaps})
		},
		Mirror: func(ctx context.Context, dir string, gaps func() []bundle.LiveGap, onError func(error)) (Live, error) {
			return exporter.Mirror(ctx, dir, exporter.FollowOptions{OnError: onError, Gaps: gaps})
		}})
	t.Cleanup(c.Close)
	w.all = c
	server, err := mcp.New(nil, mcp.Options{Release: "test", Questions: all.Questions(), Live: c, Spans: spanLines, Open: func(ctx context.Context, paths []string) (*forensics.Case, error) {
		w.opened.Add(1)
		return forensics.Open(ctx, paths, forensics.Options{Threads: 2, MaskSecrets: true, Open: c.OpenBundle})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	web := httptest.NewServer(server.Handler(mcp.HTTPOptions{}))
	t.Cleanup(web.Close)
	w.url = web.URL
	return w
}

// startHub starts a follower.
func (w *watched) startHub() {
	f := live.New(live.Options{Dir: w.dir, Bytes: 64 << 20, Log: slog.New(slog.DiscardHandler),
		Wanted: func(context.Context) (nodes []live.Choice, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for name := range w.nodes {
				nodes = append(nodes, live.Choice{Name: name, Rows: w.dissects[name]})
			}
			return nodes, nil
		},
		Find: func(_ context.Context, node string) (*pins.Client, error) { return w.nodes[node], nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		done <- nil
	}
	w.t.Cleanup(w.stop)
}

// count is the number of calls in db live.
func (w *watched) count(kfl string) (n int, err error) {
	status, out := get(w.t, w.url+"/mcp/calls?db=live:5m&limit=1000&kfl="+url.QueryEscape(kfl))
	if status != http.StatusOK {
		return 0, fmt.Errorf("%d %v", status, out)
	}
	calls, _ := out["calls"].([]any)
	return len(calls), nil
}

// await waits until db live has as many calls.
func (w *watched) await(kfl string, want int) {
	w.t.Helper()
	var n int
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if n, err = w.count(kfl); err == nil && n == want {
			return
		}
	}
	w.t.Fatalf("%s: %d calls, %v, want %d", kfl, n, err, want)
}

// TestLiveOfACluster: two nodes have seen the same calls, of which each is one.
func TestLiveOfACluster(t *testing.T) {
	a, b := record(t, 20_000), record(t, 20_000)
	w := watch(t, map[string]*growing{"node-a": a, "node-b": b})
	at := time.Now().UnixNano()
	a.playAt("http1.pcapng", 0, 1000, at)
	b.playAt("http1.pcapng", 0, 1000, at+1000)
	want := int(a.bundled("http"))
	if want < 5 {
		t.Fatalf("the sample has %d calls", want)
	}
	w.await("http", want)
	_, out := get(t, w.url+"/mcp/calls?db=live:5m&kfl=http&limit=1")
	if text := fmt.Sprint(out); !strings.Contains(text, "coverage") {
		t.Errorf("no coverage: %.300s", text)
	}
}

// TestTailOfACluster: a call that two nodes finish at different times is printed and counted once.
func TestTailOfACluster(t *testing.T) {
	for _, rows := range nightly.Some([][]string{{"node-a"}, nil}, 1) {
		t.Run(fmt.Sprintf("rows of %q", rows), func(t *testing.T) { tailOfACluster(t, rows) })
	}
}

func tailOfACluster(t *testing.T, rows []string) {
	a, b := record(t, 20_000), record(t, 20_000)
	w := watch(t, map[string]*growing{"node-a": a, "node-b": b}, rows...)
	at := time.Now().UnixNano()
	a.playAt("dns.pcap", 0, 1000, at)
	b.playAt("dns.pcap", 0, 1000, at)
	w.await("dns", int(a.bundled("dns")))
	metrics(t, w.url)
	lines := tailOf(t, w.url, "http")
	a.playAt("http1.pcapng", 0, 20, at)
	b.playAt("http1.pcapng", 0, 20, at)
	w.await("http", int(a.bundled("http")))
	a.playAt("http1.pcapng", 20, 1000, at+1e9)
	w.await("http", int(a.bundled("http")))
	b.playAt("http1.pcapng", 20, 1000, at+1e9)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && len(lines()) < metrics(t, w.url); time.Sleep(50 * time.Millisecond) {
	}
	quiet := false
	for end := time.Now().Add(30 * time.Second); !quiet && time.Now().Before(end); {
		before := w.opened.Load()
		time.Sleep(2 * copiesEvery)
		quiet = w.opened.Load() == before
	}
	if !quiet {
		t.Error("cuts without rows open cases")
	}
	seen := map[string]int{}
	for _, id := range lines() {
		seen[id]++
	}
	if len(seen) < 3 {
		t.Errorf("the tail has %d calls", len(seen))
	}
	for id, n := range seen {
		if n > 1 {
			t.Errorf("call %s is there %d times", id, n)
		}
	}
	if n := metrics(t, w.url); n != len(seen) {
		t.Errorf("%d calls are counted, the tail has %d", n, len(seen))
	}
}

// metrics is the number of HTTP calls that are counted.
func metrics(t *testing.T, at string) (n int) {
	t.Helper()
	res, err := http.Get(at + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	for in.Scan() {
		if line := in.Text(); strings.HasPrefix(line, "pcapsule_live_calls_total{") && strings.Contains(line, `protocol="http1"`) {
			k, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
	}
	return n
}

// tailOf begins a tail. The function that it returns lists the identities of its calls so far.
func tailOf(t *testing.T, at, kfl string) func() []string {
	t.Helper()
	return tailAs(t, at, kfl, http.DefaultClient)
}

// tailAs is tailOf of a client.
func tailAs(t *testing.T, at, kfl string, c *http.Client) func() []string {
	t.Helper()
	res, err := c.Get(at + "/mcp/tail?kfl=" + url.QueryEscape(kfl))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	t.Cleanup(func() { res.Body.Close() })
	var mu sync.Mutex
	var ids []string
	go func() {
		in := bufio.NewScanner(res.Body)
		for in.Scan() {
			if data, ok := strings.CutPrefix(in.Text(), `data: {"id":"`); ok {
				id, _, _ := strings.Cut(data, `"`)
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ids)
	}
}

// gaps lists the reasons of the coverage gaps in db live.
func (w *watched) gaps() string {
	_, out := get(w.t, w.url+"/mcp/calls?db=live:5m&limit=1")
	return fmt.Sprint(out["coverage"])
}

// TestLiveOfNodesThatAreGone: a node that cannot be reached is a gap, which ends when the copy has caught up, and a hub
// that is killed copies again.
func TestLiveOfNodesThatAreGone(t *testing.T) {
	for _, rows := range nightly.Some([][]string{{"node-b"}, nil}, 1) {
		t.Run(fmt.Sprintf("rows of %q", rows), func(t *testing.T) { nodesThatAreGone(t, rows) })
	}
}

func nodesThatAreGone(t *testing.T, rows []string) {
	a, b := record(t, 20_000), record(t, 20_000)
	w := watch(t, map[string]*growing{"node-a": a, "node-b": b}, rows...)
	a.play("ntp.pcapng", 0, 10)
	w.await("http", 0)
	w.cut["node-b"].Store(true)
	b.play("http1.pcapng", 0, 1000)
	gone := "node node-b: the recorder cannot be reached"
	if rows != nil {
		gone = "node node-b: its rows cannot be fetched"
	}
	stated := func(want bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); strings.Contains(w.gaps(), gone) != want; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("stated: %v, want %v: %s", !want, want, w.gaps())
			}
		}
	}
	stated(true)
	w.cut["node-b"].Store(false)
	stated(false)
	want := int(b.bundled("http"))
	w.await("http", want)
	w.stop()
	w.startHub()
	w.await("http", want)
}

func spanLines(ctx context.Context, c *forensics.Case, q forensics.Query, write func([]byte) error) (int, error) {
	_, n, err := spans.Lines(ctx, c, q, "test", write)
	return n, err
}
