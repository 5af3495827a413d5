//go:build linux

package plaintext

import (
	"bytes"
	"encoding/binary"

	"github.com/pcapsule/pcapsule/recorder/keys"
)

// dissector returns Wireshark's name for the protocol of a connection, from its first bytes.
func (p *Writer) dissector(x *keys.Plain) string {
	name, ok := p.talks[x.Connection]
	if !ok {
		name = dissectorOf(x.Data)
		if len(p.order) >= maxTalks {
			delete(p.talks, p.order[0])
			p.order = p.order[1:]
		}
		p.talks[x.Connection] = name
		p.order = append(p.order, x.Connection)
	}
	return name
}

// dissectorOf is that of a connection that begins with b.
func dissectorOf(b []byte) string {
	if bytes.HasPrefix(b, []byte("PRI * HTTP/2.0\r\n")) {
		return "http2"
	}
	if bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return "http"
	}
	for _, m := range []string{"GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS ", "CONNECT ", "TRACE "} {
		if bytes.HasPrefix(b, []byte(m)) {
			return "http"
		}
	}
	return "data"
}

// Tags of an upper PDU, docs/format/plaintext.md.
const (
	tagDissector = 12
	tagIPv4Src   = 20
	tagIPv4Dst   = 21
	tagIPv6Src   = 22
	tagIPv6Dst   = 23
	tagPortType  = 24
	tagSrcPort   = 25
	tagDstPort   = 26
	portTCP      = 2
)

// tags appends the tags that precede a PDU's bytes.
func tags(b []byte, dissector string, x *keys.Plain) []byte {
	tag := func(n uint16, v []byte) {
		size := (len(v) + 3) &^ 3
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, n), uint16(size))
		b = append(append(b, v...), make([]byte, size-len(v))...)
	}
	number := func(n uint16, v uint16) { tag(n, []byte{0, 0, byte(v >> 8), byte(v)}) }
	tag(tagDissector, []byte(dissector))
	if x.Ends != keys.NoEnds {
		from, to := x.Remote, x.Local
		if x.Sent {
			from, to = to, from
		}
		if a, c := from.Addr(), to.Addr(); a.Is4() && c.Is4() {
			tag(tagIPv4Src, a.AsSlice())
			tag(tagIPv4Dst, c.AsSlice())
		} else {
			src, dst := a.As16(), c.As16()
			tag(tagIPv6Src, src[:])
			tag(tagIPv6Dst, dst[:])
		}
		number(tagPortType, portTCP)
		number(tagSrcPort, from.Port())
		number(tagDstPort, to.Port())
	}
	return append(b, 0, 0, 0, 0)
}
