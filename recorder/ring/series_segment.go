package ring

import (
	"fmt"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// beginSegment numbers the next segment. Its file is created when runDisk writes its first
// chunk.
func (s *Series) beginSegment() {
	s.gen++
	s.seg = &segment{series: s, id: ID{s.opt.Name, s.w.opt.Node, s.next}, gen: s.gen, begun: time.Now(), done: make(chan struct{})}
	s.next++
	if s.cur != nil {
		s.cur.seg = s.seg
	}
}

// full reports whether the segment has no room for more interfaces.
func (s *Series) full() bool { return len(s.seg.ids) >= maxInterfaces }

// describe writes the block of an interface to the segment.
func (s *Series) describe(it *iface, id InterfaceID) bool {
	if s.full() {
		s.rotate()
		if s.down {
			return false
		}
		s.beginSegment()
	}
	b := s.room(len(it.desc), false)
	if b == nil {
		return false
	}
	copy(b, it.desc)
	it.gen, it.num = s.seg.gen, uint32(len(s.seg.ids))
	s.seg.ids, s.seg.count = append(s.seg.ids, id), append(s.seg.count, seen{})
	s.cur.tally.interfaces++
	return true
}

// rotate ends the current segment: counters first, then the remaining blocks. A file or
// stream is ended by its Writer.
func (s *Series) rotate() {
	seg := s.seg
	if seg == nil || s.w.opt.single() {
		return
	}
	if s.opt.Account != nil {
		a := s.opt.Account(Totals{s.packets, s.dropped})
		seg.account = &a
		s.rememberCounters(&a)
		s.statistics(a.Interfaces)
	}
	if h, ok := s.lost.hole(s.opt.Name); ok {
		seg.holes = append(seg.holes, h)
		s.lost = loss{}
	}
	s.send()
	s.finishSegment()
}

// rememberCounters saves the counters that a segment states.
func (s *Series) rememberCounters(a *Account) {
	if a.Counters != nil {
		s.stated, s.statedAt = *a.Counters, now()
	}
}

// since returns the packets that were excluded after the last segment, which no segment states.
func (s *Series) since(a *Account) (list []Hole) {
	c := a.Counters
	if c == nil || c.Policy > c.Filtered || c.Policy < s.stated.Policy || c.Filtered-c.Policy < s.stated.Filtered-s.stated.Policy {
		return nil
	}
	for _, h := range []Hole{{Reason: "policy", Packets: int64(c.Policy - s.stated.Policy)}, {Reason: "filter", Packets: int64(c.Filtered - c.Policy - (s.stated.Filtered - s.stated.Policy))}} {
		if h.Packets > 0 {
			h.Series, h.From, h.To = s.opt.Name, s.statedAt, now()
			h.Detail = "after the last segment"
			list = append(list, h)
		}
	}
	return list
}

// finishSegment informs runDisk that the segment has no more chunks.
func (s *Series) finishSegment() {
	seg := s.seg
	s.seg = nil
	s.over.Store(s.ended())
	if !seg.sent {
		// Nothing was written: the number is free again unless a later one is in use.
		if s.next == seg.id.Sequence+1 {
			s.freeNumber()
		} else {
			s.lost.skip(seg.id.Sequence)
		}
		seg.err = ErrDisk
		close(seg.done)
		return
	}
	s.ops <- op{end: seg}
}

func (s *Series) statistics(list []InterfaceAccount) {
	var scratch [128]byte
	for i := range list {
		a := &list[i]
		if !s.declared(a.ID) || s.ifaces[a.ID].gen != s.seg.gen {
			continue
		}
		it := &s.ifaces[a.ID]
		st := a.Statistics(it.num, it.kept)
		block := appendStatistics(scratch[:0], &st)
		b := s.room(len(block), true)
		if b == nil {
			return // the seal still has the counters
		}
		copy(b, block)
	}
}

func (s *Series) popLost() (Hole, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.lost.hole(s.opt.Name)
	s.lost = loss{}
	return h, ok
}

// Interface declares an interface. Its block is written to every segment before its first
// packet there. Link type, snap length and time units are those of the series.
func (s *Series) Interface(i pcapng.Interface) (InterfaceID, error) {
	desc, err := describe(i, s.opt.LinkType, s.opt.SnapLen)
	if err != nil {
		return 0, fmt.Errorf("declaring interface %.80q: %w", i.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.unused); n > 0 {
		id := s.unused[n-1]
		s.unused = s.unused[:n-1]
		s.ifaces[id] = iface{desc: desc}
		return id, nil
	}
	s.ifaces = append(s.ifaces, iface{desc: desc})
	id := InterfaceID(len(s.ifaces) - 1)
	if s.w.opt.single() && !s.closed && !s.full() {
		s.describe(&s.ifaces[id], id) // even if it has only lost packets; without room, it is described before its first packet
	}
	return id, nil
}

// Update changes the description of an interface for later packets. In the segment that is
// being written, the interface is then described a second time.
func (s *Series) Update(id InterfaceID, i pcapng.Interface) error {
	desc, err := describe(i, s.opt.LinkType, s.opt.SnapLen)
	if err != nil {
		return fmt.Errorf("describing interface %.80q: %w", i.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.declared(id) {
		return ErrInterface
	}
	s.ifaces[id].desc, s.ifaces[id].gen = desc, 0
	return nil
}

// Release removes an interface; its number may be reused.
func (s *Series) Release(id InterfaceID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.declared(id) {
		return ErrInterface
	}
	s.ifaces[id] = iface{}
	s.unused = append(s.unused, id)
	return nil
}

func (s *Series) declared(id InterfaceID) bool {
	return uint(id) < uint(len(s.ifaces)) && s.ifaces[id].desc != nil
}
