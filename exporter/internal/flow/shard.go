package flow

import (
	"net/netip"
	"reflect"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/linked"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
)

// Limits of one shard; times are capture time.
const (
	endsAtOnce    = 256          // connections that may end at the end of a round: their rows wait in memory
	endsByPacket  = 4            // connections that a packet may end
	closedLinger  = 60e9         // ns that they wait, as TIME-WAIT does
	tcpIdle       = 3600e9       // ns of silence that end a TCP connection
	datagramIdle  = 600e9        // ns of silence that end any other conversation
	maxFlows      = 16           // flows of one connection
	sightingSlack = int64(100e6) // ns within which a packet's copies are seen
	unmarkedSlack = int64(100e3) // the same for those without IP identification and time stamp: no sender repeats itself that soon
	reorderSlack  = int64(3e6)   // ns within which a late segment is out of order, not sent again
	fastSlack     = int64(20e6)  // ns after duplicate ACKs within which a segment is a fast retransmission
)

// Options change the behaviour of a shard.
type Options struct {
	Protocols func() []*dissect.Protocol // makes protocols for one shard; called by several goroutines
	DecodeAs  []dissect.DecodeAs
	Repanic   bool // a dissector's panic ends the program, as tests want it
	Plain     bool // batches also hold what came out of encryption
	Trace     bool // bodies remember where they were captured
}

// Shard keeps the connections whose hash falls to it. One goroutine uses it at a time.
type Shard struct {
	o       Options
	connIDs ids
	flowIDs ids
	conns   map[key]*Conn
	serial  uint64          // of the newest connection
	ports   map[uint16]bool // server ports that protocols hint at
	engine  *dissect.Engine // nil before the first packet
	history stream.History
	texts   texts
	lists
	budgets
	strays
	turn
}

// lists are the open connections of a shard, each in one, by their last packet.
type lists struct {
	tcp         list
	established linked.List[Conn] // those in tcp, by when they came there
	other       list
	opening     list // TCP without payload so far: a flood of SYNs evicts its own
	asking      list // datagrams that nobody answered so far
	settled     list // datagrams whose questions are all answered, and that depend on no earlier ones
	closing     list
	count       int // in all
}

// budgets are the memory of a shard in bytes.
type budgets struct {
	room        int // that connections may take
	taken       int // by connections themselves
	budget      stream.Budget
	streamLimit int    // of budget
	rowSizes    []int  // of a call's struct, by protocol
	rowLimit    int    // of rows after which drain is called
	drain       func() // see SetOutlet
}

// strays are packets that wait for the conversation to which they belong.
type strays struct {
	datagrams datagrams
	early     []Packet // ICMP errors about datagrams that were not captured yet
	portless  portless
}

// turn is what a shard works on.
type turn struct {
	now     int64 // newest capture time
	at      int64 // number of the packet
	before  int64 // time of the packet before it in its connection, 0 if it is the first
	segment stream.Segment
	out     *Batch
	untold  []untold
	seen    Seen // see SetSeen
}

// NewShard makes the shard with a number below ShardCount. The caller has checked o.DecodeAs.
func NewShard(number int, o Options) *Shard {
	s := &Shard{o: o, connIDs: ids{shard: int32(number)}, flowIDs: ids{shard: int32(number)}, conns: map[key]*Conn{}, ports: map[uint16]bool{}}
	s.history.Budget = &s.budget
	s.SetBudget(defaultRoom)
	return s
}

// start makes the engine. A small capture has packets in few shards, and making the protocols of all would take longer
// than reading it.
func (s *Shard) start() {
	protocols := s.o.Protocols()
	for _, p := range protocols {
		for _, port := range p.Ports {
			s.ports[port] = true
		}
	}
	for _, d := range s.o.DecodeAs {
		s.ports[d.Port] = true
	}
	var to dissect.Sink = (*sink)(s)
	if s.o.Plain {
		to = plainSink{s}
	}
	e, err := dissect.NewEngine(protocols, s.o.DecodeAs, to, s.o.Repanic)
	if err != nil {
		panic(err) // the caller of NewShard has not checked it
	}
	if s.o.Trace {
		e.Trace()
	}
	s.engine = e
	for _, p := range e.Protocols {
		s.rowSizes = append(s.rowSizes, int(reflect.TypeOf(p.Row).Elem().Size()))
	}
	s.SetBudget(s.room)
}

// Run takes the packets of one round that belong to this shard and leaves rows in out.
func (s *Shard) Run(packets []Packet, mine []int32, out *Batch) {
	if s.engine == nil && slices.ContainsFunc(mine, func(i int32) bool { return !packets[i].Portless }) {
		s.start()
	}
	s.out = out
	s.connIDs.nextRound()
	s.flowIDs.nextRound()
	for _, i := range mine {
		s.at, out.at = packets[i].No, i
		s.packet(&packets[i])
		out.mark()
	}
	out.at = afterPackets
	s.tell()
	s.out = nil
}

