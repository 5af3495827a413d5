package queue

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
func fillSlots(t *testing.T, f *Fair, n int) (release func()) {
	t.Helper()
	var releases []func()
	for i := range n {
		release, err := f.Acquire(context.Background(), fmt.Sprint("holder ", i))
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

func (f *Fair) waitingNow() int {
	_, waiting := f.Load()
	return waiting
}

// wait polls until a condition is true.
func wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not in 30 s: %s", what)
}

func TestSlotsGoRoundTheClients(t *testing.T) {
	f := NewFair(1)
	release := fillSlots(t, f, 1)
	var all sync.WaitGroup
	var mu sync.Mutex
	var order []string
	stages := map[string]*Stage{}
	for who := range strings.SplitSeq("aaaabbcd", "") {
		before := f.waitingNow()
		ctx, st := WithStage(context.Background())
		stages[fmt.Sprint(who, before)] = st
		all.Go(func() {
			release, err := f.Acquire(ctx, who)
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
		if got := stages[name].Text(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	release()
	all.Wait()
	if got := strings.Join(order, ""); got != "abcdabaa" {
		t.Errorf("order %s", got)
	}
	for name, st := range stages {
		if st.Text() != "reading" {
			t.Errorf("%s: %q after it got its slot", name, st.Text())
		}
	}
}

// TestNoClientIsLeftBehind lets ten clients ask one question after the other, as assistants do.
// Half of them ask slow questions.
func TestNoClientIsLeftBehind(t *testing.T) {
	const clients, slots, long = 10, 2, 8
	f := NewFair(slots)
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
			release, err := f.Acquire(context.Background(), fmt.Sprint(who))
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
	f := NewFair(1)
	release := fillSlots(t, f, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range maxWaitingClient {
		all.Go(func() {
			if release, err := f.Acquire(ctx, "a"); err == nil {
				release()
			}
		})
	}
	wait(t, "all wait", func() bool { return f.waitingNow() == maxWaitingClient })
	if _, err := f.Acquire(ctx, "a"); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "64 questions of this client") {
		t.Errorf("one more of the client: %v", err)
	}
	cancel()
	all.Wait()
	release()
	if f.free != 1 || f.waiting != 0 || len(f.clients) != 0 {
		t.Errorf("left over: %+v", f)
	}
}

func TestSlotsAreShared(t *testing.T) {
	f := NewFair(2)
	ctx := context.Background()
	a1, err := f.Acquire(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	var order sync.WaitGroup
	ask := func(who string) {
		order.Go(func() {
			release, err := f.Acquire(ctx, who)
			if err != nil {
				got <- who + " " + err.Error()
				return
			}
			got <- who
			release()
		})
	}
	ask("a") // it may hold only one of two slots
	wait(t, "the second of a waits", func() bool { return f.waitingNow() == 1 })
	b1, err := f.Acquire(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	ask("a")
	ask("a")
	wait(t, "three of a wait", func() bool { return f.waitingNow() == 3 })
	ask("c")
	wait(t, "and c", func() bool { return f.waitingNow() == 4 })
	a1()
	if first := <-got; first != "a" {
		t.Errorf("first %s", first)
	}
	second := []string{<-got, <-got}
	if !slices.Contains(second, "c") {
		t.Errorf("c waited behind %v", second)
	}
	b1()
	order.Wait()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	hold, _ := f.Acquire(ctx, "x")
	hold2, _ := f.Acquire(ctx, "y")
	if _, err := f.Acquire(gone, "z"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled question: %v", err)
	}
	hold()
	hold2()
	if f.free != 2 || f.waiting != 0 || len(f.clients) != 0 || len(f.ring) != 0 {
		t.Errorf("left over: %+v", f)
	}
}
