// Package handover packs a bundle for another person and receives such a package
// (docs/format/handover.md).
//
// A package is a folder with the bundle as one stored ZIP, optionally encrypted to recipients with
// age and split; SHA256SUMS of all files; and a cover sheet with the fingerprint of the bundle, in
// hexadecimal digits, in words and as a QR code.
package handover

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// Names and limits of a package.
const (
	SumsName     = "SHA256SUMS"
	coverPrefix  = "cover."
	reportPrefix = "report-"

	// ViewerName is the page that checks and reads the bundle in a browser (docs/guide/viewer.md).
	ViewerName = "pcapsule-viewer.html"

	MinPart  = 64 << 10 // bytes of a part
	maxParts = 999
	maxSums  = 1 << 20 // bytes of SHA256SUMS
)

// Events of the custody log.
const (
	EventHandedOver = "handed_over"
	EventReceived   = "received"
)

// ErrNotPackage means that a file or folder is not a package.
var ErrNotPackage = errors.New("not a package that was handed over")

// ErrParts means that a part of a package is missing, extra or changed.
var ErrParts = errors.New("the package is not complete")

// ErrEncrypted means that nothing was given that opens an encrypted package.
var ErrEncrypted = errors.New("the package is encrypted")

// File is a file of a package.
type File struct {
	Name   string        `json:"name"`
	Size   int64         `json:"size"`
	SHA256 bundle.Digest `json:"sha256"`
}

// Options say how to pack a bundle.
type Options struct {
	To         []age.Recipient         // encrypt to each of them; none: no encryption
	Passphrase string                  // encrypt with it; not with To
	Part       int64                   // bytes of a part, at least MinPart; 0: one file
	Reports    []string                // files of reports, which are copied, with their signatures, and encrypted like the bundle
	Viewer     string                  // file of the viewer, which is copied; empty: none
	Cover      func(c *Cover)          // completes the cover sheet, may be nil
	Progress   func(done, total int64) // of verifying, may be nil
}

