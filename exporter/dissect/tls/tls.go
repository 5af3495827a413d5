// Package tls reads the handshakes of SSL 2.0 to TLS 1.3 over TCP and of DTLS over UDP, and
// decrypts their records if it has the secrets.
//
// A row is one handshake. It is emitted when the handshake ends and cites only its own packets.
// Decrypted application data goes to an inner connection, where detection finds the protocol;
// data that did not authenticate never does. Records that cannot be decrypted are skipped in
// pieces, without being kept. After a gap, reading continues at the next record.
package tls

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/tlskeys"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of one connection.
const (
	maxRecord  = 1<<14 + 2048 // RFC 5246 section 6.2.3
	maxMessage = 512 << 10    // largest handshake message; Certificate is the largest type
	maxFlight  = 64 << 10     // encrypted bytes of one side that are cited as its handshake
	maxNames   = 1000         // entries of one list in a row
	maxAlerts  = 16           // alerts listed in a row
	maxSteps   = 64           // messages listed in a row
	maxChain   = 32           // certificates read of one chain
)

// Row is one handshake.
type Row struct {
	table.Call
	SNI           table.Opt[string] `col:"tls_sni" enc:"dict" doc:"server name that the client requested"`
	ALPN          table.Opt[string] `col:"tls_alpn" enc:"dict" doc:"application protocol that the server chose; from TLS 1.3 on only if keys decrypted it"`
	ALPNOffered   []string          `col:"tls_alpn_offered" doc:"application protocols that the client offered, in its order"`
	Version       table.Opt[int32]  `col:"tls_version" doc:"negotiated version: 2 SSL 2.0, 0x0300 SSL 3.0, 0x0301 TLS 1.0 … 0x0304 TLS 1.3, 0xfeff DTLS 1.0, 0xfefd DTLS 1.2; drafts 0x7fNN"`
	VersionName   table.Opt[string] `col:"tls_version_name" enc:"dict" doc:"name of the negotiated version, such as TLS 1.3"`
	Suite         table.Opt[int32]  `col:"tls_cipher_suite" doc:"negotiated cipher suite"`
	SuiteName     table.Opt[string] `col:"tls_cipher_suite_name" enc:"dict" doc:"negotiated cipher suite by IANA's name"`
	Suites        []string          `col:"tls_cipher_suites" doc:"cipher suites that the client offered, in its order, by IANA's names; GREASE for reserved values without meaning"`
	Groups        []string          `col:"tls_groups" doc:"groups for key exchange that the client offered"`
	Group         table.Opt[string] `col:"tls_group" enc:"dict" doc:"group that the server chose, in key_share of TLS 1.3, in ServerKeyExchange before"`
	Schemes       []string          `col:"tls_signature_algorithms" doc:"signature schemes that the client offered"`
	JA3           table.Opt[string] `col:"tls_ja3" enc:"dict" doc:"JA3 fingerprint of the client; none for a hello in the form of SSL 2.0"`
	JA3S          table.Opt[string] `col:"tls_ja3s" enc:"dict" doc:"JA3S fingerprint of the server"`
	JA4           table.Opt[string] `col:"tls_ja4" enc:"dict" doc:"JA4 fingerprint of the client"`
	Resumed       table.Opt[string] `col:"tls_resumed" enc:"dict" doc:"how an earlier session was resumed: id, ticket or psk; null for a full handshake, or without its ClientHello"`
	EarlyData     bool              `col:"tls_early_data" doc:"the client offered data before the end of the handshake (0-RTT); with keys, encrypted_extensions of table tls_handshakes shows whether it was accepted"`
	HelloRetry    bool              `col:"tls_hello_retry" doc:"the server requested another ClientHello: HelloRetryRequest, or HelloVerifyRequest of DTLS"`
	ECH           table.Opt[string] `col:"tls_ech" enc:"dict" doc:"the client's real hello may be hidden: ech (Encrypted ClientHello, also when only greased) or esni"`
	ClientCert    table.Opt[string] `col:"tls_client_certificate" enc:"dict" doc:"requested, sent, or empty if the client had none; null if the server did not request it or its request was not decrypted"`
	CertState     table.Opt[string] `col:"tls_certificate_state" enc:"dict" doc:"the server's certificate: observed, not_observable (encrypted and not decrypted), or none (resumed or anonymous); null if the handshake was not seen up to that point"`
	Alerts        []string          `col:"tls_alerts" doc:"alerts up to the end of the handshake, in order, at most 16, by IANA's names; encrypted if the content is unknown. Later ones are in alerts of table connections"`
	Info          table.Opt[string] `col:"tls_info" enc:"dict" doc:"hellos seen: ClientHello, ServerHello, or both separated by a slash"`
	Messages      []string          `col:"tls_messages" doc:"handshake messages that were seen, in clear text or decrypted, in order, at most 64, by IANA's names; tickets and key updates after it are in no row"`
	Midstream     bool              `col:"tls_midstream" doc:"neither hello was captured, so the row only shows that there is TLS"`
	Renegotiation bool              `col:"tls_renegotiation" doc:"the handshake took place inside an encrypted connection"`
}

