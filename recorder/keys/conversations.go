package keys

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
)

// Limits of Conversations.
const (
	maxSide     = 24 << 10 // of one side of one connection
	maxKept     = 32 << 20 // of all
	maxFlows    = 8192
	maxWaiting  = 16 // segments of a side that arrived early
	maxWaitSize = 16 << 10
)

// Conversations keeps the beginnings of TLS connections over TCP and of QUIC connections, so that
// keys can be tested on them. It implements Captured for code that has packets. It is safe for
// concurrent use, and costs one map lookup for each TCP or UDP packet.
type Conversations struct {
	mu       sync.Mutex
	flows    map[flowKey]*flow
	byRandom map[[32]byte]*flow
	order    []*flow // oldest first
	kept     int

	quic       map[flowKey]*quicFlow
	quicRandom map[[32]byte]*quicFlow
	quicOrder  []*quicFlow

	account handshakes
}

type flowKey struct{ from, to netip.AddrPort } // from the client

type flow struct {
	key    flowKey
	sides  [2]side // client, server
	random [32]byte
	known  bool
	gone   bool
	shake  *Handshake
}

type side struct {
	next    uint32 // sequence number of the byte after data
	data    []byte
	waiting []waiting
}

type waiting struct {
	seq  uint32
	data []byte
}

// NewConversations returns an empty Conversations.
func NewConversations() *Conversations {
	return &Conversations{flows: map[flowKey]*flow{}, byRandom: map[[32]byte]*flow{},
		quic: map[flowKey]*quicFlow{}, quicRandom: map[[32]byte]*quicFlow{}, account: newHandshakes()}
}

// Records implements Captured.
func (c *Conversations) Records(clientRandom [32]byte) (client, server []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.byRandom[clientRandom]
	if f == nil {
		return nil, nil, false
	}
	// Existing bytes are never overwritten, only appended to.
	return slices.Clip(f.sides[0].data), slices.Clip(f.sides[1].data), true
}

