//go:build amd64 || arm64

package keys

import (
	"bytes"
	"slices"
	"time"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// sample is an object that waits for its connection to be captured.
type sample struct {
	object
	build    *build
	pid      uint32
	tid      uint32
	mono     uint64
	received time.Time
	// Of an object of which only some fields were read, by a layout that is not proven yet.
	plan  *layout
	field [bpf.MaxFields][]byte
}

// at implements get for a sample.
func (s *sample) at(p *place) []byte {
	if s.plan == nil {
		return s.object.at(p)
	}
	return fieldOf(s.plan, &s.field, p)
}

func fieldOf(l *layout, field *[bpf.MaxFields][]byte, p *place) []byte {
	if i := slices.Index(l.fields(), p); i >= 0 && p != nil {
		return field[i]
	}
	return nil
}

const (
	maxPending = 48 // samples of a build
	maxSamples = 96
	keepSample = 30 * time.Second
	maxLoaded  = 8  // objects that a loaded layout does not fit before it is dropped
	disagree   = 16 // consecutive objects whose keys open nothing before the layout is dropped
)

// object handles an object that a probe has read.
func (t *Tracker) object(e *bpf.Event) {
	x, p := t.targets[e.Target], t.procs[e.TGID]
	if x == nil || x.build == nil || p == nil {
		t.count.Unused++
		return
	}
	b := x.build
	b.seen++
	p.setLibrary(x)
	if e.Kind == bpf.Fields {
		if uint64(e.Plan) >= uint64(len(b.plans)) {
			t.count.Unused++
			return
		}
		l := &b.plans[e.Plan]
		if b.proven {
			t.read(p, b, l, e, func(at *place) []byte { return fieldOf(l, &e.Field, at) })
			return
		}
		s := &sample{build: b, pid: e.TGID, tid: e.TID, mono: e.Time, received: time.Now(), plan: l}
		for i, f := range e.Field {
			s.field[i] = slices.Clone(f)
		}
		t.wait(s)
		return
	}
	s := &sample{object: object{data: slices.Clone(e.Data)}, build: b, pid: e.TGID, tid: e.TID, mono: e.Time, received: time.Now()}
	s.hops = make(map[uint32][]byte, len(e.Hops))
	for _, h := range e.Hops {
		s.hops[h.At] = slices.Clone(h.Data)
	}
	if b.proven {
		if t.read(p, b, &b.layout, e, s.at) {
			return
		}
	}
	t.wait(s)
}

// setLibrary records that a process has a library, which it may have mapped just now.
func (p *process) setLibrary(x *target) {
	p.library = x.library
	p.from = x
	if !slices.Contains(p.targets, x) {
		p.targets = append(p.targets, x)
	}
}

// wait keeps a sample until its connection is captured.
func (t *Tracker) wait(s *sample) {
	if t.o.Captured == nil || len(s.build.pending) >= maxPending || t.pendingSamples() >= maxSamples {
		t.count.Unused++
		return
	}
	s.build.pending = append(s.build.pending, s)
}

func (t *Tracker) pendingSamples() (n int) {
	for _, b := range t.builds {
		n += len(b.pending)
	}
	return n
}

// read extracts keys from an object by a proven layout.
func (t *Tracker) read(p *process, b *build, l *layout, e *bpf.Event, at get) bool {
	size := 0
	c, err := conversationOf(t.o.Captured, nonzero(at(l.Random)))
	if err == nil && c.version == secrets.TLS13 {
		size = c.suite.Hash.Size()
	}
	list := l.secrets(at, size)
	if len(list) == 0 {
		if e.Kind == bpf.Fields {
			t.count.Unused++ // it made no connection
		}
		return false
	}
	proven := err == nil && slices.ContainsFunc(list, c.opens)
	for _, s := range list {
		s.ID, s.Value = slices.Clone(s.ID), slices.Clone(s.Value)
		t.writeKey(p, e.TID, e.Time, b.library, proven, s)
	}
	switch {
	case proven:
		b.wrong = 0
	case err == nil && len(c.client) > 0 && len(c.server) > 0:
		// The layout was found by chance, or the connection is not the first of its object.
		if b.wrong++; b.wrong >= disagree {
			b.layout, b.proven, b.wrong = layout{}, false, 0
			t.replan(b)
		}
	}
	return true
}

func nonzero(b []byte) []byte {
	if len(b) < 32 || len(bytes.Trim(b[:32], "\x00")) == 0 {
		return nil
	}
	return b[:32]
}

// calibrate searches samples for layouts, in parallel with the reading of events.
func (t *Tracker) calibrate() {
	defer t.done.Done()
	for {
		select {
		case <-t.stop:
			t.tryAll()
			t.mu.Lock()
			for _, b := range t.builds {
				t.count.Unused += uint64(len(b.pending))
				b.pending = nil
			}
			t.mu.Unlock()
			return
		case <-time.After(40 * time.Millisecond):
			t.tryAll()
		}
	}
}

func (t *Tracker) tryAll() {
	t.mu.Lock()
	var all []*sample
	for _, b := range t.builds {
		all = append(all, b.pending...)
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b *sample) int { return a.received.Compare(b.received) })
	for _, s := range all {
		t.mu.Lock()
		l, loaded := s.build.layout, s.build.loaded
		t.mu.Unlock()
		list, learned, err := s.try(t.o.Captured, &l, loaded)
		if err == errMore && time.Since(s.received) < keepSample {
			continue
		}
		t.mu.Lock()
		t.tried(s, &l, list, learned, err)
		t.mu.Unlock()
	}
}