// Protocol is TLS. keys are the secrets for decryption; nil means none. Each engine needs its
// own Protocol, which limits the search for the keys of connections without a captured start.
func Protocol(keys *secrets.Store) *dissect.Protocol {
	sh := &shared{store: keys, certs: NewCerts()}
	return &dissect.Protocol{
		Name:       "tls",
		Doc:        "handshakes of SSL 2.0 to TLS 1.3 and of DTLS",
		Versions:   "SSL 2.0 to TLS 1.3, DTLS 1.0 to 1.3",
		Depth:      "handshakes and certificates; with keys, the content is read as other protocols",
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
		Row:    &Row{},
		Traits: table.Traits{Carrier: true, Encrypts: true, Wireshark: "tls"},
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
	inOpaque       // inside a record with content that is not read
	scanning       // position lost: looking for the next record
)

// side is the reading position in one direction.
type side struct {
	place     place
	left      int    // bytes of the opaque record still to come
	of        *shake // the handshake that the opaque record belongs to
	ends      bool   // the opaque record is the last one of its side in the handshake
	encrypted bool   // after ChangeCipherSpec, or ServerHello of TLS 1.3
	unsure    bool   // ChangeCipherSpec came while TLS 1.3 was possible, in which it has no meaning
	lost      bool   // bytes were lost: a bad header means that the search continues
	began     bool   // a record was read
	part      []byte // unfinished handshake message
	pass      int    // bytes of an oversized handshake message still to come
	scanned   int64
	flight    int // encrypted bytes added to the handshake

	next   int64    // stream offset after the last record that was decrypted or is unencrypted; -1 before
	astray bool     // encrypted messages were lost: the next bytes may be in the middle of one
	hole   bool     // bytes were lost that the inner connection does not know of yet
	late   bool     // the side may have sent application data when they were lost
	hidden int64    // bytes since the last decrypted record that were lost, or that no key decrypted
	told   int64    // of the bytes lost since the last decrypted record, how many it knows of
	closed struct { // records with application data that no key decrypted since the last decrypted record; in TLS 1.3 only 0-RTT
		bytes, records int64
	}
	tail   []byte // the last bytes that were read
	failed int64  // 1 + stream offset of a possible record that could not be decrypted
}

type conn struct {
	c       *dissect.Conn
	certs   *Certs
	sides   [2]side
	client  dissect.Dir // direction in which the TLS client sends
	hs      *shake      // handshake in progress, or nil
	done    bool        // a row was emitted
	version uint16      // negotiated
	ssl2    bool        // records are those of SSL 2.0
	ja4     byte        // transport in JA4 if the version does not determine it
	quic    bool

	shared     *shared
	keys       *tlskeys.Keys
	enc        *dissect.Encryption
	rec        secrets.Record // the record being decrypted; here so that it costs no allocation
	by         string         // tls or dtls
	inner      *dissect.Conn
	innerEnded [2]bool
	midstream  bool         // hellos were not captured
	refused    bool         // a record did not authenticate with keys that decrypted others
	inRecord   bool         // the current messages come from a decrypted record
	beats      [2]heartbeat // the last one of each role

	closed bool
	end    dissect.End // if closed: the reason
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
		} // otherwise the position was found or lost: look again
	}
	if in.End && in.Fin {
		k.endInner(in.Dir, k.c.Now())
	}
	return at, nil
}

// waiting reports whether the record at in.Data[at] is 0-RTT data that has to wait.
func (k *conn) waiting(s *side, in *dissect.Input, at int) bool {
	return s.place == atRecord && k.keys.Any() && in.Data[at] == recordData && k.waits(in, at)
}

// step reads one record or a piece of one; 0 means that it needs more bytes, or that the side
// left the state atRecord.
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
		return 0, fmt.Errorf("reading record header: type %d, version 0x%04x, length %d; expected type 20 to 24, version 0x03xx and a length of at most %d", h.typ, h.version, h.size, maxRecord)
	}
	return k.record(s, in, at, h)
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

// cite cites in.Data[from:to] for the current handshake.
func (k *conn) cite(in *dissect.Input, from, to int) {
	if in.Dir == k.client {
		k.hs.x.Request(in, from, to)
	} else {
		k.hs.x.Response(in, from, to)
	}
}

// ensureHandshake starts a handshake if none is in progress.
func (k *conn) ensureHandshake() {
	if k.hs == nil {
		k.newShake()
	}
}

// cut handles the unfinished message at the end of the connection.
func (k *conn) cut(in *dissect.Input, from, to int) {
	if k.hs != nil {
		k.hs.cut = true
		k.cite(in, from, to)
	}
}
