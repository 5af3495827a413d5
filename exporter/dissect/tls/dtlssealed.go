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

// headerCID is the size of the header of a record with a connection id, RFC 9146 section 4. The
// hellos contain the id's length. Without them the rest of the datagram is one record.
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

// openRecord decrypts the record in.Data[at:at+whole] of DTLS 1.0 to 1.2, which has a header of
// head bytes. It returns false if that fails.
func (k *datagrams) openRecord(s *side, in *dissect.Input, at, head, whole int, h dtlsRecord) bool {
	k.count(in, at, whole)
	if !k.keys.Any() || h.epoch == 0 {
		return false
	}
	b := in.Data[at : at+whole]
	k.rec = secrets.Record{Type: h.typ, Version: h.version, Seq: binary.BigEndian.Uint64(b[3:]), Header: b[:head], Body: b[head:]}
	buf := k.shared.buffer()
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
	buf := k.shared.buffer()
	out, what := k.keys.OpenUnified(buf, tlskeys.Role(k.role(in.Dir)), b[:head], b[head:])
	return k.read(s, in, at, whole, h, buf, &out, what)
}

// read processes the result of decrypting a record.
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
		k.c.Anomaly("replay", fmt.Sprintf("the number of a record of %d bytes was used before, or is at least 64 behind", whole), int64(whole))
	} else {
		k.content(s, in, at, whole, h, out)
	}
	k.shared.put(out.Plain)
	return true
}

// content reads a decrypted record.
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
		s.encrypted = false // the epochs show it
	case recordHeartbeat:
		k.heartbeat(k.role(in.Dir), out.Plain, len(out.Plain))
	case recordACK, 0:
	default:
		k.strange(out)
	}
	k.finishIfDone()
}

// idSize is the size of the connection id that a side requests in records sent to it, or -1 if
// its hello has none.
func idSize(e *handshake.Extensions) int {
	if !e.HasConnID {
		return -1
	}
	return len(e.ConnID)
}

// agree records the connection ids once both hellos are read.
func (k *datagrams) agree() {
	hs := k.hs
	k.ids = [2]int{-1, -1}
	if hs.client && hs.server && hs.clientID >= 0 && hs.serverID >= 0 {
		k.ids[client], k.ids[server] = hs.serverID, hs.clientID
	}
}
