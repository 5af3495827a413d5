// Package handshake reads TLS handshake messages in TLS, DTLS and QUIC.
//
// It reads hellos and certificates, computes the fingerprints JA3, JA3S and JA4, and maps
// numbers to their names in IANA's registries. It reads as much as possible: for a message with
// a damaged end it returns the fields before the damage and an error. Results alias the input.
package handshake

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/cursor"
)

// Handshake message types that are decoded.
const (
	TypeHelloRequest          = 0
	TypeClientHello           = 1
	TypeServerHello           = 2
	TypeHelloVerifyRequest    = 3
	TypeNewSessionTicket      = 4
	TypeEndOfEarlyData        = 5
	TypeHelloRetryRequest     = 6 // drafts of TLS 1.3
	TypeEncryptedExtensions   = 8
	TypeCertificate           = 11
	TypeServerKeyExchange     = 12
	TypeCertificateRequest    = 13
	TypeServerHelloDone       = 14
	TypeCertificateVerify     = 15
	TypeClientKeyExchange     = 16
	TypeFinished              = 20
	TypeCertificateStatus     = 22
	TypeKeyUpdate             = 24
	TypeCompressedCertificate = 25
)

// Extensions that are decoded.
const (
	extServerName   = 0
	extGroups       = 10
	extPointFormats = 11
	extSchemes      = 13
	extMAC          = 22
	extMaster       = 23
	extALPN         = 16
	extTicket       = 35
	extPSK          = 41
	extEarlyData    = 42
	extVersions     = 43
	extCookie       = 44
	extKeyShare     = 51
	extKeyShareOld  = 40
	extConnID       = 54
	extQUIC         = 57
	extQUICOld      = 0xffa5
	extECH          = 0xfe0d
	extESNI         = 0xffce
)

// Uint16s is a list of 16-bit numbers in wire format.
type Uint16s []byte

// Len is the length of the list.
func (u Uint16s) Len() int { return len(u) / 2 }

// At is number i.
func (u Uint16s) At(i int) uint16 { return binary.BigEndian.Uint16(u[2*i:]) }

// Extensions holds the extensions that both hellos may have.
type Extensions struct {
	Types      []uint16 // in wire order
	ALPN       [][]byte // protocol names
	HasPSK     bool
	HasEarly   bool
	HasTicket  bool
	Ticket     []byte
	types      [40]uint16
	alpn       [8][]byte
	HasALPN    bool
	MACLast    bool // encrypt_then_mac, RFC 7366
	Master     bool // extended_master_secret, RFC 7627
	HasConnID  bool // connection_id, RFC 9146
	ConnID     []byte
	QUIC       []byte // quic_transport_parameters, RFC 9001 section 8.2; nil if absent
	NoExtBlock bool   // the message ends before the length of the extensions
}

// Client is a ClientHello.
type Client struct {
	Extensions
	Version      uint16 // legacy version
	Random       []byte
	SessionID    []byte
	Cookie       []byte // DTLS
	Suites       Uint16s
	Suites2      []byte // three bytes each: SSL 2.0 form
	Compressions []byte
	ServerName   []byte
	HasName      bool
	Groups       Uint16s
	PointFormats []byte
	Schemes      Uint16s
	Versions     Uint16s
	KeyShares    []uint16
	ECH          string // ech, esni or empty
	SSL2         bool   // was sent in SSL 2.0 form
	shares       [8]uint16
}

// MayRepeat reports whether the hello may answer a HelloRetryRequest or a HelloVerifyRequest: it has a
// cookie, or one key share of a group that it does not prefer, RFC 8446 section 4.1.2.
func (h *Client) MayRepeat() bool {
	return len(h.Cookie) > 0 || slices.Contains(h.Types, extCookie) || len(h.KeyShares) == 1 && h.Groups.Len() > 0 && h.KeyShares[0] != h.Groups.At(0)
}

// Server is a ServerHello or a HelloRetryRequest.
type Server struct {
	Extensions
	Version     uint16 // negotiated: from supported_versions if present
	Legacy      uint16 // field version
	Random      []byte
	SessionID   []byte
	Suite       uint16
	Group       uint16 // from key_share; 0 if absent
	Compression uint8
	Retry       bool
}

