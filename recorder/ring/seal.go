package ring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// errGone means that a segment's file no longer exists and cannot be restored.
var errGone = errors.New("the file is gone")

// runSealer makes finished segments durable, seals them in order and gives them their names.
// If the disk fails, it retries; meanwhile the series drop packets instead of waiting.
func (w *Writer) runSealer() {
	every := w.opt.SyncEvery
	if every < 0 {
		every = time.Hour
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case seg, ok := <-w.seals:
			if !ok {
				return
			}
			w.sealUntilDone(seg)
			w.trySides()
		case <-w.finished:
			w.trySides()
		case <-t.C:
			w.trySides() // those that failed
			if w.opt.SyncEvery > 0 {
				w.syncOpen()
			}
		}
	}
}

// syncOpen makes the written part of the current segments durable.
func (w *Writer) syncOpen() {
	for _, s := range w.allSeries() {
		s.mu.Lock()
		seg := s.disk
		s.mu.Unlock()
		if seg == nil {
			continue
		}
		err := durable.SyncData(seg.file)
		s.mu.Lock()
		gone := s.disk != seg // it was empty, and was closed meanwhile
		s.mu.Unlock()
		if err != nil && !gone {
			w.report(fmt.Errorf("syncing segment %s: %w", seg.id, err))
		}
	}
}

func (w *Writer) sealUntilDone(seg *segment) {
	defer close(seg.done)
	for {
		err := w.seal(seg)
		if err == nil {
			w.setTrouble(nil)
			return
		}
		err = fmt.Errorf("sealing segment %s: %w", seg.id, err)
		w.setTrouble(err)
		closing := false
		if !errors.Is(err, errGone) {
			select {
			case <-w.stop:
				closing = true
			case <-time.After(w.opt.RetryEvery):
				continue
			}
		}
		seg.err = err
		if err := seg.file.Close(); err != nil {
			w.report(err)
		}
		if !closing {
			w.setTrouble(nil)
			s := seg.series
			s.mu.Lock()
			s.lost.merge(&loss{packets: seg.tally.packets, bytes: seg.tally.bytes, first: seg.tally.first, last: seg.tally.last, detail: "a segment's file vanished"})
			if seg.sealed == nil {
				s.lost.skip(seg.id.Sequence)
			}
			s.mu.Unlock()
		}
		return
	}
}

// seal turns a hidden file into a sealed visible one, or continues after a failure.
func (w *Writer) seal(seg *segment) error {
	hidden := filepath.Join(w.opt.Dir, seg.id.hidden())
	move, err := w.checkFolder()
	if err != nil {
		return err
	}
	if move != seg.move && seg.sealed == nil {
		// The disk was mounted again: the open file may be on the previous mount.
		f, err := os.OpenFile(hidden, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return errors.Join(errGone, err)
		}
		if err != nil {
			return err
		}
		seg.file.Close() // nothing else is written to it
		seg.file, seg.move, seg.resync = f, move, true
	}
	path := filepath.Join(w.opt.Dir, seg.id.Segment())
	if seg.sealed == nil {
		if _, err := os.Lstat(hidden); errors.Is(err, fs.ErrNotExist) {
			return errors.Join(errGone, err)
		}
		// Cut the file to its whole blocks, and return the space allocated in advance.
		if err := seg.file.Truncate(seg.size); err != nil {
			return err
		}
		if err := seg.file.Sync(); err != nil {
			seg.resync = true // the kernel reports such an error only once
			return err
		}
		if seg.resync {
			h, err := rehash(seg.file, seg.size)
			if err != nil {
				return err
			}
			if !bytes.Equal(h.Sum(nil), seg.hash.Sum(nil)) {
				return fmt.Errorf("%w: the disk lost written data", errGone)
			}
			seg.resync = false
		}
		r, err := w.chain.append(&Record{Kind: KindSegment, Segment: seg.seal()})
		if err != nil {
			return err
		}
		seg.sealed = r
	}
	if err := durable.RenameNew(hidden, path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return errors.Join(errGone, err)
		}
		return err
	}
	if err := whole.SyncFolder(w.opt.Dir); err != nil {
		w.report(fmt.Errorf("sealing segment %s: %w", seg.id, err)) // it is renamed; if a power cut undoes that, the next start repeats it
	}
	if err := seg.file.Close(); err != nil {
		w.report(fmt.Errorf("closing segment %s: %w", seg.id, err)) // it is synced
	}
	w.mu.Lock()
	w.live = append(w.live, liveSegment{seg.id, seg.tally.first, seg.tally.last, arrival(seg.tally.last, time.Since(seg.begun))})
	if len(seg.series.opt.Sides) > 0 {
		w.open = append(w.open, seg.id)
	}
	w.mu.Unlock()
	w.untidy.Store(true)
	w.opt.OnSeal(*seg.sealed)
	return nil
}

// seal returns the segment's record.
func (seg *segment) seal() *Seal {
	s := seg.tally.seal(seg.id)
	s.Size, s.SHA256 = seg.size, hex.EncodeToString(seg.hash.Sum(nil))
	s.Cut, s.SideFiles = seg.broken, SidesNone
	if len(seg.series.opt.Sides) > 0 {
		s.SideFiles = SidesLater
	}
	s.Holes = seg.holes
	if a := seg.account; a != nil {
		s.Clock = a.Clock
		s.Holes = append(s.Holes, a.Holes...)
		if a.Counters != nil {
			c := *a.Counters
			balanced := c.Balanced()
			s.Counters, s.Balanced = &c, &balanced
		}
	}
	return s
}

// seal returns a record with the counts filled in.
func (t *tally) seal(id ID) *Seal {
	s := &Seal{Series: id.Series, Node: id.Node, Sequence: id.Sequence, Packets: t.packets, Bytes: t.bytes,
		Interfaces: t.interfaces, First: t.first, Last: t.last}
	if t.id != 0 {
		s.LastPacketID = fmt.Sprintf("%010x", t.id)
	}
	return s
}
