package tls

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// shake is a handshake in progress.
type shake struct {
	row *Row
	det *table.TLSHandshake
	x   dissect.Exchange

	client, server bool    // the hello was seen
	ccs, fin       [2]bool // by role: it changed its cipher, it sent its Finished
	retry          bool    // another ClientHello will follow
	offers13       bool
	ticket         bool // the client offered a ticket
	sessionID      []byte
	helloDone      bool // ServerHelloDone
	short          bool // the server changed its cipher without one
	keyExchanged   bool // ClientKeyExchange
	requested      bool // CertificateRequest
	clientCert     uint8
	serverCert     bool
	version        uint16
	fatal          bool
	gap            bool
	malformed      bool
	cut            bool
	hello2         bool // ClientHello in the form of SSL 2.0
	master2        bool // ClientMasterKey of SSL 2.0 was seen
	opaque2        [2]int
	params         [2][]byte // quic_transport_parameters, by role
	encryptedExt   bool      // EncryptedExtensions was read
	earlyAccepted  bool      // and accepted 0-RTT
	early          int64     // bytes of 0-RTT that were read
	endOfEarly     bool      // EndOfEarlyData was read, which only follows 0-RTT that the server accepted
	keyed          bool      // the keys determined version and suite
	clientID       int       // bytes of the connection id in the ClientHello, RFC 9146; -1 without
	serverID       int       // and in the ServerHello
	size           int       // memory of its certificates
}

// shakeCost is the memory of a handshake in progress, with its lists.
const shakeCost = int(unsafe.Sizeof(shake{})+unsafe.Sizeof(Row{})+unsafe.Sizeof(table.TLSHandshake{})) + 1<<10

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	if k.hs == nil {
		return 0
	}
	return shakeCost + k.hs.size
}

// The client's answer to CertificateRequest.
const (
	certNone = iota
	certEmpty
	certSent
)

func (k *conn) newShake() {
	k.hs = &shake{row: &Row{}, det: &table.TLSHandshake{}, version: k.version}
	for i := range k.sides {
		k.sides[i].flight = 0
	}
}

func (h *shake) recordVersion(v uint16) {
	if !h.det.RecordVersion.OK {
		h.det.RecordVersion = table.Some(int32(v))
	}
}

func (h *shake) version13() bool { return handshake.Is13(h.version) }

// step records an unencrypted message.
func (h *shake) step(typ uint8) {
	if len(h.row.Messages) < maxSteps {
		h.row.Messages = append(h.row.Messages, handshake.Message(typ))
	}
}

func (h *shake) alert(name string, fatal bool, from role) {
	if len(h.row.Alerts) < maxAlerts {
		h.row.Alerts = append(h.row.Alerts, name)
	}
	if !fatal || h.fatal {
		return
	}
	h.fatal = true
	h.row.StatusText = table.Some(name)
	who := "client"
	if from == server {
		who = "server"
	}
	h.det.FailedAlertBy = table.Some(who)
}

// changed records that a side changes to its new cipher. A server that does so without
// ServerHelloDone resumes an earlier session, RFC 5246 section 7.3.
func (h *shake) changed(side role) {
	h.ccs[side] = true
	h.short = h.short || side == server && h.server && !h.helloDone && !h.serverCert && !h.gap
}

// resumed sets how an earlier session was resumed before TLS 1.3. The ClientHello may be captured after the server's answer.
func (h *shake) resumed() {
	if !h.short || !h.client || h.row.Resumed.OK {
		return
	}
	h.row.Resumed = table.Some("id")
	if h.ticket {
		h.row.Resumed = table.Some("ticket")
	}
}

// list converts the numbers of a list to names, at most maxNames, followed by the number of
// omitted ones.
func list(n int, at func(int) uint16, name func(uint16) string) []string {
	out := make([]string, 0, min(n, maxNames))
	for i := range min(n, maxNames) {
		out = append(out, name(at(i)))
	}
	if n > maxNames {
		out = append(out, fmt.Sprintf("… %d more", n-maxNames))
	}
	return out
}

func types(t []uint16) []string {
	return list(len(t), func(i int) uint16 { return t[i] }, handshake.Extension)
}

func (k *conn) clientHello(o origin, body []byte) error {
	hs := k.hs
	var h handshake.Client
	err := handshake.ReadClient(body, o.datagram, &h)
	if h.Suites == nil {
		k.keys.LostMessage()
	}
	if hs.client && hs.retry { // the second one repeats it, with what the server requested
		hs.retry = false
		k.clientKeys(&h)
		return err
	}
	if hs.row.HelloRetry || h.MayRepeat() && !k.quic && (!k.c.Info.RolesKnown || k.sides[o.dir].lost) {
		hs.gap = true // the first one was not captured
	}
	hs.fillClient(&h, k.ja4, true)
	hs.clientID = idSize(&h.Extensions)
	k.clientKeys(&h)
	return err
}

