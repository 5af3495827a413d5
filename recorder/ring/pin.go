package ring

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// Pinned is the result of Pin.
type Pinned struct {
	Ring     string    `json:"ring"`
	From     Time      `json:"from"`
	To       Time      `json:"to"`
	Segments []string  `json:"segments"`                        // names of packet files
	Missing  []string  `json:"missing"`                         // sealed and in the window, but the file is missing
	Linked   int       `json:"-"`                               // segments that are hard links; the others were copied
	Bytes    int64     `json:"-"`                               // of all packet files
	Head     uint64    `json:"head"`                            // last record of the copied chain
	Keys     bool      `json:"keys"`                            // key logs were copied
	Unsealed []string  `json:"side_files_not_sealed,omitempty"` // segments whose side files were not sealed and may lack lines
	Open     []Segment `json:"-"`                               // open segments, which are not included: see AskSeal

	dir  string
	hold *os.File
}

// PinOptions of Pin.
type PinOptions struct {
	Keys bool // include key logs; anyone with the snapshot can then decrypt the traffic
	Hold bool // only while this process runs, or until Release; dest begins with HoldPrefix
}

// Pin puts the segments with packets from from to to, inclusive, their side files and the
// seals into the new folder dest. If dest is on the ring's file system, the segments are hard
// links, which retention does not remove while they exist; otherwise they are copies. If Pin
// fails, it removes dest.
//
// Segments that are being written are not included: call AskSeal or Writer.Seal first to end
// them.
func Pin(ctx context.Context, dir string, from, to int64, dest string, opt PinOptions) (*Pinned, error) {
	if err := os.Mkdir(dest, 0o755); err != nil {
		return nil, fmt.Errorf("pinning into %s: %w", dest, err)
	}
	var held *os.File
	var err error
	if opt.Hold {
		held, err = hold(dest)
	}
	var p *Pinned
	if err == nil {
		p, err = pin(ctx, dir, Time(from), Time(to), dest, opt)
	}
	if err != nil {
		if held != nil {
			err = errors.Join(err, held.Close())
		}
		return nil, errors.Join(fmt.Errorf("pinning segments of %s: %w", dir, err), os.RemoveAll(dest))
	}
	p.dir, p.hold = dest, held
	return p, nil
}

func pin(ctx context.Context, dir string, from, to Time, dest string, opt PinOptions) (*Pinned, error) {
	// The lease must exist before the ring is read: retention then keeps every segment that
	// still exists.
	release, err := acquireLease(dir, from, to)
	if err != nil {
		return nil, err
	}
	defer release()
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	p := &Pinned{Ring: r.ID, From: from, To: to, Segments: []string{}, Missing: []string{}, Keys: opt.Keys, Head: r.Head.N}
	for _, s := range r.Segments {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		switch {
		case s.Open:
			p.Open = append(p.Open, s)
		case s.Seal == nil || s.Seal.Last < from || s.Seal.First > to:
		case s.Missing:
			p.Missing = append(p.Missing, s.ID.Segment())
		default:
			if err := p.add(s, dir, dest, opt); err != nil {
				return nil, err
			}
		}
	}
	if err := copySeals(r, dest); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := whole.CreateDurably(filepath.Join(dest, pinName), 0o644, whole.Text(append(text, '\n'))); err != nil {
		return nil, err
	}
	return p, whole.SyncFolder(filepath.Dir(filepath.Clean(dest)))
}

