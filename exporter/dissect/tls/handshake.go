package tls

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/internal/tlskeys"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Handshake is the row of a handshake that another dissector reassembles: QUIC carries the
// messages in its own frames. The client is the side that sends to the server.
type Handshake struct {
	k     conn
	facts Facts
}

// Facts are the fields of the messages read so far. Slices belong to the handshake.
type Facts struct {
	Client, Server    bool   // the hello was read; a HelloRetryRequest does not count
	Random            []byte // the client's
	ServerRandom      []byte
	Version, Suite    uint16
	ServerName, ALPN  string   // ALPN: the one that the server selected
	Offered           []string // ALPN that the client offered
	EarlyOffered      bool
	EarlyAccepted     bool
	Retry             bool
	PSK               bool   // an earlier session was resumed
	ClientParameters  []byte // quic_transport_parameters; nil if not read
	ServerParameters  []byte
	ClientFin, AllFin bool // the client's Finished was read; both Finished were read
}

// NewHandshake starts a handshake on QUIC connection c.
func NewHandshake(c *dissect.Conn, certs *Certs) *Handshake {
	h := &Handshake{k: conn{c: c, certs: certs, client: dissect.ToServer, ja4: 'q', quic: true, version: 0x0304, keys: tlskeys.New(nil, c, nil, false)}}
	h.k.newShake()
	return h
}

// Client sets the direction in which the client sends, if it is not ToServer: ports and the
// first packet can be misleading.
func (h *Handshake) Client(dir dissect.Dir) {
	h.k.client = dir
}

// Again forgets the messages so far, because the client begins its handshake anew. The cited bytes stay.
func (h *Handshake) Again() {
	if old := h.k.hs; old != nil {
		h.k.newShake()
		h.k.hs.x, h.k.keys = old.x, tlskeys.New(nil, h.k.c, nil, false)
	}
}

// Cite adds in.Data[from:to], bytes of a captured datagram, to the handshake.
func (h *Handshake) Cite(in *dissect.Input, from, to int) {
	if h.k.hs != nil {
		h.k.cite(in, from, to)
	}
}

// Message reads a message without its 4-byte header. It was sent in direction dir and was
// complete at time ns. A malformed message becomes an anomaly of the connection.
func (h *Handshake) Message(dir dissect.Dir, ns int64, typ uint8, body []byte) {
	if h.k.hs == nil {
		return
	}
	hs := h.k.hs
	h.k.message(&h.k.sides[dir], origin{dir: dir, time: ns}, typ, body)
	if typ == handshake.TypeFinished {
		hs.fin[h.k.role(dir)] = true
	}
}

// TooLong counts a message that exceeds the limit and was not kept.
func (h *Handshake) TooLong(typ uint8, size int) {
	h.k.c.Anomaly("limit", fmt.Sprintf("handshake message %s of %d bytes exceeds the limit of %d", handshake.Message(typ), size, maxMessage), 0)
	h.Malformed()
}

// MaxMessage is the largest handshake message that is read.
const MaxMessage = maxMessage

// Lost reports that bytes of a message were not captured.
func (h *Handshake) Lost() {
	if h.k.hs != nil {
		h.k.hs.gap = true
	}
}

// Malformed reports that the bytes in place of a message are not one; the caller counted them.
func (h *Handshake) Malformed() {
	if h.k.hs != nil {
		h.k.hs.malformed = true
	}
}

// Alert reports that a side aborted the handshake with an alert (RFC 9001 section 4.8).
func (h *Handshake) Alert(dir dissect.Dir, code uint8) {
	if h.k.hs != nil {
		h.k.hs.alert(handshake.Alert(code), true, h.k.role(dir))
	}
}

// Ended reports that a side sent its Finished. The message could not be read, but later records of
// the side prove it.
func (h *Handshake) Ended(dir dissect.Dir) {
	if h.k.hs != nil {
		h.k.hs.fin[h.k.role(dir)] = true
	}
}

// Facts returns the current facts; valid until the next call.
func (h *Handshake) Facts() *Facts {
	hs := h.k.hs
	if hs == nil {
		return &h.facts
	}
	row, det := hs.row, hs.det
	h.facts = Facts{Client: hs.client, Server: hs.server, Random: det.ClientRandom, ServerRandom: det.ServerRandom,
		Version: hs.version, Suite: uint16(row.Suite.V), ServerName: row.SNI.V, ALPN: row.ALPN.V, Offered: row.ALPNOffered,
		EarlyOffered: row.EarlyData, EarlyAccepted: hs.earlyAccepted, Retry: row.HelloRetry, PSK: row.Resumed.V == "psk",
		ClientParameters: hs.params[client], ServerParameters: hs.params[server],
		ClientFin: hs.fin[client], AllFin: hs.fin[client] && hs.fin[server]}
	return &h.facts
}

// Done reports whether the row was emitted.
func (h *Handshake) Done() bool { return h.k.hs == nil }

// Keys sets the state of the connection's keys for the row.
func (h *Handshake) Keys(state dissect.KeyState, reason string) {
	if h.k.hs != nil {
		h.k.hs.keys(state, reason)
	}
}

// Finish emits the row. why is the value of column error if the handshake did not end normally.
// Without any cited byte it makes no row. Later calls do nothing.
func (h *Handshake) Finish(why string) {
	hs := h.k.hs
	if hs == nil {
		return
	}
	h.Facts()
	if !hs.x.HasRequest() && !hs.x.HasResponse() {
		h.k.hs, h.k.done = nil, true
		return
	}
	h.k.finish(why)
}

// Close is Finish for the end of the connection.
func (h *Handshake) Close(why dissect.End) {
	if h.k.hs == nil {
		return
	}
	h.k.closed, h.k.end = true, why
	h.Finish(h.k.closeError(why))
}

func (h *shake) keys(state dissect.KeyState, reason string) {
	h.det.KeyState, h.det.KeyReason = table.Some(state.String()), table.Opt[string]{}
	if reason != "" {
		h.det.KeyReason = table.Some(reason)
	}
}

// encryptedExtensions reads the server's EncryptedExtensions of TLS 1.3. If a client sends some
// too, they only concern its application.
func (k *conn) encryptedExtensions(o origin, body []byte) error {
	hs := k.hs
	var e handshake.Extensions
	err := handshake.ReadExtensions(body, &e)
	if k.role(o.dir) == client {
		return err
	}
	if len(e.ALPN) > 0 {
		hs.row.ALPN = table.Some(string(e.ALPN[0]))
	}
	hs.encryptedExt, hs.earlyAccepted = true, e.HasEarly
	hs.params[server] = clone(e.QUIC)
	hs.det.EncryptedExtensions = types(e.Types)
	return err
}

// clone copies b; nil stays nil.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
