package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/term"
)

// sink is standard output. It remembers the first error, so that a command that prints
// without looking still fails where the disk behind it is full.
type sink struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		s.err = codedError{fmt.Errorf("writing standard output: %w", err), exitDisk, "what was printed is not whole; free space and run the same command again"}
	}
	return n, s.err
}

// closedPipe reports whether err only says that nobody reads what is printed any more, as
// with | head. That ends a command early and is no error.
func closedPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

// terminal reports whether w is one.
func terminal(w any) bool {
	if s, ok := w.(*sink); ok {
		w = s.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// columnsOf is how many characters a line of the terminal w has, 0 where w is none.
func columnsOf(w any) int {
	if !terminal(w) {
		return 0
	}
	if s, ok := w.(*sink); ok {
		w = s.w
	}
	n, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil {
		return 0
	}
	return n
}

// source is standard input that ends with an interrupt: a read of a pipe that nobody
// writes to would otherwise hold the program.
type source struct {
	ctx  context.Context
	r    io.Reader
	ask  chan []byte
	got  chan read
	buf  []byte // what held is of
	held []byte // read by the other goroutine, not yet given
	err  error
}

type read struct {
	data []byte
	err  error
}

// sourceBuffer is what one read of a pipe may give; Linux pipes hold 64 KiB.
const sourceBuffer = 256 << 10

func newSource(ctx context.Context, r io.Reader) *source { return &source{ctx: ctx, r: r} }

// Read implements io.Reader. It is called by one goroutine at a time.
func (s *source) Read(p []byte) (int, error) {
	if s.ask == nil { // not before the first use: most commands leave standard input alone
		s.ask, s.got = make(chan []byte, 1), make(chan read, 1)
		go s.fill()
		s.ask <- make([]byte, sourceBuffer)
	}
	for len(s.held) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		select {
		case <-s.ctx.Done():
			s.err = context.Cause(s.ctx)
		case g := <-s.got:
			s.buf, s.held, s.err = g.data[:cap(g.data)], g.data, g.err
		}
	}
	n := copy(p, s.held)
	if s.held = s.held[n:]; len(s.held) == 0 && s.err == nil {
		s.ask <- s.buf
	}
	return n, nil
}

func (s *source) fill() {
	for buf := range s.ask {
		n, err := s.r.Read(buf)
		s.got <- read{buf[:n], err}
		if err != nil {
			return
		}
	}
}
