package quic

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

const (
	maxCited  = 96 // packets that a row cites as its handshake
	maxListed = 64 // entries of a list in a row
)

type role uint8

const (
	client role = iota
	server
)

func (r role) other() role { return r ^ 1 }

func (r role) String() string {
	if r == client {
		return "client"
	}
	return "server"
}

// Packet number spaces, RFC 9000 section 12.3.
const (
	spaceInitial = iota
	spaceHandshake
	spaceApp
	spaces
)

// spaceOf is the packet number space of a kind of packet.
func spaceOf(k kind) int {
	switch k {
	case initial:
		return spaceInitial
	case handshakePacket:
		return spaceHandshake
	}
	return spaceApp
}

// conn is one QUIC connection.
type conn struct {
	t      *tuple
	c      *dissect.Conn
	client dissect.Dir // direction in which the client sends
	row    *Row
	x      dissect.Exchange
	cited  int

	version   uint32
	odcid     []byte   // id that the client chose for the server
	aliases   [][]byte // other ids that the client chose, or that Retry assigned
	ends      [2]end   // by role
	hasClient bool     // the client's first packet was read
	tokened   bool     // it contained a token
	restarts  bool     // the server requested another version
	heard     int      // packets of the server with a long header
	replied   bool     // one of them was decrypted
	other     uint32   // unsupported version
	ident     uint32   // hash of odcid, or of the client's random: the connection in the identity of calls

	initials []*initialKeys
	rings    [retry][2]ring // by kind of packet
	spaces   [spaces][2]space
	cryptos  [spaces][2]flight
	shake    *tls.Handshake
	random   []byte
	suite    uint16
	secrets  []secrets.Secret
	searched bool   // the store was searched
	guessed  bool   // identified by a key that decrypts, without a handshake
	atStart  bool   // and that packet is one of the connection's first
	weak     bool   // the end in row is from an Initial packet, see continued
	after    [2]int // packets of each side since then
	snapped  bool   // a packet was captured in part
	tried    bool   // there were keys for a packet, but none decrypts it

	kept      []kept
	keptBytes int
	impatient bool // packets are read without waiting for the server's extensions
	changed   bool
	busy      bool

	extensions bool // the server's encrypted extensions were read
	alpn       string
	offered    []string
	rejected   bool // 0-RTT
	challenges [4]challenge
	nextPath   int

	app     app
	unacked [2]unacked // by role of the sender

	segments [2]int // by role: size of the datagrams combined in one, see segment

	in       *dissect.Input // the current packet is in.Data[at:to]; nil for one that was kept
	at, to   int
	closed   bool
	appClose int64 // the application's error code, else -1
	closedAt int64 // time of the first CONNECTION_CLOSE or stateless reset
}

func newConn(t *tuple, client dissect.Dir) *conn {
	q := &conn{t: t, c: t.c, row: &Row{}, appClose: -1}
	q.shake = tls.NewHandshake(t.c, t.set.certs)
	q.setClient(client)
	q.c.Encryption().Layer = "quic"
	return q
}

// setClient sets the direction in which the client sends.
func (q *conn) setClient(d dissect.Dir) {
	q.client = d
	q.shake.Client(d)
}

func (q *conn) role(d dissect.Dir) role {
	if d == q.client {
		return client
	}
	return server
}

func (q *conn) dir(r role) dissect.Dir {
	if r == client {
		return q.client
	}
	return q.client.Other()
}

// receiver is the end that receives direction d.
func (q *conn) receiver(d dissect.Dir) *end { return &q.ends[q.role(d).other()] }

// addressed reports whether a packet with a short header belongs to the connection, and returns
// the length of the id in it.
func (q *conn) addressed(d dissect.Dir, b []byte) (n int, ok bool) {
	return q.receiver(d).addressed(b[1:])
}

