package handover

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// partWriter writes to one file, or to parts NAME.001, NAME.002 and so on of at most limit bytes.
type partWriter struct {
	dir, name string
	limit     int64 // bytes of a part; 0: one file
	mode      fs.FileMode
	files     []File

	f    *os.File
	w    *bufio.Writer
	hash hash.Hash
}

// Write writes to the current part, and begins the next when that is full.
func (p *partWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		if p.f == nil {
			if err := p.next(); err != nil {
				return n, err
			}
		}
		part := &p.files[len(p.files)-1]
		now := b
		if p.limit > 0 {
			now = b[:min(int64(len(b)), p.limit-part.Size)]
		}
		m, err := p.w.Write(now)
		p.hash.Write(now[:m])
		part.Size += int64(m)
		n, b = n+m, b[m:]
		if err != nil {
			return n, err
		}
		if p.limit > 0 && part.Size == p.limit {
			if err := p.finish(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (p *partWriter) next() (err error) {
	name := p.name
	if p.limit > 0 {
		if len(p.files) == maxParts {
			return fmt.Errorf("more than %d parts: make them larger", maxParts)
		}
		name = partName(p.name, len(p.files))
	}
	if p.f, err = os.OpenFile(filepath.Join(p.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, p.mode); err != nil {
		return err
	}
	p.files = append(p.files, File{Name: name})
	p.w, p.hash = bufio.NewWriterSize(p.f, 1<<20), sha256.New()
	return nil
}

// finish ends the current part.
func (p *partWriter) finish() error {
	if p.f == nil {
		return nil
	}
	err := errors.Join(p.w.Flush(), p.f.Close())
	p.files[len(p.files)-1].SHA256 = bundle.Digest(p.hash.Sum(nil))
	p.f = nil
	return err
}

// close closes the file of a run that failed.
func (p *partWriter) close() {
	if p.f != nil {
		p.f.Close()
	}
}

// partName is the name of part i, from 0.
func partName(stem string, i int) string { return fmt.Sprintf("%s.%03d", stem, i+1) }

var partSuffix = regexp.MustCompile(`^(.+)\.[0-9]{3}$`)

// cutPart splits the name of a part.
func cutPart(name string) (stem string, numbered bool) {
	if m := partSuffix.FindStringSubmatch(name); m != nil {
		return m[1], true
	}
	return name, false
}

// unlisted finds the parts of a package without SHA256SUMS, by the name of one of them.
func unlisted(dir, base string) ([]File, error) {
	stem, numbered := cutPart(base)
	if !numbered {
		return []File{{Name: base}}, nil
	}
	var parts []File
	for i := range maxParts {
		name := partName(stem, i)
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			return nil, err
		}
		parts = append(parts, File{Name: name})
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%s is missing: %w", partName(stem, 0), ErrParts)
	}
	return parts, nil
}
