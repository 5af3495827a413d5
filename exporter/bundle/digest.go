package bundle

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Digest is a SHA-256, written as 64 lower-case hexadecimal digits.
type Digest [32]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a digest in hexadecimal, either case.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return fmt.Errorf("a digest of %d characters must have %d", len(text), 2*len(d))
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("reading digest: %w", err)
	}
	return nil
}

// Time is nanoseconds since 1970 UTC, written as RFC 3339 with nine digits and Z.
type Time int64

// At is the optional time ns nanoseconds after 1970 UTC.
func At(ns int64) *Time {
	t := Time(ns)
	return &t
}

// String is the time in RFC 3339 with nine digits and Z.
func (t Time) String() string { return when.Stamp(int64(t)) }

// MarshalText writes the time in RFC 3339.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText accepts only what MarshalText writes, so that a time has one spelling.
func (t *Time) UnmarshalText(text []byte) error {
	v, err := time.Parse(when.Layout, string(text))
	if err != nil {
		return fmt.Errorf("reading time: %w", err)
	}
	ns := v.UnixNano() // undefined outside 1677 to 2262, so compare the result
	if Time(ns).String() != string(text) {
		return fmt.Errorf("time %q does not fit in 64-bit nanoseconds", text)
	}
	*t = Time(ns)
	return nil
}

// hasher computes a SHA-256.
type hasher interface {
	io.Writer
	Sum(b []byte) []byte
}

// hasherOf returns the hasher for a file of a bundle.
func hasherOf(rel string) hasher {
	if strings.HasPrefix(rel, packetsDir) {
		return NewBlockHash()
	}
	return sha.New()
}

// hashFile hashes a file.
func hashFile(p string, h hasher) (Digest, error) {
	f, err := os.Open(p)
	if err != nil {
		return Digest{}, fmt.Errorf("hashing: %w", err)
	}
	defer f.Close()
	return hashReader(f, h, func(int) error { return nil })
}

// hashReader hashes r to its end and calls each for every piece.
func hashReader(r io.Reader, h hasher, each func(n int) error) (Digest, error) {
	buf := make([]byte, sha.Piece)
	for {
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if n > 0 {
			if err := each(n); err != nil {
				return Digest{}, err
			}
		}
		if err == io.EOF {
			return Digest(h.Sum(nil)), nil
		}
		if err != nil {
			return Digest{}, fmt.Errorf("hashing: %w", err)
		}
	}
}
