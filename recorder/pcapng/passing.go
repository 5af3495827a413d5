package pcapng

import (
	"fmt"
	"io"
)

// stretch is a part of the file.
type stretch struct{ from, to int64 }

// passing is the source of a Reader that copies parts of the file to a writer.
type passing struct {
	src     io.Reader
	w       io.Writer
	r       *Reader
	flush   func() error // writes what the reader has passed
	buf     []byte       // read but not yet written
	off     int64        // of buf[0] in the file
	written int64
	err     error
}

// Read implements io.Reader for the Reader. It first writes the part that the Reader has passed, so
// that no more than a window is kept.
func (s *passing) Read(p []byte) (int, error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	n, err := s.src.Read(p)
	s.buf = append(s.buf, p[:n]...)
	return n, err
}

// write writes the bytes of the file from one place to another.
func (s *passing) write(from, to int64) {
	if s.err != nil || to <= from {
		return
	}
	n, err := s.w.Write(s.buf[from-s.off : to-s.off])
	s.written += int64(n)
	if err == nil && int64(n) < to-from {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.err = fmt.Errorf("writing capture at %d: %w", s.written, err)
	}
}

// forget drops the bytes of the file before a place.
func (s *passing) forget(upTo int64) {
	if n := copy(s.buf, s.buf[upTo-s.off:]); n < cap(s.buf)/8 {
		s.buf = append([]byte(nil), s.buf[:n]...)
	} else {
		s.buf = s.buf[:n]
	}
	s.off = upTo
}
