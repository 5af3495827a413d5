package tls

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/internal/tlskeys"
)

// inside reads the content of a decrypted record.
func (k *conn) inside(s *side, in *dissect.Input, at, whole int, out *tlskeys.Record) {
	k.place(s, in, at, out)
	switch out.Type {
	case recordData:
		k.data(in, at, whole, out)
	case recordHandshake:
		k.insideHandshake(s, in, at, whole, out.Plain)
	case recordAlert:
		k.insideAlert(in, at, whole, out.Plain)
	case recordCCS:
		k.insideChange(s, in, at, whole)
	case recordHeartbeat:
		k.heartbeat(k.role(in.Dir), out.Plain, len(out.Plain))
	case 0: // only padding
	default:
		k.strange(out)
	}
	k.finishIfDone()
}

func (k *conn) strange(out *tlskeys.Record) {
	k.c.Anomaly("malformed", fmt.Sprintf("reading record: encrypted content type %d is outside 20 to 24", out.Type), int64(len(out.Plain)))
}

// place derives from a decrypted record which parts of an unseen handshake are done.
func (k *conn) place(s *side, in *dissect.Input, at int, out *tlskeys.Record) {
	side := k.role(in.Dir)
	if hs := k.hs; hs != nil {
		switch {
		case hs.row.Midstream:
			if !hs.fin[side] {
				k.cite(in, at, at+headerBytes)
			}
			hs.fin[side] = true
		case out.Data && !out.Early && !hs.fin[side] && out.Type == recordData && (hs.server || hs.gap):
			hs.ccs[side], hs.fin[side] = true, true // the messages that ended its handshake are missing
			s.encrypted = true
		}
	}
}

// data passes application data to the inner connection.
func (k *conn) data(in *dissect.Input, at, whole int, out *tlskeys.Record) {
	if len(out.Plain) == 0 {
		return
	}
	if out.Early && k.refusesEarly() { // the client will send it again
		k.c.Anomaly("early_data", fmt.Sprintf("the server rejected %d bytes of 0-RTT", len(out.Plain)), 0)
		return
	}
	if out.Early {
		k.hs.early += int64(len(out.Plain))
	}
	k.enc.Plain[in.Dir] += int64(len(out.Plain))
	if !k.carry(in) {
		k.c.Anomaly("data_after_close", fmt.Sprintf("%d bytes of application data after the alert close_notify", len(out.Plain)), 0)
		return
	}
	k.tellHole(in.Dir.Other(), in.Packet(at))
	if in.Datagram {
		k.inner.FeedDatagram(in, at, at+whole, out.Plain)
		return
	}
	k.inner.Feed(in, at, at+whole, out.Plain)
}

func (k *conn) insideHandshake(s *side, in *dissect.Input, at, whole int, plain []byte) {
	if s.astray && !wholeMessages(plain) {
		k.c.Anomaly("gap", fmt.Sprintf("%d bytes of handshake messages after a gap", len(plain)), int64(len(plain)))
		return
	}
	s.astray = false
	if !k.version13() { // a renegotiation may begin; TLS 1.3 has none
		if k.hs == nil || len(plain) > 0 && plain[0] == handshake.TypeClientHello {
			k.begin(s, in, plain)
			k.hs.row.Renegotiation = k.hs.row.Renegotiation || k.done
		}
	}
	if k.hs != nil && !k.hs.row.Midstream {
		k.cite(in, at, at+whole)
	}
	k.inRecord = true
	k.handshake(s, in, plain)
	k.inRecord = false
}

// wholeMessages reports whether b consists of whole messages.
func wholeMessages(b []byte) bool {
	for len(b) > 0 {
		n := messageSize(b)
		if n < 0 || n > len(b) || b[0] > handshake.TypeCompressedCertificate {
			return false
		}
		b = b[n:]
	}
	return true
}

func (k *conn) version13() bool { return handshake.Is13(k.version) }

// insideAlert records an alert. One that closes ends its direction of the inner connection.
func (k *conn) insideAlert(in *dissect.Input, at, whole int, body []byte) {
	const closeNotify = 0
	hs := k.hs
	if hs != nil && !hs.row.Midstream {
		k.cite(in, at, at+whole)
		k.alert(in, body)
	} else if len(body) != 2 {
		k.c.Anomaly("malformed", fmt.Sprintf("reading alert: %d bytes instead of 2", len(body)), 0)
	} else {
		k.enc.Alert(in.Dir, handshake.Alert(body[1]))
	}
	if len(body) == 2 && body[1] == closeNotify {
		k.endInner(in.Dir, in.Packet(at+whole-1))
	}
}

// endInner ends one direction of the inner connection.
func (k *conn) endInner(dir dissect.Dir, p dissect.Packet) {
	if k.inner != nil && !k.innerEnded[dir] {
		k.tellEnd(dir, p)
		k.inner.End(dir, p)
	}
	k.innerEnded[dir] = true
}

// insideChange reads a ChangeCipherSpec under the keys of an earlier handshake.
func (k *conn) insideChange(s *side, in *dissect.Input, at, whole int) {
	if !k.version13() {
		k.changeCipher(s, in, at, whole)
	}
}

// after reads a message of TLS 1.3 that follows the handshake.
func (k *conn) after(o origin, typ uint8, body []byte) {
	switch typ {
	case handshake.TypeKeyUpdate:
		k.keys.KeyUpdate(tlskeys.Role(k.role(o.dir)))
	case handshake.TypeNewSessionTicket, handshake.TypeCertificateRequest, handshake.TypeCertificate, handshake.TypeCompressedCertificate,
		handshake.TypeCertificateVerify, handshake.TypeFinished: // a ticket, or a client that authenticates late
	default:
		k.c.Anomaly("malformed", fmt.Sprintf("reading handshake message %s: it is not allowed after the handshake", handshake.Message(typ)), int64(len(body)))
	}
}

// switchKeys follows key changes in encrypted messages.
func (k *conn) switchKeys(o origin, typ uint8) {
	side := k.role(o.dir)
	switch typ {
	case handshake.TypeFinished:
		k.hs.fin[side] = true
		k.keys.Finished(tlskeys.Role(side))
	case handshake.TypeEndOfEarlyData:
		k.hs.endOfEarly = true
		k.keys.EndOfEarlyData()
	case handshake.TypeKeyUpdate:
		k.keys.KeyUpdate(tlskeys.Role(side))
	}
}

// Shed implements dissect.Dissector for the inner connection.
func (k *conn) Shed() bool { return k.inner != nil && k.inner.Shed() }

// Inside implements dissect.Carrier.
func (k *conn) Inside() *dissect.Conn { return k.inner }
