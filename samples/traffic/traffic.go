// Package traffic makes small captures for tests: TCP connections with requests and responses
// at given times, attempts to connect, and datagrams.
package traffic

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// begin is the time of the first packet of all captures.
var begin = time.Date(2026, 2, 25, 6, 13, 20, 0, time.UTC)

// step is the time between two packets of a handshake.
const step = 10 * time.Microsecond

// segment is the most bytes of a request in one packet.
const segment = 32 << 10

// Capture is a capture under construction. Its zero value is ready.
type Capture struct {
	packets []packet
	conns   map[string]*conn
}

type packet struct {
	at   time.Duration
	data []byte
}

// conn is a connection with the next sequence number of each side.
type conn struct {
	client, server netip.AddrPort
	sent, received uint32
	full           bool // the next packet announces a window of 0
}

// Exchange adds a request on the connection of this name, and its response after took. The
// first exchange of a connection begins with a handshake. An empty request or response is not sent.
// Addresses are as in "10.0.0.1", the server with its port. at is from the beginning.
func (c *Capture) Exchange(at, took time.Duration, name, client, server, request, response string) {
	n := c.conns[name]
	if n == nil {
		n = c.connect(name, client, server)
		c.tcp(at-3*step, n, true, layers.TCP{SYN: true}, "")
		c.tcp(at-2*step, n, false, layers.TCP{SYN: true, ACK: true}, "")
		c.tcp(at-step, n, true, layers.TCP{ACK: true}, "")
	}
	for len(request) > segment {
		c.tcp(at, n, true, layers.TCP{ACK: true}, request[:segment])
		request = request[segment:]
	}
	if request != "" {
		c.tcp(at, n, true, layers.TCP{ACK: true, PSH: true}, request)
	}
	if response != "" {
		c.tcp(at+took, n, false, layers.TCP{ACK: true, PSH: true}, response)
	}
}

// Close ends the connection of this name; its client closes first.
func (c *Capture) Close(at time.Duration, name string) {
	n := c.conns[name]
	c.tcp(at, n, true, layers.TCP{FIN: true, ACK: true}, "")
	c.tcp(at+step, n, false, layers.TCP{FIN: true, ACK: true}, "")
	c.tcp(at+2*step, n, true, layers.TCP{ACK: true}, "")
}

// Hang ends the connection of this name; its server closes first.
func (c *Capture) Hang(at time.Duration, name string) {
	n := c.conns[name]
	c.tcp(at, n, false, layers.TCP{FIN: true, ACK: true}, "")
	c.tcp(at+step, n, true, layers.TCP{FIN: true, ACK: true}, "")
	c.tcp(at+2*step, n, false, layers.TCP{ACK: true}, "")
}

// Leave closes the side of the client of the connection of this name only.
func (c *Capture) Leave(at time.Duration, name string) {
	n := c.conns[name]
	c.tcp(at, n, true, layers.TCP{FIN: true, ACK: true}, "")
	c.tcp(at+step, n, false, layers.TCP{ACK: true}, "")
}

// Acknowledge adds an acknowledgement of the server for all that the client sent on the connection of this name.
func (c *Capture) Acknowledge(at time.Duration, name string) {
	c.tcp(at, c.conns[name], false, layers.TCP{ACK: true}, "")
}

// Full adds an acknowledgement of the client, or of the server, that announces a window of 0: it takes no more until its next packet.
func (c *Capture) Full(at time.Duration, name string, client bool) {
	n := c.conns[name]
	n.full = true
	c.tcp(at, n, client, layers.TCP{ACK: true}, "")
	n.full = false
}

// Take adds an acknowledgement of the client for all that the server sent on the connection of this name.
func (c *Capture) Take(at time.Duration, name string) {
	c.tcp(at, c.conns[name], true, layers.TCP{ACK: true}, "")
}

// Resend adds what the client sent last on the connection of this name once more.
func (c *Capture) Resend(at time.Duration, name, last string) {
	n := c.conns[name]
	n.sent -= uint32(len(last))
	c.tcp(at, n, true, layers.TCP{ACK: true, PSH: true}, last)
}

// SendAgain adds what the server sent last on the connection of this name once more.
func (c *Capture) SendAgain(at time.Duration, name, last string) {
	n := c.conns[name]
	n.received -= uint32(len(last))
	c.tcp(at, n, false, layers.TCP{ACK: true, PSH: true}, last)
}

// Unseen says that the client of the connection of this name did not receive what the server sent last, so that it acknowledges none of it.
func (c *Capture) Unseen(name, last string) { c.conns[name].received -= uint32(len(last)) }

// Reset ends the connection of this name by a reset of the client.
func (c *Capture) Reset(at time.Duration, name string) {
	c.tcp(at, c.conns[name], true, layers.TCP{RST: true, ACK: true}, "")
}

