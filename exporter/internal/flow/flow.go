package flow

import (
	"hash/maphash"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/linked"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
)

// Conn is one connection and the flows that saw it.
type Conn struct {
	id        ID
	key       key
	transport dissect.Transport
	cost      int32 // its own memory, in bytes
	flows     []*Flow
	stream    *stream.Conn
	d         *dissect.Conn
	shard     *Shard
	writers   *[2]writers // by direction; nil if nothing is known about them
	nets      networks
	carriers  [2]carriers // by direction
	mappings  *[2]mapping // of Multipath TCP by direction; nil if no packet had one

	parties
	timing
	numbering
	reuse
	strangeness
	standing
}

// parties are the two sides of a connection.
type parties struct {
	client, server end
	srcIsLo        bool // the client is the lower end of key
	role           role
	kind, code     uint8 // of the first ICMP message
}

// timing is when a connection's packets came; times are ns.
type timing struct {
	first, last      int64
	touched          int64        // newest capture time when its last packet came; rises along its list, even if times go back
	lastAt           int64        // time of its last packet
	clock, lastClock int32        // of the first packet's interface; that stamped the last one
	apart            *clocksApart // two of the clocks; nil until copies of a datagram show it
}

// numbering is what each direction sent so far, for TCP in its numbers (RFC 9293 section 3.4, RFC 7323).
type numbering struct {
	lastSeq, lastAck uint32 // of its last packet
	isn              [2]uint32
	firstSeq         [2]uint32 // of the first segment without SYN
	stamp            [2]uint32 // time stamp of the newest bytes that arrived in order
	stampOf          [2]*View  // under whose ends it was
	hasISN           [2]bool
	hasSeq           [2]bool
	hasStamp         [2]bool
	ended            [2]bool
	reset            bool
	multipath        bool  // it agreed on Multipath TCP
	spoke            uint8 // bit n: direction n was seen
	bare             uint8 // bit n: it had segments without payload
}

// reuse is what came before and besides a connection on the same ports.
type reuse struct {
	pending     *pendingSYN // the newest one of a connection that may follow
	early       *pendingSYN // SYN-ACK that answers no SYN so far
	elsewhere   *elsewhere  // segment of a connection that may have taken the ports
	displaced   *Conn       // open connection whose ports it took
	displacedAt int64       // when another took its ports, ns
	crowded     bool        // more connections waited for the ports than may
	beside      bool        // another has its ports
	wentOn      bool        // after another took its ports
}

// strangeness is what was strange about a connection, and what is not yet decided.
type strangeness struct {
	synPayload  *synPayload
	rivals      []synAck
	oddBytes    int64 // of anomalies beyond maxEarlyOdds
	odds        int32 // anomalies before the first payload
	unreachable bool  // an ICMP error says that its SYN was rejected
	unsummed    bool  // mixed checksums were reported
	clocks      bool  // several clocks stamped its packets
	rewritten   bool  // a wrong checksum without any right one was reported
}

// standing is a connection's place in its shard.
type standing struct {
	established linked.Place[Conn]
	serial      uint64 // among the connections of the shard
	newest      uint64 // datagram of it that the shard remembers, see sent.prior
	list        *list
	prev, next  *Conn
}

// role says how it is known which end is the client.
type role uint8

const (
	firstPacket role = iota
	bySYN
	bySYNACK
	byPort
)

var roleNames = [...]string{firstPacket: "first_packet", bySYN: "syn", bySYNACK: "synack", byPort: "port"}

type end struct {
	addr decode.Addr
	port uint16
}

// texts keeps addresses as text, so that many rows share one string.
type texts [256]struct {
	addr decode.Addr
	text string
}

func (t *texts) of(a decode.Addr) string {
	e := &t[a[15]+31*a[14]]
	if e.addr != a || e.text == "" {
		e.addr, e.text = a, a.String()
	}
	return e.text
}

// value is the end for the next stage.
func (e *end) value() End { return End{e.addr, e.port} }

// Flow is one conversation as one interface saw it.
type Flow struct {
	id   ID
	Conn *Conn
	site
	span
	opened
	copies
	side [2]sideStats
	rtt  *rtt // nil before the first segment with payload
}

// site is where a flow was captured, and what its first packet showed there.
type site struct {
	First     int64 // number of the first packet
	Interface int32
	Device    uint32
	View      *View // its own addresses, if a translator changed them
	Owner     int32 // of its first packet: the caller's number for its sender or receiver on this machine, 0 unknown

	owners    [2]owner // of the client's and the server's end, from its packets
	vlan      int32
	slot      uint8            // of networks: flows of one interface in different networks are different places
	direction decode.Direction // of the first packet
	firstSrc  bool             // the first packet came from the client
	clock     int32            // of its packets
	tunnels   []decode.Tunnel
}

