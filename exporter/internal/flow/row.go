package flow

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Rows of flows and connections are used again when their batch is: in a flood they are 4 of 10 allocated bytes.
var (
	flowRows = sync.Pool{New: func() any { return &table.Flow{} }}
	connRows = sync.Pool{New: func() any { return &table.Connection{} }}
)

// flowRow is the row of a flow in a batch.
func flowRow(r table.Flow) *table.Flow {
	row := flowRows.Get().(*table.Flow)
	*row = r
	return row
}

// connRow is the row of a connection in a batch.
func connRow(r table.Connection) *table.Connection {
	row := connRows.Get().(*table.Connection)
	*row = r
	return row
}

// both is the sum of two counts.
func both(a, b uint32) int64 { return int64(a) + int64(b) }

// row makes the flow's row; primary is the connection's first flow, which carries the
// account of the stream's bytes.
func (f *Flow) row(why dissect.End, primary bool) table.Flow {
	c := f.Conn
	client, server := f.ends()
	src, dst := client, server
	a, b := &f.side[0], &f.side[1]
	role := roleNames[c.role]
	flipped := c.d != nil && c.d.Flipped()
	if flipped {
		src, dst, a, b = dst, src, b, a
	}
	if c.d != nil && c.d.Protocol() != nil && c.role != bySYN && c.role != bySYNACK {
		role = "protocol"
	}
	x, y := a.rarely(), b.rarely()
	r := table.Flow{
		Transport: transportName(c.transport, c.key.proto), SrcIP: c.shard.texts.of(src.addr), SrcPort: int32(src.port), DstIP: c.shard.texts.of(dst.addr), DstPort: int32(dst.port),
		RoleKnown: role, Vantage: f.vantage(flipped),
		FirstNs: f.firstNs, LastNs: f.lastNs, Ts: table.MicrosOf(f.firstNs), FirstPacket: f.First, LastPacket: f.lastPacket,
		SrcPackets: a.packets, DstPackets: b.packets, SrcBytes: a.bytes, DstBytes: b.bytes,
		SrcPayloadBytes: a.payload, DstPayloadBytes: b.payload, CutBytes: x.cut + y.cut, DuplicateBytes: x.duplicate + y.duplicate,
		AnomalyBytes:    x.anomalous + y.anomalous,
		CloseReason:     why.String(),
		Retransmissions: both(x.retransmissions, y.retransmissions), FastRetransmissions: both(x.fast, y.fast),
		OutOfOrder: both(x.outOfOrder, y.outOfOrder), DuplicateAcks: both(x.dupAcks, y.dupAcks), LostSegments: both(x.lost, y.lost),
		ZeroWindows: both(x.zeroWindows, y.zeroWindows), WindowFull: both(x.windowFull, y.windowFull), KeepAlives: both(x.keepAlives, y.keepAlives),
		Resets: both(x.resets, y.resets), Fins: both(a.fins, b.fins), OverlapConflicts: both(x.over, y.over), SnapCuts: int64(f.snapCuts),
		OneSided: a.packets == 0 || b.packets == 0, Sightings: f.sightings, Turned: flipped,
		CommunityID: communityID(client, server, c.key.proto, c.kind, c.code),
	}
	f.protocols(&r, primary)
	f.tunnel(&r)
	if c.transport == dissect.TCP {
		r.State = table.Some(f.state())
		r.Completeness = table.Some(int32(f.seen))
		f.times(&r, a, b)
	}
	return r
}

// dialled are the client, and the server as the client dialled it.
func (c *Conn) dialled() (client, server *end) {
	for _, f := range c.flows {
		if f.View != nil && f.View.Answers {
			return f.ends()
		}
	}
	return &c.client, &c.server
}

// ends are client and server as this flow showed them.
func (f *Flow) ends() (client, server *end) {
	c := f.Conn
	if f.View == nil {
		return &c.client, &c.server
	}
	a, b := f.View.Seen[0], f.View.Seen[1]
	if (End{c.client.addr, c.client.port}) != f.View.Dialled[0] {
		a, b = b, a
	}
	return &end{a.Addr, a.Port}, &end{b.Addr, b.Port}
}

