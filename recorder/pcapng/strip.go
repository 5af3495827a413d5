package pcapng

import (
	"bytes"
	"fmt"
	"io"
)

// Stripped says what Strip left out and what it kept.
type Stripped struct {
	Format  Format
	Blocks  int64 // blocks of secrets left out, whatever their kind
	Bytes   int64 // their bytes
	Lines   int64 // lines in them, where they are TLS key logs
	Packets int64
	Written int64
	Damaged int64 // bytes left out that are no block
	Damage  []Damage
}

// Strip copies a capture without its secrets: every block but decryption secrets byte for
// byte, in all sections. Bytes that are no block are left out too, and counted, since
// nobody can say that they are not part of a key. Where a section header gives its
// section's length, it is set to unknown, as it may be wrong now. A classic pcap file,
// which has no place for secrets, is copied as it is. The errors are those of NewReader
// and of Next.
func Strip(w io.Writer, src io.Reader) (Stripped, error) { return strip(w, src, Options{}) }

func strip(w io.Writer, src io.Reader, o Options) (Stripped, error) {
	s := &stripping{src: src, w: w}
	r, err := NewReader(s, o)
	if err != nil {
		return Stripped{}, err
	}
	s.r = r
	s.said.Format = r.Format()
	if r.Format() == FormatPcapng {
		r.pass = s.pass
	}
	var b Batch
	for err == nil {
		err = r.Next(&b)
	}
	if err == io.EOF {
		err = s.flush()
	}
	s.said.Packets, s.said.Damage = r.Packets(), r.Damage()
	return s.said, err
}

// stripping passes a reader's source on to a writer as far as the reader has come, but for
// what it was told to leave out.
type stripping struct {
	src  io.Reader
	w    io.Writer
	r    *Reader
	buf  []byte // read and not yet written
	off  int64  // of buf[0] in the file
	out  []stretch
	said Stripped
	err  error
}

// stretch is a part of the file that is not copied.
type stretch struct{ from, to int64 }

// pass is shown section headers and blocks of secrets, and, as type 0, bytes that are no
// block.
func (s *stripping) pass(typ BlockType, off, size int64, blk []byte) {
	switch typ {
	case BlockSection:
		const at, length = 16, 8 // section 4.1 of the format
		if from := off + at - s.off; from >= 0 && from+length <= int64(len(s.buf)) {
			copy(s.buf[from:], "\xff\xff\xff\xff\xff\xff\xff\xff")
		}
	case BlockSecrets:
		s.out = append(s.out, stretch{off, off + size})
		s.said.Blocks++
		s.said.Bytes += size
		k, err := ParseSecrets(Block{Body: blk[8 : len(blk)-4], BigEndian: s.r.be})
		if (err == nil || len(k.Data) > 0) && k.Type == SecretsTLS {
			s.said.Lines += keyLines(k.Data)
		}
	default:
		s.out = append(s.out, stretch{off, off + size})
		s.said.Damaged += size
	}
}

// keyLines counts the lines of a key log that are no comments.
func keyLines(data []byte) (n int64) {
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			n++
		}
	}
	return n
}

// Read implements io.Reader for the Reader: what it has gone past is written first, so
// that no more than its window is held.
func (s *stripping) Read(p []byte) (int, error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	n, err := s.src.Read(p)
	s.buf = append(s.buf, p[:n]...)
	return n, err
}

// flush writes what the reader has gone past.
func (s *stripping) flush() error {
	if s.err != nil || s.r == nil {
		return s.err
	}
	upTo := s.r.base
	if s.r.Format() == FormatPcap {
		upTo = s.off + int64(len(s.buf))
	} else if s.r.scanning { // the search goes on: this much is lost whatever it finds
		s.out = append(s.out, stretch{s.r.lost.Offset, upTo})
	}
	at := s.off
	for _, x := range s.out {
		s.write(at, x.from)
		at = max(at, x.to)
	}
	s.write(at, upTo)
	s.out = s.out[:0]
	if n := copy(s.buf, s.buf[upTo-s.off:]); n < cap(s.buf)/8 {
		s.buf = append([]byte(nil), s.buf[:n]...)
	} else {
		s.buf = s.buf[:n]
	}
	s.off = upTo
	return s.err
}

// write writes the file's bytes from one place to another.
func (s *stripping) write(from, to int64) {
	if s.err != nil || to <= from {
		return
	}
	n, err := s.w.Write(s.buf[from-s.off : to-s.off])
	s.said.Written += int64(n)
	if err == nil && int64(n) < to-from {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.err = fmt.Errorf("writing capture at %d: %w", s.said.Written, err)
	}
}
