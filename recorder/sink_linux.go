package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// sink is where a recording goes.
type sink interface {
	// declare describes an interface; packets name it by the number.
	declare(pcapng.Interface) (ring.InterfaceID, error)
	// redeclare gives an interface another description, for packets from now on.
	redeclare(ring.InterfaceID, pcapng.Interface) (ring.InterfaceID, error)
	// append takes a packet. ring.ErrDisk means that it is dropped; any other error ends
	// the recording.
	append(*ring.Packet) error
	// idle is called when there is nothing to do for a moment.
	idle() error
	// segment is the file that the last packet went into, zero where there is none yet.
	segment() ring.ID
	// took is what became of the packets so far.
	took() ring.Taken
	// side appends whole lines to a side file of a segment, and says how many bytes of them
	// are there; what is left of the others is cut.
	side(id ring.ID, kind string, lines []byte) (int, error)
	// sidePath is where such a file stands, "" where it cannot.
	sidePath(id ring.ID, kind string) string
	// ended is a mark for finish: the segments that have ended.
	ended() uint64
	// finish says that nothing is added beside the segments up to a mark.
	finish(mark uint64)
	// reopen is called before something is added beside a segment after finish.
	reopen(id ring.ID) error
	// name and first packet id of the recording
	ids() (name string, first uint64)
	// close writes what the account says of the interfaces, and ends.
	close(account func(ring.Taken) ring.Account) error
}

// ringSink writes into a ring.
type ringSink struct {
	w      *ring.Writer
	series *ring.Series
	dir    string
	sides  map[string]*sideFile
	shared bool // another recording writes into the ring too, and somebody else ends it
}

type sideFile struct {
	id ring.ID
	f  *os.File
}

// writeLines appends lines to a file. Half of a line would spoil the next one too, so it is
// cut again.
func writeLines(f *os.File, lines []byte) (int, error) {
	n, err := f.Write(lines)
	if err == nil {
		return n, nil
	}
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	if info, statErr := f.Stat(); statErr == nil && whole < n {
		err = errors.Join(err, f.Truncate(info.Size()-int64(n-whole)))
	}
	return whole, fmt.Errorf("writing side file: %w", err)
}

// gone reports whether nobody can reach a file any more.
func gone(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

// openRing makes the writer of a ring, as recordings want it.
func openRing(o *Options, here machine.Host) (*ring.Writer, error) {
	r := *o.Ring
	r.Node, r.BootID, r.Recorder = here.Node, here.BootID, o.Program
	if r.OnError == nil {
		r.OnError = o.OnError
	}
	return ring.Create(r)
}

func newRingSink(o *Options, here machine.Host, series ring.SeriesOptions) (*ringSink, error) {
	w, err := o.writer, error(nil)
	if w == nil {
		if w, err = openRing(o, here); err != nil {
			return nil, err
		}
	}
	s := &ringSink{w: w, dir: o.Ring.Dir, sides: map[string]*sideFile{}, shared: o.writer != nil}
	if s.series, err = w.Series(series); err != nil {
		if !s.shared {
			err = errors.Join(err, w.Close(context.Background()))
		}
		return nil, err
	}
	return s, nil
}

func (s *ringSink) declare(i pcapng.Interface) (ring.InterfaceID, error) {
	return s.series.Interface(i)
}
func (s *ringSink) append(p *ring.Packet) error { return s.series.Append(p) }
func (s *ringSink) redeclare(id ring.InterfaceID, i pcapng.Interface) (ring.InterfaceID, error) {
	return id, s.series.Update(id, i)
}

func (s *ringSink) idle() error           { return nil }
func (s *ringSink) ids() (string, uint64) { return s.w.Ring(), s.w.FirstPacketID() }

func (s *ringSink) segment() ring.ID { return s.series.Current() }

func (s *ringSink) sidePath(id ring.ID, kind string) string {
	return filepath.Join(s.dir, id.Side(kind))
}

func (s *ringSink) ended() uint64           { return s.series.Ended() }
func (s *ringSink) finish(mark uint64)      { s.series.FinishSides(mark) }
func (s *ringSink) reopen(id ring.ID) error { return s.w.ReopenSides(id) }

// errRefusing keeps side files out of the space that is reserved for others.
var errRefusing = errors.New("side files: nothing is written while the disk takes no segments")

// side writes beside a segment. Of each kind one file is open.
func (s *ringSink) side(id ring.ID, kind string, lines []byte) (int, error) {
	if s.series.Refusing() {
		return 0, errRefusing
	}
	have := s.sides[kind]
	var late error
	if have != nil && (have.id != id || gone(have.f)) {
		delete(s.sides, kind)
		if err := have.f.Close(); err != nil {
			late = fmt.Errorf("closing side file: %w", err)
		}
		have = nil
	}
	if have == nil {
		f, err := os.OpenFile(s.sidePath(id, kind), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return 0, errors.Join(late, fmt.Errorf("writing side file: %w", err))
		}
		have = &sideFile{id, f}
		s.sides[kind] = have
	}
	n, err := writeLines(have.f, lines)
	return n, errors.Join(late, err)
}

func (s *ringSink) took() ring.Taken { return s.series.Taken() }

func (s *ringSink) close(func(ring.Taken) ring.Account) error {
	var errs []error
	for _, f := range s.sides {
		errs = append(errs, f.f.Close())
	}
	if s.shared {
		s.series.Seal() // while the counters can still be read
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, closeRing(s.w))...)
}

// closeRing ends a ring; a disk that does not answer is not waited for.
func closeRing(w *ring.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return w.Close(ctx)
}
