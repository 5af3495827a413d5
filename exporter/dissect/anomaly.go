package dissect

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Anomaly counts input that the dissector could not accept. bytes is the number of bytes that
// were not decoded because of it. The number of rows of one kind is limited; the count is not.
func (c *Conn) Anomaly(kind, detail string, bytes int64) {
	source := "engine"
	if c.proto != nil {
		source = c.proto.Name
	}
	c.AnomalyFrom(source, kind, detail, bytes)
}

// AnomalyFrom is Anomaly for callers that are not the connection's dissector.
func (c *Conn) AnomalyFrom(source, kind, detail string, bytes int64) {
	if kind == "malformed" {
		c.engine.datagram.doubtful = true
	}
	if c.muted() {
		return
	}
	c.callAnom++
	var k *kindCount
	for i := range c.kinds {
		if c.kinds[i].kind == kind && c.kinds[i].source == source {
			k = &c.kinds[i]
		}
	}
	if k == nil {
		if len(c.kinds) >= maxKinds {
			kind, detail = "other", "too many kinds of anomalies to count separately"
			k = &c.kinds[len(c.kinds)-1]
		} else {
			c.kinds = append(c.kinds, kindCount{source: source, kind: kind})
			k = &c.kinds[len(c.kinds)-1]
		}
	}
	if len(detail) > 300 {
		detail = strings.Clone(detail[:300])
	}
	a := table.Anomaly{TsNs: c.now.Time, Ts: table.MicrosOf(c.now.Time), Source: source, Kind: kind,
		Detail: detail, PacketNo: table.Some(c.now.No), Bytes: bytes, Count: 1}
	k.count++
	if k.count <= maxSameKind {
		c.root().sinkAnomaly(a)
		return
	}
	k.bytes += bytes
	a.Bytes, a.Count = k.bytes, k.count-maxSameKind
	k.last = a
}

// AnomalyAt is AnomalyFrom for a packet that carried no bytes of the connection.
func (c *Conn) AnomalyAt(p Packet, source, kind, detail string, bytes int64) {
	was := c.now
	c.now = p
	c.AnomalyFrom(source, kind, detail, bytes)
	c.now = was
}

func (c *Conn) root() *Conn {
	for c.parent != nil {
		c = c.parent
	}
	return c
}

func (c *Conn) sinkAnomaly(a table.Anomaly) { c.engine.sink.Anomaly(c, a) }

func (c *Conn) flushAnomalies() {
	for i := range c.kinds {
		if k := &c.kinds[i]; k.count > maxSameKind {
			c.root().sinkAnomaly(k.last)
		}
	}
	c.kinds = nil
}
