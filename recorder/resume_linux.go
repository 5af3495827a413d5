package recorder

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const packetIDMask = 1<<40 - 1 // of an id, without the ring's 24 bits

// openPins finds the programs that a previous recorder left in the kernel. A recording that cannot
// stay there lacks that, and nothing else.
func (r *recording) openPins(where string) {
	if r.o.Pin == "" {
		return
	}
	if r.o.Ring == nil {
		r.unkept = "only a recording into a ring continues in the kernel"
		return
	}
	pins, err := bpf.OpenPins(r.o.Pin)
	if err != nil {
		r.unkept = err.Error()
		if errors.Is(err, bpf.ErrNoPins) {
			r.unkept += ": mount one, in a container from the host"
		}
		return
	}
	r.pins = pins
	r.settings = hash64(where, fmt.Sprint(r.o.HeadersOnly, r.o.NoOwners))
	list := *r.o.Ring
	list.Resume = r.takeOver
	r.o.Ring = &list
}

// Unpin removes the programs that an ended recorder left in the kernel for the next one; pin is the
// Pin of its Options. It reports whether there were any, and returns ErrPinned while a recorder
// runs.
func Unpin(dir string) (removed bool, err error) {
	switch err := bpf.Unpin(dir); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, bpf.ErrNoPins):
		return false, nil
	case errors.Is(err, bpf.ErrPinsInUse):
		return false, fmt.Errorf("removing %s: %w", dir, ErrPinned)
	default:
		return false, hostError(err)
	}
}

// CanPin reports whether dir is in a BPF file system, or would be after it is created.
func CanPin(dir string) bool {
	var info unix.Statfs_t
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		switch err := unix.Statfs(at, &info); {
		case err == nil:
			return info.Type == unix.BPF_FS_MAGIC
		case at == filepath.Dir(at):
			return false
		}
	}
}

// leftover adds up the counters of earlier recorders' programs.
type leftover struct {
	ring.Resumed
	lost    uint64 // whether stated or not
	details []string
}

// takeOver is called when the ring is opened. It returns how far the previous recorder was, what waits for this one,
// and the losses that no seal states.
func (r *recording) takeOver(left ring.Left) *ring.Resumed {
	id := hash64(left.Ring)
	r.progs.Ledger.Begin(id, r.settings, left.Next)
	earlier := r.sources[:len(r.sources)-1]
	known := len(r.pins.Old) > 0 && !slices.ContainsFunc(earlier, func(s *source) bool { return s.ledger.Ring() != id })
	// Another recorder has written to the ring since then, so these packets would be there twice.
	stale := known && len(earlier) > 0 && !slices.ContainsFunc(earlier, func(s *source) bool { return s.ledger.Start() == left.Start })
	var all leftover
	for _, s := range earlier {
		s.refused = s.refused || stale
		if err := s.measure(&all, id, left.LastIDs); err != nil {
			r.o.OnError(err)
		}
	}
	if !known || stale {
		return nil // the ledger is about another ring
	}
	stated, then := statedLosses(left.Counters)
	all.SeenThen, all.Lost = then, int64(all.lost-min(stated, all.lost))
	if all.Lost > 0 {
		all.details = append(all.details, fmt.Sprintf("packets passed while no recorder ran, and %d of them were lost", all.Lost))
	}
	for _, g := range r.unreadable {
		all.Lost = -1
		all.details = append(all.details, "packets waited in the kernel that this release cannot read: "+g.Unreadable.Error())
	}
	all.Detail = strings.Join(all.details, "; ")
	r.resumed = &all.Resumed
	return r.resumed
}

