// Package flow keeps the conversations of one shard: their two ends, the state of TCP, and the
// connection to which a packet's bytes belong.
//
// A flow is one conversation as one interface saw it; a connection combines the flows of one
// conversation. The bytes of a connection go through stream into dissect once, from the flow that
// had them first. Shard is the only entry: it accepts packets in order and emits finished rows in a
// Batch. It reads no clock, and its memory is bounded: at a limit the conversation that was silent
// longest is closed and counted as evicted.
package flow

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/icmp/wire"
)

// Packet has the fields of a decoded frame that are kept. The pipeline fills it; Shard sets Flow
// and Mark.
type Packet struct {
	Capture
	IP
	Segment
	Origin
	Said
	Payload []byte
	Flow    ID // set by the shard
	Mark    Mark
}

// Capture is where and when a packet was captured; times are ns.
type Capture struct {
	No, Time    int64
	Stamp       int64 // as captured; Time is another if that is far from the packets around it
	Offset      int64 // in its file
	FileIndex   int64
	Frame       int64
	File        int32
	Interface   int32  // over all files
	Clock       int32  // that stamped it, see dissect.Instant
	Device      uint32 // of the capturing machine, if one interface shows several (SLL2)
	CapLen, Len int32
}

// IP is what its IP header and what is around it say.
type IP struct {
	Src, Dst   decode.Addr
	Network    uint64 // what is around the packet, see decode.Frame.Network; 0 if nothing is
	Carrier    uint64 // hash of the way on which it came, see decode.Frame.Carrier, and of its network
	FragNos    []int64
	Pieces     decode.Pieces   // of a joined or given-up datagram
	Tunnels    []decode.Tunnel // nil for most
	IPLen      int32
	VLAN       int32 // -1: none
	IPID       uint32
	Problems   decode.Problem
	Kind       decode.Kind
	Direction  decode.Direction
	Proto      uint8
	Version    uint8
	Type, Code uint8
	TTL        uint8 // or hop limit
}

// Segment is what its TCP, UDP or other transport header says.
type Segment struct {
	PayloadLen  int32
	Seq, Ack    uint32
	TSVal       uint32
	Mapping     uint32 // see decode.Frame
	SrcPort     uint16
	DstPort     uint16
	TCPFlags    uint16
	Window, MSS uint16
	WScale      int8
	L4          bool
	HasTS       bool
	Multipath   bool // an option of Multipath TCP
	Mapped      bool // Mapping is set
	Sum         Sum
}

// Origin is who sent or received it on the machine that captured it.
type Origin struct {
	Owner     int32 // see Flow.Owner
	OwnerRank uint8 // how well that is known; 0: only a flow's first packet counts
	Wrote     bool  // the kernel said that Owner wrote this very packet
}

// Said is what the stages before know beyond the packet itself, some of which is no packet at all.
type Said struct {
	Undelivered *wire.Report // not nil: no packet, but what an ICMP error with this report quotes of one
	View        *View        // other addresses that the packet showed; nil if Src and Dst are what it showed
	PDU         bool         // no packet, but bytes of a stream or datagram
	GivenUp     bool         // no packet, but a datagram whose fragments did not all come
	Portless    bool         // the first of them is missing, so it is every shard's
	Elsewhere   bool         // no packet: an answer to what this one asked came from ends that were not asked
	Unasked     bool         // it is such an answer
	Alike       bool         // its conversation may be one of other ends, or a replay of it: nothing distinguishes them
	Several     bool         // the captures have several interfaces
}

// Sum is the verdict on a packet's checksums of IPv4, TCP and UDP.
type Sum uint8

// Kinds of checksums.
const (
	SumRight     Sum = iota // right, unfinished, or not verified
	SumWrong                // every receiver drops the packet
	SumUnproven             // wrong, in a conversation that has shown no right one so far
	SumRewritten            // wrong like all others of its direction: rewriting the capture did that
)

// SeqLen is how many sequence numbers a TCP segment uses, RFC 9293 section 3.4.
func (p *Packet) SeqLen() uint32 {
	n := uint32(p.PayloadLen)
	if p.TCPFlags&(decode.SYN|decode.FIN) != 0 {
		n++
	}
	return n
}

// Captured reports whether a file has the packet. Others report something to their conversation.
func (p *Packet) Captured() bool { return !p.GivenUp && p.Undelivered == nil && !p.Elsewhere }

// began is when the packet was captured, of a datagram its first fragment.
func (p *Packet) began() int64 {
	if p.Pieces.Packets > 0 {
		return min(p.Time, p.Pieces.First)
	}
	return p.Time
}

