package commit

import (
	"bytes"
	"strings"
)

// Masks are the bytes by which a redaction replaces text and digits. Every other byte of a hidden part, except
// of a checksum that is right, is not proved.
const Masks = "x9"

// change compares the groups of a changed packet or row with those that a proof names.
type change struct {
	Counts
	packet  *packets // nil for a row
	now     [][]byte // groups of the derived packet or row
	at      []uint32 // their places
	next    int      // of now
	options int      // the first group that is an option
	sum     int      // the group that is the checksum, -1 if there is none
}

func newChange(s source) *change {
	x := &change{sum: -1}
	s.groups(func(_ int, at uint32, content []byte) {
		x.now, x.at = append(x.now, bytes.Clone(content)), append(x.at, at)
	})
	if p, ok := s.(*packets); ok {
		x.packet = p
		x.options = p.optionsAt()
		if p.at.sum >= 0 {
			x.sum = 1 + (p.at.sum+p.part-1)/p.part
		}
	}
	return x
}

// shown returns the place and content of a group that is said to be the original's.
func (x *change) shown(group int) (at uint32, content []byte, ok bool) {
	isOption := x.packet != nil && group >= x.options // others may be missing before it
	if x.next >= len(x.now) || !isOption && x.next != group {
		return 0, nil, false
	}
	x.next++
	return x.at[x.next-1], x.now[x.next-1], true
}

// hidden accounts for a group that is said to differ from the original's. It returns false if it
// cannot.
func (x *change) hidden(group int) bool {
	switch {
	case x.packet == nil:
		x.Stated++
		x.next++
		return true
	case group >= x.options:
		x.Options++
		return true
	case group == 0 || x.next != group || x.next >= len(x.now):
		return false // time, lengths and interface are always proved
	}
	content := x.now[group]
	x.next++
	if p := x.packet; group == x.sum && p.at.right(p.p.Data) {
		x.Checksums++
		return true
	} else if group == x.sum && p.at.cut(p.p.Data) && bytes.Equal(content, sumMask) {
		x.Masked += int64(len(sumMask))
		return true
	}
	for i, b := range content {
		header := int(x.at[group])-1+i < x.packet.at.payload
		if !header && strings.IndexByte(Masks, b) >= 0 {
			x.Masked++
		} else {
			x.Stated++
		}
	}
	return true
}

// end reports whether every group has been accounted for.
func (x *change) end() bool {
	if x.next != len(x.now) {
		return false
	}
	if x.Stated > 0 {
		x.Unproved = 1
	}
	if x.packet != nil && x.Masked+x.Stated+x.Checksums == 0 {
		x.Bare = 1
	}
	return true
}
