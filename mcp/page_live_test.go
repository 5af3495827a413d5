package mcp

import (
	"context"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// pageRing is a ring whose live data is one bundle, and whose snapshot becomes another.
type pageRing struct {
	store.Store
	live, frozen string
	asked        *atomic.Int64
	made         *atomic.Bool
}

func (p pageRing) Live(context.Context, time.Duration) ([]string, error) {
	p.asked.Add(1)
	return []string{p.live}, nil
}

func (p pageRing) Boundaries(context.Context) ([]store.Boundary, error) {
	return []store.Boundary{{Node: "here", Recording: true, OldestMs: 1, NewestMs: 2}}, nil
}

func (p pageRing) CreateSnapshot(_ context.Context, r store.SnapshotRequest) (store.Snapshot, error) {
	if r.From == 0 || r.To < r.From {
		return store.Snapshot{}, store.BadRequest("no time")
	}
	return store.Snapshot{Name: "s1", Status: "completed", Dissections: []string{}}, nil
}

func (p pageRing) Snapshots(context.Context) ([]store.Snapshot, error) {
	if !p.made.Load() {
		return nil, nil
	}
	return []store.Snapshot{{Name: "s1", Status: "completed", Dissections: []string{"s1/main"}}}, nil
}

func (p pageRing) StartDissection(context.Context, string, string) (store.Dissection, error) {
	p.made.Store(true)
	return store.Dissection{Snapshot: "s1", Name: "main", DB: "s1/main", Status: "running"}, nil
}

func (p pageRing) Dissections(context.Context, string) ([]store.Dissection, error) {
	if !p.made.Load() {
		return nil, nil
	}
	return []store.Dissection{{Snapshot: "s1", Name: "main", DB: "s1/main", Status: "completed", Paths: []string{p.frozen}}}, nil
}

// TestPageFollowsARing follows live data, pauses, and makes a snapshot of the selected time.
func TestPageFollowsARing(t *testing.T) {
	t.Parallel() // it mostly waits
	ring := pageRing{live: bundled(t, "http1.pcapng"), frozen: bundled(t, "shop.pcapng"), asked: &atomic.Int64{}, made: &atomic.Bool{}}
	s, err := New(nil, Options{Release: "test", Store: ring, Open: func(ctx context.Context, paths []string) (*forensics.Case, error) {
		return forensics.Open(ctx, paths, forensics.Options{Threads: 1})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	b := browse(t, web.URL)
	b.open("#v=calls")
	b.until(`document.querySelector(".live")?.innerText.startsWith("● recording") && location.hash.includes("d=live%3A2m") && document.querySelector("h1").innerText === "Live" && document.querySelectorAll(".grid .row").length > 2`)
	before := ring.asked.Load()
	for end := time.Now().Add(30 * time.Second); ring.asked.Load() <= before+1 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
	}
	if ring.asked.Load() <= before+1 {
		t.Error("the page does not follow")
	}
	b.do(chromedp.Evaluate(`[...document.querySelectorAll(".live button")].find((x) => x.innerText === "Pause").click()`, nil))
	b.until(`document.querySelector(".live").innerText.includes("Paused") && document.body.ariaBusy === "false"`)
	before = ring.asked.Load()
	time.Sleep(6 * time.Second)
	if n := ring.asked.Load(); n != before {
		t.Errorf("asked %d times while paused", n-before)
	}
	b.do(chromedp.Evaluate(`[...document.querySelectorAll(".live button")].find((x) => x.innerText.startsWith("Snapshot")).click()`, nil))
	b.until(`location.hash.includes("d=s1%2Fmain") && document.querySelector(".found").innerText === "369 of 369 calls" && document.querySelector("h1").innerText === "s1"`)
	// Whoever comes later finds the snapshot in the list.
	b.open("#v=calls&d=live%3A2m")
	b.until(`[...document.querySelectorAll(".live option")].some((x) => x.innerText === "snapshot s1")`)
	b.do(chromedp.SetValue(".live select", "s1/main", chromedp.ByQuery), chromedp.Evaluate(`document.querySelector(".live select").dispatchEvent(new Event("change", {bubbles: true}))`, nil))
	b.until(`location.hash.includes("d=s1%2Fmain") && document.querySelector(".found").innerText === "369 of 369 calls"`)
}

// pageCluster is a cluster seen from a laptop: it has snapshots, and neither live data nor a list of what is recorded.
type pageCluster struct{ store.Store }

func (pageCluster) Boundaries(context.Context) ([]store.Boundary, error) {
	return nil, store.BadRequest("the nodes of a cluster do not list what they have")
}

// TestPageOfACluster begins without any data, makes a snapshot and shows it.
func TestPageOfACluster(t *testing.T) {
	t.Parallel()
	ring := pageRing{frozen: bundled(t, "shop.pcapng"), asked: &atomic.Int64{}, made: &atomic.Bool{}}
	s, err := New(nil, Options{Release: "test", Store: pageCluster{ring}, Open: func(ctx context.Context, paths []string) (*forensics.Case, error) {
		return forensics.Open(ctx, paths, forensics.Options{Threads: 1})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	b := browse(t, web.URL)
	b.open("#v=calls")
	b.until(`[...document.querySelectorAll(".live button")].some((x) => x.innerText.startsWith("Snapshot"))`)
	b.do(chromedp.Evaluate(`[...document.querySelectorAll(".live button")].find((x) => x.innerText.startsWith("Snapshot")).click()`, nil))
	b.until(`location.hash.includes("d=s1%2Fmain") && document.querySelector(".found").innerText === "369 of 369 calls" && document.querySelector("h1").innerText === "s1"`)
}