// Pack verifies the bundle and writes a package to the new folder dir. It returns the files of
// the package in the order of SHA256SUMS.
func Pack(ctx context.Context, b *bundle.Bundle, dir string, o Options) ([]File, error) {
	if o.Part != 0 && o.Part < MinPart {
		return nil, fmt.Errorf("parts of %d bytes: at least %d", o.Part, MinPart)
	}
	if o.Passphrase != "" {
		r, err := age.NewScryptRecipient(o.Passphrase)
		if err != nil {
			return nil, fmt.Errorf("encrypting: %w", err)
		}
		o.To = append(o.To, r) // age refuses it beside others
	}
	folder, err := bundle.NewFolder(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Abort()
	name := strings.TrimSuffix(filepath.Base(b.Dir), ".pcapsule") + ".pcapsule.zip"
	if len(o.To) > 0 {
		name += ".age"
	}
	parts := &partWriter{dir: folder.Dir, name: name, limit: o.Part, mode: 0o600}
	defer parts.close()
	report, err := encrypted(parts, o.To, func(w io.Writer) (*bundle.Report, error) { return b.Pack(ctx, w, o.Progress) })
	if err != nil {
		return nil, err
	}
	if err := parts.finish(); err != nil {
		return nil, err
	}
	files := parts.files
	reports, err := packReports(folder.Dir, o)
	if err != nil {
		return nil, err
	}
	cover := newCover(ctx, b, report, files, len(o.To))
	cover.Reports, cover.Passphrase = reports, o.Passphrase != ""
	files = append(files, reports...)
	if o.Viewer != "" {
		viewer, err := copyFile(o.Viewer, filepath.Join(folder.Dir, ViewerName))
		if err != nil {
			return nil, fmt.Errorf("packing the viewer: %w", err)
		}
		cover.Viewer, files = &viewer, append(files, viewer)
	}
	if o.Cover != nil {
		o.Cover(cover)
	}
	for _, sheet := range []struct {
		name   string
		render func(io.Writer) error
	}{{coverPrefix + "html", cover.HTML}, {coverPrefix + "pdf", cover.PDF}, {coverPrefix + "jsonld", cover.CASE}} {
		f, err := writeFile(filepath.Join(folder.Dir, sheet.name), sheet.render)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if _, err := writeFile(filepath.Join(folder.Dir, SumsName), func(w io.Writer) error {
		for _, f := range files {
			fmt.Fprintf(w, "%s  %s\n", f.SHA256, f.Name)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return files, folder.Publish()
}

// maxReport is the size of a report that is handed over.
const maxReport = 1 << 30

// packReports copies reports and their signatures into a package.
func packReports(dir string, o Options) (files []File, err error) {
	for _, path := range o.Reports {
		for i, suffix := range []string{"", ".dsse.json"} {
			f, size, err := openPlain(filepath.Dir(path), filepath.Base(path)+suffix)
			if errors.Is(err, os.ErrNotExist) && i > 0 {
				continue // it is not signed
			}
			if err == nil && size > maxReport {
				err = errors.Join(fmt.Errorf("%s has %d bytes, more than %d", path, size, maxReport), f.Close())
			}
			if err != nil {
				return nil, fmt.Errorf("reading a report: %w", err)
			}
			name := reportPrefix + filepath.Base(path) + suffix
			if len(o.To) > 0 {
				name += ".age"
			}
			packed, err := writeFile(filepath.Join(dir, name), func(w io.Writer) error {
				_, err := encrypted(w, o.To, func(w io.Writer) (*bundle.Report, error) {
					_, err := io.Copy(w, f)
					return nil, err
				})
				return err
			})
			if err = errors.Join(err, f.Close()); err != nil {
				return nil, fmt.Errorf("packing a report: %w", err)
			}
			files = append(files, packed)
		}
	}
	return files, nil
}

var packedName = regexp.MustCompile(`\.zip(\.age)?(\.[0-9]{3})?$`)

// beside reports whether a file of a package is a cover sheet, a report or the viewer, and not the bundle.
func beside(name string) bool {
	return name == ViewerName || (strings.HasPrefix(name, coverPrefix) || strings.HasPrefix(name, reportPrefix)) && !packedName.MatchString(name)
}

// encrypted lets pack write to w, through age if there are recipients.
func encrypted(w io.Writer, to []age.Recipient, pack func(io.Writer) (*bundle.Report, error)) (*bundle.Report, error) {
	if len(to) == 0 {
		return pack(w)
	}
	a, err := age.Encrypt(w, to...)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	report, err := pack(a)
	if err == nil {
		err = a.Close()
	}
	return report, err
}

// copyFile copies a file to a new one.
func copyFile(from, to string) (File, error) {
	f, size, err := openPlain(filepath.Dir(from), filepath.Base(from))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	if size > maxReport {
		return File{}, fmt.Errorf("%s has %d bytes, more than %d", from, size, maxReport)
	}
	return writeFile(to, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}

// writeFile writes a new file.
func writeFile(path string, render func(io.Writer) error) (File, error) {
	p := &partWriter{dir: filepath.Dir(path), name: filepath.Base(path), mode: 0o666}
	defer p.close()
	if err := errors.Join(render(p), p.finish()); err != nil {
		return File{}, err
	}
	return p.files[0], nil
}

// Package is a package that was opened.
type Package struct {
	Name      string // of the bundle, without folder
	Encrypted bool
	Listed    bool     // SHA256SUMS was there and agrees
	Unlisted  []string // files in its folder that SHA256SUMS lacks

	dir    string
	sheets []File // cover sheets, reports and the viewer in SHA256SUMS
	parts  []File
	files  []*os.File
}

// Open opens the package at path: its folder, its SHA256SUMS, its ZIP or any of its parts. If
// SHA256SUMS is beside the parts, they must match it; otherwise the error wraps ErrParts.
func Open(ctx context.Context, path string) (*Package, error) {
	dir, base := filepath.Split(path)
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if info.IsDir() {
		dir, base = path, SumsName
	}
	p := &Package{dir: cmp.Or(filepath.Clean(dir), ".")}
	sums, err := readSums(filepath.Join(dir, SumsName))
	switch {
	case err == nil && (base == SumsName || slices.ContainsFunc(sums, func(f File) bool { return f.Name == base })):
		p.Listed = true
		for _, f := range sums {
			if !beside(f.Name) {
				p.parts = append(p.parts, f)
				continue
			}
			if err := checkSheet(ctx, dir, f); err != nil {
				return nil, err
			}
			p.sheets = append(p.sheets, f)
		}
	case base == SumsName && errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s: %w: it has no %s", filepath.Clean(dir), ErrNotPackage, SumsName)
	case base == SumsName:
		return nil, fmt.Errorf("reading the package: %w", err)
	default:
		if p.parts, err = unlisted(dir, base); err != nil {
			return nil, err
		}
	}
	if err := p.name(); err != nil {
		return nil, err
	}
	err = p.open(ctx, dir)
	if err == nil && p.Listed {
		err = p.unlistedIn(sums)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// name checks the names of the parts, and takes that of the bundle from them.
func (p *Package) name() error {
	if len(p.parts) == 0 {
		return fmt.Errorf("no bundle in %s: %w", SumsName, ErrParts)
	}
	stem, numbered := cutPart(p.parts[0].Name)
	for i, f := range p.parts {
		if want := partName(stem, i); numbered && f.Name != want || !numbered && len(p.parts) > 1 {
			return fmt.Errorf("part %d is %q instead of %q: %w", i+1, f.Name, want, ErrParts)
		}
	}
	stem, p.Encrypted = strings.CutSuffix(stem, ".age")
	p.Name = strings.TrimSuffix(stem, ".zip")
	if p.Name == "" || p.Name[0] == '.' || strings.ContainsAny(p.Name, `/\:`) {
		return fmt.Errorf("%q is not the name of a bundle: %w", p.Name, ErrParts)
	}
	return nil
}

// packed reports whether a file begins as a ZIP or a file of age does.
func packed(f io.ReaderAt) bool {
	head := make([]byte, 19)
	n, err := f.ReadAt(head, 0)
	return (err == nil || err == io.EOF) && (bytes.HasPrefix(head[:n], []byte("PK")) || bytes.HasPrefix(head[:n], []byte("age-encryption.org/")) || bytes.HasPrefix(head[:n], []byte("-----BEGIN AGE")))
}

// open opens and checks all parts.
func (p *Package) open(ctx context.Context, dir string) error {
	for i := range p.parts {
		part := &p.parts[i]
		f, size, err := openPlain(dir, part.Name)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is missing: %w", part.Name, ErrParts)
		}
		if err != nil {
			return err
		}
		p.files, part.Size = append(p.files, f), size
		if !p.Listed {
			if i == 0 && !packed(f) {
				return fmt.Errorf("%s: %w: it is neither a ZIP nor encrypted with age", filepath.Join(dir, part.Name), ErrNotPackage)
			}
			continue
		}
		if err := part.check(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// openPlain opens a file of a package. A pipe or a device could block or never end.
func openPlain(dir, name string) (f *os.File, size int64, err error) {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a plain file: %w", name, ErrParts)
	}
	f, err = os.Open(path)
	return f, info.Size(), err
}

// check compares the content of a file with its line in SHA256SUMS.
func (f *File) check(ctx context.Context, r io.Reader) error {
	h := sha256.New()
	if _, err := io.Copy(h, bundle.Stopping(ctx, r)); err != nil {
		return fmt.Errorf("reading %s: %w", f.Name, err)
	}
	if got := bundle.Digest(h.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s has SHA-256 %s, and %s has %s: %w", f.Name, got, SumsName, f.SHA256, ErrParts)
	}
	return nil
}

// checkSheet checks a cover sheet, a report or the viewer. A cover sheet and the viewer may be missing: they are not needed to open
// the package.
func checkSheet(ctx context.Context, dir string, sheet File) error {
	f, _, err := openPlain(dir, sheet.Name)
	if errors.Is(err, os.ErrNotExist) && (strings.HasPrefix(sheet.Name, coverPrefix) || sheet.Name == ViewerName) {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is missing: %w", sheet.Name, ErrParts)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return sheet.check(ctx, f)
}

// Close closes the files of the package.
func (p *Package) Close() {
	for _, f := range p.files {
		f.Close()
	}
}

// Unpack decrypts the bundle, verifies it, and puts it at the new folder dir.
func (p *Package) Unpack(ctx context.Context, dir string, identities []age.Identity) (*bundle.Report, error) {
	var r io.ReaderAt = &joined{p}
	size := p.size()
	if p.Encrypted {
		var err error
		if r, size, err = age.DecryptReaderAt(r, size, identities...); err != nil {
			return nil, fmt.Errorf("decrypting %s: %w", p.Name, err)
		}
	}
	return bundle.Unpack(ctx, r, size, dir)
}

func (p *Package) size() (n int64) {
	for i := range p.parts {
		n += p.parts[i].Size
	}
	return n
}

// joined reads the parts as one file.
type joined struct{ p *Package }

func (j *joined) ReadAt(b []byte, off int64) (n int, err error) {
	for i := range j.p.parts {
		size := j.p.parts[i].Size
		if off >= size {
			off -= size
			continue
		}
		want := min(int64(len(b)-n), size-off)
		m, err := j.p.files[i].ReadAt(b[n:n+int(want)], off)
		n += m
		if int64(m) < want {
			return n, fmt.Errorf("%s: %w", j.p.parts[i].Name, err)
		}
		if off = 0; n == len(b) {
			return n, nil
		}
	}
	return n, io.EOF
}

// readSums reads SHA256SUMS.
func readSums(path string) ([]File, error) {
	f, _, err := openPlain(filepath.Split(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSums+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSums {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", SumsName, maxSums, ErrParts)
	}
	var files []File
	for n, text := range bytes.Split(bytes.TrimSuffix(data, []byte{'\n'}), []byte{'\n'}) {
		sum, name, ok := strings.Cut(string(text), "  ")
		var f File
		if err := f.SHA256.UnmarshalText([]byte(sum)); err != nil || !ok || name == "" || name != filepath.Base(name) || strings.ContainsAny(name, `/\`) {
			return nil, fmt.Errorf("%s line %d: not a SHA-256, two spaces and a file name: %w", SumsName, n+1, ErrParts)
		}
		f.Name = name
		files = append(files, f)
	}
	return files, nil
}