// Reject answers what came for a connection that its client has left.
func (c *Capture) Reject(at time.Duration, name string) {
	c.tcp(at, c.conns[name], true, layers.TCP{RST: true}, "")
}

// Drop ends the connection of this name by a reset of the server.
func (c *Capture) Drop(at time.Duration, name string) {
	c.tcp(at, c.conns[name], false, layers.TCP{RST: true, ACK: true}, "")
}

// Attempt adds an attempt to connect, which the server refuses or leaves without an answer.
func (c *Capture) Attempt(at time.Duration, client, server string, refused bool) {
	c.try(at, client, server, layers.TCP{SYN: true}, refused)
}

// try adds a segment of its own connection, and the reset that refuses it.
func (c *Capture) try(at time.Duration, client, server string, segment layers.TCP, refused bool) {
	n := c.connect(fmt.Sprintf("attempt %d", len(c.conns)), client, server)
	c.tcp(at, n, true, segment, "")
	if refused {
		c.tcp(at+step, n, false, layers.TCP{RST: true, ACK: true}, "")
	}
}

// Probe adds a segment of no connection, with FIN or without any flag, which the server refuses or leaves without an answer.
func (c *Capture) Probe(at time.Duration, client, server string, fin, refused bool) {
	c.try(at, client, server, layers.TCP{FIN: fin}, refused)
}

// Datagram adds one UDP datagram to a server, and its answers.
func (c *Capture) Datagram(at time.Duration, client, server, payload string, answers ...string) {
	n := c.connect(fmt.Sprintf("datagram %d", len(c.conns)), client, server)
	c.udp(at, n.client, n.server, payload)
	for i, answer := range answers {
		c.udp(at+time.Duration(i+1)*step, n.server, n.client, answer)
	}
}

// Translated adds one UDP datagram to an address, which a translation in view replaces by that of a server, and its answer.
func (c *Capture) Translated(at time.Duration, client, dialled, server, payload, answer string) {
	n := c.connect(fmt.Sprintf("translated %d", len(c.conns)), client, dialled)
	behind := netip.MustParseAddrPort(server)
	c.udp(at, n.client, n.server, payload)
	c.udp(at+step, n.client, behind, payload)
	c.udp(at+2*step, behind, n.client, answer)
	c.udp(at+3*step, n.server, n.client, answer)
}

// Again adds a UDP datagram to a server that does not answer, and the same datagram once more.
func (c *Capture) Again(at, after time.Duration, client, server, payload string) {
	n := c.connect(fmt.Sprintf("again %d", len(c.conns)), client, server)
	c.udp(at, n.client, n.server, payload)
	c.udp(at+after, n.client, n.server, payload)
}

// Reply adds one UDP datagram of a server, as in a capture that lacks the request.
func (c *Capture) Reply(at time.Duration, client, server, payload string) {
	n := c.connect(fmt.Sprintf("reply %d", len(c.conns)), client, server)
	c.udp(at, n.server, n.client, payload)
}

func (c *Capture) udp(at time.Duration, from, to netip.AddrPort, payload string) {
	u := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	ip := header(from.Addr(), to.Addr(), layers.IPProtocolUDP)
	if err := u.SetNetworkLayerForChecksum(ip); err != nil {
		panic(err)
	}
	c.add(at, ip, u, payload)
}

// Ping adds an ICMP echo request, and its reply if it is answered.
func (c *Capture) Ping(at time.Duration, client, server string, answered bool) {
	from, to := netip.MustParseAddr(client), netip.MustParseAddr(server)
	id := uint16(len(c.packets))
	c.add(at, header(from, to, layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id}, "ping")
	if answered {
		c.add(at+step, header(to, from, layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoReply, 0), Id: id}, "ping")
	}
}

// Unreachable adds the report of a host that it got a datagram for a port that nobody uses.
func (c *Capture) Unreachable(at time.Duration, from, to string) {
	a, b := netip.MustParseAddr(from), netip.MustParseAddr(to)
	quote := "\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x11\x00\x00" + string(b.AsSlice()) + string(a.AsSlice()) + "\x00\x35\x00\x36\x00\x08\x00\x00"
	c.unreachable(at, a, b, layers.ICMPv4CodePort, quote)
}

func (c *Capture) unreachable(at time.Duration, from, to netip.Addr, code uint8, quote string) {
	c.add(at, header(from, to, layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, code)}, quote)
}

// Rejected adds one UDP datagram, and the report of the server's host that nobody uses its port, which quotes it.
func (c *Capture) Rejected(at time.Duration, client, server, payload string) {
	const ethernet = 14
	c.Datagram(at, client, server, payload)
	quote := c.packets[len(c.packets)-1].data[ethernet:]
	c.unreachable(at+step, netip.MustParseAddrPort(server).Addr(), netip.MustParseAddr(client), layers.ICMPv4CodePort, string(quote))
}

