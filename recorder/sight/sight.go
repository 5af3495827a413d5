// Package sight recognizes a packet that one machine captures twice: when it leaves one socket and
// when it arrives at another. Capture readers mistake the second for a retransmission.
package sight

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
)

// Sight selects which packets of a machine's sockets are recorded.
type Sight string

// Sights.
const (
	Both Sight = "both" // every packet, as captured at each socket
	Once Sight = "once" // not again on arrival at a socket after leaving another one
)

// Parse parses a choice. For an empty text it returns otherwise.
func Parse(text string, otherwise Sight) (Sight, error) {
	switch s := Sight(text); s {
	case "":
		return otherwise, nil
	case Both, Once:
		return s, nil
	}
	return "", fmt.Errorf("sight %q: write once or both", text)
}

const (
	maxKept = 1 << 16    // packets remembered; the oldest is forgotten first
	slack   = int64(1e9) // ns between departure and arrival
)

// Filter remembers packets that left. The zero value is ready to use.
type Filter struct {
	seed maphash.Seed
	left map[uint64]int64 // time in ns, by hash
	ring []uint64
	next int
}

// Again reports whether an incoming packet was seen leaving within a second of at, in ns:
// the same bytes, apart from the checksums and the fields that a router changes. ip begins
// at the IP header.
func (f *Filter) Again(ip []byte, outgoing bool, at int64) bool {
	if f.left == nil {
		f.seed, f.left = maphash.MakeSeed(), map[uint64]int64{}
	}
	h, ok := f.hash(ip)
	if !ok {
		return false
	}
	if !outgoing {
		left, seen := f.left[h]
		return seen && at-left < slack && left-at < slack
	}
	if _, again := f.left[h]; !again {
		if len(f.ring) < maxKept {
			f.ring = append(f.ring, h)
		} else {
			delete(f.left, f.ring[f.next])
			f.ring[f.next] = h
			f.next = (f.next + 1) % maxKept
		}
	}
	f.left[h] = at
	return false
}

// hash covers a packet without its hop limit and checksums.
func (f *Filter) hash(ip []byte) (uint64, bool) {
	var h maphash.Hash
	h.SetSeed(f.seed)
	if len(ip) < 20 {
		return 0, false
	}
	at, next := int(ip[0]&15)*4, ip[9]
	switch ip[0] >> 4 {
	case 4:
		if at < 20 || len(ip) < at {
			return 0, false
		}
		h.Write(ip[:8])
		h.WriteByte(next)
		h.Write(ip[12:at])
		if binary.BigEndian.Uint16(ip[6:])&0x1FFF != 0 {
			next = 0 // a later fragment has no transport header
		}
	case 6:
		if len(ip) < 40 {
			return 0, false
		}
		at, next = 40, ip[6]
		h.Write(ip[:7])
		h.Write(ip[8:40])
	default:
		return 0, false
	}
	sum := 0 // offset of the checksum
	switch next {
	case 6:
		sum = 16
	case 17:
		sum = 6
	case 58:
		sum = 2
	}
	if sum == 0 || len(ip) < at+sum+2 {
		h.Write(ip[at:])
	} else {
		h.Write(ip[at : at+sum])
		h.Write(ip[at+sum+2:])
	}
	return h.Sum64(), true
}
