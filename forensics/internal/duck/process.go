package duck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Time limits of a worker.
const (
	startTime = 30 * time.Second // to open its database
	graceTime = time.Second      // to end a question that was stopped, before it is killed
	writeTime = 2 * time.Second  // to take a frame
	leaveTime = 2 * time.Second  // to leave when its input ends
)

// process is a worker process.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	buf  *bufio.Writer // before in
	out  io.Reader
	tail *tail  // of its output
	temp string // folder of its temporary files, made and removed here
	free func() // releases resources of the system

	sending sync.Mutex // serializes frames

	mu      sync.Mutex
	answers map[uint64]*answer
	number  uint64 // the last stream or connection number
	views   int    // number of Define frames that it has
	masked  bool   // it has the masks of views
	why     error  // why it was killed
	cause   error  // set before dead is closed

	gone chan struct{} // closed when the process has ended and is cleaned up

	// Of the pool.
	users int
	alone bool
	spent bool      // ends when it is no longer used
	since time.Time // when it was last used
}

// start starts a worker, unless it was launched before, and opens its database.
func start(ctx context.Context, o *Options, launched *process) (w *process, err error) {
	if w = launched; w == nil {
		if w, err = launch(o); err != nil {
			return nil, err
		}
	}
	set := wire.Settings{Memory: o.MemoryLimit, Threads: o.Threads, Temp: w.temp, MaxTemp: o.MaxTemp, Data: o.data(), Dirs: o.Dirs}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	a := w.register()
	err = a.send(wire.Open, set.Append(nil))
	if err == nil {
		_, err = a.wait(ctx)
	}
	if err != nil {
		w.kill(errors.New("it did not start"))
		<-w.gone
		return nil, fmt.Errorf("starting a database worker: %w", err)
	}
	a.over()
	return w, nil
}

// launch starts the process of a worker, which waits for its settings.
func launch(o *Options) (*process, error) {
	if len(os.Args) == 2 && os.Args[1] == wire.Argument {
		return nil, errors.New("starting a database worker: the program does not call worker.Main before anything else")
	}
	w := &process{tail: &tail{}, answers: map[uint64]*answer{}, gone: make(chan struct{})}
	if o.TempDir != "" {
		if err := os.MkdirAll(o.TempDir, 0o700); err != nil {
			return nil, fmt.Errorf("making a folder for temporary files: %w", err)
		}
		var err error
		if w.temp, err = os.MkdirTemp(o.TempDir, "worker-"); err != nil {
			return nil, fmt.Errorf("making a folder for temporary files: %w", err)
		}
	}
	if err := w.run(o); err != nil {
		w.clean()
		return nil, fmt.Errorf("starting a database worker: %w", err)
	}
	return w, nil
}

// findProgram returns the path of a worker's program.
var findProgram = program

// FindProgram returns the path of a worker's program.
func FindProgram() (string, error) { return findProgram() }

// SetProgram has workers be processes of another program than this one. Tests call it in TestMain, so that not each
// of them links DuckDB; package workertest does.
func SetProgram(find func() (string, error)) { findProgram = find }

// run starts the process. The thread that starts it also waits for it, because Linux ends the child
// when its parent thread ends.
func (w *process) run(o *Options) (err error) {
	path, err := findProgram()
	if err != nil {
		return err
	}
	w.cmd = exec.Command(path, wire.Argument)
	w.cmd.Args[0] = os.Args[0]
	w.cmd.Env = environment()
	w.cmd.Stderr = w.tail
	w.cmd.WaitDelay = leaveTime
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	w.buf = bufio.NewWriter(w.in)
	if w.out, err = w.cmd.StdoutPipe(); err != nil {
		return err
	}
	w.free = prepare(w.cmd)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := w.cmd.Start()
		if err == nil {
			err = bound(w.cmd, o.data())
		}
		started <- err
		if w.cmd.Process != nil {
			w.attend()
		}
	}()
	return <-started
}

// environment has the variables that a program needs to start, and nothing that a query could read.
func environment() (list []string) {
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SystemRoot", "SYSTEMROOT"} {
		if v, ok := os.LookupEnv(name); ok {
			list = append(list, name+"="+v)
		}
	}
	// DuckDB's allocator would keep reserved addresses without memory, which the kernel counts: a
	// query after a large one would hit the limit. Plans reserve memory that they never touch: it
	// goes back after a tenth of a second, not after ten.
	// Packages fill their tables when the process starts. Collecting garbage meanwhile would take a
	// quarter of that time; engine.Main turns the collector on.
	return append(list, "TZ=UTC", "DUCKDB_JE_MALLOC_CONF=retain:false,dirty_decay_ms:100", "GOGC=off")
}

