package ring

import "time"

// beginSegment numbers the next segment. Its file is made when its first chunk gets to
// the disk side.
func (s *Series) beginSegment() {
	s.gen++
	s.seg = &segment{series: s, id: ID{s.opt.Name, s.w.opt.Node, s.next}, gen: s.gen, begun: time.Now(), done: make(chan struct{})}
	s.next++
	if s.cur != nil {
		s.cur.seg = s.seg
	}
}

// describe writes the block of an interface into the segment.
func (s *Series) describe(it *iface, id InterfaceID) bool {
	if len(s.seg.ids) >= maxInterfaces {
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
	s.seg.ids = append(s.seg.ids, id)
	s.cur.tally.interfaces++
	return true
}

// rotate ends the current segment: counters first, then what is left of it.
func (s *Series) rotate() {
	seg := s.seg
	if seg == nil {
		return
	}
	if s.opt.Account != nil {
		a := s.opt.Account(Taken{s.packets, s.dropped})
		seg.account = &a
		s.tell(&a)
		s.statistics(a.Interfaces)
	}
	if h, ok := s.lost.hole(s.opt.Name); ok {
		seg.holes = append(seg.holes, h)
		s.lost = loss{}
	}
	s.send()
	s.finishSegment()
}

// tell remembers what a segment says of the counters.
func (s *Series) tell(a *Account) {
	if a.Counters != nil {
		s.told, s.toldAt = *a.Counters, now()
	}
}

// since is what was left out after the last segment, of which none would tell.
func (s *Series) since(a *Account) (list []Hole) {
	c := a.Counters
	if c == nil || c.Policy > c.Filtered || c.Policy < s.told.Policy || c.Filtered-c.Policy < s.told.Filtered-s.told.Policy {
		return nil
	}
	for _, h := range []Hole{{Reason: "policy", Packets: int64(c.Policy - s.told.Policy)}, {Reason: "filter", Packets: int64(c.Filtered - c.Policy - (s.told.Filtered - s.told.Policy))}} {
		if h.Packets > 0 {
			h.Series, h.From, h.To = s.opt.Name, s.toldAt, now()
			h.Detail = "after the last segment"
			list = append(list, h)
		}
	}
	return list
}

// finishSegment tells the disk side that no chunk of the segment follows.
func (s *Series) finishSegment() {
	seg := s.seg
	s.seg = nil
	if !seg.sent {
		// Nothing of it ever left: the number is free again unless a later one is out.
		if s.next == seg.id.Sequence+1 {
			s.giveBack()
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

func (s *Series) takeLost() (Hole, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.lost.hole(s.opt.Name)
	s.lost = loss{}
	return h, ok
}
