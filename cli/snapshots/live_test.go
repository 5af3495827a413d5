package snapshots

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// growing is a ring that is being written.
type growing struct {
	t     *testing.T
	dir   string
	w     *ring.Writer
	s     *ring.Series
	iface ring.InterfaceID

	opened *atomic.Int32 // cases of its server
}

func record(t *testing.T, segment int64) *growing {
	t.Helper()
	r := &growing{t: t, dir: filepath.Join(t.TempDir(), "ring"), opened: new(atomic.Int32)}
	var err error
	r.w, err = ring.Create(ring.Options{Dir: r.dir, Node: "n", Recorder: "test", SegmentBytes: segment, FlushEvery: 10 * time.Millisecond})
	if err == nil {
		r.s, err = r.w.Series(ring.SeriesOptions{Name: "sockets", LinkType: 1})
	}
	if err == nil {
		r.iface, err = r.s.Interface(pcapng.Interface{Name: "n/shop/web"})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.w.Close(context.Background()) })
	return r
}

// play records packets of a sample, from one to another, as if the last of them came now.
func (r *growing) play(sample string, from, to int) {
	r.t.Helper()
	r.playAt(sample, from, to, time.Now().UnixNano())
}

// playAt is play with another time of the last packet.
func (r *growing) playAt(sample string, from, to int, now int64) {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "samples", sample))
	if err != nil {
		r.t.Fatal(err)
	}
	in, err := pcapng.NewReader(bytes.NewReader(data), pcapng.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	var b pcapng.Batch
	if err := in.Next(&b); err != nil {
		r.t.Fatal(err)
	}
	list := b.Packets[from:min(to, len(b.Packets))]
	for i := range list {
		p := &list[i]
		if err := r.s.Append(&ring.Packet{Interface: r.iface, Time: now + p.Time - list[len(list)-1].Time, Data: p.Data, OrigLen: p.OrigLen}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.s.Flush()
}

// followed begins a live run.
func followed(ctx context.Context, ring string, onError func(error)) (Live, error) {
	return exporter.Follow(ctx, ring, exporter.FollowOptions{Keep: time.Minute, OnError: onError})
}

// serve serves a ring with a live run.
func (r *growing) serve() string {
	r.t.Helper()
	s, err := Open(Options{Ring: r.dir, Dir: filepath.Join(r.t.TempDir(), "store"), Export: export, Keep: time.Minute, Follow: followed, OnError: func(err error) { r.t.Error(err) }})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.Close)
	server, err := mcp.New(nil, mcp.Options{Release: "test", Questions: all.Questions(), Store: s, Open: func(ctx context.Context, paths []string) (*forensics.Case, error) {
		r.opened.Add(1)
		return forensics.Open(ctx, paths, forensics.Options{Threads: 2, MaskSecrets: true, Open: s.OpenBundle})
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { server.Close() })
	web := httptest.NewServer(server.Handler(mcp.HTTPOptions{}))
	r.t.Cleanup(web.Close)
	return web.URL
}

// bundled is the number of calls in a bundle of what was recorded.
func (r *growing) bundled(kfl string) float64 {
	r.t.Helper()
	if err := r.w.Seal(ctx); err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.t.TempDir(), "x.pcapsule")
	if _, err := export(ctx, r.dir, path, 0, 0, nil); err != nil {
		r.t.Fatal(err)
	}
	c, err := forensics.Open(ctx, []string{path}, forensics.Options{Threads: 2})
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	res, err := c.Query(ctx, forensics.Query{KFL: kfl, Count: true})
	if err != nil {
		r.t.Fatal(err)
	}
	return float64(res.Rows[0][0].(int64))
}

func get(t *testing.T, url string) (status int, out map[string]any) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return res.StatusCode, out
}

// TestLiveGrows: db live has what was recorded a moment ago, again and again, and a tail gets each call
// once.
func TestLiveGrows(t *testing.T) {
	const half = 80
	r := record(t, 20_000)
	r.play("http1.pcapng", 0, half)
	url := r.serve()
	events, _ := tailed(t, url+"/mcp/tail?kfl=http")
	calls := func(db string, want float64) {
		t.Helper()
		var total float64
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			status, out := get(t, url+"/mcp/calls?limit=1000&kfl=http&db="+db)
			if status != 200 {
				t.Fatalf("%d: %v", status, out)
			}
			if total = out["total"].(float64); total == want {
				return
			}
		}
		t.Fatalf("db %s has %v calls, want %v", db, total, want)
	}
	_, all := get(t, url+"/mcp/calls?limit=1000&kfl=http&db=live")
	once := all["total"].(float64)
	if once == 0 {
		t.Fatalf("no calls: %v", all)
	}
	r.play("http1.pcapng", half, 1<<20)
	whole := r.bundled("http")
	calls("live", whole)
	calls("live:50s", whole)
	seen := map[string]int{}
	for len(seen) < 10 {
		select {
		case id := <-events:
			if seen[id]++; seen[id] > 1 {
				t.Errorf("call %s came twice", id)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the tail has %d calls", len(seen))
		}
	}
	if status, out := get(t, url+"/mcp/flows?db=live"); status != 200 || out["total"].(float64) == 0 {
		t.Errorf("%d: %v", status, out)
	}
	if status, out := get(t, url+"/mcp/calls?db=live:2m"); status != 400 || !strings.Contains(out["error"].(string), "--live-keep") {
		t.Errorf("more than is kept: %d: %v", status, out)
	}
	if status, out := get(t, url+"/mcp/tail?kfl=http+%26%26"); status != 400 {
		t.Errorf("a filter with an error: %d: %v", status, out)
	}
}

// TestTwoTails: each gets the calls of its filter once, from a ring that was empty, also after another
// client has left.
func TestTwoTails(t *testing.T) {
	r := record(t, 20_000)
	url := r.serve() + "/mcp/tail?kfl="
	const good, bad = "http && status_code < 400", "http && status_code >= 400"
	first, _ := tailed(t, url+neturl.QueryEscape(good))
	second, _ := tailed(t, url+neturl.QueryEscape(bad))
	third, leave := tailed(t, url)
	r.play("http1.pcapng", 0, 80)
	<-third
	leave()
	r.play("http1.pcapng", 80, 1<<20)
	for kfl, ids := range map[string]<-chan string{good: first, bad: second} {
		got, want := map[string]bool{}, int(r.bundled(kfl))
		for len(got) < want {
			select {
			case id := <-ids:
				if got[id] {
					t.Errorf("%s: call %s came twice", kfl, id)
				}
				got[id] = true
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: the tail has %d calls, want %d", kfl, len(got), want)
			}
		}
		if want == 0 {
			t.Errorf("%s: no calls", kfl)
		}
	}
}

// TestCutsWithoutRowsOpenNothing: a tail and a scrape of an idle ring open no case for its cuts, and the calls that
// come later are not missed.
func TestCutsWithoutRowsOpenNothing(t *testing.T) {
	r := record(t, 20_000)
	url := r.serve()
	ids, _ := tailed(t, url+"/mcp/tail")
	metrics(t, url)
	before := r.opened.Load()
	for range 3 {
		metrics(t, url) // of another cut
	}
	if n := r.opened.Load() - before; n > 0 {
		t.Errorf("cases that were opened for cuts without rows: %d", n)
	}
	r.play("http1.pcapng", 0, 1<<20)
	for want := int(r.bundled("http")); want > 0; want-- {
		select {
		case <-ids:
		case <-time.After(20 * time.Second):
			t.Fatalf("calls that did not come: %d", want)
		}
	}
}

// TestMetrics counts the calls of a sample, in several cuts.
func TestMetrics(t *testing.T) {
	r := record(t, 20_000)
	url := r.serve() + "/metrics"
	scrape := func() (calls, failed, timed float64) {
		t.Helper()
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") || !strings.Contains(string(text), "pcapsule_live_count_failures_total 0\n") {
			t.Fatalf("%s %v %v: %.500s", res.Status, res.Header, err, text)
		}
		for line := range strings.Lines(string(text)) {
			series, number, _ := strings.Cut(strings.TrimSpace(line), "} ")
			if !strings.Contains(series, `protocol="http1"`) {
				continue
			}
			n, _ := strconv.ParseFloat(number, 64)
			switch name, _, _ := strings.Cut(series, "{"); name {
			case "pcapsule_live_calls_total":
				calls += n
			case "pcapsule_live_failed_calls_total":
				failed += n
			case "pcapsule_live_call_duration_seconds_bucket":
				if strings.Contains(series, `le="10"`) {
					timed += n
				}
			}
		}
		return calls, failed, timed
	}
	if calls, _, _ := scrape(); calls != 0 {
		t.Errorf("%v calls before the first", calls)
	}
	r.play("http1.pcapng", 0, 80)
	for calls := 0.0; calls == 0; calls, _, _ = scrape() {
		time.Sleep(50 * time.Millisecond)
	}
	r.play("http1.pcapng", 80, 1<<20)
	finished := "http1 && (status_code > 0 || !failed)"
	calls, failed, timed := r.bundled(finished), r.bundled(finished+" && failed"), r.bundled(finished+" && elapsed_us >= 0")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c, f, d := scrape()
		if c == calls && f == failed && d == timed {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v calls, %v failed, %v with a duration; want %v, %v, %v", c, f, d, calls, failed, timed)
		}
	}
}

// tailed reads the ids of the calls of a stream. leave ends it.
func tailed(t *testing.T, url string) (ids <-chan string, leave func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %s", res.Status, res.Header)
	}
	out := make(chan string, 10_000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := bufio.NewScanner(res.Body)
		in.Buffer(nil, 1<<20)
		kind := ""
		for in.Scan() {
			if k, ok := strings.CutPrefix(in.Text(), "event: "); ok {
				kind = k
			}
			data, ok := strings.CutPrefix(in.Text(), "data: ")
			var call struct{ ID string }
			if ok && kind == "call" && json.Unmarshal([]byte(data), &call) == nil {
				out <- call.ID
			}
		}
	}()
	leave = sync.OnceFunc(func() { stop(); res.Body.Close(); <-done })
	t.Cleanup(leave)
	return out, leave
}