// fillClient fills the row from a ClientHello. Without its end, its extensions and fingerprints are unknown.
func (h *shake) fillClient(c *handshake.Client, transport byte, whole bool) {
	row, det := h.row, h.det
	h.client = true
	det.ClientVersion = table.Some(int32(c.Version))
	det.ClientRandom = append([]byte(nil), c.Random...)
	h.sessionID = append([]byte(nil), c.SessionID...)
	h.ticket = len(c.Ticket) > 0
	h.offers13 = handshake.Is13(c.MaxVersion())
	row.EarlyData = c.HasEarly
	h.params[client] = clone(c.QUIC)
	if c.HasName {
		name := string(c.ServerName)
		row.SNI, row.Host = table.Some(name), table.Some(name)
	}
	for i, p := range c.ALPN {
		if i < maxNames {
			row.ALPNOffered = append(row.ALPNOffered, string(p))
		}
	}
	if c.SSL2 {
		row.Suites = make([]string, 0, len(c.Suites2)/3)
		for i := 0; i+3 <= len(c.Suites2) && len(row.Suites) < maxNames; i += 3 {
			row.Suites = append(row.Suites, handshake.Suite2(uint32(c.Suites2[i])<<16|uint32(c.Suites2[i+1])<<8|uint32(c.Suites2[i+2])))
		}
	} else {
		row.Suites = list(c.Suites.Len(), c.Suites.At, handshake.Suite)
	}
	row.Groups = listOrNil(c.Groups, handshake.Group)
	row.Schemes = listOrNil(c.Schemes, handshake.Scheme)
	det.OfferedVersions = listOrNil(c.Versions, handshake.Version)
	if whole && c.Types != nil && !c.NoExtBlock {
		det.ClientExtensions = types(c.Types)
	}
	if c.KeyShares != nil {
		det.KeyShares = list(len(c.KeyShares), func(i int) uint16 { return c.KeyShares[i] }, handshake.Group)
	}
	if c.ECH != "" {
		row.ECH = table.Some(c.ECH)
	}
	if whole && !c.SSL2 { // the fingerprints are only defined for hellos of SSL 3.0 and later
		ja3 := c.JA3(make([]byte, 0, 512))
		row.JA3, det.JA3String = table.Some(handshake.MD5(ja3)), table.Some(string(ja3))
		if transport == 0 {
			transport = 't'
		}
		if c.Version>>8 != 3 && c.Version>>8 != 0x7f {
			transport = 'd'
		}
		fp, raw := c.JA4(transport)
		row.JA4, det.JA4String = table.Some(fp), table.Some(raw)
	}
}

func listOrNil(u handshake.Uint16s, name func(uint16) string) []string {
	if u == nil {
		return nil
	}
	return list(u.Len(), u.At, name)
}

func (k *conn) serverHello(s *side, typ uint8, body []byte) error {
	hs := k.hs
	var h handshake.Server
	err := handshake.ReadServer(body, typ, &h)
	if h.Version == 0 || h.Random == nil && !h.Retry {
		return err
	}
	hs.version = h.Version
	hs.setVersion()
	if h.Retry {
		hs.row.HelloRetry, hs.retry = true, true
		return err
	}
	k.serverKeys(&h)
	hs.serverID = idSize(&h.Extensions)
	k.version = h.Version
	hs.retry, hs.server = false, true
	row, det := hs.row, hs.det
	row.Suite, row.SuiteName = table.Some(int32(h.Suite)), table.Some(handshake.Suite(h.Suite))
	if h.Group != 0 {
		row.Group = table.Some(handshake.Group(h.Group))
	}
	if len(h.ALPN) > 0 {
		row.ALPN = table.Some(string(h.ALPN[0]))
	}
	det.ServerRandom = append([]byte(nil), h.Random...)
	det.SessionID = append([]byte{}, h.SessionID...)
	if !h.NoExtBlock {
		det.ServerExtensions = types(h.Types)
	}
	det.ExtendedMaster, det.EncryptThenMAC = h.Master, h.MACLast
	ja3s := h.JA3S(make([]byte, 0, 128))
	row.JA3S, det.JA3SString = table.Some(handshake.MD5(ja3s)), table.Some(string(ja3s))
	if hs.version13() {
		if h.HasPSK {
			row.Resumed = table.Some("psk")
		}
		for i := range k.sides { // the client also encrypts everything that follows
			if &k.sides[i] == s || hs.client {
				k.sides[i].encrypted = true
			}
		}
	}
	return err
}

func (h *shake) setVersion() {
	h.row.Version = table.Some(int32(h.version))
	h.row.VersionName = table.Some(handshake.Version(h.version))
}

// keyExchange reads the group that the server selected, RFC 8422 section 5.4.
func (h *shake) keyExchange(b []byte) {
	const namedCurve = 3
	if len(b) >= 3 && b[0] == namedCurve && strings.HasPrefix(strings.TrimPrefix(h.row.SuiteName.V, "TLS_"), "ECDH") {
		h.row.Group = table.Some(handshake.Group(uint16(b[1])<<8 | uint16(b[2])))
	}
}
