package guess

// ber reads the tag and the length of an element of ASN.1 BER, and returns the rest. ok is false if
// it is cut short or its length is not definite.
func ber(b []byte) (tag byte, length int, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, 0, nil, false
	}
	tag, length, rest = b[0], int(b[1]), b[2:]
	if length < 0x80 {
		return tag, length, rest, true
	}
	n := length & 0x7f
	if n < 1 || n > 4 || len(rest) < n {
		return 0, 0, nil, false
	}
	length = 0
	for _, x := range rest[:n] {
		length = length<<8 | int(x)
	}
	return tag, length, rest[n:], length >= 0 && length < 1<<28
}

// sequence reads a SEQUENCE that begins with an INTEGER, and returns the INTEGER's first byte, the
// rest, and how much of the sequence the rest is.
func sequence(b []byte) (first byte, rest []byte, left int, ok bool) {
	tag, length, body, ok := ber(b)
	if !ok || tag != 0x30 || length < 5 {
		return 0, nil, 0, false
	}
	tag, n, rest, ok := ber(body)
	if !ok || tag != 2 || n < 1 || n > 4 || len(rest) <= n {
		return 0, nil, 0, false
	}
	return rest[0], rest[n:], length - 2 - n, true
}

// isLDAP reports a message: an id and an operation that fills the rest (RFC 4511 section 4.1.1).
func isLDAP(b []byte) bool {
	_, rest, left, ok := sequence(b)
	if !ok {
		return false
	}
	tag, n, body, ok := ber(rest)
	if !ok || n+2 > left {
		return false
	}
	switch {
	case tag == 0x60: // bind: its version
		return prefix(body, "\x02\x01\x02", "\x02\x01\x03")
	case tag == 0x42 || tag == 0x50: // unbind, abandon
		return n <= 4 && n+2 == left
	case tag == 0x63 || tag == 0x64: // search and its entries: a name
		return at(body, 0) == 4
	case tag == 0x61 || tag == 0x65 || tag == 0x67 || tag == 0x69 || tag == 0x6b || tag == 0x6d || tag == 0x6f || tag == 0x78: // results: a code
		return prefix(body, "\x0a\x01")
	case tag == 0x66 || tag == 0x68 || tag == 0x6c || tag == 0x6e: // changes: a name
		return at(body, 0) == 4
	case tag == 0x77: // extended: the name of the operation
		return at(body, 0) == 0x80
	}
	return false
}

// isSNMP reports a message: its version, and a community (RFC 3416) or a header (RFC 3412).
func isSNMP(b []byte) bool {
	version, rest, _, ok := sequence(b)
	return ok && (version <= 1 && at(rest, 0) == 4 || version == 3 && at(rest, 0) == 0x30)
}

// isKerberos reports a message: an application tag, a sequence and version 5 (RFC 4120 section
// 5.4).
func isKerberos(b []byte) bool {
	tag, _, rest, ok := ber(b)
	if !ok || tag != 0x6a && tag != 0x6b && tag != 0x6c && tag != 0x6d && tag != 0x6e && tag != 0x7e {
		return false
	}
	tag, _, rest, ok = ber(rest)
	return ok && tag == 0x30 && prefix(rest, "\xa0\x03\x02\x01\x05", "\xa1\x03\x02\x01\x05")
}
