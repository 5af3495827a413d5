package tls

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
)

const messageHeader = 4

// begin ensures that a handshake is in progress: a new one if a ClientHello begins another.
func (k *conn) begin(s *side, in *dissect.Input, body []byte) {
	first := byte(0xff)
	if len(s.part) == 0 && s.pass == 0 && len(body) > 0 {
		first = body[0]
	}
	hs := k.hs
	if hs != nil && first == handshake.TypeClientHello && (hs.client && !hs.retry || hs.fatal || hs.row.Midstream) {
		k.finish("")
		hs = nil
	}
	if hs == nil {
		k.newShake()
	}
	switch first {
	case handshake.TypeClientHello:
		if !k.hs.server || k.hs.retry {
			k.client = in.Dir
		}
	case handshake.TypeServerHello:
		if !k.hs.client {
			k.client = in.Dir.Other()
		}
	}
}

// handshake reads the messages, or pieces of them, of an unencrypted record.
func (k *conn) handshake(s *side, in *dissect.Input, b []byte) {
	for len(b) > 0 {
		if s.pass > 0 {
			n := min(s.pass, len(b))
			s.pass -= n
			b = b[n:]
			continue
		}
		if len(s.part) > 0 {
			b = k.resume(s, in, b)
			continue
		}
		size := messageSize(b)
		if size > maxMessage {
			k.tooLong(s, b, size)
			continue
		}
		if size < 0 || size > len(b) {
			k.keep(s, b)
			return
		}
		k.message(s, of(in), b[0], b[messageHeader:size])
		b = b[size:]
		if s.encrypted && len(b) > 0 && !k.inRecord { // after a ServerHello of TLS 1.3, messages are in separate records
			return
		}
	}
}

// messageSize is the size of the message at the start of b, or -1 if b is too short.
func messageSize(b []byte) int {
	if len(b) < messageHeader {
		return -1
	}
	return messageHeader + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
}

func (k *conn) tooLong(s *side, b []byte, size int) {
	k.c.Anomaly("limit", fmt.Sprintf("handshake message %s of %d bytes exceeds the limit of %d", handshake.Message(b[0]), size, maxMessage), int64(size))
	k.malformed()
	s.pass = size
}

// resume continues the message that began in an earlier record. It returns the bytes after the
// message.
func (k *conn) resume(s *side, in *dissect.Input, b []byte) []byte {
	for len(s.part) < messageHeader && len(b) > 0 {
		if !k.keep(s, b[:1]) {
			return nil
		}
		b = b[1:]
	}
	size := messageSize(s.part)
	if size < 0 {
		return nil
	}
	if size > maxMessage {
		head := s.part
		k.dropPart(s)
		k.tooLong(s, head, size)
		s.pass -= len(head)
		return b
	}
	n := min(size-len(s.part), len(b))
	if !k.keep(s, b[:n]) {
		return b[n:]
	}
	if len(s.part) == size {
		m := s.part
		k.message(s, of(in), m[0], m[messageHeader:])
		k.dropPart(s)
	}
	return b[n:]
}

func (k *conn) malformed() {
	if k.hs != nil {
		k.hs.malformed = true
	}
	k.keys.LostMessage()
}

func (k *conn) keep(s *side, b []byte) bool {
	if !k.c.Hold(len(b)) {
		k.c.Anomaly("limit", "a handshake message in pieces exceeds the memory limit of all connections", int64(len(b)))
		k.malformed()
		size := messageSize(append(s.part, b...))
		had := len(s.part)
		k.dropPart(s)
		s.pass = max(size-had-len(b), 0)
		return false
	}
	s.part = append(s.part, b...)
	return true
}

func (k *conn) dropPart(s *side) {
	k.c.Release(len(s.part))
	s.part, s.pass = nil, 0
}

// origin is the source of a handshake message.
type origin struct {
	dir      dissect.Dir
	time     int64 // ns since 1970 UTC
	datagram bool
	number   uint16 // DTLS
}

func of(in *dissect.Input) origin {
	return origin{dir: in.Dir, time: in.Time(0), datagram: in.Datagram}
}

// message reads one handshake message.
func (k *conn) message(s *side, o origin, typ uint8, body []byte) {
	hs := k.hs
	if hs == nil || hs.row.Midstream {
		k.after(o, typ, body)
		return
	}
	hs.step(typ)
	var err error
	switch typ {
	case handshake.TypeClientHello:
		err = k.clientHello(o, body)
	case handshake.TypeServerHello, handshake.TypeHelloRetryRequest:
		err = k.serverHello(s, typ, body)
	case handshake.TypeCertificate:
		err = k.certificate(o, body)
	case handshake.TypeServerKeyExchange:
		hs.keyExchange(body)
	case handshake.TypeCertificateRequest:
		hs.requested = true
	case handshake.TypeServerHelloDone:
		hs.helloDone = true
	case handshake.TypeClientKeyExchange:
		hs.keyExchanged = true
		k.keys.Message(typ, o.number, body)
		k.keys.KeyExchange(body)
	case handshake.TypeHelloVerifyRequest:
		if o.datagram {
			hs.retry, hs.row.HelloRetry = true, true
		}
	case handshake.TypeCertificateStatus:
		hs.det.OCSPStapled = true
	case handshake.TypeEncryptedExtensions:
		err = k.encryptedExtensions(o, body)
	case handshake.TypeCompressedCertificate:
		if body, err = handshake.Decompress(body, maxMessage); err == nil {
			err = k.certificate(o, body)
		}
	}
	if err != nil {
		hs.malformed = true
		k.c.Anomaly("malformed", err.Error(), 0)
	}
	if typ != handshake.TypeClientKeyExchange {
		k.keys.Message(typ, o.number, body)
	}
	if k.inRecord {
		k.switchKeys(o, typ)
	}
}
