package flow

import (
	"hash/crc32"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Limits of the search for copies of a datagram.
const (
	copies    = 8   // datagrams remembered for a conversation
	copySlack = 1e9 // ns within which another interface shows the same datagram
)

// sent is a datagram that was dissected.
type sent struct {
	crc, ipid uint32
	len       int32
	at        int64
	dir       dissect.Dir
	seenBy    uint16 // bit n: flow n has shown it
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// copied reports whether the datagram was already seen: on another interface, each of
// which shows a datagram once, or on this one with the same IP identification.
func (c *Conn) copied(f *Flow, dir dissect.Dir, p *Packet) bool {
	if c.sent == nil {
		c.sent = new([copies]sent)
	}
	me := uint16(1)
	for i, g := range c.flows {
		if g == f {
			me = 1 << i
		}
	}
	crc := crc32.Checksum(p.Payload, castagnoli)
	for i := range c.sent {
		d := &c.sent[i]
		if d.seenBy == 0 || d.crc != crc || d.len != p.PayloadLen || d.dir != dir {
			continue
		}
		since := p.Time - d.at
		if d.seenBy&me == 0 && since < copySlack && since > -copySlack {
			d.seenBy |= me
			return true
		}
		if d.seenBy&me != 0 && p.IPID != 0 && d.ipid == p.IPID && since < sightingSlack {
			return true
		}
	}
	c.sent[c.sentAt%copies] = sent{crc: crc, ipid: p.IPID, len: p.PayloadLen, at: p.Time, dir: dir, seenBy: me}
	c.sentAt++
	return false
}

// sentBefore reports whether the conversation has shown an equal datagram within a second.
func (c *Conn) sentBefore(dir dissect.Dir, p *Packet) bool {
	if c.sent == nil || len(p.Payload) == 0 {
		return false
	}
	crc := crc32.Checksum(p.Payload, castagnoli)
	for i := range c.sent {
		d := &c.sent[i]
		since := p.Time - d.at
		if d.seenBy != 0 && d.crc == crc && d.len == p.PayloadLen && d.dir == dir && d.ipid == p.IPID && since < copySlack && since > -copySlack {
			return true
		}
	}
	return false
}