func (f *Flow) protocols(r *table.Flow, primary bool) {
	d := f.Conn.d
	if s := f.Conn.stream; s != nil && primary {
		r.DuplicateBytes += s.In[0] + s.In[1] - s.Out[0] - s.Out[1]
	}
	if d == nil {
		return
	}
	if path := d.Path(); len(path) > 0 {
		r.Protocols = path
		r.Protocol = table.Some(path[len(path)-1])
	}
	if primary {
		r.RowBytes, r.GapBytes = d.RowBytes, d.GapBytes
		r.AnomalyBytes += d.AnomalyBytes
	}
}

func (f *Flow) tunnel(r *table.Flow) {
	if f.vlan >= 0 {
		r.VLAN = table.Some(f.vlan)
	}
	if len(f.tunnels) == 0 {
		return
	}
	var names string
	for i := range f.tunnels {
		t := &f.tunnels[i]
		if i > 0 {
			names += ","
		}
		names += t.Kind.String()
		if t.HasID {
			r.TunnelID = table.Some(int64(t.ID))
		}
		if t.Src != (decode.Addr{}) {
			r.OuterSrc, r.OuterDst = table.Some(t.Src.String()), table.Some(t.Dst.String())
		}
	}
	r.Tunnel = table.Some(names)
}

func (f *Flow) times(r *table.Flow, a, b *sideStats) {
	if f.syn != 0 && f.synAck >= f.syn {
		r.HandshakeClientUs = table.Some((f.synAck - f.syn) / 1000)
	}
	if f.synAck != 0 && f.ack >= f.synAck {
		r.HandshakeServerUs = table.Some((f.ack - f.synAck) / 1000)
	}
	if f.syn != 0 && f.ack >= f.syn {
		r.HandshakeUs = table.Some((f.ack - f.syn) / 1000)
	}
	if t := f.rtt; t != nil && t.count > 0 {
		r.RTTMinUs, r.RTTMaxUs = table.Some(t.min/1000), table.Some(t.max/1000)
		r.RTTAvgUs, r.RTTSamples = table.Some(t.sum/t.count/1000), t.count
	}
	if m := min(a.mss, b.mss); m > 0 {
		r.MSS = table.Some(int32(m))
	} else if m := max(a.mss, b.mss); m > 0 {
		r.MSS = table.Some(int32(m))
	}
}

// state is the TCP state at the end, as far as this flow shows it.
func (f *Flow) state() string {
	switch {
	case f.refused:
		return "refused"
	case f.seen&seenRST != 0:
		return "reset"
	case f.side[0].fins > 0 && f.side[1].fins > 0:
		return "closed"
	case f.seen&seenFIN != 0:
		return "closing"
	case f.seen&(seenSYN|seenSYNACK) == 0:
		return "midstream"
	case f.seen&seenSYNACK == 0 && f.side[1].packets == 0 && !f.side[0].hasAck: // a client that acknowledges had an answer
		if f.Conn.unreachable {
			return "refused"
		}
		return "syn_sent"
	case f.seen&(seenACK|seenData) == 0:
		return "syn_received"
	}
	return "established"
}

// vantage is the side of the network from which the flow was seen: by the direction the link layer
// gave, else by which half of the handshake took the time.
func (f *Flow) vantage(flipped bool) string {
	if f.direction != decode.DirUnknown {
		if (f.direction == decode.DirOut) == (f.firstSrc != flipped) {
			return "client"
		}
		return "server"
	}
	if f.syn == 0 || f.synAck < f.syn || f.ack < f.synAck {
		return "unknown"
	}
	near, far := f.synAck-f.syn, f.ack-f.synAck
	switch {
	case max(near, far) < 200_000: // both within the noise of one machine
		return "unknown"
	case near > 4*far:
		return "client"
	case far > 4*near:
		return "server"
	}
	return "middle"
}

func (c *Conn) row() table.Connection {
	src, dst := c.dialled()
	r := table.Connection{Transport: transportName(c.transport, c.key.proto), Flows: int32(len(c.flows)), PairMethod: "single",
		FirstNs: c.first, LastNs: c.last, Ts: table.MicrosOf(c.first)}
	if len(c.flows) > 1 {
		r.PairMethod = "five_tuple"
	}
	for _, f := range c.flows {
		if f.View != nil {
			r.PairMethod = string(f.View.By)
		}
	}
	if c.d != nil {
		if c.d.Flipped() {
			src, dst = dst, src
		}
		if name := c.d.Inner(); name != "" {
			r.Protocol = table.Some(name)
		}
		r.Calls = c.d.Calls()
		likely := c.d.Likely()
		r.Payload, r.Evidence = table.NonEmpty(likely.Protocol), table.NonEmpty(string(likely.By))
		encrypted(&r, c.d.Encrypted())
	}
	r.SrcIP, r.SrcPort, r.DstIP, r.DstPort = c.shard.texts.of(src.addr), int32(src.port), c.shard.texts.of(dst.addr), int32(dst.port)
	return r
}

