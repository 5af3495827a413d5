package read

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
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
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Names in a ring's folder, docs/format/ring.md.
const (
	sealsFile = "seals.jsonl"
	pinFile   = "pin.json"
)

// Limits of a ring's records.
const (
	maxSealLine = 4 << 20   // bytes of a record
	maxSeals    = 500_000   // segments kept
	maxHoles    = 100_000   // coverage rows from a ring's records
	maxPin      = 64 << 20  // bytes of pin.json
	maxSealFile = 512 << 20 // bytes of seals.jsonl that are kept
	maxAbsent   = 1000      // ranges of numbers that were never completed
	maxDeleting = 50 << 20  // segments examined for deletion records
)

// ringFolder is a ring that is an input.
type ringFolder struct {
	dir  string // of seals.jsonl
	name string // of the folder
	open []string

	id      string
	sum     [sha256.Size]byte
	bad     int64 // unreadable lines
	long    bool  // the last of them is too long, and nothing after it was read
	limited int64
	seals   map[ring.ID]*sealed
	order   []*sealed // as recorded
	holes   []ringHole
	pin     *ring.Pinned
	looked  int               // segments examined for deletions
	below   map[string]uint64 // numbers below need no record, by series
	absent  []absent

	underway ring.Underway
}

// sealed is the records of one segment.
type sealed struct {
	id              ring.ID
	size            int64
	sha256          string
	packets         int64
	first, last     int64
	recovered, cut  bool
	sidesOpen       bool   // its side files are not sealed: they may lack lines
	unbalanced      string // how the counters are inconsistent
	deleted         bool   // by retention
	file            int32  // the input, -1 for none
	filtered, drops int64  // since the previous segment; without packets that the policy forbids
	policy          int64  // packets that the policy forbids
	counted         bool   // it has counters
	reasons         string // of the drops
}

// ringHole is a gap with the series that its row needs.
type ringHole struct {
	reason, series, detail string
	from, to               ring.Time
	packets                int64
	of                     *sealed // the segment whose record reported it, nil if none did
}

// addRing adds the sealed segments of a ring's folder.
func (in *Inputs) addRing(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return &InputError{dir, err}
	}
	f := &ringFolder{dir: dir, name: filepath.Base(dir)}
	for _, e := range list {
		_, kind, hidden, ok := ring.ParseName(e.Name())
		switch {
		case !ok || kind != "pcapng":
		case hidden:
			f.open = append(f.open, e.Name())
		case !e.Type().IsRegular():
			in.odd = append(in.odd, e.Name()+": not a regular file")
		default:
			info, err := os.Lstat(filepath.Join(dir, e.Name())) // as in addFolder: a listing may lack file numbers
			if err == nil {
				err = in.addFile(filepath.Join(dir, e.Name()), info)
			}
			switch {
			case errors.Is(err, fs.ErrNotExist): // retention was faster
			case errors.Is(err, pcapng.ErrNotCapture), errors.Is(err, pcapng.ErrTooShort):
				in.skipped = append(in.skipped, e.Name())
			case err != nil:
				return &InputError{filepath.Join(dir, e.Name()), err}
			}
		}
	}
	in.rings = append(in.rings, f)
	return nil
}

// isRing reports whether a folder is that of a ring.
func isRing(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, sealsFile))
	return err == nil && info.Mode().IsRegular()
}

// pinned reports whether the folder is a pin, that is a part of a ring.
func (f *ringFolder) pinned() bool {
	info, err := os.Lstat(filepath.Join(f.dir, pinFile))
	return err == nil && info.Mode().IsRegular()
}

// ofRing reports whether a file in a ring's folder belongs to the ring.
func ofRing(name string) bool {
	_, _, _, ok := ring.ParseName(name)
	return ok || strings.HasPrefix(name, ".") || name == sealsFile || name == pinFile
}

// load reads the ring's records and stores them in the bundle. Both files are small and signed,
// so they are stored unchanged.
func (f *ringFolder) load(b *bundle.Builder, no int, r *Reader) error {
	f.seals, f.below = map[ring.ID]*sealed{}, map[string]uint64{}
	if err := f.readSeals(b, no, r); err != nil {
		return err
	}
	if err := f.readPin(b, no, r); err != nil {
		return err
	}
	label := f.label()
	if f.bad > 0 {
		r.warn(label + ": " + clip.Count(f.bad, "record of seals.jsonl cannot", "records of seals.jsonl cannot") + " be read")
	}
	if f.long {
		r.warn(fmt.Sprintf("%s: a line of seals.jsonl has more than %d bytes; it and the lines after it are not used", label, maxSealLine))
	}
	for i, name := range f.open {
		if i == 20 {
			r.warn(fmt.Sprintf("%s: %d more segments are not finished", label, len(f.open)-i))
			break
		}
		r.warn(label + ": " + name + " is not finished and was skipped; seal the ring first, or take a snapshot")
	}
	return nil
}

