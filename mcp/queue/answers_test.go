package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

type topic struct {
	tool, args string
	most       int
}

func (t topic) Size() int { return len(t.args) }

func TestTheSameQuestionIsAnsweredOnce(t *testing.T) {
	k := NewAnswers[topic](1 << 20)
	var made atomic.Int64
	begin := make(chan struct{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			raw, err := k.Get(context.Background(), topic{tool: "a"}, func() (json.RawMessage, error) {
				<-begin
				return json.RawMessage(fmt.Sprint(made.Add(1))), nil
			})
			if err != nil || string(raw) != "1" {
				t.Errorf("%s, %v", raw, err)
			}
		})
	}
	close(begin)
	all.Wait()
	for i, other := range []topic{{tool: "b"}, {tool: "a", args: "{}"}, {tool: "a", most: 1}} {
		raw, err := k.Get(context.Background(), other, func() (json.RawMessage, error) { return json.RawMessage(fmt.Sprint(made.Add(1))), nil })
		if err != nil || string(raw) != fmt.Sprint(i+2) {
			t.Errorf("%+v: %s, %v; want a separate answer", other, raw, err)
		}
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	k := NewAnswers[topic](1 << 20)
	begun, fail := make(chan struct{}), make(chan struct{})
	bad := errors.New("cut")
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := k.Get(context.Background(), topic{}, func() (json.RawMessage, error) { close(begun); <-fail; return nil, bad }); !errors.Is(err, bad) {
			t.Errorf("%v, want its own error", err)
		}
	})
	<-begun
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.Get(gone, topic{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled question: %v", err)
	}
	all.Go(func() {
		raw, err := k.Get(context.Background(), topic{}, func() (json.RawMessage, error) { return json.RawMessage("1"), nil })
		if err != nil || string(raw) != "1" {
			t.Errorf("the waiting question: %s, %v; want it to make the answer", raw, err)
		}
	})
	close(fail)
	all.Wait()
	func() {
		defer func() { _ = recover() }()
		_, _ = k.Get(context.Background(), topic{tool: "panics"}, func() (json.RawMessage, error) { panic("x") })
	}()
	raw, err := k.Get(context.Background(), topic{tool: "panics"}, func() (json.RawMessage, error) { return json.RawMessage("2"), nil })
	if err != nil || string(raw) != "2" {
		t.Errorf("after a panic: %s, %v", raw, err)
	}
}

func TestKeptAnswersAreBounded(t *testing.T) {
	k := NewAnswers[topic](10_000)
	made := 0
	ask := func(i, size int) {
		if _, err := k.Get(context.Background(), topic{most: i}, func() (json.RawMessage, error) {
			made++
			return json.RawMessage(strings.Repeat("1", size)), nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		ask(i, 1000)
		ask(0, 1000) // used again and again, so it is kept
		if k.size > k.most || k.last.Len() != len(k.by) || len(k.pending) != 0 {
			t.Fatalf("%d bytes in %d answers", k.size, len(k.by))
		}
	}
	if made != 1000 {
		t.Errorf("%d answers made, want one for each question", made)
	}
	ask(2000, 5000)
	ask(2000, 5000)
	if made != 1002 {
		t.Errorf("an answer larger than a quarter of the cache is kept")
	}
}