// retryRandom marks a ServerHello as a HelloRetryRequest, RFC 8446 section 4.1.3.
const retryRandom = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

func short(what string) error {
	return fmt.Errorf("reading %s: the message ends inside it", what)
}

// ReadClient reads the body of a ClientHello into h. datagram means that it was sent over DTLS,
// in which it has a cookie.
func ReadClient(b []byte, datagram bool, h *Client) error {
	*h = Client{}
	r := cursor.New(b)
	h.Version = r.Uint16()
	h.Random = r.Bytes(32)
	h.SessionID = r.Bytes(int(r.Uint8()))
	if r.Short() {
		return short("ClientHello's random and session id")
	}
	if datagram {
		h.Cookie = r.Bytes(int(r.Uint8()))
	}
	h.Suites = r.Bytes(int(r.Uint16()))
	h.Compressions = r.Bytes(int(r.Uint8()))
	if r.Short() {
		return short("ClientHello's cipher suites")
	}
	if len(h.Suites)%2 != 0 {
		return fmt.Errorf("reading ClientHello: %d bytes of cipher suites are not an even number", len(h.Suites))
	}
	return h.read(&r, func(typ uint16, data []byte) error { return h.extension(typ, data) })
}

// read reads the extensions.
func (e *Extensions) read(r *cursor.Cursor, each func(uint16, []byte) error) error {
	e.Types = e.types[:0]
	if r.Left() == 0 { // allowed before TLS 1.3
		e.NoExtBlock = true
		return nil
	}
	n := int(r.Uint16())
	if n > r.Left() {
		n = r.Left()
	}
	s := r.Sub(n)
	var first error
	for s.Left() > 0 {
		typ := s.Uint16()
		data := s.Bytes(int(s.Uint16()))
		if s.Short() {
			return short("extensions")
		}
		e.Types = append(e.Types, typ)
		if err := each(typ, data); err != nil && first == nil {
			first = fmt.Errorf("reading extension %s: %w", Extension(typ), err)
		}
	}
	if first == nil && r.Left() > 0 {
		first = fmt.Errorf("reading extensions: %d extra bytes after them", r.Left())
	}
	return first
}

type badLength int

func (n badLength) Error() string { return fmt.Sprintf("lengths contradict its %d bytes", int(n)) }

// list16 reads a list with a 16-bit length of 16-bit numbers.
func list16(data []byte) (Uint16s, error) {
	r := cursor.New(data)
	b := r.Bytes(int(r.Uint16()))
	if r.Short() || r.Left() > 0 || len(b)%2 != 0 {
		return nil, badLength(len(data))
	}
	return b, nil
}

func (h *Client) extension(typ uint16, data []byte) (err error) {
	r := cursor.New(data)
	switch typ {
	case extServerName:
		list := r.Sub(int(r.Uint16()))
		for list.Left() > 0 && !list.Short() {
			kind := list.Uint8()
			name := list.Bytes(int(list.Uint16()))
			if kind == 0 && name != nil && !h.HasName {
				h.ServerName, h.HasName = name, true
			}
		}
		if list.Short() || r.Short() {
			err = badLength(len(data))
		}
	case extGroups:
		h.Groups, err = list16(data)
	case extSchemes:
		h.Schemes, err = list16(data)
	case extPointFormats:
		h.PointFormats = r.Bytes(int(r.Uint8()))
		if r.Short() {
			err = badLength(len(data))
		}
	case extVersions:
		b := r.Bytes(int(r.Uint8()))
		if r.Short() || len(b)%2 != 0 {
			return badLength(len(data))
		}
		h.Versions = b
	case extKeyShare, extKeyShareOld:
		h.KeyShares = h.shares[:0]
		list := r.Sub(int(r.Uint16()))
		for list.Left() > 0 {
			group := list.Uint16()
			list.Skip(int(list.Uint16()))
			if list.Short() {
				return badLength(len(data))
			}
			h.KeyShares = append(h.KeyShares, group)
		}
	case extECH:
		h.ECH = "ech"
	case extESNI:
		if h.ECH == "" {
			h.ECH = "esni"
		}
	default:
		return h.shared(typ, data)
	}
	return err
}

