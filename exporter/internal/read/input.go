package read

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// headSize is how much of each input is read to order the inputs.
const headSize = 64 << 10

// ErrNoInput means that there is no capture.
var ErrNoInput = errors.New("no capture files")

// InputError is an input that cannot be used.
type InputError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *InputError) Error() string {
	if at := (*workload.SyntaxError)(nil); errors.As(e.Err, &at) && at.Name == e.Path {
		return e.Err.Error() // names the file
	}
	return fmt.Sprintf("reading %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// input is a capture file before it is read.
type input struct {
	path  string // "-" is standard input
	name  string // base name
	size  int64  // bytes on disk, -1 unknown
	first int64  // time of the first packet; math.MaxInt64 if there is none
	head  [sha256.Size]byte
	info  os.FileInfo
	stdin *rejoined // standard input with its head prepended
	spool *os.File  // standard input kept on disk, so that it can be read twice
	ng    bool      // PCAPNG, which can hold secrets

	counted map[pcapng.CountedID][]pcapng.Statistics // in the whole file; nil unless it was read before

	header *ring.Header  // of a segment, else nil
	sides  sides         // files next to the segment
	claim  *bundle.Input // the bundle's description of it, nil if it comes from elsewhere
	keep   bool          // copy it although it comes from a bundle
	move   bool          // instead of copying it
	moved  string        // where it is then
	grows  io.Reader     // of a segment that is followed, else nil
}

// Inputs are the captures of a run.
type Inputs struct {
	files   []*input
	skipped []string // files in folders that are not captures
	nested  []string // bundles in folders, which are not read again
	odd     []string // other things to report
	rings   []*ringFolder
	again   bool  // the inputs are those of a bundle
	total   int64 // bytes on disk of all, 0 unknown
}

// Open finds the captures, also in folders, and orders them by content only: time of the first
// packet, then hash of the head, then name. Its error is *InputError.
func Open(paths []string, stdin io.Reader) (*Inputs, error) {
	in := &Inputs{}
	for _, p := range paths {
		if p == "-" {
			if err := in.addStdin(stdin); err != nil {
				return nil, err
			}
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return nil, &InputError{p, err}
		}
		if !info.IsDir() {
			if err := in.addFile(p, info); err != nil {
				return nil, &InputError{p, err}
			}
			continue
		}
		if err := in.addFolder(p); err != nil {
			return nil, err
		}
	}
	// A pin without segments says why there are none.
	if len(in.files) == 0 && !slices.ContainsFunc(in.rings, (*ringFolder).pinned) {
		return nil, &InputError{strings.Join(paths, ", "), ErrNoInput}
	}
	slices.SortStableFunc(in.files, inOrder)
	slices.Sort(in.odd)
	for _, f := range in.files {
		if f.size < 0 {
			in.total = 0
			break
		}
		in.total += f.size
	}
	return in, nil
}

// inOrder orders inputs by their content, those that begin together by size: of two captures of the same packets, the
// larger one has more of each.
func inOrder(a, b *input) int {
	return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.size, a.size), bytes.Compare(a.head[:], b.head[:]), strings.Compare(a.name, b.name))
}

// addFolder adds every capture below dir. A file that is not a capture is skipped and named,
// because folders hold notes and keys too; one that cannot be read is an error. A bundle
// below dir is skipped: its packets are those of a capture that somebody has read before.
func (in *Inputs) addFolder(dir string) error {
	rings := map[string]bool{}
	return filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return &InputError{p, err}
		}
		if e.IsDir() && p != dir && (bundle.IsPartial(e.Name()) || isBundle(p)) {
			in.nested = append(in.nested, e.Name())
			return fs.SkipDir
		}
		if e.IsDir() && isRing(p) {
			rings[p] = true
			return in.addRing(p)
		}
		if e.IsDir() || !e.Type().IsRegular() || rings[filepath.Dir(p)] && ofRing(e.Name()) {
			return nil
		}
		// Lstat reads the file itself, not the folder's listing: some Windows file systems have
		// no file numbers in a listing, and all files would then look like the same file.
		info, err := os.Lstat(p)
		if err != nil {
			return &InputError{p, err}
		}
		err = in.addFile(p, info)
		switch {
		case (errors.Is(err, pcapng.ErrNotCapture) || errors.Is(err, pcapng.ErrTooShort)) && isSide(e.Name()):
			return nil // it is read with its segment
		case errors.Is(err, pcapng.ErrNotCapture), errors.Is(err, pcapng.ErrTooShort):
			in.skipped = append(in.skipped, e.Name())
			return nil
		case err != nil:
			return &InputError{p, err}
		}
		return nil
	})
}

