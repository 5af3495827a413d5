package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrChanged means that a file of a bundle was changed while it was read.
var ErrChanged = errors.New("changed while it was read")

// zipTime is the date of every member of a transport ZIP, the earliest that ZIP can express.
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Pack verifies the bundle and writes it to w as a transport ZIP: stored members in the order
// of their paths, all with the same date, so that the same bundle gives the same bytes. It
// returns the report of the verification; its Err is the reason why nothing was written.
func (b *Bundle) Pack(ctx context.Context, w io.Writer, progress func(done, total int64)) (*Report, error) {
	src, done, err := openSource(b.Dir)
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", b.Dir, err)
	}
	defer done()
	v := &verifier{ctx: ctx, src: src, report: &Report{Path: b.Dir, Problems: []Problem{}, Custody: []Entry{}}, progress: progress,
		seen: map[string]bool{}, members: map[string]member32{}}
	if err := v.run(); err != nil {
		return nil, fmt.Errorf("packing %s: %w", b.Dir, err)
	}
	if err := v.report.Err(); err != nil {
		return v.report, fmt.Errorf("packing: %w", err)
	}
	if err := v.pack(w, strings.TrimSuffix(filepath.Base(b.Dir), ".zip")); err != nil {
		return v.report, fmt.Errorf("packing %s: %w", b.Dir, err)
	}
	return v.report, nil
}

// member32 is a file as it was verified: ZIP needs both before the file's bytes.
type member32 struct {
	size int64
	crc  uint32 // CRC-32 as ZIP has it: IEEE 802.3
}

// Write adds the next bytes of the file.
func (m *member32) Write(p []byte) (int, error) {
	m.size, m.crc = m.size+int64(len(p)), crc32.Update(m.crc, crc32.IEEETable, p)
	return len(p), nil
}

// pack writes the verified files.
func (v *verifier) pack(w io.Writer, name string) error {
	// custody/ is not in the manifests and may grow: it is as it was when its chain was checked.
	small, err := v.custodyBytes()
	if err != nil {
		return err
	}
	tag, err := readAll(v.src, tagManifestName, maxListFile)
	if err != nil {
		return err
	}
	if Digest(sha256.Sum256(tag)) != v.report.TagManifest {
		return fmt.Errorf("%s: %w", tagManifestName, ErrChanged)
	}
	small[tagManifestName] = tag
	z := zip.NewWriter(w)
	for _, rel := range slices.Sorted(maps.Keys(v.members)) {
		small[rel] = nil
	}
	for _, rel := range slices.Sorted(maps.Keys(small)) {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if data := small[rel]; data != nil {
			err = store(z, name+"/"+rel, member32{int64(len(data)), crc32.ChecksumIEEE(data)}, strings.NewReader(string(data)))
		} else {
			err = v.store(z, name, rel)
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

// store copies one verified file.
func (v *verifier) store(z *zip.Writer, name, rel string) error {
	f, err := v.src.open(rel)
	if err != nil {
		return err
	}
	defer f.Close()
	return store(z, name+"/"+rel, v.members[rel], Stopping(v.ctx, f))
}

// Stopping reads from r until ctx ends.
func Stopping(ctx context.Context, r io.Reader) io.Reader { return &stopping{ctx, r} }

type stopping struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (s *stopping) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// store writes one member. Its sizes precede its bytes, so that readers of streams can unpack it.
func store(z *zip.Writer, path string, m member32, r io.Reader) error {
	h := &zip.FileHeader{Name: path, Method: zip.Store, CRC32: m.crc, CompressedSize64: uint64(m.size), UncompressedSize64: uint64(m.size), Modified: zipTime}
	h.SetMode(0o644)
	w, err := z.CreateRaw(h)
	if err != nil {
		return err
	}
	var got member32
	_, err = io.Copy(io.MultiWriter(w, &got), r)
	if err == nil && got != m {
		err = ErrChanged
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// custodyBytes are the files below custody/ whose chain was checked. A line that was added since
// is left out.
func (v *verifier) custodyBytes() (map[string][]byte, error) {
	files := maps.Clone(v.report.CustodyFiles)
	if files == nil {
		files = map[string][]byte{}
	}
	data, err := readAll(v.src, custodyName, maxCustody)
	if err != nil {
		return nil, err
	}
	c, err := parseCustody(data)
	if err != nil {
		return nil, err
	}
	n := len(v.report.Custody)
	if len(c.entries) < n || c.lines[n-1] != v.report.CustodyHead {
		return nil, fmt.Errorf("%s: %w", custodyName, ErrChanged)
	}
	files[custodyName] = bytes.Join(bytes.SplitAfterN(data, []byte{'\n'}, n+1)[:n], nil)
	return files, nil
}