// Prohibit adds the report of a router that its rules do not allow the last packet, which it quotes.
func (c *Capture) Prohibit(at time.Duration, router string) {
	const ethernet, source, quoted = 14, 12, 28
	packet := c.packets[len(c.packets)-1].data[ethernet:]
	c.unreachable(at, netip.MustParseAddr(router), netip.AddrFrom4([4]byte(packet[source:])), layers.ICMPv4CodeCommAdminProhibited, string(packet[:quoted]))
}

func header(from, to netip.Addr, protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
}

// connect numbers connections, so that no two of them share a port of the client or sequence numbers.
func (c *Capture) connect(name, client, server string) *conn {
	if c.conns == nil {
		c.conns = map[string]*conn{}
	}
	k := uint32(len(c.conns))
	n := &conn{client: netip.AddrPortFrom(netip.MustParseAddr(client), uint16(20000+k)), server: netip.MustParseAddrPort(server), sent: 1000 * k, received: 77 + 999*k}
	c.conns[name] = n
	return n
}

func (c *Capture) tcp(at time.Duration, n *conn, up bool, t layers.TCP, payload string) {
	from, to, seq, ack := n.client, n.server, &n.sent, &n.received
	if !up {
		from, to, seq, ack = to, from, ack, seq
	}
	t.SrcPort, t.DstPort, t.Seq, t.Window = layers.TCPPort(from.Port()), layers.TCPPort(to.Port()), *seq, 65000
	if n.full {
		t.Window = 0
	}
	if t.ACK {
		t.Ack = *ack
	}
	*seq += uint32(len(payload))
	if t.SYN || t.FIN {
		*seq++
	}
	ip := header(from.Addr(), to.Addr(), layers.IPProtocolTCP)
	if err := t.SetNetworkLayerForChecksum(ip); err != nil {
		panic(err)
	}
	c.add(at, ip, &t, payload)
}

// add adds a packet.
func (c *Capture) add(at time.Duration, ip *layers.IPv4, transport gopacket.SerializableLayer, payload string) {
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, transport, gopacket.Payload(payload)); err != nil {
		panic(err)
	}
	c.packets = append(c.packets, packet{at, b.Bytes()})
}

// Shift moves all packets in time.
func (c *Capture) Shift(by time.Duration) {
	for i := range c.packets {
		c.packets[i].at += by
	}
}

// Cut removes the packets before a time, and those from another time on.
func (c *Capture) Cut(from, to time.Duration) {
	c.packets = slices.DeleteFunc(c.packets, func(p packet) bool { return p.at < from || p.at >= to })
}

// Packets calls each for every packet with its time in nanoseconds since 1970 UTC, in the order of
// their times.
func (c *Capture) Packets(each func(ns int64, data []byte)) {
	slices.SortStableFunc(c.packets, func(a, b packet) int { return int(a.at - b.at) })
	for _, p := range c.packets {
		each(begin.Add(p.at).UnixNano(), p.data)
	}
}

// Write writes a PCAP file with the packets in the order of their times.
func (c *Capture) Write(name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		return err
	}
	c.Packets(func(ns int64, data []byte) {
		info := gopacket.CaptureInfo{Timestamp: time.Unix(0, ns), CaptureLength: len(data), Length: len(data)}
		if err == nil {
			err = w.WritePacket(info, data)
		}
	})
	return err
}

// HTTP is an HTTP/1.1 message: its first line, lines of headers separated by \r\n, and a body.
func HTTP(first, headers, body string) string {
	if headers != "" {
		headers += "\r\n"
	}
	return fmt.Sprintf("%s\r\n%sContent-Length: %d\r\n\r\n%s", first, headers, len(body), body)
}

// WriteSegment writes a PCAPNG file of one interface. A header, which is that of a segment, is the comment of its section.
func WriteSegment(name, header string, list []pcapng.Packet) error {
	var b bytes.Buffer
	s := pcapng.Section{}
	if header != "" {
		s.Comments = []string{header}
	}
	w, err := pcapng.NewWriter(&b, s, pcapng.WriterOptions{})
	if err != nil {
		return err
	}
	if _, err := w.AddInterface(pcapng.Interface{Name: "eth0", LinkType: list[0].LinkType, SnapLen: 262144, TsResol: 9, FCSLen: -1}); err != nil {
		return err
	}
	for _, p := range list {
		p.Kind, p.Interface, p.Options = pcapng.KindEnhanced, 0, nil
		if err := w.WritePacket(&p, nil); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o600)
}

// Frame adds a packet as it is, from its Ethernet header on.
func (c *Capture) Frame(at time.Duration, data []byte) {
	c.packets = append(c.packets, packet{at, data})
}
