package queue

import (
	"container/list"
	"context"
	"encoding/json"
	"sync"
)

// Topic is everything that an answer depends on.
type Topic interface {
	comparable
	Size() int // bytes that it refers to
}

// Answers keeps the latest answers to questions about bundles, which never change. A
// repeated question, or another page of an answer, is answered at once, and several
// clients that ask the same question at the same time share one answer. Errors are not kept.
type Answers[K Topic] struct {
	most int // bytes; 0: nothing is kept

	mu      sync.Mutex
	size    int
	by      map[K]*list.Element // of *cachedAnswer
	last    *list.List          // the most recently used first
	pending map[K]*pendingAnswer
}

type cachedAnswer[K Topic] struct {
	t   K
	raw json.RawMessage
}

func (k *cachedAnswer[K]) size() int { return len(k.raw) + k.t.Size() + 256 }

// pendingAnswer is an answer that is being made; raw stays nil if that fails.
type pendingAnswer struct {
	done chan struct{}
	raw  json.RawMessage
}

// NewAnswers returns a cache of at most most bytes.
func NewAnswers[K Topic](most int) *Answers[K] {
	return &Answers[K]{most: most, by: map[K]*list.Element{}, last: list.New(), pending: map[K]*pendingAnswer{}}
}

// Get returns the kept answer, waits for one that is being made, or calls make. If the answer
// that it waited for fails, it calls make: the other question may have had less time left.
func (k *Answers[K]) Get(ctx context.Context, t K, make func() (json.RawMessage, error)) (json.RawMessage, error) {
	for {
		raw, own, other := k.find(t)
		if raw != nil {
			StageOf(ctx).setKept()
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
			StageOf(ctx).setKept()
			return other.raw, nil
		}
	}
}

// find returns the kept answer; or own, which the caller must make; or other, which is being made.
func (k *Answers[K]) find(t K) (raw json.RawMessage, own, other *pendingAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.by[t]; e != nil {
		k.last.MoveToFront(e)
		return e.Value.(*cachedAnswer[K]).raw, nil, nil
	}
	if other = k.pending[t]; other != nil {
		return nil, nil, other
	}
	own = &pendingAnswer{done: make(chan struct{})}
	k.pending[t] = own
	return nil, own, nil
}

func (k *Answers[K]) made(t K, m *pendingAnswer, make func() (json.RawMessage, error)) (raw json.RawMessage, err error) {
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
func (k *Answers[K]) add(t K, raw json.RawMessage) {
	a := &cachedAnswer[K]{t, raw}
	if raw == nil || a.size() > k.most/4 {
		return
	}
	k.by[t] = k.last.PushFront(a)
	k.size += a.size()
	for k.size > k.most {
		e := k.last.Back()
		old := e.Value.(*cachedAnswer[K])
		k.last.Remove(e)
		delete(k.by, old.t)
		k.size -= old.size()
	}
}
