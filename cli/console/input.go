package console

import (
	"context"
	"io"
)

// Input is standard input that ends at an interrupt. Otherwise, reading a pipe without a
// writer would block the program.
type Input struct {
	ctx  context.Context
	r    io.Reader
	ask  chan []byte
	got  chan piece
	buf  []byte // the buffer behind held
	held []byte // read by the other goroutine, not yet returned
	err  error
}

type piece struct {
	data []byte
	err  error
}

// inputBuffer is the size of one read; a Linux pipe holds 64 KiB.
const inputBuffer = 256 << 10

// NewInput returns an Input that reads r until ctx is done.
func NewInput(ctx context.Context, r io.Reader) *Input { return &Input{ctx: ctx, r: r} }

// Read implements io.Reader. It is called by one goroutine at a time.
func (s *Input) Read(p []byte) (int, error) {
	if s.ask == nil { // not before the first use: most commands do not read standard input
		s.ask, s.got = make(chan []byte, 1), make(chan piece, 1)
		go s.fill()
		s.ask <- make([]byte, inputBuffer)
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

func (s *Input) fill() {
	for buf := range s.ask {
		n, err := s.r.Read(buf)
		s.got <- piece{buf[:n], err}
		if err != nil {
			return
		}
	}
}
