package secrets

// candidates are secrets to try for a connection without captured hellos: the first ones of
// all sources, without duplicates.
type candidates struct {
	limit int
	list  [][]byte
}

// Randoms returns up to max client randoms that have application secrets of TLS 1.3, in the
// order of their lines: candidates for a connection whose hellos were not captured.
func (s *Store) Randoms(max int) [][]byte {
	if s == nil {
		return nil
	}
	// Search both sides' lines, because one of them may be missing.
	list := s.candidates(&s.randoms, max, 2, func(x *Secret) []byte { return x.ID }, ClientTraffic, ServerTraffic)
	return s.grown.candidates(list, max, func(g *grown) [][]byte { return g.randoms })
}

// Masters returns up to max master secrets of versions before TLS 1.3 in the order of their
// lines: candidates for a resumed session, whose line has a different client random.
func (s *Store) Masters(max int) [][]byte {
	if s == nil {
		return nil
	}
	list := s.candidates(&s.masters, max, 1, func(x *Secret) []byte { return x.Value }, ClientRandom)
	return s.grown.candidates(list, max, func(g *grown) [][]byte { return g.masters })
}

// candidates collects what pick returns for the lines with one of the labels, at most times
// lines for each result. It walks the whole index, so the result is cached.
func (s *Store) candidates(c *candidates, max, times int, pick func(*Secret) []byte, labels ...Label) [][]byte {
	if !s.ready || s.index.entries == 0 || max <= 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.limit < max {
		*c = candidates{limit: max}
		match := func(code int) bool {
			for _, l := range labels {
				if code == int(l) {
					return true
				}
			}
			return false
		}
		seen := make(map[string]bool)
		var buf []byte
		for _, e := range s.index.first(times*max, match) {
			x, b, ok := s.read(e, buf)
			if buf = b; !ok {
				s.gone.Add(1)
				continue
			}
			if v := pick(&x); len(c.list) < max && !seen[string(v)] {
				seen[string(v)] = true
				c.list = append(c.list, v)
			}
		}
	}
	return c.list[:min(max, len(c.list))]
}
