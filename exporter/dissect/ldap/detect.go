package ldap

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
)

// detect looks at the first message: its id, its operation, and the first fields of that. SASL may have signed it.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	b := head
	if len(b) > 0 && b[0] == 0 {
		return detectSigned(dir, head)
	}
	tag, length, size := ber.Header(b)
	switch {
	case len(b) > 0 && b[0] != ber.Sequence || size < 0:
		return dissect.No
	case size == 0:
		return dissect.More
	case tag != ber.Sequence || length < 5 || length > maxMessage:
		return dissect.No
	}
	whole := int64(len(b)-size) >= length
	b = b[size:min(int64(len(b)), int64(size)+length)]
	r := ber.New(b)
	id := r.Expect(ber.Integer)
	if r.Bad() {
		return unless(whole || len(b) >= 2 && (b[0] != ber.Integer || b[1] == 0 || b[1] > 4))
	}
	if v, ok := ber.Int(id); !ok || len(id) > 4 || v < 0 || v == 0 && dir == dissect.ToServer {
		return dissect.No
	}
	b = b[r.Used():]
	op, n, size := ber.Header(b)
	switch {
	case len(b) > 0 && !sends(dir, b[0]) || size < 0:
		return dissect.No
	case size == 0:
		return unless(whole)
	}
	rest := length - int64(r.Used()) - int64(size) - n // controls
	if rest < 0 || rest > 0 && rest < 4 {
		return dissect.No
	}
	inside := int64(len(b)-size) >= n
	after := b[min(int64(len(b)), int64(size)+n):]
	if len(after) > 0 && after[0] != ber.Context|ber.Constructed {
		return dissect.No
	}
	return detectOperation(int(op&0x1f), b[size:min(int64(len(b)), int64(size)+n)], inside)
}

// unless is No if more bytes cannot help.
func unless(no bool) dissect.Verdict {
	if no {
		return dissect.No
	}
	return dissect.More
}

// detectOperation looks at the fields of an operation; whole means that all of it is present.
func detectOperation(op int, b []byte, whole bool) dissect.Verdict {
	r := ber.New(b)
	sure := dissect.Yes
	switch op {
	case opUnbind:
		return verdict(len(b) == 0, dissect.Likely)
	case opAbandon:
		return verdict(whole && len(b) > 0 && len(b) <= 4, dissect.Likely)
	case opDelete:
		return verdict(whole && isName(b), dissect.Likely)
	case opBind:
		if v := r.Int(ber.Integer); !r.Bad() && (v < 1 || v > 3) {
			return dissect.No
		}
		r.Expect(ber.Octets)
		if !r.Bad() && r.More() && r.Peek()&0xc0 != ber.Context {
			return dissect.No
		}
		r.Next()
	case opSearch:
		r.Expect(ber.Octets)
		scope, alias := r.Int(ber.Enumerated), r.Int(ber.Enumerated)
		if r.Int(ber.Integer); !r.Bad() && (scope > 3 || alias > 3 || scope < 0 || alias < 0) {
			return dissect.No
		}
		r.Int(ber.Integer)
	case opExtended:
		if oid := r.Expect(ber.Context); !r.Bad() && !isOID(oid) {
			return dissect.No
		}
	case opEntry, opAdd, opModify, opModifyDN, opCompare:
		sure = dissect.Likely
		r.Expect(ber.Octets)
		r.Next()
	case opReference, opIntermediate:
		sure = dissect.Likely
		r.Next()
	default: // a result
		if code := r.Int(ber.Enumerated); !r.Bad() && (code < 0 || code > 1<<16) {
			return dissect.No
		}
		r.Expect(ber.Octets)
		r.Expect(ber.Octets)
	}
	if !r.Bad() {
		return sure
	}
	return detectCut(op, b, whole)
}

// detectCut looks at the beginning of an operation whose fields are not all present. A long field,
// such as a certificate, is not waited for.
func detectCut(op int, b []byte, whole bool) dissect.Verdict {
	const enough = 512
	first := map[int]byte{opBind: ber.Integer, opExtended: ber.Context, opIntermediate: 0, opReference: ber.Octets, opSearch: ber.Octets, opEntry: ber.Octets, opAdd: ber.Octets,
		opModify: ber.Octets, opModifyDN: ber.Octets, opCompare: ber.Octets}
	want, ok := first[op]
	if !ok {
		want = ber.Enumerated
	}
	switch {
	case whole || len(b) > 0 && want != 0 && b[0] != want:
		return dissect.No
	case len(b) < enough:
		return dissect.More
	}
	return dissect.Likely
}

func verdict(ok bool, v dissect.Verdict) dissect.Verdict {
	if ok {
		return v
	}
	return dissect.No
}

// isName reports whether b looks like a name: an attribute with a value.
func isName(b []byte) bool {
	for i, c := range b {
		if c == '=' {
			return i > 0
		}
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '-' && c != '.' {
				return false
			}
		}
	}
	return false
}

func isOID(b []byte) bool {
	for i, c := range b {
		if c < '0' || c > '9' {
			if c != '.' || i == 0 {
				return false
			}
		}
	}
	return len(b) > 2
}
