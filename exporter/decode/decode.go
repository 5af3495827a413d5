// Package decode turns one captured packet into a Frame: its ends, its tags and tunnels, and the
// position of the transport payload.
//
// It allocates nothing for a packet that is not an IP fragment, copies only the payload of
// fragments, holds at most Options.MaxFragmentBytes of them, and accepts any bytes without a
// panic. It does not guess: a port alone never makes a tunnel, and a frame that is neither IP
// nor ARP stays KindNone with its EtherType.
package decode

import (
	"encoding/binary"
	"time"
)

// Limits on one packet's nesting. Real traffic stays far below them.
const (
	maxLayers     = 64 // headers walked in one packet, tags and labels included
	maxExtHeaders = 16 // IPv6 extension headers in one IPv6 packet
	maxLabels     = 16 // entries of one MPLS label stack
	maxVLANs      = 4  // VLAN ids kept; later tags are skipped
	maxTunnels    = 4  // tunnels entered; a fifth is payload of the fourth
)

// Input is one captured packet.
type Input struct {
	LinkType  uint16 // LINKTYPE_ number of the interface
	Interface int32  // distinguishes the interfaces of one file, so that fragments do not mix
	Data      []byte // captured bytes; Frame.Payload aliases them
	OrigLen   uint32 // length on the wire
	Time      int64  // ns since 1970
	No        int64  // number of the packet, for FragNos
}

// Options set the budgets of a Decoder; zero values select the defaults.
type Options struct {
	MaxFragmentBytes int           // held for both kinds of IP reassembly, overhead included; 32 MiB
	MaxDatagram      int           // size of a reassembled datagram's payload; 64 KiB
	MaxFragments     int           // fragments of one datagram; 2048
	TimeoutIPv4      time.Duration // on capture time, from a datagram's first fragment; 30 s
	TimeoutIPv6      time.Duration // the same for IPv6; 60 s

	// OnIncomplete is called for each datagram that is given up. It must not keep Incomplete.Nos
	// and must not call the Decoder.
	OnIncomplete func(Incomplete)
}

// Decoder decodes packets. It holds the fragments of incomplete datagrams, so only one goroutine
// may use it.
type Decoder struct {
	// OnSum, if set, is called for each TCP or UDP checksum of the packet, including those outside
	// tunnels. It is for tools that change packets.
	OnSum func(Sum)
	// OnAddress, if set, is called for each address in the headers, including those outside tunnels.
	// Headers in datagrams that were reassembled are left out.
	OnAddress func(Address)
	// OnText, if set, is called for each value in a HEP message that is neither its payload nor one that the frame shows,
	// such as the key of its probe: its offset in Input.Data and its size. Messages that were reassembled are left out.
	OnText func(at, size int)

	frags reassembler
	saved Frame // the frame as it was before the innermost tunnel was entered
}

// New returns a Decoder with the budgets in opt.
func New(opt Options) *Decoder {
	if opt.MaxFragmentBytes <= 0 {
		opt.MaxFragmentBytes = 32 << 20
	}
	if opt.MaxDatagram <= 0 {
		opt.MaxDatagram = 64 << 10
	}
	if opt.MaxFragments <= 0 {
		opt.MaxFragments = 2048
	}
	if opt.TimeoutIPv4 <= 0 {
		opt.TimeoutIPv4 = 30 * time.Second
	}
	if opt.TimeoutIPv6 <= 0 {
		opt.TimeoutIPv6 = 60 * time.Second
	}
	d := &Decoder{}
	d.frags.init(opt)
	return d
}

// layer identifies the next header.
type layer uint8

const (
	layerDone layer = iota
	layerLink
	layerEthernet
	layerEtherType
	layerLLC
	layerIP // the first nibble contains the version
	layerIPv4
	layerIPv6
	layerExt6
	layerProto
	layerMPLS
	layerPPP
	layerPPPoE
	layerGRE
	layerWLAN
)