// shared reads an extension that has the same form in both hellos.
func (e *Extensions) shared(typ uint16, data []byte) error {
	switch typ {
	case extALPN:
		r := cursor.New(data)
		list := r.Sub(int(r.Uint16()))
		e.ALPN, e.HasALPN = e.alpn[:0], true
		for list.Left() > 0 {
			name := list.Bytes(int(list.Uint8()))
			if list.Short() {
				return badLength(len(data))
			}
			e.ALPN = append(e.ALPN, name)
		}
		if r.Short() {
			return badLength(len(data))
		}
	case extTicket:
		e.HasTicket, e.Ticket = true, data
	case extPSK:
		e.HasPSK = true
	case extEarlyData:
		e.HasEarly = true
	case extMAC:
		e.MACLast = true
	case extMaster:
		e.Master = true
	case extConnID:
		r := cursor.New(data)
		if id := r.Bytes(int(r.Uint8())); !r.Short() {
			e.HasConnID, e.ConnID = true, id
		} else {
			return badLength(len(data))
		}
	case extQUIC, extQUICOld:
		e.QUIC = data
		if e.QUIC == nil {
			e.QUIC = []byte{}
		}
	}
	return nil
}

// ReadServer reads the body of a ServerHello, or of a HelloRetryRequest of the drafts of
// TLS 1.3, into h.
func ReadServer(b []byte, typ uint8, h *Server) error {
	*h = Server{}
	r := cursor.New(b)
	h.Legacy = r.Uint16()
	h.Version = h.Legacy
	old13 := h.Legacy == 0x0304 || h.Legacy>>8 == 0x7f && h.Legacy&0xff < 22 // its form differs until draft 22
	if typ == TypeHelloRetryRequest {
		h.Retry = true
		if h.Legacy>>8 == 0x7f && h.Legacy&0xff >= 19 {
			h.Suite = r.Uint16()
		}
	} else {
		h.Random = r.Bytes(32)
		if !old13 {
			h.SessionID = r.Bytes(int(r.Uint8()))
		}
		h.Suite = r.Uint16()
		if !old13 {
			h.Compression = r.Uint8()
		}
		h.Retry = string(h.Random) == retryRandom
	}
	if r.Short() {
		return short("ServerHello")
	}
	return h.read(&r, h.extension)
}

func (h *Server) extension(typ uint16, data []byte) error {
	switch typ {
	case extVersions:
		if len(data) != 2 {
			return badLength(len(data))
		}
		h.Version = binary.BigEndian.Uint16(data)
	case extKeyShare, extKeyShareOld:
		if len(data) < 2 {
			return badLength(len(data))
		}
		h.Group = binary.BigEndian.Uint16(data)
	default:
		return h.shared(typ, data)
	}
	return nil
}

// ReadClient2 reads a ClientHello in SSL 2.0 form (RFC 6101 appendix E) without its record
// header.
func ReadClient2(b []byte, h *Client) error {
	*h = Client{SSL2: true}
	r := cursor.New(b)
	r.Uint8() // message type
	h.Version = r.Uint16()
	suites, id, challenge := int(r.Uint16()), int(r.Uint16()), int(r.Uint16())
	h.Suites2 = r.Bytes(suites)
	h.SessionID = r.Bytes(id)
	h.Random = r.Bytes(challenge)
	if r.Short() || suites%3 != 0 {
		return short("ClientHello of SSL 2.0")
	}
	return nil
}

// MaxVersion is the highest version that the client offers.
func (h *Client) MaxVersion() uint16 {
	best := uint16(0)
	for i := range h.Versions.Len() {
		if v := h.Versions.At(i); !GREASE(v) && newer(v, best) {
			best = v
		}
	}
	if best == 0 {
		return h.Version
	}
	return best
}

// newer compares versions. DTLS counts downward, RFC 9147 section 5.3. Drafts of TLS 1.3 are
// newer than TLS 1.2 and older than TLS 1.3.
func newer(a, b uint16) bool {
	if b == 0 {
		return true
	}
	if a>>8 == 0xfe && b>>8 == 0xfe {
		return a < b
	}
	rank := func(v uint16) int {
		if v != 0x0304 && Is13(v) {
			return 0x0303<<8 | int(v&0xff)
		}
		return int(v) << 8
	}
	return rank(a) > rank(b)
}
