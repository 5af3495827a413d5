package pcapng

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a capture file was packed.
type Compression string

// Compressions that Open unpacks.
const (
	CompressionNone Compression = ""
	CompressionGzip Compression = "gzip"
	CompressionZstd Compression = "zstd"
)

// ErrBomb means that a compressed file gives more bytes than its limits allow.
var ErrBomb = errors.New("compressed file gives more than its limits allow")

// Limits guard against files that unpack to far more than they are.
type Limits struct {
	MaxOutput int64 // bytes; 0: no limit
	MaxRatio  int64 // output over input, beyond the first 64 MiB of output; 0 means 250, -1 none
}

const (
	ratioGrace   = 64 << 20 // output before the ratio counts
	defaultRatio = 250      // captures seldom pack better than 50 to 1; gzip bombs reach 1030
	zstdWindow   = 128 << 20
)

// Source is the unpacked form of a stream.
type Source struct {
	Compression Compression

	in     *counter
	out    io.Reader
	zst    *zstd.Decoder
	limits Limits
	given  int64
	err    error
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Open looks at the first bytes of r and unpacks gzip (also of several members) and
// zstd (also of several frames); everything else passes as it is. Reading beyond the
// limits gives ErrBomb after all bytes up to there.
func Open(r io.Reader, limits Limits) (*Source, error) {
	if limits.MaxRatio == 0 {
		limits.MaxRatio = defaultRatio
	}
	s := &Source{in: &counter{r: r}, limits: limits}
	head := bufio.NewReaderSize(s.in, 64<<10)
	magic, err := head.Peek(4)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the start of the file: %w", err)
	}
	switch {
	case len(magic) >= 3 && magic[0] == 0x1f && magic[1] == 0x8b && magic[2] == 8:
		z, err := gzip.NewReader(head)
		if err != nil {
			return nil, fmt.Errorf("reading gzip header: %w", noEOF(err))
		}
		s.Compression, s.out = CompressionGzip, z
	case isZstd(magic):
		// One goroutine less to stop, and memory bounded by the window.
		s.zst, err = zstd.NewReader(head, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, fmt.Errorf("reading zstd header: %w", noEOF(err))
		}
		s.Compression, s.out = CompressionZstd, s.zst
	default:
		s.out, s.limits = head, Limits{MaxRatio: -1}
	}
	return s, nil
}

// isZstd knows a frame and a skippable frame, which may come first.
func isZstd(m []byte) bool {
	if len(m) < 4 {
		return false
	}
	v := u32(m, false)
	return v == 0xFD2FB528 || v&^0xF == 0x184D2A50
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Read gives unpacked bytes. A file cut inside its packed form ends in
// io.ErrUnexpectedEOF, as a Reader of captures expects.
func (s *Source) Read(p []byte) (int, error) {
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	room := s.room()
	if room == 0 {
		// A limit may be reached, only not passed; and reading on may show that more
		// input stands behind the output.
		n, err := s.out.Read(p[:1])
		if n > 0 && s.room() == 0 {
			s.err = fmt.Errorf("%w: more than %d bytes from %d", ErrBomb, s.given, s.in.n)
			return 0, s.err
		}
		return s.gave(n, err)
	}
	n, err := s.out.Read(p[:min(int64(len(p)), room)])
	return s.gave(n, err)
}

func (s *Source) gave(n int, err error) (int, error) {
	s.given += int64(n)
	if err != nil && err != io.EOF && s.Compression != CompressionNone {
		err = fmt.Errorf("unpacking %s: %w", s.Compression, err)
	}
	s.err = err
	return n, err
}

// room is how many more bytes may be given before the limits are asked again.
func (s *Source) room() int64 {
	const most = int64(1) << 62
	room := most
	if s.limits.MaxOutput > 0 {
		room = min(room, s.limits.MaxOutput-s.given)
	}
	if s.limits.MaxRatio > 0 {
		allowed := most
		if s.in.n < most/s.limits.MaxRatio {
			allowed = s.in.n * s.limits.MaxRatio
		}
		room = min(room, max(ratioGrace, allowed)-s.given)
	}
	return max(room, 0)
}

// Input is the number of packed bytes read so far.
func (s *Source) Input() int64 { return s.in.n }

// Close frees the memory of the decoder. It does not close the stream below.
func (s *Source) Close() error {
	if s.zst != nil {
		s.zst.Close()
	}
	return nil
}
