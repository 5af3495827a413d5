package ring

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// scanned describes the whole blocks at the start of a segment file.
type scanned struct {
	size   int64 // up to the end of the last whole block
	sum    [sha256.Size]byte
	tally  tally
	header *Header // nil if the section header has no ring header
	what   string  // why it ends there; "" at the end of the file
}

// scan reads a segment up to its last whole block. It accepts arbitrary bytes and keeps one
// window in memory.
func scan(src io.Reader) (scanned, error) {
	s := scanned{}
	sum := sha256.New()
	buf := make([]byte, 4*maxBlock)
	n := 0
	for {
		k, err := io.ReadFull(src, buf[n:])
		n += k
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return s, err
		}
		at := s.blocks(buf[:n], end)
		sum.Write(buf[:at])
		if s.what != "" || end {
			sum.Sum(s.sum[:0])
			return s, nil
		}
		n = copy(buf, buf[at:n])
	}
}

// blocks reads the whole blocks at the start of b and returns their size. It stops at a block
// that may continue after b, and sets what at an invalid block.
func (s *scanned) blocks(b []byte, end bool) int {
	at := 0
	for {
		rest := b[at:]
		if len(rest) == 0 || len(rest) < maxBlock && !end {
			return at
		}
		size := wholeBlock(rest)
		if size == 0 {
			s.what = "an incomplete or invalid block"
			return at
		}
		blk := rest[:size]
		if s.size == 0 {
			if !s.section(blk) {
				s.what = "not a segment's section header"
				return at
			}
		} else if err := s.tally.lookAt(blk); err != nil {
			s.what = err.Error()
			return at
		}
		at += size
		s.size += int64(size)
	}
}

func (s *scanned) section(blk []byte) bool {
	if pcapng.BlockType(le.Uint32(blk)) != pcapng.BlockSection || len(blk) < 28 || le.Uint32(blk[8:]) != 0x1A2B3C4D {
		return false
	}
	sec, err := pcapng.ParseSection(pcapng.Block{Type: pcapng.BlockSection, Body: blk[8 : len(blk)-4]})
	if err == nil && len(sec.Comments) > 0 {
		if h, ok := ParseHeader(sec.Comments[0]); ok {
			s.header = &h
		}
	}
	return true
}

// unsealed is a segment without a record.
type unsealed struct {
	id      ID
	path    string // its current name
	visible bool
	size    int64 // before it was cut
	scanned scanned
}

// found is the state of the folder when a Writer started.
type found struct {
	lastID   uint64
	lastIDs  map[string]uint64
	last     Time
	holes    []Hole
	resumed  *Resumed
	unsealed []unsealed

	lostBytes int64 // of files without a whole packet
}

// recover reconciles the folder with the records: it finishes interrupted steps, and lists the
// segments without a record.
func (w *Writer) recover(old *history) (*found, error) {
	list, err := os.ReadDir(w.opt.Dir)
	if err != nil {
		return nil, err
	}
	f := &found{lastID: old.lastID, lastIDs: old.lastIDs, last: old.last}
	for s, n := range old.next {
		w.next[s] = n
	}
	visible := map[ID]bool{}
	for _, e := range list {
		id, kind, hidden, ok := ParseName(e.Name())
		if !ok {
			if strings.HasPrefix(e.Name(), ".new-") {
				os.Remove(filepath.Join(w.opt.Dir, e.Name())) // an unfinished small file, not used by anything
			}
			continue
		}
		w.next[id.Series] = max(w.next[id.Series], id.Sequence+1)
		path := filepath.Join(w.opt.Dir, e.Name())
		switch {
		case within(old.deleted[id.Series], id.Sequence):
			// Its deletion was recorded, but not finished.
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		case kind != "pcapng":
		case !hidden:
			visible[id] = true
			if old.live[id] == nil {
				err = w.scanUnsealed(f, id, path, true)
			}
		case old.live[id] != nil:
			if err = w.finishRename(id, path, old.live[id].Segment); err == nil {
				visible[id] = true
			}
		default:
			err = w.scanUnsealed(f, id, path, false)
		}
		if err != nil {
			return nil, fmt.Errorf("recovering %s: %w", e.Name(), err)
		}
	}
	w.findLive(old, visible)
	w.restartHole(f, old)
	return f, whole.SyncFolder(w.opt.Dir)
}

