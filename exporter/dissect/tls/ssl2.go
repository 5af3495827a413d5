package tls

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Unencrypted messages of SSL 2.0. RFC 6101 appendix E defines the ClientHello that later
// versions still answered.
const (
	ssl2Error = iota
	ssl2ClientHello
	ssl2ClientMasterKey
	_
	ssl2ServerHello
)

const version2 = 0x0002

// header2 reads the record header of SSL 2.0: two bytes, or three with padding.
func header2(b []byte) (head, size int) {
	if b[0]&0x80 != 0 {
		return 2, int(b[0]&0x7f)<<8 | int(b[1])
	}
	return 3, int(b[0]&0x3f)<<8 | int(b[1])
}

// answersInSSL2 reports whether b is a ServerHello or an error of SSL 2.0 after a
// ClientHello in that form.
func (k *conn) answersInSSL2(b []byte) bool {
	if k.hs == nil || !k.hs.hello2 || len(b) < 3 || b[0]&0x80 == 0 {
		return false
	}
	_, size := header2(b)
	return b[2] == ssl2ServerHello && size >= 11 || b[2] == ssl2Error && size == 3
}

// readSSL2 reads a record of SSL 2.0.
func (k *conn) readSSL2(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if len(b) < 3 {
		if in.End {
			k.cut(in, at, len(in.Data))
			return len(b), nil
		}
		k.c.Need(in.Dir, 3)
		return 0, nil
	}
	head, size := header2(b)
	if k.hs == nil && (k.done || detectSSL2(dissect.ToServer, b) == dissect.No) {
		if k.done {
			s.place, s.left = inOpaque, head+size
			return 0, nil
		}
		return 0, fmt.Errorf("reading record of SSL 2.0: expected a ClientHello, got message %d", b[2])
	}
	if len(b) < head+size && !in.End {
		k.c.Need(in.Dir, head+size)
		return 0, nil
	}
	n := min(head+size, len(b))
	body := b[min(head, n):n]
	s.began, s.next = true, in.Offset(at+n)
	if k.hs == nil {
		k.newShake()
		k.client = in.Dir
	}
	k.cite(in, at, at+n)
	if n < head+size {
		k.hs.cut = true
		return n, nil
	}
	k.message2(in, body)
	return n, nil
}

func (k *conn) message2(in *dissect.Input, body []byte) {
	hs := k.hs
	side := k.role(in.Dir)
	if hs.master2 {
		hs.opaque2[side]++
		hs.fin[client], hs.fin[server] = hs.opaque2[client] >= 1, hs.opaque2[server] >= 2
		k.finishIfDone()
		return
	}
	if len(body) == 0 {
		return
	}
	switch body[0] {
	case ssl2ClientHello:
		var h handshake.Client
		if err := handshake.ReadClient2(body, &h); err != nil {
			hs.malformed = true
			k.c.Anomaly("malformed", err.Error(), 0)
			return
		}
		hs.step(handshake.TypeClientHello)
		hs.fillClient(&h, 0, true)
		hs.hello2 = true
	case ssl2ServerHello:
		k.ssl2 = true
		k.serverHello2(in, body)
	case ssl2ClientMasterKey:
		r := cursor.New(body)
		r.Skip(1)
		kind := r.Uint24()
		if !r.Short() {
			hs.row.Suite, hs.row.SuiteName = table.Some(int32(kind)), table.Some(handshake.Suite2(kind))
		}
		hs.row.Messages = append(hs.row.Messages, "client_master_key")
		hs.master2 = true
	case ssl2Error:
		hs.alert("ssl2_error", true, side)
	default: // encrypted, as in a resumed session
		hs.master2 = true
		hs.opaque2[side]++
	}
}

func (k *conn) serverHello2(in *dissect.Input, body []byte) {
	hs := k.hs
	r := cursor.New(body)
	r.Skip(1)
	hit, _, version := r.Uint8(), r.Uint8(), r.Uint16()
	cert, suites, id := int(r.Uint16()), int(r.Uint16()), int(r.Uint16())
	der := r.Bytes(cert)
	r.Skip(suites + id)
	hs.step(handshake.TypeServerHello)
	hs.server = true
	hs.version, k.version = version2, version2
	hs.setVersion()
	if r.Short() || version != version2 {
		hs.malformed = true
		k.c.Anomaly("malformed", fmt.Sprintf("reading ServerHello of SSL 2.0: version 0x%04x, and lengths %d, %d and %d in a message of %d bytes", version, cert, suites, id, len(body)), 0)
		return
	}
	if hit != 0 {
		hs.row.Resumed = table.Some("id")
	}
	if len(der) > 0 {
		hs.serverCert = true
		fillServerCert(hs.det, []*handshake.Certificate{k.certs.get(der)}, in.Time(0))
	}
}