// snapCut reports whether the capture holds less of the packet than was on the wire.
func (p *Packet) snapCut() bool {
	return p.Problems&decode.FragmentMissing == 0 && (p.Problems&decode.Truncated != 0 || int(p.PayloadLen) > len(p.Payload))
}

// portsOnly reports whether the snap length left only the ports of a TCP header.
func (p *Packet) portsOnly() bool {
	return p.Proto == protoTCP && p.Problems&decode.HeaderCut != 0 && p.TCPFlags == 0
}

// Mark has the flags of a packet in the tables, apart from its TCP flags; the values are those of packets.flags.
type Mark uint16

// Marks.
const (
	FromServer    Mark = 0x100
	Retransmitted Mark = 0x200
	Sighting      Mark = 0x400
	SnapCut       Mark = 0x800
	Fragment      Mark = 0x1000
	NotWhole      Mark = 0x2000
	OutOfOrder    Mark = 0x4000
	BadChecksum   Mark = 0x8000
)

// IP protocol numbers that are distinguished.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// transportOf is the transport of an IP protocol.
func transportOf(proto uint8) dissect.Transport {
	switch proto {
	case protoTCP:
		return dissect.TCP
	case protoUDP:
		return dissect.UDP
	case protoICMP, protoICMPv6:
		return dissect.ICMP
	case protoSCTP:
		return dissect.SCTP
	}
	return dissect.Other
}

// End is one end of a conversation.
type End struct {
	Addr decode.Addr
	Port uint16
}

// Before orders ends.
func (e End) Before(o End) bool { return compareEnds(&e.Addr, e.Port, &o.Addr, o.Port) < 0 }

// View is a connection's other pair of addresses: behind a translator the same packets show other
// ends. The client is before the server.
type View struct {
	Dialled [2]End   // as the client dialled
	Seen    [2]End   // as this view shows them
	Network uint64   // in which it was dialled
	By      Evidence // that both are one connection
	Stamps  bool     // time stamps of TCP are other ones
	Answers bool     // it shows only the server's packets, from the end that the client dialled: Dialled is what became of that
}

// same reports whether two views, each perhaps nil, show the same ends.
func (v *View) same(o *View) bool { return v == o || v != nil && o != nil && v.Seen == o.Seen }

// restamps reports whether a view, perhaps nil, shows other time stamps.
func (v *View) restamps() bool { return v != nil && v.Stamps }

// Evidence is the proof that a view belongs to a connection, as connections.pair_method names it.
type Evidence string

// Kinds of evidence.
const (
	BySequence     Evidence = "sequence"      // TCP's numbers
	ByConnectionID Evidence = "connection_id" // of QUIC
	ByPayload      Evidence = "payload"       // of datagrams
	BySocket       Evidence = "socket"        // whose ends the recorder reported
)

// See replaces the addresses in the packet with those to which the connection was opened.
func (p *Packet) See(v *View) {
	from, to := v.Dialled[0], v.Dialled[1]
	if (End{p.Src, p.SrcPort}) != v.Seen[0] {
		from, to = to, from
	}
	p.View, p.Src, p.SrcPort, p.Dst, p.DstPort = v, from.Addr, from.Port, to.Addr, to.Port
}

// network is the one whose conversation the packet belongs to.
func (p *Packet) network() uint64 {
	if p.View != nil {
		return p.View.Network
	}
	return p.Network
}

// key names the connections of two ends: the ends in a fixed order and the protocol.
// Those of different networks are distinguished after that, see networks.
type key struct {
	lo, hi         decode.Addr
	loPort, hiPort uint16
	proto          uint8
	pdu            int32 // 1 + the interface of data that is not a packet. It is never joined with packets, nor with the data of another program
}

// keyOf returns the key and whether the packet's source is the lower end.
func keyOf(p *Packet) (k key, srcIsLo bool) {
	k.proto = p.Proto
	if p.PDU {
		k.pdu = 1 + p.Interface
	}
	c := compareEnds(&p.Src, p.SrcPort, &p.Dst, p.DstPort)
	if c <= 0 {
		k.lo, k.loPort, k.hi, k.hiPort = p.Src, p.SrcPort, p.Dst, p.DstPort
		return k, true
	}
	k.lo, k.loPort, k.hi, k.hiPort = p.Dst, p.DstPort, p.Src, p.SrcPort
	return k, false
}

func compareEnds(a *decode.Addr, ap uint16, b *decode.Addr, bp uint16) int {
	for i := range a {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return int(ap) - int(bp)
}
