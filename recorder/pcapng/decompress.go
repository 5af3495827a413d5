package pcapng

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is the compression of a capture file.
type Compression string

// Compressions that Open supports.
const (
	CompressionNone Compression = ""
	CompressionGzip Compression = "gzip"
	CompressionZstd Compression = "zstd"
)

// ErrBomb means that the content of a compressed file exceeds its limits.
var ErrBomb = errors.New("compressed file exceeds its limits")

// Limits guard against files that decompress to a multiple of their size.
type Limits struct {
	MaxOutput int64 // bytes; 0 means no limit
	MaxRatio  int64 // output per input, after the first 64 MiB of output; 0 means 250, -1 no limit
}

const (
	ratioGrace   = 64 << 20 // output before the ratio counts
	defaultRatio = 250      // captures rarely compress better than 50 to 1; gzip bombs reach 1030
	zstdWindow   = 128 << 20
)

// Source is the decompressed form of a stream.
type Source struct {
	Compression Compression

	in     *counter
	out    io.Reader
	zst    *zstd.Decoder
	limits Limits
	output int64
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

// Open examines the first bytes of r and decompresses gzip (also with several members) and
// zstd (also with several frames); everything else is passed on unchanged. Reading beyond the
// limits returns ErrBomb after all bytes within them.
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
		// One goroutine less to stop; the window limits the memory.
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

// isZstd recognizes a frame and a skippable frame, which may come first.
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

// Read returns decompressed bytes. A file truncated in its compressed form ends in
// io.ErrUnexpectedEOF, as a Reader of captures expects.
func (s *Source) Read(p []byte) (int, error) {
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	room := s.room()
	if room == 0 {
		// A limit may be reached but not exceeded; reading on may also show that there was more
		// input for the output.
		n, err := s.out.Read(p[:1])
		if n > 0 && s.room() == 0 {
			s.err = fmt.Errorf("%w: more than %d bytes from %d compressed bytes", ErrBomb, s.output, s.in.n)
			return 0, s.err
		}
		return s.count(n, err)
	}
	n, err := s.out.Read(p[:min(int64(len(p)), room)])
	return s.count(n, err)
}

func (s *Source) count(n int, err error) (int, error) {
	s.output += int64(n)
	if err != nil && err != io.EOF && s.Compression != CompressionNone {
		err = fmt.Errorf("decompressing %s: %w", s.Compression, err)
	}
	s.err = err
	return n, err
}

// room is the number of bytes that may be returned before the limits must be checked again.
func (s *Source) room() int64 {
	const most = int64(1) << 62
	room := most
	if s.limits.MaxOutput > 0 {
		room = min(room, s.limits.MaxOutput-s.output)
	}
	if s.limits.MaxRatio > 0 {
		allowed := most
		if s.in.n < most/s.limits.MaxRatio {
			allowed = s.in.n * s.limits.MaxRatio
		}
		room = min(room, max(ratioGrace, allowed)-s.output)
	}
	return max(room, 0)
}

// Close frees the memory of the decoder. It does not close the underlying stream.
func (s *Source) Close() error {
	if s.zst != nil {
		s.zst.Close()
	}
	return nil
}
