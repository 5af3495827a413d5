package keys

import (
	"encoding/binary"
	"net/netip"
)

// How the ends of a connection are known.
const (
	WayNone = 0 // unknown
	WayLast = 1 // the thread's last receive before the library returned the bytes used it
	WayCall = 2 // the library used it during the call, or during an earlier one
)

// MaxPiece is the maximum of bytes in a piece of a call, MaxPieces that of pieces in a call.
const (
	MaxPiece  = 64 << 10
	MaxPieces = 16
)

// plainKind is the kind of records of plaintext.
const plainKind = 7

const plainHead = headSize + 32 + 48

// Plain is a piece of what a process passed to a TLS library, or received from one. Data
// points into the record.
type Plain struct {
	Time   uint64 // CLOCK_MONOTONIC, ns: the end of a call that reads, the beginning of one that writes
	TGID   uint32
	TID    uint32
	Target uint32
	Write  bool
	Object uint64 // of the connection in the process
	Born   uint64 // identifies the connection together with Object
	Call   uint64 // bytes of the call
	Offset uint64 // of Data in the call
	How    uint16
	Local  netip.AddrPort
	Remote netip.AddrPort
	Data   []byte
}

// Decode parses a record. It returns false for an invalid one.
func (p *Plain) Decode(b []byte) bool {
	*p = Plain{}
	ne := binary.NativeEndian
	if len(b) < plainHead || ne.Uint32(b[8:]) != plainKind {
		return false
	}
	p.Time, p.TGID, p.TID, p.Target = ne.Uint64(b), ne.Uint32(b[12:]), ne.Uint32(b[16:]), ne.Uint32(b[20:])
	h := b[headSize:]
	p.Object, p.Call, p.Offset = ne.Uint64(h), ne.Uint64(h[8:]), ne.Uint64(h[16:])
	size := ne.Uint32(h[24:])
	p.Write = ne.Uint32(h[28:]) != 0
	w := h[32:]
	p.Born, p.How = ne.Uint64(w), ne.Uint16(w[44:])
	if p.How != WayNone {
		p.Local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(w[8:24])).Unmap(), ne.Uint16(w[40:]))
		p.Remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(w[24:40])).Unmap(), ne.Uint16(w[42:]))
	}
	data := b[plainHead:]
	if size == 0 || size > MaxPiece || int(size) > len(data) || p.Offset > p.Call || uint64(size) > p.Call-p.Offset {
		return false
	}
	p.Data = data[:size]
	return true
}

// PlainCounters are the counters of the programs: Seen = reported + Lost + Unread + Odd.
type PlainCounters struct {
	Calls  uint64 // of chosen processes, with at least one byte
	Seen   uint64 // pieces of these calls
	Lost   uint64 // not reported: the ring buffer was full
	Unread uint64 // not reported: the memory could not be read
	Odd    uint64 // not reported: more bytes than a call can have
	Cut    uint64 // bytes after the last reported piece of a call
}

// Function is a function of a library that sends or receives plaintext.
type Function struct {
	At    uint64 // offset in the file
	Write bool
	Ex    bool     // the length is returned through the fourth argument
	Ends  []uint64 // of Go: offsets of its return instructions
}
