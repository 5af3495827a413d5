package proof

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// Limits of announced connections.
const (
	maxChannels     = 4096         // announcements, and connections that followed one
	channelWithin   = int64(120e9) // ns from the announcement to the SYN
	maxAnnouncement = 512          // bytes of a message that may announce a connection
)

// channels sends a data connection of FTP to the shard of the control connection that announced it, and the
// messages of TFTP from a server's other port to that of their request: only there can they be put together.
// It looks at the beginning of segments and datagrams, and claims nothing: whether the two belong together is
// decided by the dissector, and a connection that does not is read like any other in its shard.
//
// LIMIT: an announcement in the middle of a segment, or without the SYN after it, has no effect.
type channels struct {
	announced recent[listener, announcement]
	opened    recent[channel, uint64] // shards
}

// listener is the end that waits for a data connection.
type listener struct {
	end      flow.End
	network  uint64
	datagram bool
}

// channel is the two ends of a data connection.
type channel struct {
	tuple
	network  uint64
	datagram bool
}

type announcement struct {
	shard uint64
	at    int64       // capture time
	from  decode.Addr // who will send; of datagrams only
}

func (c *channels) memory() int {
	return c.announced.memory(int(unsafe.Sizeof(announcement{}))) + c.opened.memory(8)
}

// shard is the shard of a TCP packet, which is h without an announcement.
func (c *channels) shard(f *flow.Packet, h uint64) uint64 {
	if len(f.Payload) >= len("PORT 1,2,3,4,5,6") && len(f.Payload) <= maxAnnouncement {
		switch binary.BigEndian.Uint32(f.Payload) &^ 0x20202020 {
		case 0x12121700, 0x12121900: // "227 " and "229 " without bit 5
			c.announce(f, h, true)
		case 0x504f5254, 0x45505254: // PORT and EPRT
			c.announce(f, h, false)
		}
	}
	if len(c.announced.m) == 0 {
		return h
	}
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	k := channel{tupleOf(src, dst), f.Network, false}
	if f.TCPFlags&(decode.SYN|decode.ACK) == decode.SYN {
		if a, ok := c.announced.m[listener{dst, f.Network, false}]; ok && f.Time-a.at <= channelWithin {
			c.opened.put(k, a.shard, maxChannels)
		} else if _, was := c.opened.m[k]; was { // the ports are used again, for something else
			c.opened.put(k, h, maxChannels)
		}
	}
	if s, ok := c.opened.m[k]; ok {
		return s
	}
	return h
}

const portTFTP = 69

// ofDatagram is the shard of a UDP packet, which is h without an announcement.
func (c *channels) ofDatagram(f *flow.Packet, h uint64) uint64 {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	p := f.Payload
	if f.DstPort == portTFTP && len(p) > 4 && p[0] == 0 && (p[1] == 1 || p[1] == 2) { // a request, RFC 1350 section 5
		c.announced.put(listener{src, f.Network, true}, announcement{h % flow.ShardCount, f.Time, f.Dst}, maxChannels)
		return h
	}
	if len(c.announced.m) == 0 || f.SrcPort == portTFTP || f.DstPort == portTFTP {
		return h
	}
	k := channel{tupleOf(src, dst), f.Network, true}
	if s, ok := c.opened.m[k]; ok {
		return s
	}
	if len(p) < 4 || p[0] != 0 || p[1] < 3 || p[1] > 6 { // not what a server sends; the conversation may be an older one
		return h
	}
	if a, ok := c.announced.m[listener{dst, f.Network, true}]; ok && a.from == f.Src && f.Time-a.at <= channelWithin {
		c.opened.put(k, a.shard, maxChannels)
		return a.shard
	}
	return h
}

// announce records the ends that a message of a control connection names.
func (c *channels) announce(f *flow.Packet, shard uint64, byServer bool) {
	text := f.Payload[4:]
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	addr, port, ok := announced(text)
	if !ok {
		return
	}
	a := announcement{shard: shard % flow.ShardCount, at: f.Time}
	c.announced.put(listener{flow.End{Addr: f.Src, Port: port}, f.Network, false}, a, maxChannels)
	if byServer && addr.IsValid() && addr != f.Src.Netip() {
		c.announced.put(listener{flow.End{Addr: decode.Addr(addr.As16()), Port: port}, f.Network, false}, a, maxChannels)
	}
}

// announced reads the address and the port of h1,h2,h3,h4,p1,p2 (RFC 959) or of |af|address|port| (RFC
// 2428). The address may be missing.
func announced(b []byte) (addr netip.Addr, port uint16, ok bool) {
	if i := bytes.IndexByte(b, '|'); i >= 0 {
		parts := bytes.SplitN(b[i+1:], []byte{'|'}, 5)
		if len(parts) < 4 {
			return addr, 0, false
		}
		n, err := strconv.ParseUint(string(parts[2]), 10, 16)
		if text := string(parts[1]); len(text) <= 64 {
			addr, _ = netip.ParseAddr(text)
		}
		return addr.WithZone("").Unmap(), uint16(n), err == nil && n > 0
	}
	for i := range b {
		if isDigit(b, i) && !isDigit(b, i-1) {
			if num, ok := six(b[i:]); ok {
				return netip.AddrFrom4([4]byte(num[:4])), uint16(num[4])<<8 | uint16(num[5]), true
			}
		}
	}
	return addr, 0, false
}

func isDigit(b []byte, i int) bool { return i >= 0 && i < len(b) && b[i] >= '0' && b[i] <= '9' }

// six reads six numbers below 256 with commas between them.
func six(b []byte) (num [6]byte, ok bool) {
	start := 0
	for i := range num {
		end := start
		for isDigit(b, end) {
			end++
		}
		n, err := strconv.ParseUint(string(b[start:end]), 10, 8)
		if err != nil || i < 5 && (end == len(b) || b[end] != ',') {
			return num, false
		}
		num[i], start = byte(n), end+1
	}
	return num, true
}
