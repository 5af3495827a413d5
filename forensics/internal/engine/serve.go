package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// maxStreams is the highest number of answers that are read in parallel; the program uses fewer.
const maxStreams = 256

var errStopped = errors.New("stopped")

// server is a running worker.
type server struct {
	db *database

	out   sync.Mutex // guards w
	w     *bufio.Writer
	fatal chan error // reason for which the worker ends

	mu      sync.Mutex
	streams map[uint64]*stream
}

// Serve answers the frames from in on out until in ends. The first frame has the settings: Serve
// confines the process to them with confine, and then opens the database.
func Serve(in io.Reader, out io.Writer, confine func(*wire.Settings) error) error {
	r := bufio.NewReaderSize(in, 64<<10)
	s := &server{w: bufio.NewWriterSize(out, 64<<10), fatal: make(chan error, 1), streams: map[uint64]*stream{}}
	first, err := wire.ReadFrame(r)
	if err != nil {
		return fmt.Errorf("reading the settings: %w; only a program starts its database worker", err)
	}
	if first.Kind != wire.Open {
		return fmt.Errorf("the first frame is %q, expected %q", first.Kind, wire.Open)
	}
	if err := s.open(first, confine); err != nil {
		fail := wire.Failure{Reason: wire.Other, Msg: err.Error()}
		return errors.Join(err, s.send(wire.Failed, first.Stream, fail.Append(nil)))
	}
	go func() { s.sent(s.receive(r)) }()
	if err = <-s.fatal; errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// receive processes frames until one cannot be read.
func (s *server) receive(r *bufio.Reader) error {
	for {
		f, err := wire.ReadFrame(r)
		if err != nil {
			return fmt.Errorf("reading a frame: %w", err)
		}
		if err := s.frame(f); err != nil {
			return err
		}
	}
}

func (s *server) open(f wire.Frame, confine func(*wire.Settings) error) error {
	o, err := wire.ReadSettings(f.Body)
	if err != nil {
		return err
	}
	fewArenas()
	if err := confine(&o); err != nil {
		return err
	}
	if s.db, err = openDatabase(&o); err != nil {
		return err
	}
	return s.send(wire.Ready, f.Stream)
}

// frame processes a frame. It never waits for DuckDB, so that a Stop is always processed.
func (s *server) frame(f wire.Frame) error {
	switch f.Kind {
	case wire.Define:
		v, err := wire.ReadViews(f.Body)
		if err != nil {
			return err
		}
		return s.db.define(&v)
	case wire.Mask:
		m, err := wire.ReadMasks(f.Body)
		if err != nil {
			return err
		}
		return s.db.setMasks(m)
	case wire.Query:
		q, err := wire.ReadQuestion(f.Body)
		if err != nil {
			return err
		}
		return s.begin(f.Stream, q)
	case wire.Next:
		s.mu.Lock()
		st := s.streams[f.Stream]
		s.mu.Unlock()
		if st == nil { // it has already ended
			return nil
		}
		select {
		case st.wanted <- struct{}{}:
		default:
			return fmt.Errorf("%w: two batches of stream %d are requested at the same time", wire.ErrFrame, f.Stream)
		}
	case wire.Stop:
		if !s.stop(f.Stream) {
			return s.send(wire.Stopped, f.Stream)
		}
	case wire.Forget:
		go s.db.forget(f.Stream)
	case wire.Trim:
		go trim()
	default:
		return fmt.Errorf("%w: kind %q", wire.ErrFrame, f.Kind)
	}
	return nil
}

// begin starts a stream.
func (s *server) begin(number uint64, q wire.Question) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	st := &stream{s: s, number: number, q: q, ctx: ctx, cancel: cancel, wanted: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[number] != nil || len(s.streams) >= maxStreams {
		return fmt.Errorf("%w: stream %d of %d", wire.ErrFrame, number, len(s.streams))
	}
	s.streams[number] = st
	go st.run()
	return nil
}

// stop stops the stream with a number, if it exists. The end of the stream then reports it.
func (s *server) stop(number uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[number]
	if st != nil {
		st.cancel(errStopped)
	}
	return st != nil
}

// end removes a stream after its connection is free. It answers an earlier Stop; frame answers a
// later one.
func (s *server) end(st *stream) {
	s.mu.Lock()
	delete(s.streams, st.number)
	stopped := st.ctx.Err() != nil
	s.mu.Unlock()
	if stopped {
		s.sent(s.send(wire.Stopped, st.number))
	}
}

// send writes a frame.
func (s *server) send(kind wire.Kind, stream uint64, body ...[]byte) error {
	s.out.Lock()
	defer s.out.Unlock()
	if err := wire.WriteFrame(s.w, kind, stream, body...); err != nil {
		return fmt.Errorf("writing a frame: %w", err)
	}
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("writing a frame: %w", err)
	}
	return nil
}

// sent ends the worker on the first error.
func (s *server) sent(err error) {
	if err != nil {
		select {
		case s.fatal <- err:
		default:
		}
	}
}
