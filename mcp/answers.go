package mcp

import (
	"container/list"
	"context"
	"encoding/json"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
)

// defaultKept is how many bytes of answers are kept where Options.Keep is 0.
const defaultKept = 32 << 20

// answers are the last answers to questions about bundles, which never change: who asks the
// same again, or turns back a page, is not made to wait, and several who ask the same at
// the same time are answered at once. Only whole answers are kept, no errors.
type answers struct {
	most int // bytes; 0: nothing is kept

	mu     sync.Mutex
	size   int
	by     map[topic]*list.Element // of *keeping
	last   *list.List              // those asked for last in front
	making map[topic]*making
}

// topic is everything that decides an answer. It holds the case itself, so that no later
// case can be taken for it.
type topic struct {
	c        *forensics.Case
	verified bool
	tool     string
	args     string // in one form
	most     int    // bytes
	db       string
}

type keeping struct {
	t   topic
	raw json.RawMessage
}

func (k *keeping) size() int { return len(k.raw) + len(k.t.args) + 256 }

// making is an answer that somebody makes; raw is nil where that failed.
type making struct {
	done chan struct{}
	raw  json.RawMessage
}

func newAnswers(most int) *answers {
	return &answers{most: most, by: map[topic]*list.Element{}, last: list.New(), making: map[topic]*making{}}
}

// get gives the answer that is kept, or that somebody makes at this moment, or has it
// made. Who waited for one that failed makes it: the other may have had less time.
func (k *answers) get(ctx context.Context, t topic, make func() (json.RawMessage, error)) (json.RawMessage, error) {
	for {
		raw, mine, other := k.find(t)
		if raw != nil {
			stageOf(ctx).setKept()
			return raw, nil
		}
		if mine != nil {
			return k.made(t, mine, make)
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

// find is the answer, or mine, which the caller is to make, or other, which is being made.
func (k *answers) find(t topic) (raw json.RawMessage, mine, other *making) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.by[t]; e != nil {
		k.last.MoveToFront(e)
		return e.Value.(*keeping).raw, nil, nil
	}
	if other = k.making[t]; other != nil {
		return nil, nil, other
	}
	mine = &making{done: make(chan struct{})}
	k.making[t] = mine
	return nil, mine, nil
}

func (k *answers) made(t topic, m *making, make func() (json.RawMessage, error)) (raw json.RawMessage, err error) {
	defer func() { // also where make panics: the others would wait for ever
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.making, t)
		k.add(t, m.raw)
		close(m.done)
	}()
	raw, err = make()
	if err == nil {
		m.raw = raw
	}
	return raw, err
}

// add keeps an answer and lets the oldest go.
func (k *answers) add(t topic, raw json.RawMessage) {
	a := &keeping{t, raw}
	if raw == nil || a.size() > k.most/4 {
		return
	}
	k.by[t] = k.last.PushFront(a)
	k.size += a.size()
	for k.size > k.most {
		e := k.last.Back()
		old := e.Value.(*keeping)
		k.last.Remove(e)
		delete(k.by, old.t)
		k.size -= old.size()
	}
}
