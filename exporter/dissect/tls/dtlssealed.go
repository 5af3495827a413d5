package tls

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/internal/tlskeys"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// headerCID is the size of the header of a record with a connection id, RFC 9146 section
// 4, whose length the hellos tell. Without them the rest of the datagram is one record.
func (k *datagrams) headerCID(dir dissect.Dir, b []byte, h *dtlsRecord) int {
	const before = dtlsHeader - 2
	if n := k.ids[k.role(dir)]; n >= 0 {
		r := cursor.New(b)
		r.Skip(before + n)
		if size := int(r.Uint16()); !r.Short() && size <= r.Left() {
			h.size = size
			return r.Used()
		}
	}
	h.size = len(b) - dtlsHeader
	return dtlsHeader
}

// openRecord opens the record in.Data[at:at+whole] of DTLS 1.0 to 1.2, whose header has
// head bytes; false means that it did not open.
func (k *datagrams) openRecord(s *side, in *dissect.Input, at, head, whole int, h dtlsRecord) bool {
	k.count(in, at, whole)
	if !k.keys.Any() || h.epoch == 0 {
		return false
	}
	b := in.Data[at : at+whole]
	k.rec = secrets.Record{Type: h.typ, Version: h.version, Seq: binary.BigEndian.Uint64(b[3:]), Header: b[:head], Body: b[head:]}
	buf := k.shared.take()
	out, what := k.keys.OpenDatagram(buf, tlskeys.Role(k.role(in.Dir)), &k.rec)
	return k.read(s, in, at, whole, h, buf, &out, what)
}

// openUnified is openRecord for DTLS 1.3.
func (k *datagrams) openUnified(s *side, in *dissect.Input, at, head, whole int, h dtlsRecord) bool {
	k.count(in, at, whole)
	if !k.keys.Any() {
		return false
	}
	b := in.Data[at : at+whole]
	buf := k.shared.take()
	out, what := k.keys.OpenUnified(buf, tlskeys.Role(k.role(in.Dir)), b[:head], b[head:])
	return k.read(s, in, at, whole, h, buf, &out, what)
}

// read reads what came out of a record, if anything did.
func (k *datagrams) read(s *side, in *dissect.Input, at, whole int, h dtlsRecord, buf []byte, out *tlskeys.Record, what tlskeys.Outcome) bool {
	if what != tlskeys.Opened {
		k.shared.put(buf)
		if what == tlskeys.Refused {
			k.notAuthentic(whole)
		}
		return false
	}
	k.enc.Opened[in.Dir]++
	if out.Stale {
		k.c.Anomaly("replay", fmt.Sprintf("record of %d bytes whose number came before, or is 64 or more behind", whole), int64(whole))
	} else {
		k.content(s, in, at, whole, h, out)
	}
	k.shared.put(out.Plain)
	return true
}

// content reads an opened record.
func (k *datagrams) content(s *side, in *dissect.Input, at, whole int, h dtlsRecord, out *tlskeys.Record) {
	k.learn(recordHeader{version: h.version}, out)
	k.place(s, in, at, out)
	switch out.Type {
	case recordData:
		k.data(in, at, whole, out)
	case recordHandshake:
		k.inRecord = true
		k.fragments(in, at, whole, h, out.Plain)
		k.inRecord = false
	case recordAlert:
		k.insideAlert(in, at, whole, out.Plain)
	case recordCCS:
		k.insideChange(s, in, at, whole)
		s.encrypted = false // epochs tell
	case recordHeartbeat:
		k.heartbeat(in, out.Plain)
	case recordACK, 0:
	default:
		k.strange(out)
	}
	k.finishIfDone()
}

// idSize is the size of the connection id that a side wants in what it is sent, -1 where
// it does not speak of one.
func idSize(e *handshake.Extensions) int {
	if !e.HasConnID {
		return -1
	}
	return len(e.ConnID)
}

// agree notes the connection ids once both hellos are read.
func (k *datagrams) agree() {
	hs := k.hs
	k.ids = [2]int{-1, -1}
	if hs.client && hs.server && hs.askedID >= 0 && hs.givenID >= 0 {
		k.ids[client], k.ids[server] = hs.givenID, hs.askedID
	}
}