// knows reports whether a packet with a long header belongs to the connection.
func (q *conn) knows(d dissect.Dir, h *header) bool {
	if d == q.client {
		if len(h.dcid) > 0 {
			return q.hasClient && bytes.Equal(h.dcid, q.odcid) || q.ends[server].is(h.dcid) || q.aliased(h.dcid)
		}
		return q.ends[server].is(h.dcid) && q.ends[client].is(h.scid)
	}
	if !q.ends[client].is(h.dcid) {
		return false
	}
	return len(h.dcid) > 0 || !q.answered() || q.ends[server].is(h.scid)
}

// answers reports whether a packet that knows rejects is for an id that was not seen yet,
// because packets can be reordered and lost.
func (q *conn) answers(d dissect.Dir, h *header) bool {
	r := q.role(d)
	if !q.ends[r].is(h.scid) {
		return false
	}
	return len(h.scid) > 0 || h.kind != zeroRTT && r == client && q.hasClient && !q.answered()
}

// answered reports whether the server has answered. Anyone can forge a long header, so a packet
// counts once it was decrypted, if the client's first packet shows how.
func (q *conn) answered() bool { return q.replied || !q.hasClient && q.heard > 0 }

// begins records the client's first packet.
func (q *conn) begins(h *header) {
	row := q.row
	if q.hasClient {
		q.alias(q.odcid)
	}
	q.hasClient, q.tokened, q.version, row.Midstream = true, len(h.token) > 0, h.version, false
	q.odcid = bytes.Clone(h.dcid)
	q.identify(h.dcid)
	if !row.OriginalDCID.OK {
		row.OriginalDCID = table.Some(hexOf(h.dcid))
	}
	q.offer(versionName(h.version))
	q.learnSource(client, h.scid)
}

// identify sets the connection's part of the identity of calls.
func (q *conn) identify(b []byte) {
	sum := sha256.Sum256(b)
	q.ident = binary.BigEndian.Uint32(sum[:])
}

// alias records another destination id of the client's first packets.
func (q *conn) alias(dcid []byte) {
	const most = 4
	if len(q.aliases) < most && !q.aliased(dcid) {
		q.aliases = append(q.aliases, bytes.Clone(dcid))
	}
}

func (q *conn) aliased(dcid []byte) bool {
	for _, x := range q.aliases {
		if bytes.Equal(x, dcid) {
			return true
		}
	}
	return false
}

// offer records a version that the client offers.
func (q *conn) offer(name string) {
	for _, x := range q.row.Offered {
		if x == name {
			return
		}
	}
	if len(q.row.Offered) < maxListed {
		q.row.Offered = append(q.row.Offered, name)
	}
}

// learnSource records the source id in a long header.
func (q *conn) learnSource(r role, scid []byte) {
	e := &q.ends[r]
	if e.known || len(scid) > maxID {
		return
	}
	e.known = true
	e.ids = append([]id{{bytes: bytes.Clone(scid)}}, e.ids...)
	if e.ids[0].bytes == nil {
		e.ids[0].bytes = []byte{}
	}
	text := table.Some(hexOf(scid))
	if r == client {
		q.row.ClientCID = text
	} else {
		q.row.ServerCID = text
	}
}

// learn records the ids of a connection without a captured start.
func (q *conn) learn(d dissect.Dir, h *header) {
	switch {
	case q.guessed:
	case len(h.dcid) == 0: // servers choose an id for themselves
		q.setClient(d.Other())
	case q.c.Info.ServerPort != 443 && q.c.Info.ClientPort == 443:
		q.setClient(dissect.ToClient)
	}
	r := q.role(d)
	q.learnSource(r, h.scid)
	q.learnSource(r.other(), h.dcid)
}

// restart resets an attempt that ended in version negotiation.
func (q *conn) restart() {
	for i := range q.cryptos {
		for r := range q.cryptos[i] {
			q.cryptos[i][r].drop(q.c)
		}
	}
	q.cryptos, q.spaces, q.initials = [spaces][2]flight{}, [spaces][2]space{}, nil
	q.ends, q.restarts, q.other, q.hasClient = [2]end{}, false, 0, false
	q.row.Version = table.Opt[string]{}
	q.forgetRandom()
}