// Packet adds one IP packet with its capture time (UTC, ns). writer is the process that sent it, or
// 0 if it is not known. Packet keeps no reference to ip.
func (c *Conversations) Packet(ip []byte, at int64, writer uint32) {
	from, to, protocol, b := transportOf(ip)
	if protocol == udp && len(b) > 8 {
		key := flowKey{netip.AddrPortFrom(from, binary.BigEndian.Uint16(b)), netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.datagram(key, b[8:])
		return
	}
	if protocol != tcp {
		return
	}
	key, seq, ack, data, ok := segmentOf(from, to, b)
	const finOrReset = 5
	last := ok && b[13]&finOrReset != 0
	if !ok || len(data) == 0 && !last {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, i := c.find(key, seq, data)
	if f == nil {
		if startsTLS(data) {
			c.begin(key, seq, ack, data, &Handshake{Time: at, PIDs: [2]uint32{writer}})
		}
		return
	}
	if len(data) > 0 {
		if writer != 0 && f.shake.PIDs[i] == 0 {
			f.shake.PIDs[i] = writer
		}
		c.add(f, i, seq, data)
	}
	if last {
		c.account.end(f.shake, at)
	}
}

// find returns the connection of a segment, and the side that sent it: 0 for the client. It
// returns nil for the first segment of a connection.
func (c *Conversations) find(key flowKey, seq uint32, data []byte) (*flow, int) {
	if f := c.flows[key]; f != nil && !(startsTLS(data) && seq-f.first(0) > 1<<24) {
		return f, 0
	}
	if f := c.flows[flowKey{key.to, key.from}]; f != nil && !startsTLS(data) {
		return f, 1
	}
	return nil, 0
}

func (f *flow) first(i int) uint32 { return f.sides[i].next - uint32(len(f.sides[i].data)) }

// startsTLS reports whether bytes can be the first of a client: a record with a ClientHello.
func startsTLS(b []byte) bool {
	return len(b) >= 6 && b[0] == recordHandshake && b[1] == 3 && b[2] <= 4 && b[5] == 1
}

func (c *Conversations) begin(key flowKey, seq, ack uint32, data []byte, shake *Handshake) {
	if old := c.flows[key]; old != nil {
		c.account.end(old.shake, shake.Time)
		c.remove(old)
	}
	f := &flow{key: key, shake: shake}
	f.sides[0].next, f.sides[1].next = seq, ack
	c.flows[key] = f
	c.order = append(c.order, f)
	c.add(f, 0, seq, data)
}

// trim forgets the oldest connections if there are too many, but not the one that just
// grew.
func (c *Conversations) trim(f *flow) {
	for len(c.flows) > maxFlows || c.kept > maxKept {
		if len(c.order) == 0 || c.order[0] == f {
			return
		}
		c.remove(c.order[0])
	}
}

func (c *Conversations) remove(f *flow) {
	if !f.gone {
		f.gone = true
		delete(c.flows, f.key)
		if c.byRandom[f.random] == f {
			delete(c.byRandom, f.random)
		}
		for _, s := range f.sides {
			c.kept -= len(s.data)
			for _, w := range s.waiting {
				c.kept -= len(w.data)
			}
		}
		f.sides = [2]side{}
	}
	if len(c.order) > 2*maxFlows {
		c.order = slices.DeleteFunc(c.order, func(f *flow) bool { return f.gone })
	}
	for len(c.order) > 0 && c.order[0].gone {
		c.order[0] = nil
		c.order = c.order[1:]
	}
}

func (c *Conversations) add(f *flow, i int, seq uint32, data []byte) {
	defer c.trim(f)
	s := &f.sides[i]
	if len(s.data) >= maxSide {
		return
	}
	if d := seq - s.next; d != 0 && int32(d) > 0 {
		if len(s.waiting) < maxWaiting && len(data) <= maxWaitSize && d < maxSide {
			s.waiting = append(s.waiting, waiting{seq, slices.Clone(data)})
			c.kept += len(data)
		}
		return
	}
	c.append(s, seq, data)
	for again := true; again; {
		again = false
		for j, w := range s.waiting {
			if int32(w.seq-s.next) <= 0 {
				s.waiting = slices.Delete(s.waiting, j, j+1)
				c.kept -= len(w.data)
				c.append(s, w.seq, w.data)
				again = true
				break
			}
		}
	}
	if i == 0 && !f.known {
		if r, ok := randomOf(s.data); ok {
			f.random, f.known = r, true
			c.byRandom[r] = f
			f.shake.ClientRandom = r
			c.account.add(f.shake)
		}
	}
	if first := f.sides[1].data; i == 1 && len(first) >= 6 && first[0] == recordHandshake && first[5] == 2 {
		f.shake.Answered = true
	}
}

func (c *Conversations) append(s *side, seq uint32, data []byte) {
	old := s.next - seq // bytes that are already present
	if uint64(old) >= uint64(len(data)) {
		return
	}
	data = data[old:]
	data = data[:min(len(data), maxSide-len(s.data))]
	s.data = append(s.data, data...)
	s.next += uint32(len(data))
	c.kept += len(data)
}

const (
	tcp = 6
	udp = 17
)

// transportOf finds the payload of an IP packet. Fragments are skipped: hosts that use TLS
// or QUIC do not send them.
func transportOf(b []byte) (from, to netip.Addr, protocol byte, data []byte) {
	if len(b) < 20 {
		return
	}
	be := binary.BigEndian
	switch b[0] >> 4 {
	case 4:
		n, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
		if n < 20 || len(b) < n || be.Uint16(b[6:])&0x3fff != 0 {
			return
		}
		from, to, protocol = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[9]
		if total >= n && total < len(b) {
			b = b[:total]
		}
		return from, to, protocol, b[n:]
	case 6:
		if len(b) < 40 {
			return
		}
		from, to, protocol = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[6]
		total := int(be.Uint16(b[4:]))
		if b = b[40:]; total > 0 && total < len(b) {
			b = b[:total]
		}
		for i := 0; protocol == 0 || protocol == 43 || protocol == 60; i++ { // options, routing
			if i == 8 || len(b) < 8 || len(b) < 8+int(b[1])*8 {
				return from, to, 0, nil
			}
			protocol, b = b[0], b[8+int(b[1])*8:]
		}
		return from, to, protocol, b
	}
	return
}

func segmentOf(from, to netip.Addr, b []byte) (key flowKey, seq, ack uint32, data []byte, ok bool) {
	if len(b) < 20 || int(b[12]>>4) < 5 || len(b) < int(b[12]>>4)*4 {
		return
	}
	be := binary.BigEndian
	key = flowKey{netip.AddrPortFrom(from, be.Uint16(b)), netip.AddrPortFrom(to, be.Uint16(b[2:]))}
	return key, be.Uint32(b[4:]), be.Uint32(b[8:]), b[int(b[12]>>4)*4:], true
}
