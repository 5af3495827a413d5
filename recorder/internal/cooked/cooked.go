// Package cooked writes the link layer of packets that were captured at sockets: the Linux cooked
// header, version 2, and the flags of a PCAPNG packet.
package cooked

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

const (
	LinkType = 276 // LINKTYPE_LINUX_SLL2
	Len      = 20  // bytes of the header

	hatypeNone = 0xFFFE // ARPHRD_NONE: sockets have no link layer
)

// Packet types of the Linux cooked header.
const (
	ToUs = iota
	ToAll
	ToMany
	ToOthers
	FromUs
)

// Put writes the header of a packet into the first Len bytes of b.
func Put(b []byte, protocol uint16, ifindex uint32, pktType uint8) {
	_ = b[Len-1]
	be := binary.BigEndian
	be.PutUint16(b, protocol)
	be.PutUint16(b[2:], 0)
	be.PutUint32(b[4:], ifindex)
	be.PutUint16(b[8:], hatypeNone)
	b[10], b[11] = pktType, 0
	clear(b[12:20])
}

// Flags returns the PCAPNG flags for a socket's packet.
func Flags(outgoing bool, pktType uint8, gso bool, ip []byte) pcapng.Flags {
	var f pcapng.Flags
	if outgoing {
		f = pcapng.Flags(pcapng.DirectionOutbound)
	} else {
		f = pcapng.Flags(pcapng.DirectionInbound)
		switch pktType {
		case ToUs:
			f |= 1 << 2
		case ToMany:
			f |= 2 << 2
		case ToAll:
			f |= 3 << 2
		}
	}
	if gso {
		f |= pcapng.FlagSegmentation
	}
	if checksumNotReady(ip) {
		f |= pcapng.FlagChecksumNotReady
	}
	return f
}

// checksumNotReady reports whether the checksum field of a TCP or UDP packet contains the
// sum over the pseudo-header. The kernel puts it there if it leaves the rest to the network
// card; between sender and receiver on one machine, the checksum is never completed.
func checksumNotReady(ip []byte) bool {
	if len(ip) < 20 {
		return false
	}
	var sum uint32
	var next uint8
	var at, length int
	switch ip[0] >> 4 {
	case 4:
		at = int(ip[0]&15) * 4
		total := int(binary.BigEndian.Uint16(ip[2:]))
		if at < 20 || total < at || ip[6]&0x3F != 0 || ip[7] != 0 {
			return false
		}
		next, length = ip[9], total-at
		sum = words(ip[12:20])
	case 6:
		if len(ip) < 40 {
			return false
		}
		at, next, length = 40, ip[6], int(binary.BigEndian.Uint16(ip[4:]))
		sum = words(ip[8:40])
	default:
		return false
	}
	field := at + 16
	switch next {
	case 6:
	case 17:
		field = at + 6
	default:
		return false
	}
	if len(ip) < field+2 || length == 0 {
		return false
	}
	sum += uint32(next) + uint32(length)
	sum = sum>>16 + sum&0xFFFF
	sum = sum>>16 + sum&0xFFFF
	return uint16(sum) == binary.BigEndian.Uint16(ip[field:])
}

func words(b []byte) (sum uint32) {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	return sum
}