// try extracts proven keys from a sample: by the layout, or by a search that extends it.
func (s *sample) try(from Captured, l *layout, loaded bool) (list []secrets.Secret, learned bool, err error) {
	if s.plan != nil {
		*l = *s.plan
	}
	prove := func() bool {
		c, e := conversationOf(from, nonzero(s.at(l.Random)))
		if e != nil {
			err = e
			return false
		}
		size := 0
		if c.version == secrets.TLS13 {
			size = c.suite.Hash.Size()
		}
		list = l.secrets(s.at, size)
		for _, k := range list {
			if c.opens(k) {
				return true
			}
		}
		return false
	}
	if l.Random != nil && prove() {
		return list, loaded, nil
	}
	if s.plan != nil {
		return nil, false, err
	}
	if loaded {
		*l = layout{} // from an earlier run; it does not fit this object, or this is not an object
	}
	found := *l
	ok, err := s.search(from, &found)
	if err != nil || !ok {
		return nil, false, err
	}
	*l = found
	if prove() {
		return list, true, nil
	}
	return nil, false, err
}

// tried handles the result of a sample.
func (t *Tracker) tried(s *sample, l *layout, list []secrets.Secret, learned bool, err error) {
	b := s.build
	b.pending = slices.DeleteFunc(b.pending, func(x *sample) bool { return x == s })
	if len(list) == 0 {
		t.count.Unused++
		if err == nil {
			b.failures++
			if b.loaded && b.failures >= maxLoaded {
				b.layout, b.loaded, b.failures = layout{}, false, 0
				t.replan(b)
			}
			if b.failures == maxFailures && !b.proven {
				t.replan(b)
			}
		}
		return
	}
	if learned {
		b.layout, b.proven, b.loaded = *l, true, false
		t.replan(b)
		if t.o.Layouts != "" {
			if err := writeLayout(t.o.Layouts, b.library, b.id, l); err != nil {
				t.detail = err.Error()
			}
		}
	}
	p := t.procs[s.pid]
	if p == nil {
		t.count.Unused++
		return
	}
	for _, k := range list {
		k.ID, k.Value = slices.Clone(k.ID), slices.Clone(k.Value)
		t.writeKey(p, s.tid, s.mono, b.library, true, k)
	}
}
