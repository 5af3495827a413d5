package handshake

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/exporter/cursor"
)

// ReadExtensions reads the body of EncryptedExtensions of TLS 1.3 into e.
func ReadExtensions(b []byte, e *Extensions) error {
	*e = Extensions{}
	r := cursor.New(b)
	return e.read(&r, e.shared)
}

const extStatus = 5

// ReadCertificates13 splits the list of a TLS 1.3 Certificate message (RFC 8446 section 4.4.2)
// into certificates, at most limit, and then returns ErrMore. With an error it returns the
// certificates before it. stapled means that the first one has a revocation status attached.
func ReadCertificates13(b []byte, limit int) (out [][]byte, stapled bool, err error) {
	r := cursor.New(b)
	r.Skip(int(r.Uint8())) // context
	n := int(r.Uint24())
	list := r.Sub(min(n, r.Left()))
	for list.Left() > 0 && len(out) < limit {
		der := list.Bytes(int(list.Uint24()))
		ext := list.Sub(int(list.Uint16()))
		if list.Short() {
			return out, stapled, short("Certificate")
		}
		for len(out) == 0 && ext.Left() > 0 && !ext.Short() {
			stapled = ext.Uint16() == extStatus || stapled
			ext.Skip(int(ext.Uint16()))
		}
		if len(der) > 0 {
			out = append(out, der)
		}
	}
	if list.Left() > 0 {
		return out, stapled, ErrMore
	}
	if r.Short() || r.Left() > 0 || list.Used() != n {
		return out, stapled, fmt.Errorf("reading Certificate: a list of %d bytes in a message of %d", n, len(b))
	}
	return out, stapled, nil
}

// Decompress decompresses a CompressedCertificate message, RFC 8879, into its Certificate
// message of at most limit bytes.
func Decompress(b []byte, limit int) ([]byte, error) {
	r := cursor.New(b)
	algorithm, size := r.Uint16(), int(r.Uint24())
	packed := r.Bytes(int(r.Uint24()))
	if r.Short() || r.Left() > 0 {
		return nil, short("CompressedCertificate")
	}
	if size > limit {
		return nil, fmt.Errorf("reading CompressedCertificate: the decompressed size of %d bytes exceeds the limit of %d", size, limit)
	}
	var from io.Reader
	var err error
	switch algorithm {
	case 1:
		from, err = zlib.NewReader(bytes.NewReader(packed))
	case 2:
		from = brotli.NewReader(bytes.NewReader(packed))
	case 3:
		var d *zstd.Decoder
		d, err = zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(max(limit, 1<<10))))
		if err == nil {
			defer d.Close()
			from = d
		}
	default:
		return nil, fmt.Errorf("reading CompressedCertificate: algorithm %d is none of 1 to 3", algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("reading CompressedCertificate: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(from, int64(size)+1))
	if err == nil && len(out) != size {
		err = fmt.Errorf("%d bytes or more instead of %d", len(out), size)
	}
	if err != nil {
		return nil, fmt.Errorf("decompressing CompressedCertificate: %w", err)
	}
	return out, nil
}
