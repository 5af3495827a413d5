package secrets

// Search finds the first number in [from, from+n) under which r authenticates. It changes
// nothing.
func (o *Opener) Search(r *Record, from, n uint64) (seq uint64, ok bool) {
	var buf []byte
	c := o.old
	if c != nil {
		plain, mac, err := o.decrypt(nil, r)
		if err != nil || c.lost {
			return 0, false
		}
		for i := range n {
			if ok, err := o.verify(r, from+i, plain, mac); err != nil || ok {
				return from + i, ok
			}
		}
		return 0, false
	}
	try := *r
	for i := range n {
		try.Seq = from + i
		plain, err := o.openAEAD(buf[:0], &try)
		if err == nil {
			return try.Seq, true
		}
		if err != ErrAuth {
			return 0, false
		}
		buf = plain
	}
	return 0, false
}
