package ring

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/internal/whole"
)

// sideWait is how long a request for a seal waits for side files, which are written after
// packets. The requester then states which are not sealed.
const sideWait = 5 * time.Second

// sideSeals is the state of one segment's side files in the chain.
type sideSeals struct {
	final *Record // the last one that lists files; nil if there is none
	open  bool    // lines are being added to the files of final
}

func (s *sideSeals) apply(r *Record) {
	s.open = r.Sides.Reopened
	if !s.open {
		s.final = r
	}
}

// sealed reports whether the side files are final.
func (s *sideSeals) sealed() bool { return s != nil && s.final != nil && !s.open }

// same reports whether two readings of a chain have the same state.
func (s *sideSeals) same(as *sideSeals) bool {
	if s == nil || s.final == nil || as.final == nil {
		return s == nil
	}
	return s.open == as.open && s.final.N == as.final.N
}

// Ended returns the number of the last segment of the series that has ended, 0 if there is
// none. It decreases if an ended segment had nothing on disk: the next segment then has its
// number. It is fast enough to be called for each packet.
func (s *Series) Ended() uint64 { return s.over.Load() }

func (s *Series) ended() uint64 {
	if s.seg != nil {
		return s.seg.id.Sequence - 1
	}
	return s.next - 1
}

// FinishSides declares that nothing is added to the side files of segments up to upTo, a
// result of Ended. The ring then seals those files. It does not wait for the disk.
func (s *Series) FinishSides(upTo uint64) {
	s.mu.Lock()
	upTo = min(upTo, s.ended()) // a number may have been freed meanwhile
	more := upTo > s.final
	s.final = max(s.final, upTo)
	s.mu.Unlock()
	if !more {
		return
	}
	select {
	case s.w.finished <- struct{}{}:
	default: // the sealer checks all of them
	}
}

// freeNumber frees the last number that was used, and its state.
func (s *Series) freeNumber() {
	s.next--
	s.final = min(s.final, s.next-1)
	s.over.Store(s.ended())
}

// ReopenSides is called before lines are added to the side files of a segment after
// FinishSides: it records that they grow again. Close seals them again. It waits for the
// disk.
func (w *Writer) ReopenSides(id ID) error {
	w.sideSeal.Lock()
	defer w.sideSeal.Unlock()
	w.mu.Lock()
	live := slices.ContainsFunc(w.live, func(l liveSegment) bool { return l.id == id })
	open := slices.Contains(w.open, id)
	w.mu.Unlock()
	if !live || open {
		return nil // their seal is still to come
	}
	if _, err := w.chain.append(&Record{Kind: KindSides, Sides: &SideFiles{Series: id.Series, Node: id.Node, Sequence: id.Sequence, Reopened: true}}); err != nil {
		return fmt.Errorf("reopening side files of %s: %w", id, err)
	}
	w.mu.Lock()
	w.open = append(w.open, id)
	w.mu.Unlock()
	return nil
}

// finalSides lists the sealed segments whose side files can be sealed.
func (w *Writer) finalSides() (list []ID) {
	final := map[string]uint64{}
	for _, s := range w.allSeries() {
		s.mu.Lock()
		final[s.opt.Name] = s.final
		s.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range w.open {
		if id.Sequence <= final[id.Series] {
			list = append(list, id)
		}
	}
	return list
}

// sealSides seals the side files that are final, or all of them at the end.
func (w *Writer) sealSides(all bool) error {
	w.sideSeal.Lock()
	defer w.sideSeal.Unlock()
	list := w.finalSides()
	if all {
		w.mu.Lock()
		list = slices.Clone(w.open)
		w.mu.Unlock()
	}
	kinds := map[string][]string{}
	for _, s := range w.allSeries() {
		kinds[s.opt.Name] = s.opt.Sides
	}
	for _, id := range list {
		if err := w.sealSidesOf(id, kinds[id.Series], false); err != nil {
			return fmt.Errorf("sealing side files of %s: %w", id, err)
		}
	}
	return nil
}

// trySides is sealSides for the sealer, which retries failures.
func (w *Writer) trySides() {
	if err := w.sealSides(false); err != nil {
		w.report(err)
	}
}

// sealSidesOf makes a segment's side files durable and writes their record.
func (w *Writer) sealSidesOf(id ID, kinds []string, recovered bool) error {
	// In another folder there would be no files to list.
	if _, err := w.checkFolder(); err != nil {
		return err
	}
	r := &SideFiles{Series: id.Series, Node: id.Node, Sequence: id.Sequence, Recovered: recovered}
	for _, kind := range kinds {
		f, err := os.Open(filepath.Join(w.opt.Dir, id.Side(kind)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		size, sum, err := sumSide(f, -1)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		r.Files = append(r.Files, SideFile{kind, size, sum})
	}
	// Sync the names too: after a power cut a listed file must not be missing.
	if err := whole.SyncFolder(w.opt.Dir); err != nil {
		return err
	}
	w.mu.Lock()
	live := slices.ContainsFunc(w.live, func(l liveSegment) bool { return l.id == id })
	w.mu.Unlock()
	if live { // retention may have removed it
		if _, err := w.chain.append(&Record{Kind: KindSides, Sides: r}); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.open = slices.DeleteFunc(w.open, func(x ID) bool { return x == id })
	w.mu.Unlock()
	return nil
}

// sumSide returns the size and SHA-256 of the first limit bytes of a file, or of all for -1.
func sumSide(f io.Reader, limit int64) (size int64, sum string, err error) {
	if limit >= 0 {
		f = io.LimitReader(f, limit)
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// recoverSides seals the side files that the previous recorder did not seal, and marks them
// as recovered: from now on, changes are noticed.
func (w *Writer) recoverSides(old *history) error {
	for _, l := range w.live {
		r := old.live[l.id]
		if r != nil && r.Segment.SideFiles == SidesLater && !old.sides[l.id].sealed() {
			w.open = append(w.open, l.id)
		}
	}
	if len(w.open) == 0 {
		return nil
	}
	list, err := os.ReadDir(w.opt.Dir)
	if err != nil {
		return err
	}
	kinds := map[ID][]string{}
	for _, e := range list {
		if id, kind, _, ok := ParseName(e.Name()); ok && kind != "pcapng" && e.Type().IsRegular() {
			kinds[id] = append(kinds[id], kind)
		}
	}
	for _, id := range slices.Clone(w.open) {
		if err := w.sealSidesOf(id, kinds[id], true); err != nil {
			return fmt.Errorf("sealing side files of %s: %w", id, err)
		}
	}
	return nil
}

// awaitSides waits until the side files of all sealed segments are sealed, for a limited time.
func (w *Writer) awaitSides() {
	end := time.NewTimer(w.sideWait)
	defer end.Stop()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		w.mu.Lock()
		n := len(w.open)
		w.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-t.C:
		case <-end.C:
			return
		case <-w.stop:
			return
		}
	}
}