// findLive lists the sealed segments that exist, in the order of their seals.
func (w *Writer) findLive(old *history, visible map[ID]bool) {
	var records []*Record
	for id, r := range old.live {
		if visible[id] {
			records = append(records, r)
		} else {
			w.report(fmt.Errorf("recovering ring: segment %s has a seal, but no file", id))
		}
	}
	slices.SortFunc(records, func(a, b *Record) int { return int(min(max(int64(a.N)-int64(b.N), -1), 1)) })
	for _, r := range records {
		w.live = append(w.live, liveSegment{r.Segment.ID(), r.Segment.First, r.Segment.Last, arrival(r.Segment.Last, maxAgo)})
	}
}

// restartHole states the time in which no recorder ran.
func (w *Writer) restartHole(f *found, old *history) {
	if w.opt.Resume != nil {
		f.resumed = w.opt.Resume(Left{Ring: w.name, Start: old.started, Next: w.chain.next, LastIDs: f.lastIDs, Counters: old.counted})
	}
	if f.last == 0 && old.records < 2 {
		return
	}
	end := now()
	h := Hole{Reason: "restart", From: min(f.last, end), To: end, Packets: -1, Bytes: f.lostBytes, Detail: "the recorder was stopped"}
	switch r := f.resumed; {
	case r != nil && r.Lost == 0:
		return // all of it is there, or is about to be
	case r != nil:
		h.Packets, h.Detail = r.Lost, r.Detail
	case old.crashed:
		h.Detail = "the recorder ended without a stop; what it had in memory is lost"
		if text := old.underway.String(); text != "" {
			h.Detail += "; " + text
		}
	}
	f.holes = append(f.holes, h)
}

// finishRename renames a segment whose record was written before a crash.
func (w *Writer) finishRename(id ID, path string, seal *Seal) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if n != seal.Size || hex.EncodeToString(sum.Sum(nil)) != seal.SHA256 {
		// Sealed bytes were synced before the record, so something else changed them. The file
		// keeps its hidden name, and verify reports that the segment is missing.
		w.report(fmt.Errorf("recovering segment %s: its contents (%d bytes) differ from its seal", id, n))
		return nil
	}
	return durable.RenameNew(path, filepath.Join(w.opt.Dir, id.Segment()))
}

// scanUnsealed scans a segment without a record. A hidden one is truncated after its last
// whole block, and removed if it has no packet.
func (w *Writer) scanUnsealed(f *found, id ID, path string, visible bool) error {
	mode := os.O_RDWR
	if visible {
		mode = os.O_RDONLY // never rewrite what readers may have open
	}
	file, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	s, err := scan(file)
	if err != nil {
		return err
	}
	f.lastID = max(f.lastID, s.tally.id)
	f.lastIDs[id.Series] = max(f.lastIDs[id.Series], s.tally.id)
	f.last = max(f.last, s.tally.last)
	if visible {
		f.unsealed = append(f.unsealed, unsealed{id, path, true, info.Size(), s})
		return nil
	}
	if s.tally.packets == 0 {
		f.lostBytes += info.Size() - s.size
		return os.Remove(path)
	}
	if err := file.Truncate(s.size); err != nil { // this also returns the space allocated in advance
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	f.unsealed = append(f.unsealed, unsealed{id, path, false, info.Size(), s})
	return nil
}

// sealRecovered seals a segment that was left by a crash.
func (w *Writer) sealRecovered(u unsealed) error {
	s := u.scanned.tally.seal(u.id)
	s.Size, s.SHA256, s.Recovered = u.scanned.size, hex.EncodeToString(u.scanned.sum[:]), true
	s.RecoveredSize, s.LostTail = u.scanned.size, u.size-u.scanned.size
	if u.visible {
		// It is not truncated, so its hash covers all of it.
		file, err := os.Open(u.path)
		if err != nil {
			return err
		}
		h, err := rehash(file, u.size)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
		s.Size, s.SHA256 = u.size, hex.EncodeToString(h.Sum(nil))
	}
	s.SideFiles = SidesLater
	if h := u.scanned.header; h != nil {
		s.Holes = h.Holes
	}
	r, err := w.chain.append(&Record{Kind: KindSegment, Segment: s})
	if err != nil {
		return err
	}
	if !u.visible {
		if err := durable.RenameNew(u.path, filepath.Join(w.opt.Dir, u.id.Segment())); err != nil {
			return err
		}
		if err := whole.SyncFolder(w.opt.Dir); err != nil {
			return err
		}
	}
	w.live = append(w.live, liveSegment{u.id, s.First, s.Last, arrival(s.Last, maxAgo)})
	w.open = append(w.open, u.id)
	w.found = append(w.found, *r)
	w.opt.OnSeal(*r)
	return nil
}