// keyLines are lines of a key log that decrypt the connection.
func (c *Conn) keyLines() []string {
	if c.d == nil || c.d.Encrypted() == nil {
		return nil
	}
	return c.d.Encrypted().Lines
}

// encrypted writes what is known of a connection's encryption.
func encrypted(r *table.Connection, e *dissect.Encryption) {
	if e == nil || e.Layer == "" {
		return
	}
	r.Encryption, r.KeyState, r.ClientRandom = table.Some(e.Layer), table.Some(e.State.String()), e.Random
	if e.Reason != "" {
		r.KeyReason = table.Some(e.Reason)
	}
	const client, server = dissect.ToServer, dissect.ToClient
	r.ClientRecords, r.ServerRecords = table.Some(e.Records[client]), table.Some(e.Records[server])
	r.ClientRecordBytes, r.ServerRecordBytes = table.Some(e.Bytes[client]), table.Some(e.Bytes[server])
	r.ClientOpened, r.ServerOpened = table.Some(e.Opened[client]), table.Some(e.Opened[server])
	r.ClientPlainBytes, r.ServerPlainBytes = table.Some(e.Plain[client]), table.Some(e.Plain[server])
	r.Alerts = e.Alerts
	r.RecordSizes, r.RecordTimes = e.Sizes, e.Times
}

// flipped reports whether content showed that client and server are swapped compared with Ends.
func (c *Conn) flipped() bool { return c.d != nil && c.d.Flipped() }

// CommunityID is Community ID version 1, seed 0, of a conversation of TCP, UDP or SCTP.
func CommunityID(a, b End, proto uint8) string {
	return communityID(&end{addr: a.Addr, port: a.Port}, &end{addr: b.Addr, port: b.Port}, proto, 0, 0)
}

// communityID is Community ID version 1, seed 0: SHA-1 over the ordered five-tuple. For ICMP, the message type and the
// type that answers it, or the code, replace the ports; if no type answers it, the ends are not put in order.
func communityID(a, b *end, proto, kind, code uint8) string {
	aPort, bPort, oneWay := a.port, b.port, false
	if proto == protoICMP || proto == protoICMPv6 {
		aPort, bPort, oneWay = uint16(kind), uint16(code), true
		if other, ok := answering(proto, kind); ok {
			bPort, oneWay = uint16(other), false
		}
	}
	if !oneWay && compareEnds(&a.addr, aPort, &b.addr, bPort) > 0 {
		a, b, aPort, bPort = b, a, bPort, aPort
	}
	buf := make([]byte, 2, 48) // seed 0
	for _, e := range [...]*end{a, b} {
		if e.addr.Is4() {
			buf = append(buf, e.addr[12:]...)
		} else {
			buf = append(buf, e.addr[:]...)
		}
	}
	buf = append(buf, proto, 0)
	switch proto {
	case protoTCP, protoUDP, protoSCTP, protoICMP, protoICMPv6:
		buf = binary.BigEndian.AppendUint16(buf, aPort)
		buf = binary.BigEndian.AppendUint16(buf, bPort)
	}
	sum := sha1.Sum(buf)
	return "1:" + base64.StdEncoding.EncodeToString(sum[:])
}

// answering is the ICMP type that answers a type, or that it answers, as Community ID
// pairs them.
func answering(proto, kind uint8) (uint8, bool) {
	pairs := [][2]uint8{{0, 8}, {9, 10}, {13, 14}, {15, 16}, {17, 18}}
	if proto == protoICMPv6 {
		pairs = [][2]uint8{{128, 129}, {130, 131}, {133, 134}, {135, 136}, {139, 140}, {144, 145}}
	}
	for _, p := range pairs {
		switch kind {
		case p[0]:
			return p[1], true
		case p[1]:
			return p[0], true
		}
	}
	return 0, false
}
