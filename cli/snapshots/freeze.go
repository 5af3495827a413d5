package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Values of Status.
const (
	recording = "recording"
	pending   = "pending"
	running   = "running"
	completed = "completed"
	failed    = "failed"
	cancelled = "cancelled"
)

// CreateSnapshot implements store.Store.
func (s *Store) CreateSnapshot(ctx context.Context, r store.SnapshotRequest) (store.Snapshot, error) {
	now := time.Now()
	end, err := s.now(ctx)
	if err != nil {
		return store.Snapshot{}, err
	}
	from, to := r.From, r.To
	if r.Last > 0 {
		from = end.Add(-r.Last).UnixNano()
	}
	if to == 0 {
		to = end.UnixNano()
	}
	if from > to {
		return store.Snapshot{}, badRequest("the time range ends before it begins")
	}
	dir, err := s.reserve(r.Name)
	if err != nil {
		return store.Snapshot{}, err
	}
	x, err := s.freeze(ctx, r.Name, dir, from, to, now)
	if err == nil {
		err = s.write(x)
	}
	if err != nil {
		return store.Snapshot{}, errors.Join(err, os.RemoveAll(dir))
	}
	return s.read(r.Name)
}

// now is the end of a range such as "the last hour": the current time, or that of the last
// packet if no recorder is running.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	list, err := s.Boundaries(ctx)
	now := time.Now()
	last := int64(0)
	for _, b := range list {
		if b.Recording {
			return now, err
		}
		if t, err := time.Parse(time.RFC3339Nano, b.Newest); err == nil {
			last = max(last, t.UnixNano())
		}
	}
	if last == 0 {
		return now, err
	}
	return time.Unix(0, last), err
}

// freeze asks the recorder to seal its segments, and links those of the time range.
func (s *Store) freeze(ctx context.Context, name, dir string, from, to int64, now time.Time) (x store.Snapshot, err error) {
	if err := s.seal(ctx); err != nil {
		s.onError(err) // segments that are already sealed are still evidence
	}
	p, err := ring.Pin(ctx, s.ring, from, to, filepath.Join(dir, heldName), ring.PinOptions{Keys: true})
	if errors.Is(err, fs.ErrPermission) {
		p, err = ring.Pin(ctx, s.ring, from, to, filepath.Join(dir, heldName), ring.PinOptions{})
	}
	if err != nil {
		return x, err
	}
	if len(p.Segments) == 0 {
		b, _ := s.Boundaries(ctx)
		has := "nothing"
		if len(b) > 0 && b[0].Oldest != "" {
			has = b[0].Oldest + " to " + b[0].Newest
		}
		return x, badRequest("no packets from %s to %s; the ring has %s", ring.Time(from), ring.Time(to), has)
	}
	x = store.Snapshot{Name: name, Status: completed, CreatedAt: ring.Time(now.UnixNano()).String(), From: ring.Time(from).String(), To: ring.Time(to).String(),
		StartMs: from / 1e6, EndMs: to / 1e6, DurationMs: (to - from) / 1e6, Segments: len(p.Segments), Bytes: p.Bytes, Missing: p.Missing,
		Seals: fmt.Sprintf("ring %s up to record %d", p.Ring, p.Head)}
	held, err := ring.Segments(filepath.Join(dir, heldName))
	nodes := map[string]bool{}
	for _, h := range held {
		if h.Seal != nil && !h.Missing && slices.Contains(p.Segments, h.ID.Segment()) {
			nodes[h.ID.Node] = true
			x.Packets += int64(h.Seal.Packets)
		}
	}
	x.Nodes = len(nodes)
	return x, err
}

// seal asks the recorder, if one is running, to end its segments.
func (s *Store) seal(ctx context.Context) error {
	r, err := ring.Open(s.ring)
	if err != nil || !r.Writing {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, sealWait)
	defer cancel()
	if err := ring.AskSeal(wait, s.ring); err != nil {
		return fmt.Errorf("the recorder did not seal its current segments: %w", err)
	}
	return nil
}
