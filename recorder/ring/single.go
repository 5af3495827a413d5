package ring

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// A Writer of one file or one stream (Options.File, Options.Stream) is a ring of one segment,
// without a folder or seals, and with one series. Its segment starts with the series and ends
// with the Writer. A disk error ends it permanently: Series.Failed returns the error.

const (
	accountRoom  = 256 << 10 // allocated after a file, for the accounts at its end
	reserveAhead = 8 << 20   // allocated at a time
)

func (o *Options) single() bool { return o.File != "" || o.Stream != nil }

// newSingle names a recording without a ring.
func newSingle(w *Writer) (*Writer, error) {
	var random [7]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("naming the recording: %w", err)
	}
	w.opt.SegmentBytes, w.opt.SegmentTime = math.MaxInt64, math.MaxInt64
	w.name = hex.EncodeToString(random[:4])
	w.firstID = uint64(binary.BigEndian.Uint32(random[3:])&0xFFFFFF)<<40 | 1
	return w, nil
}

// openSingle starts the only segment of a series.
func (s *Series) openSingle() error {
	s.mu.Lock()
	s.beginSegment()
	seg := s.seg
	seg.sent = true
	s.mu.Unlock()
	return s.create(seg, Hole{}, false)
}

// SidePath returns the path of a segment's side file, "" if it cannot have one.
func (w *Writer) SidePath(id ID, kind string) string {
	switch {
	case w.opt.Stream != nil:
		return ""
	case w.opt.File != "":
		return strings.TrimSuffix(w.opt.File, filepath.Ext(w.opt.File)) + "." + kind
	}
	return filepath.Join(w.opt.Dir, id.Side(kind))
}

// Discard ends a recording that did not start: a file is removed, a ring is closed.
func (w *Writer) Discard(ctx context.Context) error {
	w.discard = true
	return w.Close(ctx)
}

// place names the output for people.
func (w *Writer) place() string {
	switch {
	case w.opt.Stream != nil:
		return "the stream"
	case w.opt.File != "":
		return w.opt.File
	}
	return "ring " + w.opt.Dir
}

// Failed returns why a file or stream accepts no more packets, and nil while it does. For a
// ring, which retries by itself, it always returns nil.
func (s *Series) Failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.w.opt.single() || !s.down {
		return nil
	}
	return s.lastFail
}

// keepRoom makes sure that there is room for the accounts after the next n bytes of a file.
func (seg *segment) keepRoom(n int) error {
	need := seg.size + int64(n) + accountRoom
	if !seg.series.w.opt.single() || seg.file == nil || need <= seg.reserved {
		return nil
	}
	err := durable.Reserve(seg.file, seg.reserved, need+reserveAhead-seg.reserved)
	if err == nil {
		seg.reserved = need + reserveAhead
		return nil
	}
	if durable.NoRoom(err) {
		if err = durable.Reserve(seg.file, seg.reserved, need-seg.reserved); err == nil {
			seg.reserved = need
			return nil
		}
	}
	if durable.NoRoom(err) {
		return &os.PathError{Op: "write", Path: seg.file.Name(), Err: err}
	}
	seg.reserved = math.MaxInt64 // the file system cannot reserve space: a write returns the error
	return nil
}

// closeSingle writes the accounts after all packets and closes the file. It is called when nothing else is written.
func (s *Series) closeSingle() error {
	s.mu.Lock()
	seg, kept := s.seg, Totals{s.packets, s.dropped}
	s.mu.Unlock()
	if s.w.discard {
		return seg.remove()
	}
	var errs []error
	if s.opt.Account != nil && (!seg.broken || seg.file != nil) {
		a := s.opt.Account(kept)
		errs = append(errs, s.writeAccounts(seg, &a))
	}
	if seg.file != nil {
		errs = append(errs, seg.file.Truncate(seg.size), seg.file.Sync(), seg.file.Close())
	}
	return errors.Join(errs...)
}

// writeAccounts writes the statistics of all interfaces of a file. The first has the counters
// of the whole recording.
func (s *Series) writeAccounts(seg *segment, a *Account) error {
	if len(a.Interfaces) == 0 {
		return nil
	}
	text, err := compact(struct {
		Counters *Counters `json:"counters"`
		Clock    *Clock    `json:"clock"`
	}{a.Counters, a.Clock})
	if err != nil {
		return fmt.Errorf("writing counters: %w", err)
	}
	by := map[InterfaceID]*InterfaceAccount{}
	for i := range a.Interfaces {
		by[a.Interfaces[i].ID] = &a.Interfaces[i]
	}
	s.mu.Lock()
	var b []byte
	for num, id := range seg.ids {
		it := InterfaceAccount{At: a.Interfaces[0].At} // its description was replaced: no loss is known
		if x := by[id]; x != nil && s.ifaces[id].num == uint32(num) {
			it = *x
		}
		it.Lost += seg.count[num].lost
		st := it.Statistics(uint32(num), seg.count[num].kept)
		if num == 0 {
			st.Comments = []string{string(text)}
		}
		b = appendStatistics(b, &st)
	}
	s.mu.Unlock()
	n, err := seg.put(b)
	if err != nil {
		n, _ = wholeBlocks(b[:n], len(seg.ids))
		err = fmt.Errorf("writing counters to %s: %w", seg.name(), err)
	}
	seg.size += int64(n)
	return err
}

// remove deletes a file without packets.
func (seg *segment) remove() error {
	if seg.file == nil {
		return nil
	}
	return errors.Join(seg.file.Close(), os.Remove(seg.file.Name()))
}

// put writes at the end of the segment.
func (seg *segment) put(b []byte) (int, error) {
	if seg.file == nil {
		return seg.series.w.opt.Stream.Write(b)
	}
	return seg.file.WriteAt(b, seg.size)
}

// name names a segment for people.
func (seg *segment) name() string {
	if w := seg.series.w; w.opt.single() {
		return w.place()
	}
	return "segment " + seg.id.String()
}