// check reports the problems that ring.Verify finds. The import checks the hashes of segments,
// because it reads them anyway.
func (f *ringFolder) check(r *Reader) {
	rep, err := ring.Verify(f.dir, ring.VerifyOptions{SkipHashes: true, HashSides: true})
	if err != nil {
		r.warn(f.label() + ": the chain of seals was not checked: " + plainError(err))
		return
	}
	for i, p := range rep.Problems {
		if i == 50 {
			r.warn(fmt.Sprintf("%s: further problems: %d; pcapsule ring verify lists them", f.label(), len(rep.Problems)+rep.More-i))
			break
		}
		r.warn(f.label() + ": " + word(p.String()))
	}
}

func (f *ringFolder) label() string { return "ring " + f.id[:min(len(f.id), 8)] }

// sidePathOfRing is where a bundle stores a file of a ring's folder.
func sidePathOfRing(no int, name string) string {
	return fmt.Sprintf("data/inputs/ring-%03d/%s", no, name)
}

func (f *ringFolder) readSeals(b *bundle.Builder, no int, r *Reader) error {
	src, err := os.Open(filepath.Join(f.dir, sealsFile))
	if err != nil {
		return &InputError{filepath.Join(f.dir, sealsFile), err}
	}
	defer src.Close()
	side := bundle.SideInput{Kind: "seals", Path: sidePathOfRing(no, sealsFile), Name: sealsFile}
	copyTo, err := b.Create(side.Path)
	if err != nil {
		return err
	}
	err = f.records(io.LimitReader(src, maxSealFile), copyTo, r.stopped)
	if err != nil {
		return &InputError{filepath.Join(f.dir, sealsFile), err}
	}
	if err := copyTo.Close(); err != nil {
		return err
	}
	sum := copyTo.Sum()
	f.sum = sum
	// Bytes after the last complete line were still being written and do not count.
	side.SHA256, side.Size, side.SHA256Original, side.SizeOriginal = &sum, copyTo.Size(), sum, copyTo.Size()
	r.sides = append(r.sides, side)
	return nil
}

func (f *ringFolder) readPin(b *bundle.Builder, no int, r *Reader) error {
	info, err := os.Lstat(filepath.Join(f.dir, pinFile))
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxPin {
		return nil // it is a complete ring
	}
	text, err := os.ReadFile(filepath.Join(f.dir, pinFile))
	if err != nil {
		return &InputError{filepath.Join(f.dir, pinFile), err}
	}
	var p ring.Pinned
	if err := json.Unmarshal(text, &p); err != nil {
		r.warn(f.label() + ": " + pinFile + " cannot be read and is not used")
		return nil
	}
	f.pin = &p
	if len(p.Segments) == 0 { // a derived capture has the side files of all segments
		for _, name := range p.Unsealed {
			r.sidesOpen(word(name))
		}
	}
	file, err := b.Create(sidePathOfRing(no, pinFile))
	if err != nil {
		return err
	}
	if _, err := file.Write(text); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	sum := file.Sum()
	r.sides = append(r.sides, bundle.SideInput{Kind: "pin", Path: file.Rel(), Name: pinFile, SHA256: &sum, Size: file.Size(),
		SHA256Original: sum, SizeOriginal: file.Size()})
	return nil
}

// find is the record of an input that is a segment of the ring.
func (f *ringFolder) find(x *input) *sealed {
	id, _, _, ok := ring.ParseName(x.name)
	if !ok || x.header == nil || word(x.header.Ring) != f.id {
		return nil
	}
	return f.seals[id]
}

// loadRings reads the records of the given rings, ordered by content.
func (r *Reader) loadRings(again bool) error {
	rings := r.sources.rings
	if !again {
		if err := orderRings(rings); err != nil {
			return err
		}
	}
	for no, f := range rings {
		if err := f.load(r.b, no, r); err != nil {
			return err
		}
		if !again {
			f.check(r)
		}
		if f.limited > 0 {
			r.sideCount["ring/limited"] += f.limited
		}
	}
	return nil
}

// orderRings sorts rings by the first line of their seals, which contains the ring's id.
func orderRings(rings []*ringFolder) error {
	key := map[*ringFolder]string{}
	for _, f := range rings {
		src, err := os.Open(filepath.Join(f.dir, sealsFile))
		if err != nil {
			return &InputError{f.dir, err}
		}
		head := make([]byte, 4096)
		n, err := io.ReadFull(src, head)
		src.Close()
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return &InputError{f.dir, err}
		}
		key[f] = string(head[:n])
	}
	slices.SortStableFunc(rings, func(a, b *ringFolder) int {
		return cmp.Or(strings.Compare(key[a], key[b]), strings.Compare(a.name, b.name))
	})
	return nil
}

// inWindow reports whether a time range is in the available part of the ring.
func (f *ringFolder) inWindow(from, to int64) bool {
	return f.pin == nil || to >= int64(f.pin.From) && from <= int64(cmp.Or(f.pin.To, math.MaxInt64))
}
