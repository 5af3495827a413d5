package ring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

const sweepEvery = 20 * time.Second // interval between sweeps of the holds of killed snapshots

// runJanitor applies retention after each seal and at intervals, and answers requests to
// seal. A large ring has many files to check, so the janitor rests for longer than it
// works.
func (w *Writer) runJanitor() {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	var next time.Time
	w.sweepHolds()
	swept := time.Now()
	for {
		select {
		case <-w.stop:
			return
		case <-t.C:
		}
		w.answerRequest()
		if time.Since(swept) > sweepEvery {
			w.sweepHolds()
			swept = time.Now()
		}
		if began := time.Now(); w.untidy.Swap(false) || began.After(next) {
			if err := w.retain(); err != nil {
				w.report(err)
			}
			took := time.Since(began)
			next = began.Add(max(time.Second, 50*took))
			if took > 10*time.Millisecond {
				select {
				case <-w.stop:
					return
				case <-time.After(min(20*took, 2*time.Second)):
				}
			}
		}
	}
}

// answerRequest seals the segments if a request file exists, see AskSeal.
func (w *Writer) answerRequest() {
	path := filepath.Join(w.opt.Dir, requestName)
	if _, err := os.Lstat(path); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.Seal(ctx); err != nil && !errors.Is(err, ErrDisk) {
		w.report(err)
	}
	w.awaitSides()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.report(fmt.Errorf("answering a request to seal: %w", err))
	}
}

// Reserve is the space of a disk that is for others, whichever of the two is more.
type Reserve struct {
	Bytes   int64
	Percent int // of the disk
}

// wants reports whether there is a reserve.
func (r Reserve) wants() bool { return r.Bytes > 0 || r.Percent > 0 }

// short is how many bytes of the reserve are not free: negative if there is more.
func (r Reserve) short(dir string) (int64, error) {
	free, size, err := durable.Space(dir)
	return max(r.Bytes, size/100*int64(r.Percent)) - free, err
}

// roomOnDisk makes sure that the reserved space is free, by removing segments if necessary.
func (w *Writer) roomOnDisk() error {
	if !w.opt.Reserve.wants() {
		return nil
	}
	if short, err := w.opt.Reserve.short(w.opt.Dir); err != nil || short <= 0 {
		return err
	}
	if err := w.retain(); err != nil {
		return err
	}
	short, err := w.opt.Reserve.short(w.opt.Dir)
	if err == nil && short > 0 {
		err = fmt.Errorf("%d bytes of the reserve are not free: %w", short, ErrReserve)
	}
	return err
}

// candidate is a sealed segment with all its files.
type candidate struct {
	liveSegment
	files []string
	bytes int64
	held  bool // in a snapshot, or being put into one
	there bool
}

// retain removes the oldest segments beyond the limits. Segments that a snapshot holds are
// kept, and do not count: removing them would free nothing.
func (w *Writer) retain() error {
	w.retention.Lock()
	defer w.retention.Unlock()
	if w.opt.MaxBytes <= 0 && w.opt.MaxAge <= 0 && !w.opt.Reserve.wants() && !w.aged() {
		return nil
	}
	if err := w.settle(); err != nil {
		return fmt.Errorf("removing segments: %w", err)
	}
	all, err := w.candidates()
	if err != nil {
		return fmt.Errorf("looking for segments to remove: %w", err)
	}
	short := int64(0)
	if w.opt.Reserve.wants() {
		if short, err = w.opt.Reserve.short(w.opt.Dir); err != nil {
			return err
		}
	}
	total := w.chain.bytes()
	for _, c := range all {
		if !c.held {
			total += c.bytes
		}
	}
	groups := map[[2]string][]candidate{}
	var order [][2]string
	for _, c := range all {
		why, age := "", w.maxAge(c.id.Series)
		switch {
		case c.held || !c.there:
		case age > 0 && time.Since(c.newest) > age:
			why = "age"
		case w.opt.MaxBytes > 0 && total > w.opt.MaxBytes:
			why = "bytes"
		case short > 0:
			why = "reserve"
		}
		if why == "" {
			continue
		}
		total -= c.bytes
		short -= c.bytes
		key := [2]string{c.id.Series, why}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], c)
	}
	if err := w.settle(); err != nil {
		return fmt.Errorf("removing side files: %w", err)
	}
	for _, key := range order {
		if err := w.remove(key[0], key[1], groups[key]); err != nil {
			return fmt.Errorf("removing segments of %s: %w", key[0], err)
		}
	}
	return nil
}

