package secrets

// Masters gives up to max master secrets of versions before TLS 1.3 in the order of their
// lines: candidates for a resumed session, whose line stands under another client random.
func (s *Store) Masters(max int) (list [][]byte) {
	if s == nil || !s.ready || s.index.entries == 0 || max <= 0 {
		return nil
	}
	var buf []byte
	var x Secret
	var ok bool
	for _, at := range s.index.first(max, func(code int) bool { return code == int(ClientRandom) }) {
		if x, buf, ok = s.read(entry{place: uint64(at)<<labelBits | uint64(ClientRandom)}, buf); ok {
			list = append(list, x.Value)
		}
	}
	return list
}
