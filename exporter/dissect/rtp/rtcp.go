package rtp

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Types of RTCP packets, RFC 3550 section 12.1.
const (
	senderReport   = 200
	receiverReport = 201
	description    = 202
	goodbye        = 203
	lastType       = 207 // RFC 4585 and RFC 3611
)

const maxText = 255

// compound counts the packets of RTCP that fill a datagram; 0 if they do not. The first one must be a report,
// RFC 3550 section 6.1.
func compound(b []byte) (n int) {
	for rest := b; len(rest) > 0; n++ {
		if len(rest) < 8 || rest[0]>>6 != 2 || rest[1] < senderReport || rest[1] > lastType {
			return 0
		}
		size := 4 * (int(binary.BigEndian.Uint16(rest[2:])) + 1)
		count := int(rest[0] & 0x1f)
		padded := rest[0]&0x20 != 0
		least := 4 * (1 + count) // of a goodbye
		switch rest[1] {
		case senderReport:
			least = 28 + 24*count
		case receiverReport:
			least = 8 + 24*count
		case description:
			least = 4 + 8*count
		case goodbye:
		default:
			least = 8
		}
		if size > len(rest) || size < least || padded && size != len(rest) || n == 0 && rest[1] > receiverReport {
			return 0
		}
		rest = rest[size:]
	}
	return n
}

// detect recognizes RTCP: reports with descriptions. A packet of RTP proves nothing alone, see detectLast.
func detect(_ dissect.Dir, b []byte) dissect.Verdict {
	switch n := compound(b); {
	case n >= 2:
		return dissect.Yes
	case n == 1 && (len(b)-8)%24 == 0 || n == 1 && b[1] == senderReport && (len(b)-28)%24 == 0:
		return dissect.Likely
	}
	return dissect.No
}

// control has the reports of one side with one SSRC.
type control struct {
	x       dissect.Exchange
	row     *Row
	reports int64
}

// report is when a sender's report was seen, for the round trip.
type report struct {
	stamp uint32 // middle of its NTP time
	at    dissect.Instant
}

// control reads the packets of a datagram.
func (k *conn) control(in *dissect.Input) {
	b := in.Data
	source := binary.BigEndian.Uint32(b[4:])
	id := key{in.Dir, source, true}
	c := k.controls[id]
	if c == nil {
		c = &control{row: &Row{Source: int64(source)}}
		c.x.Reversed = in.Dir == dissect.ToClient
		k.controls[id] = c
		k.order = append(k.order, id)
	}
	c.x.Request(in, 0, len(b))
	c.reports++
	for rest := b; len(rest) >= 8; {
		size := 4 * (int(binary.BigEndian.Uint16(rest[2:])) + 1)
		k.packet(in, c, rest[:min(size, len(rest))])
		rest = rest[min(size, len(rest)):]
	}
}

// packet reads one packet, whose size compound has checked.
func (k *conn) packet(in *dissect.Input, c *control, b []byte) {
	count, at := int(b[0]&0x1f), 8
	switch b[1] {
	case senderReport:
		at = 28
		c.row.Sent = table.Some(int64(binary.BigEndian.Uint32(b[20:])))
		c.row.SentBytes = table.Some(int64(binary.BigEndian.Uint32(b[24:])))
		k.reported[in.Dir] = report{binary.BigEndian.Uint32(b[10:]), in.Instant(0)}
		fallthrough
	case receiverReport:
		for ; count > 0; count-- {
			k.block(in, c.row, b[at:at+24])
			at += 24
		}
	case description:
		name(c.row, b[4:])
	case goodbye:
		c.row.Bye = table.Some(true)
	}
}

// block reads a block about another source, RFC 3550 section 6.4.1.
func (k *conn) block(in *dissect.Input, row *Row, b []byte) {
	lost := int64(int32(binary.BigEndian.Uint32(b[4:])<<8) >> 8)
	row.ReportedSource = table.Some(int64(binary.BigEndian.Uint32(b)))
	row.ReportedFraction = table.Some(max(row.ReportedFraction.V, int32(b[4])))
	row.ReportedLost, row.ReportedHighest = table.Some(lost), table.Some(int64(binary.BigEndian.Uint32(b[8:])))
	row.ReportedJitter = table.Some(max(row.ReportedJitter.V, int64(binary.BigEndian.Uint32(b[12:]))))
	last, delay := binary.BigEndian.Uint32(b[16:]), int64(binary.BigEndian.Uint32(b[20:]))
	if r := k.reported[in.Dir.Other()]; last != 0 && last == r.stamp {
		ns, ok := k.c.Between(r.at, in.Instant(0))
		if us := ns/1000 - delay*1_000_000/65536; ok && us >= 0 {
			row.RoundTrip = table.Some(us)
		}
	}
}

// name reads the CNAME of the first source, RFC 3550 section 6.5.
func name(row *Row, b []byte) {
	for b = b[min(4, len(b)):]; len(b) >= 2 && b[0] != 0; {
		n := 2 + int(b[1])
		if n > len(b) {
			return
		}
		if b[0] == 1 {
			row.Name = table.NonEmpty(clip.Line(b[2:n], maxText))
		}
		b = b[n:]
	}
}
