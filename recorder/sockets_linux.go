package recorder

import (
	"encoding/binary"
	"net/netip"

	"github.com/pcapsule/pcapsule/bpf"
)

// socket is what packets told of one socket since its last line in a side file began.
type socket struct {
	cookie      uint64
	face        *face
	transport   uint8
	many        bool // more than one peer
	dirty       bool
	local       netip.AddrPort
	remote      netip.AddrPort
	first, last int64  // UTC
	firstID     uint64 // packets
	lastID      uint64
	packets     uint64
	wroteAt     int64
	spans       [maxSpans]span
	n           int
	more        bool // owners beyond maxSpans
}

// span is a stretch of time in which packets named one owner.
type span struct {
	tgid, tid uint32
	kind      bpf.Kind
	from, to  int64
	firstID   uint64
}

const (
	maxSpans   = 8     // owners of a socket in one line; the last one counts on
	maxSockets = 16384 // in memory at a time
	idleAfter  = 5e9   // ns without a packet; then its line is written
	toldEvery  = 5e9   // ns between lines of a busy one
)

// sockets are those with packets lately.
type sockets struct {
	by    map[uint64]*socket
	last  *socket
	free  []*socket
	swept int64
	write func(*socket)
	peer  func(netip.Addr, int64) // is told whom sockets talk to; nil: nobody asks
}

func newSockets(write func(*socket)) *sockets {
	return &sockets{by: map[uint64]*socket{}, write: write}
}

// saw takes note of a packet and of what is known of its owner.
func (t *sockets) saw(p *bpf.Packet, ip []byte, x *face, at int64, id uint64) {
	if p.Cookie == 0 {
		return
	}
	s := t.last
	if s == nil || s.cookie != p.Cookie {
		if s = t.by[p.Cookie]; s == nil {
			s = t.fresh()
			s.cookie, s.first, s.firstID, s.transport = p.Cookie, at, id, p.Transport
			s.local, s.remote, _ = ends(ip, p.Outgoing)
			t.by[p.Cookie] = s
			if t.peer != nil {
				t.peer(s.remote.Addr(), at)
			}
		}
		t.last = s
	}
	// Many peers: UDP, and the handshakes that a listening socket takes part in.
	if !s.many && (s.transport == 17 || p.Kind == bpf.Listener || p.Kind == bpf.None) {
		if _, remote, ok := ends(ip, p.Outgoing); ok && remote != s.remote {
			s.many = true
		}
	}
	if s.many && t.peer != nil {
		if _, remote, ok := ends(ip, p.Outgoing); ok {
			t.peer(remote.Addr(), at)
		}
	}
	if s.face != nil && s.face.lane != x.lane {
		// Its name is known now, and its packets go elsewhere from here on.
		if s.dirty {
			t.write(s)
		}
		s.first, s.firstID, s.packets, s.n, s.more = at, id, 0, 0, false
	}
	s.face, s.last, s.lastID, s.dirty = x, at, id, true
	s.packets++
	if p.Kind != bpf.None {
		s.owned(p, at, id)
	}
}

func (s *socket) owned(p *bpf.Packet, at int64, id uint64) {
	for i := s.n - 1; i >= 0; i-- {
		o := &s.spans[i]
		if o.tgid == p.TGID && (o.tid == p.TID || i == maxSpans-1) {
			o.to = at
			o.kind = min(o.kind, p.Kind)
			return
		}
	}
	if s.n == maxSpans {
		s.more = true
		s.n--
	}
	s.spans[s.n] = span{p.TGID, p.TID, p.Kind, at, at, id}
	s.n++
}

func (t *sockets) fresh() *socket {
	if n := len(t.free); n > 0 {
		s := t.free[n-1]
		t.free = t.free[:n-1]
		*s = socket{}
		return s
	}
	return &socket{}
}

func (t *sockets) drop(s *socket) {
	delete(t.by, s.cookie)
	if t.last == s {
		t.last = nil
	}
	if len(t.free) < 4096 {
		t.free = append(t.free, s)
	}
}

// sweep writes lines of sockets whose line is due, and forgets the idle ones; all of them
// when there are too many.
func (t *sockets) sweep(now int64) {
	full := len(t.by) >= maxSockets
	if !full && now >= t.swept && now-t.swept < 1e9 { // a clock that is set back stops nothing
		return
	}
	t.swept = now
	for _, s := range t.by {
		idle := now-s.last > idleAfter || s.last-now > idleAfter
		if s.dirty && (full || idle || now-s.wroteAt > toldEvery && s.wroteAt != 0) {
			t.write(s)
			s.dirty, s.wroteAt = false, now
		} else if s.wroteAt == 0 {
			s.wroteAt = now
		}
		if idle || full {
			t.drop(s)
		}
	}
}

// flush writes lines of all sockets of a lane with packets since their last line. The one
// of the packet last stays due.
func (t *sockets) flush(now int64, last uint64, l *lane) {
	for _, s := range t.by {
		if s.dirty && s.face.lane == l {
			t.write(s)
			s.dirty, s.wroteAt = s.lastID == last, now
		}
	}
}

// ends reads both ends of a packet, as the socket has them.
func ends(ip []byte, outgoing bool) (local, remote netip.AddrPort, ok bool) {
	if len(ip) < 20 {
		return
	}
	var src, dst netip.Addr
	var next uint8
	at := 40
	switch {
	case ip[0]>>4 == 4:
		src, dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		at, next = int(ip[0]&15)*4, ip[9]
		if binary.BigEndian.Uint16(ip[6:])&0x1FFF != 0 {
			return // a later fragment has no ports
		}
	case ip[0]>>4 == 6 && len(ip) >= 40:
		src, dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		next = ip[6]
	default:
		return
	}
	var sport, dport uint16
	if (next == 6 || next == 17) && len(ip) >= at+4 {
		sport, dport = binary.BigEndian.Uint16(ip[at:]), binary.BigEndian.Uint16(ip[at+2:])
	}
	local, remote = netip.AddrPortFrom(dst, dport), netip.AddrPortFrom(src, sport)
	if outgoing {
		local, remote = remote, local
	}
	return local, remote, true
}
