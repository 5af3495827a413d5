package pcapng

import (
	"bytes"
	"fmt"
	"io"
)

// Stripped counts what Strip removed and kept.
type Stripped struct {
	Format  Format
	Blocks  int64 // removed blocks of secrets of any kind
	Bytes   int64 // their bytes
	Lines   int64 // lines in those that are TLS key logs
	Packets int64
	Written int64
	Damaged int64 // removed bytes that are not in a block
	Damage  []Damage
}

// Strip copies a capture without its secrets: every block except decryption secrets byte for
// byte, in all sections. Bytes outside blocks are also removed and counted, because they may
// be part of a key. If a section header has the length of its section, the length is set to
// unknown, because it may now be wrong. A classic pcap file, which cannot contain secrets, is
// copied unchanged. The errors are those of NewReader and of Next.
func Strip(w io.Writer, src io.Reader) (Stripped, error) { return strip(w, src, Options{}) }

func strip(w io.Writer, src io.Reader, o Options) (Stripped, error) {
	s := &stripping{src: src, w: w}
	r, err := NewReader(s, o)
	if err != nil {
		return Stripped{}, err
	}
	s.r = r
	s.result.Format = r.Format()
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
	s.result.Packets, s.result.Damage = r.Packets(), r.Damage()
	return s.result, err
}

// stripping passes a reader's source on to a writer, up to the place the reader has reached
// and without the parts to remove.
type stripping struct {
	src    io.Reader
	w      io.Writer
	r      *Reader
	buf    []byte // read but not yet written
	off    int64  // of buf[0] in the file
	out    []stretch
	result Stripped
	err    error
}

// stretch is a part of the file that is not copied.
type stretch struct{ from, to int64 }

// pass receives section headers and blocks of secrets, and, as type 0, bytes that are not in
// a block.
func (s *stripping) pass(typ BlockType, off, size int64, blk []byte) {
	switch typ {
	case BlockSection:
		const at, length = 16, 8 // section 4.1 of the format
		if from := off + at - s.off; from >= 0 && from+length <= int64(len(s.buf)) {
			copy(s.buf[from:], "\xff\xff\xff\xff\xff\xff\xff\xff")
		}
	case BlockSecrets:
		s.out = append(s.out, stretch{off, off + size})
		s.result.Blocks++
		s.result.Bytes += size
		k, err := ParseSecrets(Block{Body: blk[8 : len(blk)-4], BigEndian: s.r.be})
		if (err == nil || len(k.Data) > 0) && k.Type == SecretsTLS {
			s.result.Lines += keyLines(k.Data)
		}
	default:
		s.out = append(s.out, stretch{off, off + size})
		s.result.Damaged += size
	}
}

// keyLines counts the lines of a key log that are not comments.
func keyLines(data []byte) (n int64) {
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			n++
		}
	}
	return n
}

// Read implements io.Reader for the Reader. It first writes what the Reader has passed, so
// that no more than a window is kept.
func (s *stripping) Read(p []byte) (int, error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	n, err := s.src.Read(p)
	s.buf = append(s.buf, p[:n]...)
	return n, err
}

// flush writes what the reader has passed.
func (s *stripping) flush() error {
	if s.err != nil || s.r == nil {
		return s.err
	}
	upTo := s.r.base
	if s.r.Format() == FormatPcap {
		upTo = s.off + int64(len(s.buf))
	} else if s.r.scanning { // the scan continues: these bytes are lost whatever it finds
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

// write writes the bytes of the file from one place to another.
func (s *stripping) write(from, to int64) {
	if s.err != nil || to <= from {
		return
	}
	n, err := s.w.Write(s.buf[from-s.off : to-s.off])
	s.result.Written += int64(n)
	if err == nil && int64(n) < to-from {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.err = fmt.Errorf("writing capture at %d: %w", s.result.Written, err)
	}
}
