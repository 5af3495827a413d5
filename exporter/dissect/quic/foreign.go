package quic

import (
	"bytes"
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// negotiated reads a Version Negotiation packet. It may answer the client's first packet in an
// unsupported version.
func (t *tuple) negotiated(in *dissect.Input, at int, h *header) *conn {
	var q *conn
	for i := len(t.conns) - 1; i >= 0 && q == nil; i-- {
		if x := t.conns[i]; x.client != in.Dir && (len(h.dcid) > maxID || x.ends[client].is(h.dcid) || x.other != 0) {
			q = x
		}
	}
	if q == nil {
		q = t.add(in.Dir.Other())
	}
	q.cite(in, at, len(in.Data))
	row := q.row
	row.Negotiations++
	if row.Negotiation != nil {
		return q
	}
	row.Negotiation = []string{}
	for list := in.Data[at+7+len(h.dcid)+len(h.scid):]; len(list) >= 4 && len(row.Negotiation) < maxListed; list = list[4:] {
		row.Negotiation = append(row.Negotiation, versionName(binary.BigEndian.Uint32(list)))
	}
	if !q.answered() { // afterwards it is ignored, RFC 9000 section 6.2
		q.restarts = true
	}
	return q
}

// retried reads a Retry packet, RFC 9000 section 17.2.5.
func (t *tuple) retried(in *dissect.Input, at int, h *header) *conn {
	packet := in.Data[at:]
	var q *conn
	for i := len(t.conns) - 1; i >= 0 && q == nil; i-- {
		if x := t.conns[i]; x.client != in.Dir && x.ends[client].is(h.dcid) {
			q = x
		}
	}
	if q == nil { // the client's first packet was not captured
		q = t.add(in.Dir.Other())
		q.row.Midstream = true
		q.version = h.version
		q.learnSource(client, h.dcid)
	}
	q.cite(in, at, len(in.Data))
	q.row.Retries++
	if t.p.Cut > 0 {
		return q
	}
	if q.hasClient && !q.validRetry(h, packet) {
		t.anomaly("retry", "a Retry with a wrong integrity tag")
		return q
	}
	q.row.Retry = true
	if q.answered() {
		return q // a client accepts only one, before anything else
	}
	if len(h.scid) <= maxID {
		q.ends[server].add(0, h.scid)
		q.addInitial(initialKeysOf(h.version, h.scid))
		q.retryIfChanged()
	}
	return q
}

// validRetry reports whether the integrity tag of a Retry is correct. The tag covers the
// destination id of the client's first packet, which is unknown if only later packets were
// captured.
func (q *conn) validRetry(h *header, packet []byte) bool {
	if q.tokened || bytes.Equal(h.scid, q.odcid) || q.aliased(h.scid) {
		return true
	}
	for _, id := range append([][]byte{q.odcid}, q.aliases...) {
		tag, err := secrets.RetryTag(h.version, id, packet[:len(packet)-tagBytes])
		if err != nil || bytes.Equal(tag[:], packet[len(packet)-tagBytes:]) {
			return true
		}
	}
	return false
}

// foreign counts a packet with a long header in an unsupported version.
func (t *tuple) foreign(in *dissect.Input, at int, h *header) *conn {
	var q *conn
	for i := len(t.conns) - 1; i >= 0 && q == nil; i-- {
		x := t.conns[i]
		if x.other == h.version || x.client == in.Dir && x.ends[client].is(h.scid) && x.ends[client].known {
			q = x
		}
	}
	if q == nil {
		from := in.Dir
		if isServers(t.c.Info, from) {
			from = from.Other()
		}
		q = t.add(from)
	}
	if q.other == 0 {
		q.other = h.version
		q.row.Version = table.Some(versionName(h.version))
		if in.Dir == q.client && len(h.dcid) <= maxID && len(h.scid) <= maxID && !isGoogle(h.version) {
			q.row.OriginalDCID = table.Some(hexOf(h.dcid))
			q.learnSource(client, h.scid)
		}
		if in.Dir == q.client {
			q.hasClient = true
			q.offer(versionName(h.version))
		}
	}
	q.otherPacket(in, at)
	if isGoogle(h.version) && in.Dir == q.client {
		q.chlo(in.Data[at:])
	}
	return q
}

// isServers reports whether the ports indicate that the server sends in direction d.
func isServers(i dissect.Info, d dissect.Dir) bool {
	switch {
	case i.ServerPort == 443 && i.ClientPort != 443:
		return d == dissect.ToClient
	case i.ClientPort == 443 && i.ServerPort != 443:
		return d == dissect.ToServer
	}
	return d == dissect.ToClient
}

// otherPacket counts a packet of a connection in an unsupported version.
func (q *conn) otherPacket(in *dissect.Input, at int) {
	n := len(in.Data) - at
	q.c.Encryption().Saw(in.Dir, n, q.t.p.Instant())
	if q.role(in.Dir) == client {
		if q.row.ClientOther++; q.row.ClientOther <= 4 {
			q.cite(in, at, len(in.Data))
		}
		return
	}
	if q.row.ServerOther++; q.row.ServerOther <= 4 {
		q.cite(in, at, len(in.Data))
	}
}

// public reads a packet of Google's QUIC with the header used up to Q043.
func (t *tuple) public(in *dissect.Input) *conn {
	b := in.Data
	var q *conn
	if n := len(t.conns); n > 0 && t.conns[n-1].other != 0 {
		q = t.conns[n-1]
	}
	if q == nil {
		q = t.add(in.Dir)
		v := binary.BigEndian.Uint32(b[9:])
		q.other, q.hasClient = v, true
		q.row.Version = table.Some(versionName(v))
		q.row.OriginalDCID = table.Some(hexOf(b[1:9]))
		q.offer(versionName(v))
	}
	q.otherPacket(in, 0)
	if in.Dir == q.client {
		q.chlo(b)
	}
	return q
}

// chlo looks for the client hello that Google's QUIC sends unencrypted up to Q046, and reads
// server name and user agent from it: a table of tags with the ends of their values.
func (q *conn) chlo(b []byte) {
	const within = 64
	i := bytes.Index(b[:min(len(b), within)], []byte("CHLO"))
	if i < 0 || len(b) < i+8 {
		return
	}
	n := int(binary.LittleEndian.Uint16(b[i+4:]))
	tags := b[i+8:]
	if n > 128 || len(tags) < 8*n {
		return
	}
	values, from := tags[8*n:], 0
	for ; n > 0; n-- {
		to := int(binary.LittleEndian.Uint32(tags[4:]))
		if to < from || to > len(values) {
			return
		}
		switch value := values[from:to]; string(tags[:4]) {
		case "SNI\x00":
			if !q.row.Host.OK {
				q.row.Host = table.Some(clip.Line(value, 300))
			}
		case "UAID":
			if !q.row.Agent.OK {
				q.row.Agent = table.Some(clip.Line(value, 300))
			}
		}
		from, tags = to, tags[8:]
	}
}

// googleFrames reads the frames of T050 and T051 up to the first one that does not belong to the
// handshake: these versions have TLS and today's packets, but their own frames.
func (q *conn) googleFrames(s sealed, plain []byte) {
	const padding, ping, crypto, ack = 0x00, 0x07, 0x08, 0x40
	r := cursor.New(plain)
	for r.Left() > 0 && !r.Short() {
		switch typ := r.Uint8(); typ {
		case padding, ping:
		case crypto:
			off, n := readVarint(&r), readVarint(&r)
			if data := r.Bytes(int(min(n, 1<<30))); !r.Short() {
				q.cryptoFrame(s, off, data)
			}
		default:
			if typ&0xc0 != ack {
				q.t.anomaly("frame", "reading frame: type 0x%02x of %s", typ, versionName(s.version))
				return
			}
			skipGoogleAck(&r, typ)
		}
	}
}

// skipGoogleAck skips an acknowledgement. Its type has the width of its numbers.
func skipGoogleAck(r *cursor.Cursor, typ uint8) {
	widths := [...]int{1, 2, 4, 6}
	largest, block := widths[typ>>2&3], widths[typ&3]
	r.Skip(largest + 2) // and the delay
	blocks := 0
	if typ&0x20 != 0 {
		blocks = int(r.Uint8())
	}
	r.Skip(block + blocks*(1+block))
	if times := int(r.Uint8()); times > 0 {
		r.Skip(1 + 4 + (times-1)*3)
	}
}