// isBundle reports whether a folder is a bundle's.
func isBundle(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, "data", "bundle.json"))
	return err == nil && info.Mode().IsRegular()
}

// skippedText is one line about what was skipped in folders, "" if nothing was.
func (in *Inputs) skippedText() string {
	var parts []string
	for _, k := range []struct {
		names        []string
		one, several string
	}{{in.skipped, "file that is not a capture", "files that are not captures"}, {in.nested, "bundle", "bundles"}} {
		if len(k.names) == 0 {
			continue
		}
		slices.Sort(k.names)
		text := clip.Count(int64(len(k.names)), k.one, k.several) + " (" + strings.Join(k.names[:min(len(k.names), maxNamed)], ", ")
		if len(k.names) > maxNamed {
			text += ", …"
		}
		parts = append(parts, text+")")
	}
	return strings.Join(parts, ", ")
}

const maxNamed = 4 // names in skippedText

func (in *Inputs) addFile(path string, info os.FileInfo) error {
	for _, f := range in.files {
		if f.info != nil && os.SameFile(f.info, info) {
			return nil // the same file again
		}
	}
	if !info.Mode().IsRegular() { // opening a named pipe blocks, and a pipe cannot be read twice
		return errors.New("neither a file nor a folder; to read a pipe, pass - and redirect the pipe to standard input")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	x := &input{path: path, name: filepath.Base(path), size: info.Size(), info: info}
	src, err := pcapng.Open(f, pcapng.Limits{})
	if err != nil {
		return err
	}
	defer src.Close()
	if err := x.peek(src); err != nil {
		return err
	}
	if x.header != nil {
		in.odd = append(in.odd, x.findSides()...)
	}
	in.files = append(in.files, x)
	return nil
}

func (in *Inputs) addStdin(r io.Reader) error {
	if r == nil {
		return &InputError{"-", errors.New("standard input is closed")}
	}
	for _, f := range in.files {
		if f.path == "-" {
			return &InputError{"-", errors.New("standard input was given twice")}
		}
	}
	x := &input{path: "-", name: "-", size: -1}
	head := make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return &InputError{"-", err}
	}
	head = head[:n]
	src, err := pcapng.Open(bytes.NewReader(head), pcapng.Limits{})
	if err != nil {
		return &InputError{"-", err}
	}
	defer src.Close()
	if err := x.peek(src); err != nil {
		return &InputError{"-", err}
	}
	x.stdin = &rejoined{io.MultiReader(bytes.NewReader(head), r)}
	in.files = append(in.files, x)
	return nil
}

type rejoined struct{ io.Reader }

