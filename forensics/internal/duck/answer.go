package duck

import (
	"context"
	"errors"
	"time"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// answer is a stream of frames from a worker. It must be used by one goroutine only.
type answer struct {
	w       *process
	number  uint64
	frames  chan wire.Frame         // holds the requested frame
	stopped chan struct{}           // closed when the worker has stopped
	done    bool                    // no more frames will come
	cut     context.CancelCauseFunc // ends the query from outside; nil: not possible

	// Guarded by the worker's mu.
	wanted   bool // a frame was requested and has not arrived
	stopping bool
}

// failure is an error reported by a worker.
type failure struct{ wire.Failure }

func (f failure) Error() string { return f.Msg }

// register makes a stream that waits for its first frame.
func (w *process) register() *answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	a := &answer{w: w, number: w.number, frames: make(chan wire.Frame, 1), stopped: make(chan struct{}), wanted: true}
	w.answers[a.number] = a
	return a
}

// ask sends a question.
func (w *process) ask(q *wire.Question, cut context.CancelCauseFunc) (*answer, error) {
	body, err := q.Append(nil)
	if err != nil {
		return nil, err
	}
	a := w.register()
	w.mu.Lock()
	a.cut = cut
	w.mu.Unlock()
	if err := a.send(wire.Query, body); err != nil {
		a.over()
		return nil, err
	}
	return a, nil
}

func (a *answer) send(kind wire.Kind, body []byte) error { return a.w.send(kind, a.number, body) }

// next requests the next batch.
func (a *answer) next() error {
	a.w.mu.Lock()
	a.wanted = true
	a.w.mu.Unlock()
	return a.send(wire.Next, nil)
}

// wait waits for the requested frame. After an error the answer is over.
func (a *answer) wait(ctx context.Context) (wire.Frame, error) {
	var f wire.Frame
	select {
	case f = <-a.frames:
	case <-ctx.Done():
		a.stop()
		return f, ctx.Err()
	case <-a.w.gone:
		select {
		case f = <-a.frames: // arrived before the end
		default:
			a.over()
			return f, a.w.cause
		}
	}
	if f.Kind == wire.Failed {
		a.over()
		fail := failure{wire.ReadFailure(f.Body)}
		if broken(&fail.Failure) {
			a.w.kill(fail)
		}
		return f, fail
	}
	return f, nil
}

// over removes an answer that will get no more frames.
func (a *answer) over() {
	a.done = true
	a.w.mu.Lock()
	delete(a.w.answers, a.number)
	a.w.mu.Unlock()
}

// stop cancels the computation. A worker that does not stop is killed.
func (a *answer) stop() {
	if a.done {
		return
	}
	a.done = true
	select {
	case f := <-a.frames: // it may have already ended
		if f.Kind == wire.Failed || f.Kind == wire.Batch && len(f.Body) > 0 && f.Body[0]&1 == 1 {
			a.over()
			return
		}
	default:
	}
	a.w.mu.Lock()
	a.stopping = true
	a.w.mu.Unlock()
	if a.send(wire.Stop, nil) != nil {
		a.over()
		return
	}
	late := time.NewTimer(graceTime)
	defer late.Stop()
	select {
	case <-a.stopped:
	case <-a.w.gone:
	case <-late.C:
		a.w.kill(errors.New("a question did not stop when it was interrupted"))
		<-a.w.gone
	}
	a.over()
}

// distrust ends a worker that sends invalid data.
func (a *answer) distrust(err error) error {
	a.w.kill(err)
	<-a.w.gone
	a.over()
	return a.w.cause
}
