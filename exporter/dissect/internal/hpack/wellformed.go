package hpack

// WellFormed reports whether a block consists of complete representations, RFC 7541 section 6.
// It needs no table, so it can check bytes of unknown origin.
func WellFormed(block []byte) bool {
	begun := false
	for len(block) > 0 {
		var bits uint
		c := block[0]
		text := true
		switch {
		case c&0x80 != 0: // indexed, section 6.1
			bits, text = 7, false
		case c&0xc0 == 0x40: // literal that is added to the table, section 6.2.1
			bits = 6
		case c&0xe0 == 0x20: // table size, at the start only, section 4.2
			if begun {
				return false
			}
			_, rest, err := integer(block, 5)
			if err != nil {
				return false
			}
			block = rest
			continue
		default: // other literals, sections 6.2.2 and 6.2.3
			bits = 4
		}
		begun = true
		i, rest, err := integer(block, bits)
		if err != nil || i == 0 && !text {
			return false
		}
		texts := 0
		if text {
			texts = 1
			if i == 0 {
				texts = 2
			}
		}
		for range texts {
			if rest, err = skipText(rest); err != nil {
				return false
			}
		}
		block = rest
	}
	return begun
}

func skipText(p []byte) ([]byte, error) {
	n, rest, err := integer(p, 7)
	if err != nil {
		return nil, err
	}
	if n > len(rest) {
		return nil, ErrShort
	}
	return rest[n:], nil
}
