package mcp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fillSlots takes n slots, each for another client.
func fillSlots(t *testing.T, f *fairQueue, n int) (release func()) {
	t.Helper()
	var releases []func()
	for i := range n {
		release, err := f.acquire(context.Background(), fmt.Sprint("holder ", i))
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	return func() {
		for _, g := range releases {
			g()
		}
	}
}

func (f *fairQueue) waitingNow() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting
}

func TestSlotsGoRoundTheClients(t *testing.T) {
	f := newFairQueue(1)
	release := fillSlots(t, f, 1)
	var all sync.WaitGroup
	var mu sync.Mutex
	var order []string
	stages := map[string]*stage{}
	for who := range strings.SplitSeq("aaaabbcd", "") {
		before := f.waitingNow()
		ctx, st := withStage(context.Background())
		stages[fmt.Sprint(who, before)] = st
		all.Go(func() {
			release, err := f.acquire(ctx, who)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, who)
			mu.Unlock()
			release()
		})
		wait(t, "it waits", func() bool { return f.waitingNow() == before+1 })
	}
	for name, before := range map[string]int{"a0": 0, "b4": 1, "c6": 2, "d7": 3, "a1": 4, "b5": 5, "a2": 6, "a3": 7} {
		want := fmt.Sprintf("waiting: %d ahead of this question", before)
		if got := stages[name].text(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	release()
	all.Wait()
	if got := strings.Join(order, ""); got != "abcdabaa" {
		t.Errorf("order %s", got)
	}
	for name, st := range stages {
		if st.text() != "reading" {
			t.Errorf("%s: %q after it got its slot", name, st.text())
		}
	}
}

// TestNoClientIsLeftBehind lets ten clients ask one question after the other, as assistants do.
// Half of them ask slow questions.
func TestNoClientIsLeftBehind(t *testing.T) {
	const clients, slots, long = 10, 2, 8
	f := newFairQueue(slots)
	type running struct {
		who     int
		left    int
		release func()
	}
	var now []*running
	answers := make([]int, clients)
	came := make(chan *running)
	ask := func(who int) {
		go func() {
			release, err := f.acquire(context.Background(), fmt.Sprint(who))
			if err != nil {
				t.Error(err)
				return
			}
			came <- &running{who, 1 + who%2*(long-1), release} // odd clients ask slow questions
		}()
	}
	for who := range clients {
		ask(who)
	}
	wait(t, "all but two wait", func() bool { return f.waitingNow() == clients-slots })
	for range 2000 { // steps of time
		for len(now) < slots {
			now = append(now, <-came)
		}
		for _, r := range slices.Clone(now) {
			if r.left--; r.left > 0 {
				continue
			}
			now = slices.DeleteFunc(now, func(o *running) bool { return o == r })
			answers[r.who]++
			held := f.waitingNow()
			ask(r.who)
			wait(t, "it waits again", func() bool { return f.waitingNow() == held+1 })
			r.release()
		}
	}
	if least, most := slices.Min(answers), slices.Max(answers); least*5 < most*4 {
		t.Errorf("%v answers", answers)
	}
	for _, r := range now {
		r.release()
	}
	for range clients - len(now) {
		(<-came).release()
	}
}

func TestTheQueueOfAClientIsLimited(t *testing.T) {
	f := newFairQueue(1)
	release := fillSlots(t, f, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range maxWaitingClient {
		all.Go(func() {
			if release, err := f.acquire(ctx, "a"); err == nil {
				release()
			}
		})
	}
	wait(t, "all wait", func() bool { return f.waitingNow() == maxWaitingClient })
	if _, err := f.acquire(ctx, "a"); !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "64 questions of this client") {
		t.Errorf("one more of the client: %v", err)
	}
	cancel()
	all.Wait()
	release()
	if f.free != 1 || f.waiting != 0 || len(f.clients) != 0 {
		t.Errorf("left over: %+v", f)
	}
}

// TestShortQuestionsDoNotWaitForLongOnes fills the queue for long questions first.
func TestShortQuestionsDoNotWaitForLongOnes(t *testing.T) {
	s := serving(t, Options{Parallel: 2, Deadline: time.Minute}, bundled(t, "http1.pcapng"))
	release := fillSlots(t, s.long, 2)
	c := connected(t, s, nil)
	for _, tool := range []string{"list_cases", "describe_schema", "list_workloads", "list_ips"} {
		if text := callTool(t, c, tool, nil, &map[string]any{}); text != "" {
			t.Errorf("%s: %s", tool, text)
		}
	}
	if text := callTool(t, c, "get_api_call", map[string]any{"id": "#0"}, &map[string]any{}); text != "" {
		t.Error(text)
	}
	release()
	release = fillSlots(t, s.short, shortSlots)
	if text := callTool(t, c, "list_api_calls", nil, &map[string]any{}); text != "" {
		t.Error(text)
	}
	release()
	s.o.Deadline = time.Second
	release = fillSlots(t, s.long, 2)
	if text := callTool(t, c, "run_sql", map[string]any{"sql": "select 1"}, &map[string]any{}); !strings.Contains(text, "busy") {
		t.Errorf("no slot within the deadline: %q", text)
	}
	release()
}
