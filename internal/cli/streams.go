package cli

import (
	"context"
	"io"

	"github.com/pcapsule/pcapsule/internal/cli/console"
)

// closedPipe reports whether err is only that of a closed pipe, as with | head. This ends a
// command early but is not an error.
func closedPipe(err error) bool { return isAny(err, closedPipes) }

// terminal reports whether w is a terminal.
func terminal(w any) bool { return console.Terminal(w) }

// draws reports whether w is a terminal that acts on escape sequences.
func draws(w any) bool {
	f := console.File(w)
	return f != nil && terminal(f) && escapes(f)
}

// columnsOf is the width of the terminal w in characters, 0 if w is not a terminal.
func columnsOf(w any) int { return console.Columns(w) }

// source is standard input that ends at an interrupt. Otherwise, reading a pipe without a
// writer would block the program.
type source struct {
	ctx  context.Context
	r    io.Reader
	ask  chan []byte
	got  chan read
	buf  []byte // the buffer behind held
	held []byte // read by the other goroutine, not yet returned
	err  error
}

type read struct {
	data []byte
	err  error
}

// sourceBuffer is the size of one read; a Linux pipe holds 64 KiB.
const sourceBuffer = 256 << 10

func newSource(ctx context.Context, r io.Reader) *source { return &source{ctx: ctx, r: r} }

// Read implements io.Reader. It is called by one goroutine at a time.
func (s *source) Read(p []byte) (int, error) {
	if s.ask == nil { // not before the first use: most commands do not read standard input
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