// measure adds the counters up to now, and finds the packets that the ring has already.
func (s *source) measure(all *leftover, id uint64, lastIDs map[string]uint64) (err error) {
	if s.before, err = s.earlier.Counts(); err != nil {
		return err
	}
	if s.ledger.Ring() == id {
		last := map[uint64]uint64{}
		for series, n := range lastIDs {
			last[seriesTag(series)] = n
		}
		position, _ := s.ledger.Released()
		s.ledger.Noted(position, func(id, end uint64) bool {
			s.written[end] = id&packetIDMask <= last[id&^packetIDMask]
			return s.written[end]
		})
	}
	c, taken := &s.before, s.taken()
	waiting := c.Delivered - min(taken, c.Delivered)
	if s.refused {
		all.lost += waiting
		all.Dropped += waiting
		all.details = append(all.details, fmt.Sprintf("%d packets waited in the kernel that were recorded with other settings", waiting))
		waiting = 0
	}
	dropped, stated := s.ledger.Losses()
	all.lost += c.Failed + c.Unread + dropped - stated
	all.Seen += c.Excluded + c.Filtered + c.Forbidden + c.Delivered + c.Failed + c.Unread
	all.Filtered += c.Excluded + c.Filtered + c.Forbidden
	all.Taken += taken
	all.Waiting += waiting
	all.Dropped += c.Failed + c.Unread
	return nil
}

// statedLosses is how many losses the last seals of a recorder state, and how many packets the
// kernel had seen then.
func statedLosses(counters map[string]ring.Counters) (lost, seen uint64) {
	for series, c := range counters {
		if ring.BaseSeries(series) != socketSeries {
			continue
		}
		seen = max(seen, c.Kernel)
		for _, d := range c.Drops {
			if d.Reason != reasonUnaccounted {
				lost += d.Packets
			}
		}
	}
	return lost, seen
}

// taken is how many packets of an earlier source need not be read.
func (s *source) taken() uint64 {
	_, n := s.ledger.Released()
	for _, yes := range s.written {
		if yes {
			n++
		}
	}
	return n
}

// openSources maps the ring buffers of all programs, those of earlier recorders first.
func (r *recording) openSources() error {
	if r.pins != nil {
		for _, g := range r.pins.Old {
			if g.Unreadable != nil {
				r.unreadable = append(r.unreadable, g)
				continue
			}
			s, err := openSource(g, g.Ledger)
			if err != nil {
				return err
			}
			s.earlier, s.written = g, map[uint64]bool{}
			s.refused = g.Ledger.Settings() != r.settings
			r.sources = append(r.sources, s)
		}
	}
	own, err := openSource(r.progs, r.progs.Ledger)
	if err != nil {
		return err
	}
	r.sources = append(r.sources, own)
	r.packets, r.events = r.sources[0].packets, r.sources[0].events
	return nil
}

// adopt is called when all hooks have this recorder's programs, so the counters of earlier ones no longer change. What
// they counted after the start record was written counts here.
func (r *recording) adopt() error {
	if r.pins == nil {
		return nil
	}
	errs := []error{r.pins.Prune()}
	keep := r.sources[:0]
	for _, s := range r.sources {
		if s.earlier == nil {
			keep = append(keep, s)
			continue
		}
		now, err := s.rest()
		errs = append(errs, err)
		more := now.Minus(&s.before)
		if more.Delivered = now.Delivered - s.taken(); s.refused {
			more.Failed, more.Delivered = more.Failed+now.Delivered-s.before.Delivered, 0
		}
		more.Seen = more.Excluded + more.Filtered + more.Forbidden + more.Delivered + more.Failed + more.Unread
		r.earlier.Add(more)
		r.progs.Ledger.SetDropped(r.earlier.Failed + r.earlier.Unread)
		s.ledger.State(now.Failed + now.Unread)
		if s.refused {
			errs = append(errs, s.close(), s.earlier.Remove())
			continue
		}
		keep = append(keep, s)
	}
	r.sources = keep
	r.packets, r.events = r.sources[0].packets, r.sources[0].events
	for _, g := range r.unreadable {
		errs = append(errs, g.Remove())
	}
	return errors.Join(errs...)
}

// rest waits until all programs of an earlier recorder have ended.
func (s *source) rest() (c bpf.Counters, err error) {
	time.Sleep(10 * time.Millisecond) // one may have been called and not have counted yet
	for range 200 {
		if c, err = s.earlier.Counts(); err != nil || c.Balanced() {
			return c, err
		}
		time.Sleep(time.Millisecond)
	}
	return c, nil
}
