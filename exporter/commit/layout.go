package commit

import (
	"bytes"
	"encoding/binary"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// layout says where a frame has the checksum that changes if its payload changes, by rules that a
// verifier without decoders can follow (docs/format/derived.md). sum is -1 if there is none that
// these rules find.
type layout struct {
	sum        int
	payload    int    // no byte before it is a mask
	start, end int    // of what the checksum covers; end may be behind the captured bytes
	pseudo     uint32 // sum of the pseudo header
}

// layoutOf finds the checksum of a frame.
func layoutOf(linkType uint16, data []byte) layout {
	at := network(linkType, data)
	none := layout{sum: -1, payload: heads(linkType, data, at)}
	if at < 0 || at+40 > len(data) {
		return none
	}
	x := layout{}
	var proto byte
	switch b := data[at:]; b[0] >> 4 {
	case 4:
		head, size := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if head < 20 || size < head || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return none
		}
		proto, x.start, x.end = b[9], at+head, at+size
		x.pseudo = add(0, b[12:20])
	case 6:
		proto, x.start, x.end = b[6], at+40, at+40+int(binary.BigEndian.Uint16(b[4:]))
		x.pseudo = add(0, b[8:40])
	default:
		return none
	}
	x.pseudo += uint32(proto) + uint32(x.end-x.start)
	switch {
	case proto == 6 && x.start+20 <= len(data):
		x.sum, x.payload = x.start+16, x.start+int(data[x.start+12]>>4)*4
	case proto == 17:
		x.sum, x.payload = x.start+6, x.start+8
	case proto == 1 && data[at]>>4 == 4:
		x.sum, x.payload, x.pseudo = x.start+2, x.start+4, 0
	case proto == 58 && data[at]>>4 == 6:
		x.sum, x.payload = x.start+2, x.start+4
	default:
		return none
	}
	if x.payload < x.sum+2 || x.payload > min(len(data), x.end) {
		return none
	}
	return x
}

// linkHeads are the sizes of the headers of link types.
var linkHeads = map[uint16]int{0: 4, 1: 14, 113: 16, 276: 20}

// heads is where headers end at least if no checksum is found: those of the link, ARP and IP, and the ports of TCP and UDP.
func heads(linkType uint16, data []byte, at int) int {
	switch {
	case at < 0 && linkType == 1 && len(data) >= 14 && data[12] == 8 && data[13] == 6:
		return 14 + 28
	case at < 0:
		return linkHeads[linkType]
	case at+20 > len(data) || data[at]>>4 != 4:
		return at + 40
	case (data[at+9] == 6 || data[at+9] == 17) && binary.BigEndian.Uint16(data[at+6:])&0x1fff == 0:
		return at + 28
	}
	return at + 20
}

// network is where the IP header of a frame begins, -1 if the rules do not know.
func network(linkType uint16, data []byte) int {
	kind, at := 12, 14
	switch linkType {
	case 0:
		return 4
	case 101:
		return 0
	case 1:
		for len(data) >= at && (data[kind] == 0x81 && data[kind+1] == 0 || data[kind] == 0x88 && data[kind+1] == 0xa8) {
			kind, at = kind+4, at+4
		}
	case 113:
		kind, at = 14, 16
	case 276:
		kind, at = 0, 20
	default:
		return -1
	}
	if len(data) < at || !bytes.Equal(data[kind:kind+2], []byte{8, 0}) && !bytes.Equal(data[kind:kind+2], []byte{0x86, 0xdd}) {
		return -1
	}
	return at
}

// add adds the words of b to a sum (RFC 1071).
func add(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// cut reports whether bytes that the checksum covers were not captured, so that nobody can check it.
func (x *layout) cut(data []byte) bool { return x.end > len(data) }

// right reports whether the checksum is that of the captured bytes.
func (x *layout) right(data []byte) bool {
	if x.cut(data) {
		return false
	}
	sum := add(x.pseudo, data[x.start:x.end])
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return sum == 0xffff
}

// sumMask is the checksum of a changed packet of which bytes were not captured.
var sumMask = []byte{'x', 'x'}

// FixChecksum makes the checksum of a changed packet one that a proof can have: the right one; that
// of the original if it was wrong before; a mask if nobody can check it. It leaves a packet whose
// addresses were changed as it is.
func FixChecksum(p *pcapng.Packet, old []byte) {
	x := layoutOf(p.LinkType, p.Data)
	if x.sum < 0 || len(old) != len(p.Data) || !bytes.Equal(old[:x.start], p.Data[:x.start]) {
		return
	}
	now := p.Data[x.sum : x.sum+2]
	switch {
	case bytes.Equal(now, old[x.sum:x.sum+2]) || x.right(p.Data):
	case x.cut(p.Data):
		copy(now, sumMask)
	default:
		copy(now, old[x.sum:])
	}
}

// cuts calls do with the end of each part of the data of a packet: parts of one size, which begin
// again at the checksum, after it, and at the payload.
func (x *layout) cuts(size, length int, do func(end int)) {
	at := 0
	piece := func(to int) {
		for at < to {
			at = min(at+size, to)
			do(at)
		}
	}
	if x.sum >= 0 {
		piece(x.sum)
		if at = x.sum + 2; at > x.sum {
			do(at)
		}
		piece(x.payload)
	}
	piece(length)
}

// options calls do for each option of a packet: its code, big-endian, and its value. What cannot be read
// is one option with code 0.
func options(p *pcapng.Packet, do func(code, value []byte)) {
	rest := p.Options
	order := binary.ByteOrder(binary.LittleEndian)
	if p.BigEndian {
		order = binary.BigEndian
	}
	for len(rest) >= 4 {
		code, size := order.Uint16(rest), int(order.Uint16(rest[2:]))
		if code == 0 {
			return
		}
		if size > len(rest)-4 {
			break
		}
		do(binary.BigEndian.AppendUint16(nil, code), rest[4:4+size])
		rest = rest[min(len(rest), 4+(size+3)&^3):]
	}
	if len(rest) > 0 {
		do([]byte{0, 0}, rest)
	}
}

// End is where the IP packet in a frame ends by its header; -1 if there is none that these rules find.
func End(linkType uint16, data []byte) int {
	at := network(linkType, data)
	if at < 0 || at+40 > len(data) {
		return -1
	}
	switch data[at] >> 4 {
	case 4:
		return at + int(binary.BigEndian.Uint16(data[at+2:]))
	case 6:
		return at + 40 + int(binary.BigEndian.Uint16(data[at+4:]))
	}
	return -1
}