// walk is the position in the packet being decoded.
type walk struct {
	d       *Decoder
	f       *Frame
	data    []byte // captured bytes from this position, at most wire of them
	wire    int    // bytes from this position according to the headers so far
	next    uint16 // link type, EtherType or IP protocol of the next header
	whole   int    // bytes of the packet
	cut     bool   // the capture or a mirror truncated this packet
	ended   bool   // a length field inside the current IP packet left bytes after it
	excess  int    // bytes by which the first length field that was too large exceeds the rest
	ext     uint8  // extension headers walked
	inner   bool   // d.saved holds the frame outside the innermost tunnel
	partial bool   // of an incomplete datagram: no tunnel is entered
	inif    int32
	time    int64
	no      int64
}

// Decode fills f from p. It sets every field of f. f.Payload aliases p.Data, or new memory that
// is never reused if f.FragNos is set.
func (d *Decoder) Decode(p Input, f *Frame) {
	*f = Frame{WScale: -1, LinkType: p.LinkType}
	w := walk{d: d, f: f, data: p.Data, whole: cap(p.Data), wire: int(p.OrigLen), next: p.LinkType, inif: p.Interface, time: p.Time, no: p.No}
	if w.wire < len(w.data) {
		f.Problems |= BadLength
		w.wire = len(w.data)
	}
	w.cut = w.wire > len(w.data)

	d.frags.expire(p.Time) // or an answer whose first fragment is missing is known only after its call has ended
	at := layerLink
	if p.LinkType == linkEthernet {
		at = layerEthernet
	}
	for n := 0; at != layerDone; n++ {
		if n == maxLayers {
			f.Problems |= DepthLimit
			break
		}
		switch at {
		case layerEthernet:
			at = w.ethernet()
		case layerEtherType:
			at = w.etherType()
		case layerIPv4:
			at = w.ipv4()
		case layerIPv6:
			at = w.ipv6()
		case layerProto:
			at = w.proto()
		default:
			at = w.rare(at)
		}
	}
	if w.inner && f.Kind == KindNone {
		w.leave()
	}
}

// rare decodes the headers that most packets do not have.
func (w *walk) rare(at layer) layer {
	switch at {
	case layerLink:
		return w.link()
	case layerLLC:
		return w.llc()
	case layerIP:
		return w.anyIP()
	case layerExt6:
		return w.ext6()
	case layerMPLS:
		return w.mpls()
	case layerPPP:
		return w.ppp()
	case layerPPPoE:
		return w.pppoe()
	case layerGRE:
		return w.gre()
	case layerWLAN:
		return w.wlan()
	}
	return layerDone
}

// skip skips n header bytes. If fewer were captured, it records the reason and returns false.
func (w *walk) skip(n int) bool {
	if n > len(w.data) {
		w.short()
		return false
	}
	w.data = w.data[n:]
	w.wire -= n
	return true
}

// trim sets the length on the wire of the rest to n, so that padding after it is not payload. If
// n exceeds the length in the outer headers or of the frame itself, those take precedence, because no
// receiver would have got more.
func (w *walk) trim(n int) {
	if n > w.wire {
		if w.f.Problems&BadLength == 0 {
			w.excess = n - w.wire
		}
		w.f.Problems |= BadLength
		return
	}
	w.ended = w.ended || n < w.wire
	if n < len(w.data) {
		w.data = w.data[:n]
	}
	w.wire = n
}

// short records that a header is incomplete and ends the walk.
func (w *walk) short() layer {
	if w.cut {
		w.f.Problems |= Truncated
	} else {
		w.f.Problems |= BadLength
	}
	return layerDone
}

// bad records that a header contradicts itself and ends the walk.
func (w *walk) bad() layer {
	w.f.Problems |= BadHeader
	return layerDone
}

// payload makes the rest the payload of the innermost protocol.
func (w *walk) payload() layer {
	w.f.Payload = w.data
	w.f.PayloadLen = w.wire
	if w.wire > len(w.data) {
		w.short()
	}
	return layerDone
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
