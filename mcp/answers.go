package mcp

import (
	"container/list"
	"context"
	"encoding/json"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
)

// defaultKept is how many bytes of answers are kept if Options.Keep is 0.
const defaultKept = 32 << 20

// answerCache keeps the latest answers to questions about bundles, which never change. A
// repeated question, or another page of an answer, is answered at once, and several
// clients that ask the same question at the same time share one answer. Errors are not kept.
type answerCache struct {
	most int // bytes; 0: nothing is kept

	mu      sync.Mutex
	size    int
	by      map[topic]*list.Element // of *cachedAnswer
	last    *list.List              // the most recently used first
	pending map[topic]*pendingAnswer
}

// topic is everything that an answer depends on. It contains the case itself, so that a later
// case cannot be mistaken for it.
type topic struct {
	c        *forensics.Case
	verified bool
	tool     string
	args     string // normalized
	most     int    // bytes
	db       string
	whole    bool // all rows of the lists, from which pages are cut
}

type cachedAnswer struct {
	t   topic
	raw json.RawMessage
}

func (k *cachedAnswer) size() int { return len(k.raw) + len(k.t.args) + 256 }

// pendingAnswer is an answer that is being made; raw stays nil if that fails.
type pendingAnswer struct {
	done chan struct{}
	raw  json.RawMessage
}

func newAnswerCache(most int) *answerCache {
	return &answerCache{most: most, by: map[topic]*list.Element{}, last: list.New(), pending: map[topic]*pendingAnswer{}}
}

// get returns the kept answer, waits for one that is being made, or calls make. If the answer
// that it waited for fails, it calls make: the other question may have had less time left.
func (k *answerCache) get(ctx context.Context, t topic, make func() (json.RawMessage, error)) (json.RawMessage, error) {
	for {
		raw, own, other := k.find(t)
		if raw != nil {
			stageOf(ctx).setKept()
			return raw, nil
		}
		if own != nil {
			return k.made(t, own, make)
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if other.raw != nil {
			stageOf(ctx).setKept()
			return other.raw, nil
		}
	}
}

// find returns the kept answer; or own, which the caller must make; or other, which is being made.
func (k *answerCache) find(t topic) (raw json.RawMessage, own, other *pendingAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.by[t]; e != nil {
		k.last.MoveToFront(e)
		return e.Value.(*cachedAnswer).raw, nil, nil
	}
	if other = k.pending[t]; other != nil {
		return nil, nil, other
	}
	own = &pendingAnswer{done: make(chan struct{})}
	k.pending[t] = own
	return nil, own, nil
}

func (k *answerCache) made(t topic, m *pendingAnswer, make func() (json.RawMessage, error)) (raw json.RawMessage, err error) {
	defer func() { // even if make panics: otherwise the others would wait forever
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.pending, t)
		k.add(t, m.raw)
		close(m.done)
	}()
	raw, err = make()
	if err == nil {
		m.raw = raw
	}
	return raw, err
}

// add keeps an answer and removes the least recently used.
func (k *answerCache) add(t topic, raw json.RawMessage) {
	a := &cachedAnswer{t, raw}
	if raw == nil || a.size() > k.most/4 {
		return
	}
	k.by[t] = k.last.PushFront(a)
	k.size += a.size()
	for k.size > k.most {
		e := k.last.Back()
		old := e.Value.(*cachedAnswer)
		k.last.Remove(e)
		delete(k.by, old.t)
		k.size -= old.size()
	}
}