// Expire closes conversations that were silent too long at capture time now, which must be the same
// for every shard at the end of a round.
func (s *Shard) Expire(now int64, last dissect.Packet, out *Batch) {
	s.out, out.at = out, afterPackets
	s.now, s.at = max(s.now, now), last.No
	s.expire(last, endsAtOnce/8)
	out.mark()
	s.tell()
	s.out = nil
}

// Close ends connections, oldest first, as many as may end at once; Open returns how many are left.
func (s *Shard) Close(last dissect.Packet, out *Batch) {
	s.out, s.at, out.at = out, last.No, afterPackets
	left := endsAtOnce
	for _, l := range [...]*list{&s.closing, &s.opening, &s.asking, &s.settled, &s.other, &s.tcp} {
		for ; l.head != nil && left > 0; left-- {
			why := dissect.EndCapture
			if l == &s.closing {
				why = l.head.closeReason()
			}
			s.end(l.head, why, last)
		}
	}
	out.mark()
	s.tell()
	s.out = nil
}

func (c *Conn) closeReason() dissect.End {
	if c.reset {
		return dissect.EndReset
	}
	return dissect.EndFin
}

// alike reports an answer that was not asked for here, and a packet whose conversation may be another one that was captured elsewhere.
func (s *Shard) alike(c *Conn, f *Flow, p *Packet) {
	if p.Unasked {
		s.odd(c, f, packetRef(p), "answered_elsewhere", "it has the id and the question of a question to another address or port", 0)
	}
	if p.Alike {
		s.odd(c, f, packetRef(p), "same_exchange", "another pair of addresses showed the same question, with the same answer or without two answers to compare, and nothing proves one exchange that was captured twice nor two: a translated or replayed one; both are read", 0)
	}
}

func packetRef(p *Packet) dissect.Packet {
	return dissect.Packet{No: p.No, Time: p.Time, Clock: p.Clock, Seq: p.Seq, Ack: p.Ack, Also: p.FragNos}
}

func (s *Shard) open(k key, p *Packet, srcIsLo bool) *Conn {
	c := &Conn{id: s.connIDs.assign(), key: k, transport: transportOf(p.Proto), shard: s,
		timing:  timing{first: p.began(), last: p.Time, clock: p.Interface},
		parties: parties{kind: p.Type, code: p.Code}}
	src, dst := end{addr: p.Src, port: p.SrcPort}, end{addr: p.Dst, port: p.DstPort}
	var fromClient bool
	if fromClient, c.role = s.roles(p); fromClient {
		c.client, c.server, c.srcIsLo = src, dst, srcIsLo
	} else {
		c.client, c.server, c.srcIsLo = dst, src, !srcIsLo
	}
	s.enroll(c, p.network(), sideOf(srcIsLo))
	s.count++
	s.serial++
	c.serial = s.serial
	s.take(c, connCost)
	c.list = &s.asking
	if c.transport == dissect.TCP {
		c.list = &s.opening
	}
	c.list.push(c)
	c.touched = s.now
	return c
}

// roles says whether the first packet of a connection comes from the client, and how
// that is known.
func (s *Shard) roles(p *Packet) (fromClient bool, how role) {
	if transportOf(p.Proto) == dissect.TCP {
		switch p.TCPFlags & (decode.SYN | decode.ACK) {
		case decode.SYN:
			return true, bySYN
		case decode.SYN | decode.ACK:
			return false, bySYNACK
		}
	}
	if p.SrcPort == p.DstPort {
		return true, firstPacket
	}
	if a, b := s.ports[p.SrcPort], s.ports[p.DstPort]; a != b {
		return b, byPort
	}
	// The first sender of a datagram is the client, also from a low port (NFS).
	if a, b := p.SrcPort < 1024, p.DstPort < 1024; a != b && p.Proto == protoTCP {
		return b, byPort
	}
	return true, firstPacket
}

func (s *Shard) flowOf(c *Conn, p *Packet, fromClient bool, slot uint8) *Flow {
	for _, f := range c.flows {
		if f.Interface == p.Interface && f.slot == slot && f.Device == p.Device && f.View.same(p.View) {
			return f
		}
	}
	if len(c.flows) >= maxFlows {
		return c.flows[maxFlows-1]
	}
	f := &Flow{id: s.flowIDs.assign(), Conn: c, span: span{firstNs: p.Time, lastNs: p.Time},
		site: site{First: p.No, Interface: p.Interface, Device: p.Device, View: p.View, Owner: p.Owner, slot: slot,
			vlan: p.VLAN, tunnels: p.Tunnels, direction: p.Direction, firstSrc: fromClient, clock: p.Clock}}
	for i := range f.side {
		f.side[i].wscale = -1
	}
	if c.flows = append(c.flows, f); len(c.flows) > 1 {
		s.take(c, flowCost)
	}
	client, server := f.ends()
	s.out.Started = append(s.out.Started, Started{Flow: f.id, Conn: c.id, First: f.First, Interface: f.Interface, Owner: f.Owner, Local: f.local(),
		Ends: [2]End{client.value(), server.value()}, Translated: f.View != nil, Answers: f.View != nil && f.View.Answers, NewConn: len(c.flows) == 1,
		Dialled: [2]End{c.client.value(), c.server.value()}, Proto: c.key.proto, ConnFirst: c.first})
	return f
}

