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

// Times that a worker has.
const (
	startTime = 30 * time.Second // to open its database
	graceTime = time.Second      // to end a question that was stopped, before it is killed
	writeTime = 2 * time.Second  // to take a frame
	leaveTime = 2 * time.Second  // to leave when its input ends
)

// process is a worker, as the program sees it.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	buf  *bufio.Writer // before in
	out  io.Reader
	tail *tail  // of what it printed
	temp string // folder of its temporary files, made and removed here
	free func() // what the system keeps for it

	sending sync.Mutex // one frame after the other

	mu      sync.Mutex
	answers map[uint64]*answer
	number  uint64 // the last one given to an answer or an aside
	kinds   int    // it was told of
	masked  bool   // it was told what views mask
	why     error  // why it was killed
	cause   error  // set before dead is closed

	gone chan struct{} // closed when the process has ended and nothing is left of it

	// Of the pool.
	users int
	alone bool
	spent bool      // ends when nobody uses it
	since time.Time // when it was last used
}

// start starts a worker and opens its database.
func start(ctx context.Context, o *Options) (*process, error) {
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
	if err := w.launch(o); err != nil {
		w.clean()
		return nil, fmt.Errorf("starting a database worker: %w", err)
	}
	set := wire.Settings{Memory: o.MemoryLimit, Threads: o.Threads, Temp: w.temp, MaxTemp: o.MaxTemp, Data: o.data(), Dirs: o.Dirs}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	a := w.register()
	err := a.send(wire.Open, set.Append(nil))
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

// launch starts the process. The thread that starts it waits for it, too, because Linux
// ends the child when the thread ends that made it.
func (w *process) launch(o *Options) (err error) {
	path, err := program()
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

// environment has what starting a program takes, and nothing that a question could read.
func environment() (list []string) {
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SystemRoot", "SYSTEMROOT"} {
		if v, ok := os.LookupEnv(name); ok {
			list = append(list, name+"="+v)
		}
	}
	// DuckDB's allocator would keep addresses that it has no memory behind, and the kernel
	// counts these: a question after a large one would find the limit reached.
	return append(list, "TZ=UTC", "DUCKDB_JE_MALLOC_CONF=retain:false")
}

// attend reads what the worker says until the process ends, and cleans up behind it.
func (w *process) attend() {
	err := w.receive()
	w.kill(err)
	status := w.cmd.Wait()
	_ = w.in.Close() // it may be closed already
	w.clean()
	w.mu.Lock()
	w.cause = w.obituary(status)
	w.mu.Unlock()
	close(w.gone)
}

// clean removes what the worker left.
func (w *process) clean() {
	if w.temp != "" {
		_ = os.RemoveAll(w.temp) // the folder above is removed too, and not by us
	}
	if w.free != nil {
		w.free()
	}
}

// receive hands frames to the answers that wait for them. A frame that nobody asked for
// ends the worker.
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
			err = fmt.Errorf("%w: an answer that nobody waits for", wire.ErrFrame)
		case f.Kind == wire.Stopped:
			if delete(w.answers, f.Stream); !a.stopping {
				err = fmt.Errorf("%w: it stopped by itself", wire.ErrFrame)
			}
			close(a.stopped)
		case a.stopping: // sent before it heard of that
		case !a.wanted:
			err = fmt.Errorf("%w: a batch that was not asked for", wire.ErrFrame)
		default:
			a.wanted = false
			a.frames <- f // has room for what is wanted
		}
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// obituary is why the process ended, as an error of the questions that it was at.
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

// kill ends the process now. Its end shows in gone.
func (w *process) kill(why error) {
	w.mu.Lock()
	if w.why == nil {
		w.why = why
	}
	w.mu.Unlock()
	if w.cmd.Process != nil {
		_ = w.cmd.Process.Kill() // it may have ended already
	}
}

// leave lets an idle process end by itself, and waits for that.
func (w *process) leave() {
	_ = w.in.Close() // its end says whether it heard
	select {
	case <-w.gone:
	case <-time.After(leaveTime):
		w.kill(errors.New("it did not leave"))
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

// send sends a frame. A worker that does not take it is killed, so that nobody waits for it.
func (w *process) send(kind wire.Kind, stream uint64, body []byte) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	late := time.AfterFunc(writeTime, func() { w.kill(errors.New("it does not listen")) })
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
	_ = w.send(wire.Forget, number, nil) // a worker that is gone has forgotten
}

// exec runs a statement that has no rows to read.
func (w *process) exec(ctx context.Context, sql string) error {
	rows, err := begin(ctx, w, &wire.Question{Setup: true, SQL: sql}, func() {})
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

// tell tells the worker of kinds of connections and of masks that it does not know.
func (w *process) tell(kinds [][]string, masks []byte) error {
	if !w.masked && masks != nil {
		if err := w.send(wire.Mask, 0, masks); err != nil {
			return err
		}
		w.masked = true
	}
	for ; w.kinds < len(kinds); w.kinds++ {
		if err := w.send(wire.Begin, 0, wire.AppendTexts(nil, kinds[w.kinds])); err != nil {
			return err
		}
	}
	return nil
}

// oldest is the answer that was begun first, of those that are not being stopped.
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