// cite adds in.Data[from:to] to the row.
func (q *conn) cite(in *dissect.Input, from, to int) {
	if q.cited >= maxCited {
		return
	}
	q.cited++
	if q.role(in.Dir) == client {
		q.x.Request(in, from, to)
	} else {
		q.x.Response(in, from, to)
	}
}

// count counts a packet by kind and sender.
func (q *conn) count(r role, k kind) {
	row := q.row
	at := [...]*[2]*int64{
		initial:         {&row.ClientInitial, &row.ServerInitial},
		zeroRTT:         {&row.ZeroRTTPackets, &row.ZeroRTTPackets},
		handshakePacket: {&row.ClientHandshake, &row.ServerHandshake},
		oneRTT:          {&row.ClientOneRTT, &row.ServerOneRTT},
	}
	*at[k][r]++
}

// unread counts a packet that is not decrypted.
func (q *conn) unread(d dissect.Dir) {
	if q.role(d) == client {
		q.row.ClientUnread++
	} else {
		q.row.ServerUnread++
	}
}

// protected reads an encrypted packet, in.Data[at:at+n].
func (q *conn) protected(in *dissect.Input, at, n int, h *header) {
	r := q.role(in.Dir)
	q.count(r, h.kind)
	q.c.Encryption().Saw(in.Dir, n, q.t.p.Instant())
	if h.kind != oneRTT {
		q.long(in, at, n, r, h)
	} else {
		if q.row.Midstream && (r == client && !q.x.HasRequest() || r == server && !q.x.HasResponse()) {
			q.cite(in, at, at+n)
		}
		q.proven(r)
		q.continued(r)
	}
	if n < h.size {
		q.snapped = true
		q.unread(in.Dir)
		return
	}
	q.in, q.at, q.to = in, at, at+n
	s := sealed{h.kind, h.version, r, in.Data[at : at+n], h.number, q.t.p}
	switch q.open(s) {
	case later:
		q.keep(s)
	case failed:
		q.failed(s)
	}
	q.retryIfChanged()
	q.in = nil
}

// long records the fields of a long header.
func (q *conn) long(in *dissect.Input, at, n int, r role, h *header) {
	if !q.hasClient || n < h.size { // it cannot be checked
		q.learnEnds(r, h)
	}
	if r == server {
		q.heard++
	} else {
		if h.kind == initial && !q.hasClient && q.row.Retries > 0 { // the first one was not captured
			q.begins(h)
		}
		q.learnSource(client, h.scid)
		if h.kind == initial && len(h.token) > 0 {
			q.row.TokenLength = table.Some(max(q.row.TokenLength.V, int64(len(h.token))))
		}
		if h.kind == zeroRTT && !q.row.ZeroRTT.OK {
			q.row.ZeroRTT = table.Some("offered")
		}
	}
	q.cite(in, at, at+n)
	if h.kind != zeroRTT {
		q.shake.Cite(in, at, at+n)
	}
}

// learnEnds records the version and the ids in a long header.
func (q *conn) learnEnds(r role, h *header) {
	switch {
	case r == server:
		q.restarts = false
		q.version = h.version // another one after compatible version negotiation, RFC 9368 section 2.3
		q.learnSource(server, h.scid)
		if len(h.dcid) <= maxID {
			q.learnSource(client, h.dcid)
		}
	case h.kind == handshakePacket && !q.answered():
		q.version = h.version
		if len(q.ends[server].ids) == 0 {
			q.ends[server].add(0, h.dcid)
		}
	}
}

// failed counts a packet that no key decrypts.
func (q *conn) failed(s sealed) {
	if s.kind == oneRTT && q.ends[s.role].resets(s.packet) {
		q.reset(s.role)
		return
	}
	q.unread(q.dir(s.role))
}

// reset records a stateless reset.
func (q *conn) reset(r role) {
	q.row.StatelessResets++
	if q.in != nil {
		q.cite(q.in, q.at, q.to)
	}
	if !q.row.Close.OK {
		q.closedAt = q.t.p.Time
		q.row.Close, q.row.CloseBy = table.Some("stateless_reset"), table.Some(r.String())
	}
}