// add links or copies a segment and copies its side files.
func (p *Pinned) add(s Segment, dir, dest string, opt PinOptions) error {
	linked, err := durable.LinkOrCopy(s.Path, filepath.Join(dest, s.ID.Segment()))
	if errors.Is(err, fs.ErrNotExist) {
		p.Missing = append(p.Missing, s.ID.Segment())
		return nil
	}
	if err != nil {
		return err
	}
	if linked {
		p.Linked++
	}
	p.Bytes += s.Seal.Size
	p.Segments = append(p.Segments, s.ID.Segment())
	if s.SidesOpen() {
		p.Unsealed = append(p.Unsealed, s.ID.Segment())
	}
	for _, name := range s.Side {
		if _, kind, _, _ := ParseName(name); !opt.Keys && kind == KeysKind {
			continue
		}
		// Side files may still grow: a link would let the snapshot change.
		if err := durable.Copy(filepath.Join(dir, name), filepath.Join(dest, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copySeals copies the records that were read before the files were copied: a later record
// may state more of the side files than was copied.
func copySeals(r *Ring, dest string) error {
	in, err := os.Open(filepath.Join(r.Dir, sealsName))
	if err != nil {
		return err
	}
	defer in.Close()
	return durable.CopyFrom(io.NewSectionReader(in, 0, r.whole), filepath.Join(dest, sealsName), 0o644)
}

// AskSeal asks the recorder of a ring to end the current segments, and waits until it has.
// Without a recorder it returns at once.
func AskSeal(ctx context.Context, dir string) error {
	alive, err := writing(dir)
	if err != nil || !alive {
		return err
	}
	path := filepath.Join(dir, requestName)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("requesting a seal: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("requesting a seal: %w", err)
	}
	for {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("requesting a seal: the recorder does not respond: %w", context.Cause(ctx)), os.Remove(path))
		case <-time.After(20 * time.Millisecond):
		}
		if alive, err := writing(dir); err != nil || !alive {
			return errors.Join(err, os.Remove(path))
		}
	}
}

// writing reports whether a Writer has the ring open.
func writing(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for a recorder: %w", err)
	}
	defer f.Close()
	return durable.Locked(f)
}

// A lease stops retention for a time range while its segments are linked or copied. It is a
// file that its owner keeps locked; an unlocked one has ended.
type lease struct {
	From Time `json:"from"`
	To   Time `json:"to"`
}

type leaseList []lease

func (l leaseList) covers(first, last Time) bool {
	for _, x := range l {
		if first <= x.To && last >= x.From {
			return true
		}
	}
	return false
}

func acquireLease(dir string, from, to Time) (release func(), err error) {
	if !durable.Supported {
		return func() {}, nil // rings are not written here
	}
	folder := filepath.Join(dir, leasesName)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		if errors.Is(err, fs.ErrPermission) || durable.ReadOnly(err) {
			return func() {}, nil // retention cannot remove anything there either, or we can only read
		}
		return nil, err
	}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(folder, ".new-*")
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || durable.ReadOnly(err) {
			return func() {}, nil
		}
		return nil, err
	}
	text, err := json.Marshal(lease{from, to})
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		_, err = durable.Lock(f)
	}
	path := filepath.Join(folder, hex.EncodeToString(id[:]))
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return func() { os.Remove(path); f.Close() }, nil // if it is not removed, it is unlocked and so has ended
}

// leases lists the locked leases, and removes the others.
func leases(dir string) (leaseList, error) {
	folder := filepath.Join(dir, leasesName)
	list, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) || len(list) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out leaseList
	for _, e := range list {
		path := filepath.Join(folder, e.Name())
		l, held, err := readLease(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case held:
			out = append(out, l)
		case e.Name()[0] != '.': // a hidden one is being created
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return out, nil
}

func readLease(path string) (l lease, held bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return l, false, err
	}
	defer f.Close()
	if held, err = durable.Locked(f); err != nil || !held {
		return l, false, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return l, false, err
	}
	if json.Unmarshal(text, &l) != nil {
		l = lease{0, Time(1<<63 - 1)} // it is locked, but unreadable: keep everything
	}
	return l, true, nil
}

// Absent creates, in the new folder dest, the pin of a node whose ring could not be read: no
// segments, and a chain that states the gap from gap.From to gap.To. Recorder is the author of that
// statement. If it fails, it removes dest.
func Absent(dest, node, recorder string, gap Hole) error {
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}
	if err := absent(dest, node, recorder, gap); err != nil {
		return errors.Join(err, os.RemoveAll(dest))
	}
	return nil
}

func absent(dest, node, recorder string, gap Hole) error {
	c, _, err := openChain(dest, nodeName(node), nil)
	if err != nil {
		return err
	}
	_, err = c.append(&Record{Kind: KindStart, Start: &Start{Recorder: recorder, Next: map[string]uint64{}}})
	if err == nil {
		_, err = c.append(&Record{Kind: KindStop, Stop: &Stop{Holes: []Hole{gap}}})
	}
	head, _ := c.head()
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	text, err := json.MarshalIndent(Pinned{Ring: c.ring, From: gap.From, To: gap.To, Segments: []string{}, Missing: []string{}, Head: head}, "", "  ")
	if err != nil {
		return err
	}
	return whole.CreateDurably(filepath.Join(dest, pinName), 0o644, whole.Text(append(text, '\n')))
}
