// Package tls reads the handshakes of SSL 2.0 to TLS 1.3 over TCP and of DTLS over UDP, and
// opens their records where secrets are given.
//
// A row is one handshake. It is emitted when the handshake ends and stands on its packets
// alone. What came out of records of application data goes to an inner connection, whose
// protocol is told by content; nothing comes out that did not authenticate. What cannot be
// opened is passed over in pieces, without being kept; after lost bytes reading goes on at
// the next record.
package tls

import (
	"bytes"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/internal/tlskeys"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of one connection.
const (
	maxRecord  = 1<<14 + 2048 // RFC 5246 section 6.2.3
	maxMessage = 512 << 10    // handshake message that is read; Certificate is the largest
	maxFlight  = 64 << 10     // encrypted bytes of one side that are cited as its handshake
	maxNames   = 1000         // entries of one list in a row
	maxAlerts  = 16           // alerts named in a row
	maxSteps   = 64           // messages named in a row
	maxChain   = 32           // certificates read of one chain
)

// Row is one handshake.
type Row struct {
	table.Call
	SNI           table.Opt[string] `col:"tls_sni" enc:"dict" doc:"server name that the client requested"`
	ALPN          table.Opt[string] `col:"tls_alpn" enc:"dict" doc:"application protocol that the server chose; from TLS 1.3 on only if keys decrypted it"`
	ALPNOffered   []string          `col:"tls_alpn_offered" doc:"application protocols that the client offered, in its order"`
	Version       table.Opt[int32]  `col:"tls_version" doc:"negotiated version: 2 SSL 2.0, 0x0300 SSL 3.0, 0x0301 TLS 1.0 … 0x0304 TLS 1.3, 0xfeff DTLS 1.0, 0xfefd DTLS 1.2"`
	VersionName   table.Opt[string] `col:"tls_version_name" enc:"dict" doc:"name of the negotiated version, such as TLS 1.3"`
	Suite         table.Opt[int32]  `col:"tls_cipher_suite" doc:"negotiated cipher suite"`
	SuiteName     table.Opt[string] `col:"tls_cipher_suite_name" enc:"dict" doc:"negotiated cipher suite by IANA's name"`
	Suites        []string          `col:"tls_cipher_suites" doc:"cipher suites that the client offered, in its order, by IANA's names; GREASE for reserved values without meaning"`
	Groups        []string          `col:"tls_groups" doc:"groups for key exchange that the client offered"`
	Group         table.Opt[string] `col:"tls_group" enc:"dict" doc:"group that the server chose"`
	Schemes       []string          `col:"tls_signature_algorithms" doc:"signature schemes that the client offered"`
	JA3           table.Opt[string] `col:"tls_ja3" enc:"dict" doc:"JA3 fingerprint of the client"`
	JA3S          table.Opt[string] `col:"tls_ja3s" enc:"dict" doc:"JA3S fingerprint of the server"`
	JA4           table.Opt[string] `col:"tls_ja4" enc:"dict" doc:"JA4 fingerprint of the client"`
	Resumed       table.Opt[string] `col:"tls_resumed" enc:"dict" doc:"how an earlier session was resumed: id, ticket or psk; null for a full handshake"`
	EarlyData     bool              `col:"tls_early_data" doc:"the client offered data before the end of the handshake (0-RTT)"`
	HelloRetry    bool              `col:"tls_hello_retry" doc:"the server requested another ClientHello: HelloRetryRequest, or HelloVerifyRequest of DTLS"`
	ECH           table.Opt[string] `col:"tls_ech" enc:"dict" doc:"the client's real hello may be hidden: ech (Encrypted ClientHello, also when only greased) or esni"`
	ClientCert    table.Opt[string] `col:"tls_client_certificate" enc:"dict" doc:"requested, sent, or empty if the client had none; null if the server did not request it or its request was not decrypted"`
	CertState     table.Opt[string] `col:"tls_certificate_state" enc:"dict" doc:"the server's certificate: observed, not_observable (encrypted and not decrypted), or none (resumed or anonymous); null if the handshake was not seen up to that point"`
	Alerts        []string          `col:"tls_alerts" doc:"alerts up to the end of the handshake, in order, by IANA's names; \"encrypted\" if the content is unknown"`
	Info          table.Opt[string] `col:"tls_info" enc:"dict" doc:"hellos seen: ClientHello, ServerHello, or both separated by a slash"`
	Messages      []string          `col:"tls_messages" doc:"handshake messages that were seen, in clear text or decrypted, in order, by IANA's names"`
	Midstream     bool              `col:"tls_midstream" doc:"neither hello was seen, so the row only says that there is TLS"`
	Renegotiation bool              `col:"tls_renegotiation" doc:"the handshake took place inside an encrypted connection"`
}

// Protocol is TLS. keys are the secrets with which records are opened; nil means none. One
// Protocol is for one engine: it bounds the search for connections that were under way.
func Protocol(keys *secrets.Store) *dissect.Protocol {
	sh := &shared{store: keys, certs: NewCerts()}
	return &dissect.Protocol{
		Name:       "tls",
		Doc:        "handshakes of SSL 2.0 to TLS 1.3 and of DTLS",
		Transports: []dissect.Transport{dissect.TCP, dissect.UDP},
		Ports:      []uint16{443, 8443, 6443, 853, 993, 995, 465, 636, 5671, 8883, 9443, 10250, 15012, 15017},
		Detect:     detect,
		Prefaced:   true, // a connection begins with a hello
		New: func(c *dissect.Conn) dissect.Dissector {
			if c.Info.Transport == dissect.UDP {
				k := &datagrams{conn: conn{c: c, certs: sh.certs}, ids: [2]int{-1, -1}}
				k.setUp(sh, "dtls")
				return k
			}
			k := &conn{c: c, certs: sh.certs}
			k.setUp(sh, "tls")
			return k
		},
		Row: &Row{},
	}
}

// Types of records.
const (
	recordCCS       = 20
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
	recordHeartbeat = 24
)

const headerBytes = 5

type place uint8

const (
	atRecord place = iota
	inOpaque       // inside a record whose content is not looked at
	scanning       // place lost: looking for the next record
)

// side is one direction's place in its records.
type side struct {
	place     place
	left      int    // bytes of the opaque record still to come
	of        *shake // the handshake that the opaque record belongs to
	ends      bool   // the opaque record is the last of its side in the handshake
	encrypted bool   // after ChangeCipherSpec, or ServerHello of TLS 1.3
	unsure    bool   // ChangeCipherSpec came while TLS 1.3 was possible, where it means nothing
	lost      bool   // bytes were lost, so that a bad header means looking on
	began     bool   // a record was read
	part      []byte // handshake message whose end has not come
	pass      int    // bytes of a handshake message over the limit still to come
	scanned   int64
	flight    int // encrypted bytes given to the handshake

	next   int64  // stream offset after the last record that was opened or is in clear; -1 before
	astray bool   // messages under encryption were lost: the next bytes may be in the midst of one
	tail   []byte // the last bytes that were read
	failed int64  // 1 + stream offset where a record may begin that did not open
}

type conn struct {
	c       *dissect.Conn
	certs   *Certs
	sides   [2]side
	client  dissect.Dir // direction in which the TLS client sends
	hs      *shake      // handshake under way, or nil
	done    bool        // a row was emitted
	version uint16      // negotiated
	ssl2    bool        // records are those of SSL 2.0
	ja4     byte        // transport in JA4 where it is not told by the version
	quic    bool

	shared     *shared
	keys       *tlskeys.Keys
	enc        *dissect.Encryption
	rec        secrets.Record // being opened; here so that it costs no allocation
	by         string         // tls or dtls
	inner      *dissect.Conn
	innerEnded [2]bool
	midstream  bool // hellos were not captured
	inRecord   bool // messages come out of an opened record

	closed bool
	end    dissect.End // with closed: why
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (n int, err error) {
	n, err = k.records(&k.sides[in.Dir], in)
	k.keepTail(&k.sides[in.Dir], in, n)
	return n, err
}

func (k *conn) records(s *side, in *dissect.Input) (int, error) {
	at := 0
	for at < len(in.Data) {
		if k.waiting(s, in, at) {
			return at, nil
		}
		was := s.place
		n, err := k.step(s, in, at)
		if at += n; err != nil || n == 0 && s.place == was {
			return at, err
		} // else the place was found or lost: look again
	}
	if in.End && in.Fin {
		k.endInner(in.Dir, k.c.Now())
	}
	return at, nil
}

// waiting reports whether the record at in.Data[at] is 0-RTT that has to wait.
func (k *conn) waiting(s *side, in *dissect.Input, at int) bool {
	return s.place == atRecord && k.keys.Any() && in.Data[at] == recordData && k.waits(in, at)
}

// step reads one record or a piece of one; 0 means that it needs more, or that the
// side's place changed to other than atRecord.
func (k *conn) step(s *side, in *dissect.Input, at int) (int, error) {
	rest := in.Data[at:]
	switch s.place {
	case inOpaque:
		n := min(s.left, len(rest))
		k.opaque(s, in, at, n)
		return n, nil
	case scanning:
		return k.scan(s, in, at, false), nil
	}
	if k.ssl2 {
		return k.readSSL2(s, in, at)
	}
	if rest[0]&0x80 != 0 && !s.began && k.hs == nil {
		return k.readSSL2(s, in, at)
	}
	if len(rest) < headerBytes {
		if in.End {
			k.cut(in, at, len(in.Data))
			return len(rest), nil
		}
		k.c.Need(in.Dir, headerBytes)
		return 0, nil
	}
	h := header(rest)
	if !h.plausible() {
		if k.answersInSSL2(rest) {
			k.ssl2 = true
			return k.readSSL2(s, in, at)
		}
		if s.lost || !s.began && k.hs != nil && k.hs.row.Midstream {
			s.place, s.lost = scanning, true
			return 0, nil
		}
		return 0, fmt.Errorf("reading record header: type %d, version 0x%04x, length %d, want type 20 to 24, version 0x03xx and at most %d", h.typ, h.version, h.size, maxRecord)
	}
	return k.record(s, in, at, h)
}

type recordHeader struct {
	typ     uint8
	version uint16
	size    int
}

func header(b []byte) recordHeader {
	return recordHeader{b[0], uint16(b[1])<<8 | uint16(b[2]), int(b[3])<<8 | int(b[4])}
}

func (h recordHeader) plausible() bool {
	return h.typ >= recordCCS && h.typ <= recordHeartbeat && h.version>>8 == 3 && h.version&0xff <= 4 && h.size <= maxRecord
}

// record reads the record that begins at in.Data[at].
func (k *conn) record(s *side, in *dissect.Input, at int, h recordHeader) (int, error) {
	whole := headerBytes + h.size
	have := len(in.Data) - at
	if s.unsure && h.typ == recordHandshake && k.hs != nil && have > headerBytes+1 && !bytes.HasPrefix(in.Data[at+headerBytes:], []byte{handshake.TypeClientHello, 0}) {
		k.encrypt(s, in) // it was TLS 1.2
	}
	role := tlskeys.Role(k.role(in.Dir))
	change := s.encrypted && h.typ == recordCCS && h.size > 1
	if s.sealed(h) || change {
		s.began = true
		if change && have < whole && !in.End {
			k.c.Need(in.Dir, whole)
			return 0, nil
		}
		switch {
		case !k.opens(role, h) || have < whole && (in.End || !k.fits(role, h)):
			k.count(in, at, whole)
		case have < whole:
			k.c.Need(in.Dir, whole)
			return 0, nil
		case k.unseal(s, in, at, whole, h, true):
			return whole, nil
		}
	}
	if s.sealed(h) {
		k.beginOpaque(s, in, h)
		s.place, s.left = inOpaque, whole
		n := min(whole, have)
		k.opaqueHeader(s, in, at)
		k.opaque(s, in, at, n)
		return n, nil
	}
	if have < whole && !in.End {
		k.c.Need(in.Dir, whole)
		return 0, nil
	}
	n := min(whole, have)
	if off := in.Offset(at); !s.began || s.next == off {
		s.next = off + int64(n)
	}
	s.began = true
	body := in.Data[at+headerBytes : at+n]
	switch h.typ {
	case recordHandshake:
		k.begin(s, in, body)
		k.hs.recordVersion(h.version)
		k.give(in, at, at+n)
		k.handshake(s, in, body)
	case recordCCS:
		k.changeCipher(s, in, at, n)
	case recordAlert:
		k.want(in)
		k.give(in, at, at+n)
		k.alert(in, body)
	case recordHeartbeat:
		k.heartbeat(in, body)
		if k.hs != nil {
			k.give(in, at, at+n)
		}
	}
	if n < whole && k.hs != nil {
		k.hs.cut = true
	}
	return n, nil
}

// beginOpaque decides whether an encrypted record belongs to a handshake.
func (k *conn) beginOpaque(s *side, in *dissect.Input, h recordHeader) {
	s.of, s.ends = nil, false
	if k.hs == nil {
		switch {
		case !k.done:
			k.newShake()
			k.hs.row.Midstream = true
			k.hs.recordVersion(h.version)
		case h.typ == recordHandshake:
			k.newShake()
			k.hs.row.Renegotiation = true
		default:
			return
		}
	}
	hs := k.hs
	side := k.role(in.Dir)
	switch {
	case hs.row.Midstream:
		hs.fin[side] = true
	case hs.version13():
		k.opaque13(s, hs, side, h)
	case h.typ == recordHandshake:
		s.of, s.ends = hs, hs.ccs[side]
	case h.typ == recordAlert && !hs.fin[side]:
		hs.alert("encrypted", true, side)
		s.of = hs
	case h.typ == recordData && hs.server && !hs.ccs[side] && s.lost:
		hs.ccs[side], hs.fin[side] = true, true // what ended its handshake was lost
		s.encrypted = true
	}
	k.finishIfDone()
}

// opaque13 places an encrypted record of TLS 1.3. The client's first one after the
// ServerHello is its Finished, or what comes with it; its length tells an alert.
//
// LIMIT: where the client sends a certificate in a record of its own, its Finished comes
// after what counts here as the handshake's end.
func (k *conn) opaque13(s *side, hs *shake, side role, h recordHeader) {
	const alertRecord = 2 + 1 + 16 // level and description, content type, tag
	if side == server {
		s.of = hs
		return
	}
	s.of, s.ends = hs, true
	if h.size == alertRecord && !hs.row.EarlyData {
		hs.alert("encrypted", true, side)
	}
}

// opaqueHeader gives the first bytes of a record to a handshake that has nothing else
// from this side.
func (k *conn) opaqueHeader(s *side, in *dissect.Input, at int) {
	if hs := k.hs; hs != nil && hs.row.Midstream && s.of == nil {
		k.give(in, at, min(at+headerBytes, len(in.Data)))
		k.finishIfDone()
	}
}

// opaque passes over n bytes of the record under way.
func (k *conn) opaque(s *side, in *dissect.Input, at, n int) {
	s.left -= n
	if s.of != nil && s.of == k.hs && s.flight < maxFlight {
		s.flight += n
		k.give(in, at, at+n)
	}
	if s.left > 0 {
		return
	}
	s.place = atRecord
	if s.of == nil || s.of != k.hs {
		return
	}
	if s.ends {
		k.hs.fin[k.role(in.Dir)] = true
	}
	s.of = nil
	k.finishIfDone()
}

func (k *conn) changeCipher(s *side, in *dissect.Input, at, n int) {
	if k.hs == nil && !k.done {
		k.newShake()
		k.hs.recordVersion(uint16(in.Data[at+1])<<8 | uint16(in.Data[at+2]))
	}
	if k.hs == nil {
		if k.version != 0 && !handshake.Is13(k.version) { // of a renegotiation whose start was lost
			k.newShake()
			k.hs.row.Renegotiation = true
		} else {
			return
		}
	}
	k.give(in, at, at+n)
	if k.hs.version13() {
		return // means nothing in TLS 1.3, RFC 8446 section 5
	}
	if k.hs.offers13 && !k.hs.server && !k.hs.keyExchanged {
		s.unsure = true
		return
	}
	k.encrypt(s, in)
}

// encrypt is called where a side begins to encrypt, before TLS 1.3.
func (k *conn) encrypt(s *side, in *dissect.Input) {
	side := k.role(in.Dir)
	k.dropPart(s)
	s.encrypted, s.unsure = true, false
	k.keys.Change(tlskeys.Role(side))
	k.hs.ccs[side] = true
	k.hs.changed(side)
}

func (k *conn) alert(in *dissect.Input, body []byte) {
	if len(body) != 2 {
		k.c.Anomaly("malformed", fmt.Sprintf("reading alert: %d bytes, want 2", len(body)), 0)
		return
	}
	fatal := body[0] == 2 || k.hs.version13() && body[1] != 0 && body[1] != 90
	k.hs.alert(handshake.Alert(body[1]), fatal, k.role(in.Dir))
}

// heartbeat looks for a length that asks for more than was sent, CVE-2014-0160.
func (k *conn) heartbeat(in *dissect.Input, body []byte) {
	if len(body) < 3 {
		return
	}
	if claims := int(body[1])<<8 | int(body[2]); claims+3 > len(body) {
		k.c.Anomaly("heartbeat_length", fmt.Sprintf("heartbeat of %d bytes says that its payload has %d", len(body), claims), 0)
	}
}

type role uint8

const (
	client role = iota
	server
)

func (k *conn) role(d dissect.Dir) role {
	if d == k.client {
		return client
	}
	return server
}

// give cites in.Data[from:to] for the handshake under way.
func (k *conn) give(in *dissect.Input, from, to int) {
	if in.Dir == k.client {
		k.hs.x.Request(in, from, to)
	} else {
		k.hs.x.Response(in, from, to)
	}
}

// want makes sure that there is a handshake under way.
func (k *conn) want(in *dissect.Input) {
	if k.hs == nil {
		k.newShake()
	}
}

// cut takes what the connection's end left of a message.
func (k *conn) cut(in *dissect.Input, from, to int) {
	if k.hs != nil {
		k.hs.cut = true
		k.give(in, from, to)
	}
}