// maxAgo is the maximum age of a segment of an earlier recorder.
const maxAgo = 100 * 365 * 24 * time.Hour

// arrival estimates when a packet with the time t arrived, on a clock that is never set: at
// most atMost ago, and not later than now. So a clock that is set cannot make a segment old at
// once, or keep it beyond its age.
func arrival(t Time, atMost time.Duration) time.Time {
	at := time.Now()
	ago := at.Sub(time.Unix(0, int64(t))) // does not overflow
	return at.Add(-max(min(ago, atMost), 0))
}

// candidates lists all sealed segments with their files.
func (w *Writer) candidates() ([]candidate, error) {
	leased, err := leases(w.opt.Dir)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	all := make([]candidate, len(w.live))
	index := make(map[ID]int, len(w.live))
	newest := map[string]uint64{}
	for i, l := range w.live {
		newest[l.id.Series] = max(newest[l.id.Series], l.id.Sequence)
		all[i] = candidate{liveSegment: l, held: leased.covers(l.first, l.last)}
		index[l.id] = i
	}
	w.mu.Unlock()
	list, err := os.ReadDir(w.opt.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		id, kind, hidden, ok := ParseName(e.Name())
		i, known := index[id]
		if ok && !known && kind != "pcapng" && id.Sequence < newest[id.Series] {
			w.doomed = append(w.doomed, e.Name()) // written after its segment was removed
		}
		if !ok || hidden || !known {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c := &all[i]
		c.files = append(c.files, e.Name())
		c.bytes += info.Size()
		if kind == "pcapng" {
			c.there = true
			c.held = c.held || durable.Links(info) > 1
		}
	}
	return all, nil
}

// remove records a deletion, then carries it out. The next start finishes a deletion that a
// crash interrupted; in the other order, segments would be missing without a record.
func (w *Writer) remove(series, why string, list []candidate) error {
	d := Deletion{Series: series, Reason: why, First: list[0].first, Last: list[0].last}
	for _, c := range list {
		d.Bytes += c.bytes
		d.First, d.Last = min(d.First, c.first), max(d.Last, c.last)
		if k := len(d.Sequences); k > 0 && d.Sequences[k-1].To+1 == c.id.Sequence {
			d.Sequences[k-1].To++
		} else {
			d.Sequences = append(d.Sequences, Range{c.id.Sequence, c.id.Sequence})
		}
	}
	_, err := w.chain.append(&Record{Kind: KindDeletion, Deletion: &d})
	if errors.Is(err, syscall.ENOSPC) {
		// If the disk has no room for the record, it will after the segments are removed.
		w.owed, err = append(w.owed, d), nil
	}
	if err != nil {
		return err
	}
	gone := map[ID]bool{}
	for _, c := range list {
		w.doomed = append(w.doomed, c.files...)
		gone[c.id] = true
	}
	w.mu.Lock()
	w.live = slices.DeleteFunc(w.live, func(l liveSegment) bool { return gone[l.id] })
	w.open = slices.DeleteFunc(w.open, func(id ID) bool { return gone[id] })
	w.mu.Unlock()
	return w.settle()
}

// settle removes the files whose deletion is recorded, and writes the records that are owed.
func (w *Writer) settle() error {
	for len(w.doomed) > 0 {
		if err := os.Remove(filepath.Join(w.opt.Dir, w.doomed[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.doomed = w.doomed[1:]
	}
	for len(w.owed) > 0 {
		if _, err := w.chain.append(&Record{Kind: KindDeletion, Deletion: &w.owed[0]}); err != nil {
			return err
		}
		w.owed = w.owed[1:]
	}
	return nil
}
