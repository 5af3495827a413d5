package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const (
	linkEthernet = 1       // LINKTYPE_ETHERNET
	maxCaptured  = 261_000 // bytes of a packet in a file
)

// sink is the output of a recording: a series of a ring, a file or a stream.
type sink struct {
	w      *ring.Writer
	series *ring.Series
	stream bool
	sides  map[string]*sideFile
	shared bool // another recording writes into the ring too, and the caller closes it
}

type sideFile struct {
	id ring.ID
	f  *os.File
}

// writeLines appends lines to a file. A partly written line would corrupt the next one, so
// it is removed.
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

// gone reports whether a file was deleted.
func gone(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

// openRing creates the writer of a recording's output.
func openRing(o *Options, here machine.Host) (*ring.Writer, error) {
	r := ring.Options{File: o.File, Stream: o.Stream}
	if o.Ring != nil {
		r = *o.Ring
	}
	r.Node, r.BootID, r.Recorder = here.Node, here.BootID, o.Program
	if r.OnError == nil {
		r.OnError = o.OnError
	}
	return ring.Create(r)
}

func newSink(o *Options, here machine.Host, series ring.SeriesOptions) (*sink, error) {
	w, err := o.writer, error(nil)
	if w == nil {
		if w, err = openRing(o, here); err != nil {
			return nil, err
		}
		if o.opened != nil {
			o.opened(w)
		}
	}
	s := &sink{w: w, stream: o.Stream != nil, sides: map[string]*sideFile{}, shared: o.writer != nil || o.opened != nil}
	if o.File != "" && o.Keys != nil {
		err = noKeyFile(w.SidePath(ring.ID{}, ring.KeysKind))
	}
	if err == nil {
		s.series, err = w.Series(series)
	}
	if err != nil {
		if !s.shared {
			err = errors.Join(err, w.Close(context.Background()))
		}
		return nil, err
	}
	return s, nil
}

// declare adds an interface and returns the ID for its packets.
func (s *sink) declare(i pcapng.Interface) (ring.InterfaceID, error) { return s.series.Interface(i) }

// redeclare changes the description of an interface for later packets.
func (s *sink) redeclare(id ring.InterfaceID, i pcapng.Interface) error {
	return s.series.Update(id, i)
}

// append writes a packet. ring.ErrDisk means that the packet is dropped; any other error
// ends the recording.
func (s *sink) append(p *ring.Packet) error { return s.series.Append(p) }

// failed returns why nothing more can be written; a ring retries by itself.
func (s *sink) failed() error { return s.series.Failed() }

// idle is called when no packets are waiting, so that viewers of a stream see packets
// immediately.
func (s *sink) idle() {
	if s.stream {
		s.series.Flush()
	}
}

// ids returns the name and the first packet ID of the recording.
func (s *sink) ids() (name string, first uint64) { return s.w.Ring(), s.w.FirstPacketID() }

// segment returns the segment of the last packet, zero if there is none yet.
func (s *sink) segment() ring.ID { return s.series.Current() }

// sidePath returns the path of a segment's side file, "" if it cannot have one.
func (s *sink) sidePath(id ring.ID, kind string) string { return s.w.SidePath(id, kind) }

// ended returns a mark for finish: the number of segments that have ended.
func (s *sink) ended() uint64 { return s.series.Ended() }

// finish declares that nothing more is written next to the segments up to a mark.
func (s *sink) finish(mark uint64) { s.series.FinishSides(mark) }

// reopen is called before something is written next to a segment after finish.
func (s *sink) reopen(id ring.ID) error { return s.w.ReopenSides(id) }

// errRefusing keeps side files out of the reserved disk space.
var errRefusing = errors.New("writing side file: paused because the disk has no room for segments")

// side appends whole lines to a side file of a segment, and returns how many of their bytes
// were written; a partly written line is removed. One file of each kind is open.
func (s *sink) side(id ring.ID, kind string, lines []byte) (int, error) {
	if s.stream {
		return len(lines), nil // a stream has no side files
	}
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

// settled is how many packets of append are in the file, or were refused by the disk.
func (s *sink) settled() uint64 { return s.series.Settled() }

// totals counts the packets so far by their fate.
func (s *sink) totals() ring.Totals { return s.series.Totals() }

// close closes the output. It does not return an error that failed returned before.
func (s *sink) close() error {
	var errs []error
	for _, f := range s.sides {
		errs = append(errs, f.f.Close())
	}
	if s.shared {
		s.series.Seal() // while the counters can still be read
		return errors.Join(errs...)
	}
	failed := s.failed()
	errs = append(errs, closeRing(s.w))
	if failed == nil {
		errs = append(errs, s.failed())
	}
	return errors.Join(errs...)
}

// abort closes the output of a recording that did not start; a file is removed.
func (s *sink) abort() error {
	if s.shared {
		return s.close()
	}
	return s.w.Discard(context.Background())
}

// closeRing closes a ring. It waits at most 30 s for the disk.
func closeRing(w *ring.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return w.Close(ctx)
}