// limitedBroadcast is every host of a link, RFC 919 section 7.
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// begin makes the state that only connections with payload need.
func (c *Conn) begin(connectUs int64) {
	version := uint8(6)
	if c.key.proto == protoICMP || c.key.proto != protoICMPv6 && c.client.addr.Is4() {
		version = 4
	}
	client, server := c.dialled()
	to := server.addr.Netip()
	by := ""
	if c.key.pdu != 0 {
		by = "plaintext"
	}
	began := c.hasISN
	began[dissect.ToServer] = began[dissect.ToServer] || began[dissect.ToClient] // a SYN-ACK says where (RFC 9293 section 3.5)
	began[dissect.ToClient] = began[dissect.ToClient] || c.stream != nil && c.stream.Opens(uint8(dissect.ToClient))
	c.shard.take(c, talkCost)
	c.d = c.shard.engine.NewConn(dissect.Info{Transport: c.transport, ClientPort: client.port, ServerPort: server.port,
		IPVersion: version, Multicast: to.IsMulticast() || to == limitedBroadcast,
		RolesKnown: c.role == bySYN || c.role == bySYNACK, Began: began, ConnectUs: connectUs, OpenedBy: by, Owner: c,
		Client: client.addr.Netip(), Server: to, Opened: dissect.Packet{No: c.flows[0].First, Time: c.first, Clock: c.flows[0].clock}})
}

// touch moves a connection to the young end of its list.
func (s *Shard) touch(c *Conn) {
	if c.list == nil { // ended by this very packet
		return
	}
	to := c.list
	switch {
	case c.transport != dissect.TCP:
		switch {
		case c.spoke != 3:
		case c.d != nil && c.d.Settled():
			to = &s.settled
		default:
			to = &s.other
		}
	case c.over():
		to = &s.closing
	case c.d != nil, c.spoke == 3 && c.flows[0].side[dissect.ToServer].packets > 1: // a handshake, not a flood of SYNs
		to = &s.tcp
	}
	switch was, is := c.list == &s.tcp, to == &s.tcp; {
	case is && !was:
		s.established.Add(&c.established, c)
	case was && !is:
		s.established.Remove(&c.established)
	}
	c.list.remove(c)
	c.list = to
	to.push(c)
	c.touched = s.now
}

// end closes a connection and writes its rows.
func (s *Shard) end(c *Conn, why dissect.End, at dissect.Packet) {
	if c.list == nil {
		return
	}
	if c.list == &s.tcp {
		s.established.Remove(&c.established)
	}
	c.list.remove(c)
	c.list = nil
	s.withdraw(c)
	s.restore(c)
	until := s.newest(c, at)
	if c.beside && !c.wentOn {
		why, until = dissect.EndReuse, c.displacedAt
	}
	s.count--
	defer s.forget()
	last := dissect.Packet{No: at.No, Time: c.lastAt, Clock: c.lastClock, Seq: c.lastSeq, Ack: c.lastAck}
	s.settleSYN(c, dissect.ToServer, nil)
	s.settleElsewhere(c)
	c.forgetSYNs(&c.pending)
	if c.stream != nil {
		c.stream.Close(&stream.Segment{Packet: stream.Packet{No: at.No, Time: last.Time, Clock: last.Clock}})
	}
	if c.ended[0] && c.ended[1] && (why == dissect.EndCapture || why == dissect.EndTimeout) {
		why = dissect.EndFin // a hole had hidden it until now
	}
	if c.stream != nil {
		s.reportStrange(c)
	}
	s.oddMore(c, last)
	if c.d != nil {
		seen := why
		if c.transport == dissect.TCP && c.oneSided() { // its end shows nothing about answers that were not captured
			seen = dissect.EndCapture
			if why != dissect.EndTimeout && why != dissect.EndCapture {
				until = last.Time
			}
		}
		c.d.CloseAt(seen, last, until)
	}
	if why == dissect.EndEvicted {
		s.anomaly(c.flows[0], at, "engine", "evicted", "the memory limit closed this conversation: its calls may be cut, and later packets begin another one", 0)
		s.out.size += anomalyRowCost
	}
	for i, f := range c.flows {
		s.out.Flows = append(s.out.Flows, FlowRow{f.id, at.No, flowRow(f.row(why, i == 0)), c.flipped()})
		s.flowIDs.release(f.id)
	}
	s.out.Conns = append(s.out.Conns, ConnRow{c.id, at.No, connRow(c.row()), c.flipped(), c.keyLines()})
	s.connIDs.release(c.id)
	s.out.size += len(c.flows)*flowRowCost + connRowCost
	s.take(c, -int(c.cost)) // last, because closing may begin what was never begun
	s.makeRoom()
}
