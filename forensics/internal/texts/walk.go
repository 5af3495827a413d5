package texts

import (
	"context"
	"os"
	"runtime"
	"sync"
)

// walk is a running scan.
type walk struct {
	s     *Scan
	jobs  []job
	files []*os.File

	mu       sync.Mutex
	turn     *sync.Cond
	taken    int // jobs
	reported int
	failed   error
}

// job is one row group.
type job struct {
	p    *part
	f    *os.File
	g    *group
	read [][]int
}

// walk opens the files and lists the row groups to search.
func (t *Table) walk(s *Scan) (*walk, error) {
	w := &walk{s: s}
	w.turn = sync.NewCond(&w.mu)
	for _, p := range t.parts {
		read := p.columns(s)
		var f *os.File
		for i := range p.groups {
			g := &p.groups[i]
			if g.bytes(s, read) == 0 {
				continue
			}
			if f == nil {
				var err error
				if f, err = p.open(); err != nil {
					w.close()
					return nil, err
				}
				w.files = append(w.files, f)
			}
			w.jobs = append(w.jobs, job{p, f, g, read})
		}
	}
	return w, nil
}

func (w *walk) close() {
	for _, f := range w.files {
		f.Close() // read only: nothing can be lost
	}
}

func (w *walk) run(ctx context.Context) error {
	threads := w.s.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var wait sync.WaitGroup
	for range min(threads, len(w.jobs)) {
		r, err := newReader()
		if err != nil {
			w.fail(err)
			break
		}
		wait.Go(func() {
			defer r.zstd.Close()
			w.work(ctx, &worker{reader: r, s: w.s, judge: w.s.Judge()})
		})
	}
	wait.Wait()
	return w.failed
}

// work processes one row group after another.
func (w *walk) work(ctx context.Context, k *worker) {
	for {
		w.mu.Lock()
		at := w.taken
		w.taken++
		stop := w.failed != nil || at >= len(w.jobs)
		w.mu.Unlock()
		if stop {
			return
		}
		if err := k.group(ctx, w.jobs[at]); err != nil {
			w.fail(err)
			return
		}
		if !w.tell(at, k) {
			return
		}
	}
}

// tell passes a row group to Group after all previous ones.
func (w *walk) tell(at int, k *worker) bool {
	w.mu.Lock()
	for w.reported != at && w.failed == nil {
		w.turn.Wait()
	}
	failed := w.failed
	w.mu.Unlock()
	if failed != nil {
		return false
	}
	var err error
	if len(k.out.Hits) > 0 {
		err = w.s.Group(&k.out)
	}
	w.mu.Lock()
	w.reported++
	w.turn.Broadcast()
	w.mu.Unlock()
	if err != nil {
		w.fail(err)
	}
	return err == nil
}

func (w *walk) fail(err error) {
	w.mu.Lock()
	if w.failed == nil {
		w.failed = err
	}
	w.turn.Broadcast()
	w.mu.Unlock()
}