// attend reads the worker's output until the process ends, and then cleans up.
func (w *process) attend() {
	err := w.receive()
	w.kill(err)
	status := w.cmd.Wait()
	_ = w.in.Close() // it may already be closed
	w.clean()
	w.mu.Lock()
	w.cause = w.obituary(status)
	w.mu.Unlock()
	close(w.gone)
}

// clean removes the worker's files.
func (w *process) clean() {
	if w.temp != "" {
		_ = os.RemoveAll(w.temp) // the parent folder is also removed, by others
	}
	if w.free != nil {
		w.free()
	}
}

// receive passes frames to the waiting answers. An unrequested frame ends the worker.
func (w *process) receive() error {
	r := bufio.NewReaderSize(w.out, 64<<10)
	for {
		f, err := wire.ReadFrame(r)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		w.mu.Lock()
		a := w.answers[f.Stream]
		switch {
		case a == nil:
			err = fmt.Errorf("%w: an unexpected answer", wire.ErrFrame)
		case f.Kind == wire.Stopped:
			if delete(w.answers, f.Stream); !a.stopping {
				err = fmt.Errorf("%w: it stopped by itself", wire.ErrFrame)
			}
			close(a.stopped)
		case a.stopping: // sent before it received the stop
		case !a.wanted:
			err = fmt.Errorf("%w: an unrequested batch", wire.ErrFrame)
		default:
			a.wanted = false
			a.frames <- f // has space for a requested frame
		}
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// obituary is the reason for the end of the process, as an error for its running queries.
func (w *process) obituary(status error) error {
	if w.why != nil && (errors.Is(w.why, ErrMemory) || errors.Is(w.why, wire.ErrFrame)) {
		return w.why
	}
	if w.tail.outOfMemory() {
		return &limitError{ErrMemory, "the database process reached its memory limit"}
	}
	if status == nil {
		status = errors.New("it ended by itself")
	}
	return &limitError{ErrCrashed, status.Error()}
}

// kill ends the process immediately; gone is closed afterwards.
func (w *process) kill(why error) {
	w.mu.Lock()
	if w.why == nil {
		w.why = why
	}
	w.mu.Unlock()
	if w.cmd.Process != nil {
		_ = w.cmd.Process.Kill() // it may have already ended
	}
}

// killed reports whether the process is about to be gone: it takes no more questions.
func (w *process) killed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why != nil
}

// leave lets an idle process end, and waits for it.
func (w *process) leave() {
	_ = w.in.Close() // the exit shows whether it noticed
	select {
	case <-w.gone:
	case <-time.After(leaveTime):
		w.kill(errors.New("it did not exit"))
		<-w.gone
	}
}

func (w *process) dead() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

// send sends a frame. A worker that does not accept it is killed, so that no query waits for it.
func (w *process) send(kind wire.Kind, stream uint64, body []byte) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	late := time.AfterFunc(writeTime, func() { w.kill(errors.New("it does not respond")) })
	defer late.Stop()
	err := wire.WriteFrame(w.buf, kind, stream, body)
	if err == nil {
		err = w.buf.Flush()
	}
	if err != nil {
		w.kill(err)
		<-w.gone
		return w.cause
	}
	return nil
}

func (w *process) newNumber() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	return w.number
}

// forget closes the connection of an aside.
func (w *process) forget(number uint64) {
	_ = w.send(wire.Forget, number, nil) // a worker that is gone has no connections
}

// exec runs a statement that has no rows to read.
func (w *process) exec(ctx context.Context, sql string) error {
	rows, err := begin(ctx, w, &wire.Question{Setup: true, SQL: sql}, false, func(error) {})
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

// tell sends the worker the views and the masks that it lacks.
func (w *process) tell(views [][]byte, masks []byte) error {
	if !w.masked && masks != nil {
		if err := w.send(wire.Mask, 0, masks); err != nil {
			return err
		}
		w.masked = true
	}
	for ; w.views < len(views); w.views++ {
		if err := w.send(wire.Define, 0, views[w.views]); err != nil {
			return err
		}
	}
	return nil
}

// oldest returns the oldest answer that is not being stopped.
func (w *process) oldest() *answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(w.answers)) {
		if a := w.answers[n]; !a.stopping && a.cut != nil {
			return a
		}
	}
	return nil
}
