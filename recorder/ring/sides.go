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
)

// sideWait is how long a request for a seal waits for side files, which come later than
// packets. Whoever asked says which are not sealed then.
const sideWait = 5 * time.Second

// sideSeals is what the chain says of the side files of one segment.
type sideSeals struct {
	final *Record // the last one that lists files; nil: none did
	open  bool    // lines are added to what final lists
}

func (s *sideSeals) take(r *Record) {
	s.open = r.Sides.Reopened
	if !s.open {
		s.final = r
	}
}

// sealed reports whether nothing may change any more.
func (s *sideSeals) sealed() bool { return s != nil && s.final != nil && !s.open }

// same reports whether two readings of a chain found the same.
func (s *sideSeals) same(as *sideSeals) bool {
	if s == nil || s.final == nil || as.final == nil {
		return s == nil
	}
	return s.open == as.open && s.final.N == as.final.N
}

// Ended is the number of the last segment of the series that has ended, 0 for none, whether
// it was full, old or refused by the disk. It is smaller again if the disk had nothing of it:
// then the next segment has that number. It may be asked for each packet.
func (s *Series) Ended() uint64 { return s.over.Load() }

func (s *Series) ended() uint64 {
	if s.seg != nil {
		return s.seg.id.Sequence - 1
	}
	return s.next - 1
}

// FinishSides says that nothing is added any more beside the segments up to a number that
// Ended gave. The ring then seals their side files. It does not wait for the disk.
func (s *Series) FinishSides(upTo uint64) {
	s.mu.Lock()
	upTo = min(upTo, s.ended()) // a number may have been given back since
	more := upTo > s.final
	s.final = max(s.final, upTo)
	s.mu.Unlock()
	if !more {
		return
	}
	select {
	case s.w.finished <- struct{}{}:
	default: // the sealer looks at all of them
	}
}

// giveBack frees the last number that was used, with what was said of it.
func (s *Series) giveBack() {
	s.next--
	s.final = min(s.final, s.next-1)
	s.over.Store(s.ended())
}

// ReopenSides is called before something is added beside a segment whose side files were
// finished: it records that they grow again. They are sealed anew by Close. It waits for
// the disk.
func (w *Writer) ReopenSides(id ID) error {
	w.sideSeal.Lock()
	defer w.sideSeal.Unlock()
	w.mu.Lock()
	live := slices.ContainsFunc(w.live, func(l liveSegment) bool { return l.id == id })
	open := slices.Contains(w.open, id)
	w.mu.Unlock()
	if !live || open {
		return nil // nothing is sealed
	}
	if _, err := w.chain.append(&Record{Kind: KindSides, Sides: &SideFiles{Series: id.Series, Node: id.Node, Sequence: id.Sequence, Reopened: true}}); err != nil {
		return fmt.Errorf("opening side files of %s again: %w", id, err)
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

// sealSides seals the side files that are final, or all at the end.
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

// trySides is sealSides for the sealer. What the disk refuses is tried again.
func (w *Writer) trySides() {
	if err := w.sealSides(false); err != nil {
		w.report(err)
	}
}

// sealSidesOf makes side files durable and writes their record.
func (w *Writer) sealSidesOf(id ID, kinds []string, recovered bool) error {
	// In another folder there would be no file to list.
	if _, err := w.atHome(); err != nil {
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
	// The names too: after a power cut a listed file must not be missing.
	if err := syncFolder(w.opt.Dir); err != nil {
		return err
	}
	w.mu.Lock()
	live := slices.ContainsFunc(w.live, func(l liveSegment) bool { return l.id == id })
	w.mu.Unlock()
	if live { // retention may have been quicker
		if _, err := w.chain.append(&Record{Kind: KindSides, Sides: r}); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.open = slices.DeleteFunc(w.open, func(x ID) bool { return x == id })
	w.mu.Unlock()
	return nil
}

// sumSide is the size and SHA-256 of the first bytes of a file, or of all where limit is -1.
func sumSide(f io.Reader, limit int64) (size int64, sum string, err error) {
	if limit >= 0 {
		f = io.LimitReader(f, limit)
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// recoverSides seals the side files that the recorder before could not, and says so: from
// now on they cannot be changed unseen.
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

// awaitSides waits until the side files of all sealed segments are sealed, but not for ever.
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
