package bundle

import (
	"fmt"
	"io"
	"os"
)

// File is a file of an unfinished bundle.
type File struct {
	b      *Builder
	f      *os.File
	rel    string
	hash   hasher
	size   int64
	sum    Digest
	err    error
	closed bool

	discard bool // the bundle does not have it
}

func (b *Builder) newFile(rel string, f *os.File) *File {
	file := &File{b: b, f: f, rel: rel, hash: hasherOf(rel)}
	b.open[file] = true
	return file
}

// Write appends to the file.
func (f *File) Write(p []byte) (n int, err error) {
	if f.err != nil {
		return 0, f.err
	}
	n = len(p)
	if f.f != nil {
		n, err = f.f.Write(p)
	}
	f.hash.Write(p[:n])
	f.size += int64(n)
	if err != nil {
		f.err = fmt.Errorf("writing %s: %w", f.rel, err)
	}
	return n, f.err
}

// ReadFrom appends everything from r in large pieces; io.Copy uses it.
func (f *File) ReadFrom(r io.Reader) (total int64, err error) {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Rel is the file's path in the bundle.
func (f *File) Rel() string { return f.rel }

// Size is the number of bytes written so far.
func (f *File) Size() int64 { return f.size }

// Sum is the SHA-256 of the file, once Close has returned nil.
func (f *File) Sum() Digest { return f.sum }

// Close ends the file and registers it. If writing failed, the file is not registered, and
// Finish will fail.
func (f *File) Close() error {
	if f.closed {
		return f.err
	}
	f.closed = true
	if f.f != nil {
		if err := f.f.Close(); err != nil && f.err == nil {
			f.err = fmt.Errorf("closing %s: %w", f.rel, err)
		}
	}
	f.hash.Sum(f.sum[:0])
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	delete(f.b.open, f)
	if f.err == nil {
		k := known{size: f.size, sha256: f.sum, discarded: f.discard}
		if h, ok := f.hash.(*BlockHash); ok {
			k.blocks = h.Sums()
		}
		f.b.known[f.rel] = k
	} else if f.b.err == nil {
		f.b.err = f.err
	}
	return f.err
}