// peek reads the head of the uncompressed capture.
func (x *input) peek(src io.Reader) error {
	head := make([]byte, headSize)
	n, err := io.ReadFull(src, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF && n == 0 {
		return err
	}
	x.head = sha256.Sum256(head[:n])
	x.ng = bytes.HasPrefix(head[:n], []byte(sectionMagic))
	x.header = headerOf(head[:n])
	r, err := pcapng.NewReader(bytes.NewReader(head[:n]), pcapng.Options{Window: n + 1})
	if err != nil {
		return err
	}
	var b pcapng.Batch
	x.first = math.MaxInt64
	for {
		err := r.Next(&b)
		for i := range b.Packets {
			if b.Packets[i].TimeOK {
				x.first, _ = (&clock{}).at(b.Packets, i, b.Interfaces)
				return nil
			}
		}
		if err != nil {
			return nil // reading the file later reports the problem
		}
	}
}

// open starts reading the input. With a bundle, the bytes are also copied into it.
func (x *input) open(id int32, b *bundle.Builder, count func(int64)) (*opened, error) {
	o := &opened{input: x, id: id}
	if x.move {
		if err := x.adopt(o, b); err != nil {
			return nil, err
		}
	}
	raw, file, err := x.raw()
	if err != nil {
		return nil, &InputError{x.path, err}
	}
	o.file = file
	o.original.counting = count
	src, err := pcapng.Open(io.TeeReader(raw, &o.original), pcapng.Limits{})
	if err != nil {
		o.closeFile()
		return nil, &InputError{x.path, err}
	}
	o.src, o.data = src, x.unpacked(src)
	if src.Compression != pcapng.CompressionNone {
		o.original.hash = sha.New()
	}
	o.rel = fmt.Sprintf("data/packets/import/%03d-%s", id, bundle.SafeName(unpackedName(x.name, o.compression())))
	if c := x.claim; c != nil && !x.keep && strings.EqualFold(c.Path, o.rel) {
		o.rel = c.Path // older releases kept upper case
	}
	switch {
	case o.copy != nil: // it was moved
	case b == nil:
		o.copy = noCopy{}
	case x.claim != nil && !x.keep:
		o.copy, err = b.Discard(o.rel)
	default:
		o.copy, err = b.Create(o.rel)
	}
	if err != nil {
		o.closeFile()
		return nil, err
	}
	return o, nil
}

// raw is the original input from its start. If f is not nil, the caller must close it. Standard
// input that was not spooled can be read once.
func (x *input) raw() (r io.Reader, f *os.File, err error) {
	switch {
	case x.grows != nil:
		return x.grows, nil, nil
	case x.spool != nil:
		return io.NewSectionReader(x.spool, 0, x.size), nil, nil
	case x.stdin != nil:
		return x.stdin, nil, nil
	}
	if f, err = os.Open(cmp.Or(x.moved, x.path)); err != nil {
		return nil, nil, err
	}
	return f, f, nil
}

// KeepStdin copies standard input to an unnamed file in dir if it must be read twice: PCAPNG may
// have secrets after the packets that they decrypt, and a key log is complete only after the
// capture has ended. The file disappears when it is closed.
func (in *Inputs) KeepStdin(dir string, keys bool) error {
	for _, x := range in.files {
		if x.stdin == nil || !x.ng && !keys {
			continue
		}
		f, err := unnamed(dir)
		if err != nil {
			return fmt.Errorf("keeping standard input: %w", err)
		}
		x.spool = f
		if x.size, err = io.Copy(f, x.stdin); err != nil {
			return fmt.Errorf("keeping standard input: %w", err)
		}
		in.total += x.size
	}
	return nil
}

// First returns the time of the earliest packet near the beginning of an input, in ns since 1970
// UTC; 0 if there is none.
func (in *Inputs) First() int64 {
	if len(in.files) == 0 || in.files[0].first == math.MaxInt64 {
		return 0
	}
	return in.files[0].first
}

// Total is the number of bytes on disk, or 0 if it is unknown.
func (in *Inputs) Total() int64 { return in.total }

// Rename sets other names for files of these paths in the manifest.
func (in *Inputs) Rename(names map[string]string) {
	for _, x := range in.files {
		x.name = cmp.Or(names[x.path], x.name)
	}
}

// Close closes the spooled standard input.
func (in *Inputs) Close() {
	for _, x := range in.files {
		if x.spool != nil {
			x.spool.Close()
		}
	}
}
