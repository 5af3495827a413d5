package duck

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

const (
	// maxAlone is how many workers may be at a question that is alone.
	maxAlone = 2
	// maxWorkers leaves one for all other questions.
	maxWorkers = maxAlone + 1
	// idleTime is how long an unused worker stays, except for the first.
	idleTime = time.Minute
)

var errClosed = errors.New("the database is closed")

// pool is the workers of a database. Questions of the program share one. A question that is alone
// has its own while it runs, so that it cannot harm other questions.
type pool struct {
	o Options

	mu       sync.Mutex
	list     []*process
	starting int
	alone    int           // questions that are
	changed  chan struct{} // closed when a worker may have become free
	setup    []string      // statements with which each worker begins
	kinds    int           // of connections
	views    [][]byte      // frames of the views that each kind has
	masks    []byte        // a frame of what views mask; nil: not known yet
	launched *process      // waits for its settings; nil: none does
	closed   bool
	leaving  sync.WaitGroup // workers that were told to before it was closed
}

func newPool(o Options) *pool {
	p := &pool{o: o, changed: make(chan struct{})}
	o.Guard.add(p)
	return p
}

// acquire waits for a worker. release returns it.
func (p *pool) acquire(ctx context.Context, alone bool) (*process, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errClosed
		}
		p.list = slices.DeleteFunc(p.list, (*process).dead)
		room := !alone || p.alone < maxAlone
		w := p.pick(alone)
		if w == nil && room && p.working()+p.starting < maxWorkers {
			return p.start(ctx, alone)
		}
		views, masks, changed := p.views, p.masks, p.changed
		if w != nil && room && w.killed() {
			p.mu.Unlock()
			select {
			case <-w.gone:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		if w != nil && room {
			p.begins(w, alone)
			err := w.tell(views, masks)
			p.mu.Unlock()
			if err == nil {
				return w, nil
			}
			p.release(w)
			continue
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// begins has a worker take one more question.
func (p *pool) begins(w *process, alone bool) {
	w.users++
	if w.alone = alone; alone {
		p.alone++
	}
}

// working counts the workers that take questions.
func (p *pool) working() (n int) {
	for _, w := range p.list {
		if !w.spent {
			n++
		}
	}
	return n
}

// pick is a worker that may take one more question, nil if there is none.
func (p *pool) pick(alone bool) (best *process) {
	for _, w := range p.list {
		switch {
		case w.spent:
		case alone && w.users == 0:
			best = w
		case !alone && !w.alone && (best == nil || w.users > best.users):
			best = w
		}
	}
	return best
}

// start starts one more worker. The caller has locked p, which is unlocked here.
func (p *pool) start(ctx context.Context, alone bool) (*process, error) {
	p.starting++
	if alone {
		p.alone++ // so that no other takes its place
	}
	setup, views, masks, launched := slices.Clone(p.setup), p.views, p.masks, p.launched
	p.launched = nil
	p.mu.Unlock()
	w, err := start(ctx, &p.o, launched)
	for _, sql := range setup {
		if err == nil {
			err = w.exec(ctx, sql)
		}
	}
	if err == nil {
		err = w.tell(views, masks)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting--
	if alone {
		p.alone--
	}
	p.notify()
	if err == nil && p.closed {
		err = errClosed
	}
	if err != nil {
		if w != nil {
			w.kill(err)
		}
		return nil, err
	}
	p.begins(w, alone)
	p.list = append(p.list, w)
	return w, nil
}

func (p *pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// release returns a worker.
func (p *pool) release(w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.users--
	if w.alone {
		p.alone--
	}
	w.since = time.Now()
	if w.users > 0 {
		return
	}
	w.alone = false
	if w.spent {
		p.list = slices.DeleteFunc(p.list, func(o *process) bool { return o == w })
	}
	switch {
	case p.closed:
		go w.leave()
	case w.spent:
		p.leaving.Go(w.leave)
	case len(p.list) > 1:
		time.AfterFunc(idleTime, p.shrink)
	}
	p.notify()
}

// wear gives a worker no more questions after one that met the memory limit: what that
// held is returned slowly, and would count for the next question.
func (p *pool) wear(w *process, err error) {
	if !errors.Is(err, ErrMemory) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.spent = true
}

// shrink ends idle workers, except the first.
func (p *pool) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for i := len(p.list) - 1; i > 0; i-- {
		if w := p.list[i]; w.users == 0 && time.Since(w.since) >= idleTime {
			p.list = slices.Delete(p.list, i, i+1)
			p.leaving.Go(w.leave)
		}
	}
}

// keep records a statement that w has run, for workers that start later.
func (p *pool) keep(sql string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setup = append(p.setup, sql)
}

// addKind adds a kind of connections with its views, and returns its number.
func (p *pool) addKind(list []View) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds++
	p.define(p.kinds, list)
	return p.kinds
}

// define adds views to a kind. The caller has locked p.
func (p *pool) define(kind int, list []View) {
	v := wire.Views{Kind: kind}
	for _, one := range list {
		v.Names, v.SQL = append(v.Names, one.Name), append(v.SQL, one.SQL)
	}
	p.views = append(slices.Clip(p.views), v.Append(nil))
}

// setMasks has every worker mask so with the next question that it takes.
func (p *pool) setMasks(m *wire.Masks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.masks = m.Append(nil)
}

// close ends the unused workers; the others end when they are returned.
func (p *pool) close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.notify()
	var idle []*process
	for _, w := range p.list {
		if w.users == 0 {
			idle = append(idle, w)
		}
	}
	p.mu.Unlock()
	p.o.Guard.remove(p)
	var all sync.WaitGroup
	for _, w := range idle {
		all.Go(w.leave)
	}
	all.Wait()
	p.leaving.Wait()
	return nil
}