// span is the time between a flow's packets.
type span struct {
	firstNs, lastNs int64
	lastPacket      int64
}

// opened is when a flow showed the three segments that open a TCP connection, in ns; 0 not seen.
type opened struct {
	syn, synAck, ack int64
	seen             uint8 // completeness bits
	refused          bool
	signed           bool // copies.firstSig is set
	short            bool // it showed datagrams that its snap length cut, before another flow showed them
}

// copies are packets that a flow showed more than once, or not whole.
type copies struct {
	sightings int64
	snapCuts  int32     // packets that the snap length cut
	snapped   int32     // most payload bytes of one of them
	firstSig  signature // of the first packet
	sigs      []digest  // of later ones, at most maxSigs; most floods never get there
	sigN      uint32
}

// local is the end of the connection that the capturing machine is, by the direction of the flow's
// first packet.
func (f *Flow) local() Local {
	switch {
	case f.direction == decode.DirUnknown:
		return LocalUnknown
	case (f.direction == decode.DirOut) == f.firstSrc:
		return LocalClient
	}
	return LocalServer
}

// owner is the owner of one end of a flow, and the certainty of that.
type owner struct {
	no   int32
	rank uint8
}

// owned records the owner that a packet shows. A more certain owner is kept; of two equally certain ones, the newer is.
func (s *Shard) owned(f *Flow, p *Packet, fromClient bool) {
	if p.OwnerRank == 0 || p.Direction == decode.DirUnknown {
		return
	}
	client := (p.Direction == decode.DirOut) == fromClient
	o := &f.owners[1]
	if client {
		o = &f.owners[0]
	}
	if p.OwnerRank < o.rank || p.Owner == o.no {
		o.rank = max(o.rank, p.OwnerRank)
		return
	}
	*o = owner{p.Owner, p.OwnerRank}
	s.out.Owners = append(s.out.Owners, Owned{f.id, p.No, p.Owner, p.OwnerRank, client})
}

// sideStats are the counters of one direction of a flow.
type sideStats struct {
	packets, bytes, payload int64
	fins                    uint32
	rare                    *rareStats // see Flow.rare

	checked   int32 // 1 + the largest payload with a right checksum
	started   bool
	next      uint32 // end of the highest sequence number seen
	lastAck   uint32
	hasAck    bool
	dupRun    int32 // equal ACKs in a row
	lastAckAt int64
	window    uint32
	wscale    int8
	mss       uint16
	lastNewAt int64 // when the highest sequence number last rose
}

// rareStats are counters that are 0 for most directions.
type rareStats struct {
	cut, duplicate, anomalous         int64 // of payload
	retransmissions, fast, outOfOrder uint32
	dupAcks, zeroWindows, windowFull  uint32
	keepAlives, resets, lost, over    uint32
	holes                             []hole
}

// rare is what to change of it.
func (f *Flow) rare(dir dissect.Dir) *rareStats {
	d := &f.side[dir]
	if d.rare == nil {
		d.rare = &rareStats{}
		f.Conn.shard.take(f.Conn, rareCost)
	}
	return d.rare
}

// rarely is what to read of it.
func (d *sideStats) rarely() rareStats {
	if d.rare == nil {
		return rareStats{}
	}
	return *d.rare
}

// hole is a range of sequence numbers that was passed over.
type hole struct {
	from, to uint32
	at       int64
}

// maxHoles bounds the holes remembered for a direction. The oldest are forgotten; then a late segment is named
// retransmission instead of out_of_order.
const maxHoles = 16

// maxSigs is how many packets of a flow are remembered to know a copy of one.
const maxSigs = 8

// signature distinguishes a packet that was captured again from a segment that was sent again: a
// copy of one packet has the same IP identification and the same time stamp option.
type signature struct {
	seq, ack, tsval, ipid uint32
	len                   int32
	flags                 uint16
	src                   bool
	at                    int64
}

// digest is a signature in less memory. The seed of its sum keeps a sender from making two
// packets with the same one.
type digest struct {
	sum uint64
	at  int64
}

func (s *signature) digest() digest {
	src := uint64(0)
	if s.src {
		src = 1
	}
	return digest{maphash.Comparable(sums, [3]uint64{uint64(s.seq)<<32 | uint64(s.ack), uint64(s.tsval)<<32 | uint64(s.ipid),
		uint64(s.len)<<32 | uint64(s.flags)<<8 | src}), s.at}
}

// rtt gathers times from data to acknowledgement.
type rtt struct {
	ends          [2][4]uint32 // sequence numbers, see sample
	at            [2][4]int64
	n             [2]uint8
	min, max, sum int64
	count         int64
}
