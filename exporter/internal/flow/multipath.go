package flow

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
)

// mapping is where bytes of a direction belong among those of all connections of Multipath TCP.
type mapping struct {
	value uint32 // the newest Packet.Mapping
	end   uint32 // behind all bytes of this connection, if set
	set   bool
}

// mapped makes a gap of the bytes that other connections of Multipath TCP carried before the n bytes of s, which are next.
func (c *Conn) mapped(dir dissect.Dir, n uint32, s *stream.Segment) {
	if c.mappings == nil {
		c.mappings = new([2]mapping)
		c.shard.take(c, int(unsafe.Sizeof(*c.mappings)))
	}
	m := &c.mappings[dir]
	at := s.Seq + m.value
	if s.Mapped {
		at = s.Seq + s.Mapping
		if m.set && m.value != s.Mapping {
			c.shard.odd(c, c.flows[0], ref(s), "multipath", "other connections of Multipath TCP carried bytes between these and those before them (RFC 8684 section 3.3)", 0)
		}
		if missing := int32(at - m.end); m.set && missing > 0 {
			lacks := c.d.GapBytes // by the capture
			c.d.Gap(dir, int64(missing), ref(s))
			c.d.GapBytes = lacks
		}
		m.value = s.Mapping
	}
	if end := at + n; !m.set || int32(end-m.end) > 0 {
		m.end = end
	}
	m.set = m.set || s.Mapped
}
