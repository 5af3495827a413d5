package pcapng

import (
	"bytes"
	"io"
)

// Stripped counts the blocks that Strip removed and kept.
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
// unknown, because it may now be wrong. Classic pcap, which cannot contain secrets, is
// copied unchanged. The errors are those of NewReader and of Next.
func Strip(w io.Writer, src io.Reader) (Stripped, error) { return strip(w, src, Options{}) }

func strip(w io.Writer, src io.Reader, o Options) (Stripped, error) {
	s := &stripping{passing: passing{src: src, w: w}}
	s.flush = s.copyKept
	r, err := NewReader(s, o)
	if err != nil {
		return Stripped{}, err
	}
	s.r = r
	s.result.Format, r.pass = r.Format(), s.pass
	var b Batch
	for err == nil {
		err = r.Next(&b)
	}
	if err == io.EOF {
		err = s.flush()
	}
	s.result.Packets, s.result.Damage, s.result.Written = r.Packets(), r.Damage(), s.written
	return s.result, err
}

// stripping copies the file without the parts to remove.
type stripping struct {
	passing
	out    []stretch // parts to remove
	result Stripped
}

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
		if s.r.format == FormatPcap {
			return
		}
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

// copyKept implements flush.
func (s *stripping) copyKept() error {
	if s.err != nil || s.r == nil {
		return s.err
	}
	upTo := s.r.base
	if s.r.scanning && s.r.format == FormatPcapng { // the scan continues: these bytes are lost whatever it finds
		s.out = append(s.out, stretch{s.r.lost.Offset, upTo})
	}
	at := s.off
	for _, x := range s.out {
		s.write(at, x.from)
		at = max(at, x.to)
	}
	s.write(at, upTo)
	s.out = s.out[:0]
	s.forget(upTo)
	return s.err
}
