package quic

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

const messageHeader = 4

// flight is the handshake messages of one side at one encryption level.
type flight struct {
	asm  assembly
	part []byte // unfinished message
	pass int    // bytes of an oversized message still to come
	dead bool   // no longer read: the bytes are not a message, or the position of the next one is lost
}

func (x *flight) drop(c *dissect.Conn) {
	x.asm.drop(c)
	c.Release(len(x.part))
	x.part = nil
}

// cryptoFrame reads a CRYPTO frame.
func (q *conn) cryptoFrame(s sealed, off uint64, data []byte) {
	x := &q.cryptos[spaceOf(s.kind)][s.role]
	if s.kind == initial && s.role == client && off == 0 && q.greetsAgain(data) {
		x.drop(q.c)
		*x = flight{}
		q.shake.Again()
		q.forgetRandom()
	}
	if x.dead {
		return
	}
	if off > 1<<40 {
		q.t.anomaly("frame", "reading CRYPTO: offset %d", off)
		return
	}
	r := x.asm.place(q.c, int64(off), data, s.p)
	if r.conflict {
		q.t.anomaly("overlap", "two copies of the handshake bytes at %d differ", off)
	}
	if r.refused {
		q.t.anomaly("limit", "too many handshake bytes after a gap of %d bytes", x.asm.gap())
		q.lostCrypto(x)
		return
	}
	if len(r.fresh) == 0 {
		return
	}
	q.messages(x, s.role, r.fresh, s.p)
	for !x.dead {
		more, ok := x.asm.pop(q.c)
		if !ok {
			return
		}
		q.messages(x, s.role, more.data, more.p)
	}
}

// greetsAgain reports whether a client sends another ClientHello after Retry. RFC 9000 section 17.2.5.3 forbids that, but
// clients do it (aioquic), and servers that keep nothing of the first one accept it.
func (q *conn) greetsAgain(data []byte) bool {
	random := helloRandom(data)
	return q.row.Retry && !q.answered() && q.random != nil && random != nil && !bytes.Equal(random, q.random)
}

// forgetRandom forgets the random of a ClientHello that does not count, and the secrets found for it.
func (q *conn) forgetRandom() {
	if e := q.c.Encryption(); bytes.Equal(e.Random, q.random) {
		e.Random = nil
	}
	q.random, q.searched, q.secrets = nil, false, nil
}

// lostCrypto ends a handshake stream with missing bytes.
func (q *conn) lostCrypto(x *flight) {
	if n := x.asm.gap(); n > 0 {
		q.lost(n)
		q.shake.Lost()
	}
	x.drop(q.c)
	x.dead = true
}

// messages reads handshake messages from the next bytes of their stream.
func (q *conn) messages(x *flight, r role, data []byte, p dissect.Packet) {
	for len(data) > 0 && !x.dead {
		if x.pass > 0 {
			n := min(x.pass, len(data))
			x.pass -= n
			data = data[n:]
			continue
		}
		b := data
		if len(x.part) > 0 {
			want := messageHeader
			if len(x.part) >= messageHeader {
				want += messageSize(x.part)
			}
			n := min(want-len(x.part), len(data))
			if !q.c.Hold(n) {
				q.t.anomaly("limit", "a handshake message of %d bytes is too long", want)
				q.shake.Malformed()
				x.drop(q.c)
				x.dead = true
				return
			}
			x.part = append(x.part, data[:n]...)
			data = data[n:]
			b = x.part
		}
		if len(b) >= messageHeader && messageSize(b) > tls.MaxMessage {
			q.shake.TooLong(b[0], messageSize(b))
			x.pass = messageHeader + messageSize(b) - len(b)
			if len(x.part) == 0 {
				x.pass = messageHeader + messageSize(b)
			}
			q.release(x)
			continue
		}
		if len(b) < messageHeader || len(b) < messageHeader+messageSize(b) {
			if len(x.part) > 0 {
				continue // data contains more, or is used up
			}
			if !q.c.Hold(len(data)) {
				x.dead = true
				return
			}
			x.part = append([]byte(nil), data...)
			return
		}
		size := messageHeader + messageSize(b)
		if len(x.part) == 0 {
			data = data[size:]
		}
		q.message(x, r, b[0], b[messageHeader:size], p)
		q.release(x)
	}
}

func (q *conn) release(x *flight) {
	q.c.Release(len(x.part))
	x.part = nil
}

// messageSize is the length in a message's header.
func messageSize(b []byte) int { return int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }

func (q *conn) message(x *flight, r role, typ uint8, body []byte, p dissect.Packet) {
	if typ > handshake.TypeFinished && typ < 0xfe && typ != 24 && typ != 25 || typ == 0 {
		q.t.anomaly("malformed", "reading handshake message: type %d", typ)
		q.shake.Malformed()
		x.drop(q.c)
		x.dead = true
		return
	}
	q.shake.Message(q.dir(r), p.Time, typ, body)
	q.changed = true
	if typ == handshake.TypeEncryptedExtensions && r == server {
		q.extensions = true
	}
}

// refresh copies the current facts of the handshake.
func (q *conn) refresh() {
	f := q.shake.Facts()
	row := q.row
	if f.Client && q.random == nil && len(f.Random) > 0 {
		q.findSecrets(f.Random)
	}
	if f.ServerName != "" && !row.Host.OK {
		row.Host = table.Some(f.ServerName)
	}
	q.offered = f.Offered
	if f.EarlyOffered && !row.ZeroRTT.OK {
		row.ZeroRTT = table.Some("offered")
	}
	if f.Suite != 0 && q.suite == 0 && f.Server {
		q.suite = f.Suite
		for k := range q.rings {
			for r := range q.rings[k] {
				if g := &q.rings[k][r]; g.cur == nil {
					g.built = false
				}
			}
		}
	}
	if f.Retry && f.EarlyOffered { // HelloRetryRequest
		q.reject()
	}
	if q.extensions && f.EarlyOffered {
		if f.EarlyAccepted {
			row.ZeroRTT = table.Some("accepted")
		} else {
			q.reject()
		}
	}
	if f.ALPN != "" {
		q.alpn = f.ALPN
		row.ALPN = table.Some(f.ALPN)
	}
	if f.ClientParameters != nil && row.ClientParams == nil {
		q.parameters(client, f.ClientParameters)
	}
	if f.ServerParameters != nil && row.ServerParams == nil {
		q.parameters(server, f.ServerParameters)
	}
	if f.AllFin {
		q.finishShake()
	}
}

func (q *conn) reject() {
	q.row.ZeroRTT, q.rejected = table.Some("rejected"), true
}

// findSecrets looks up the secrets for the client's random.
func (q *conn) findSecrets(random []byte) {
	q.random = append([]byte(nil), random...)
	q.searched = true
	if !q.hasClient { // its first id is unknown
		q.identify(random)
	}
	if e := q.c.Encryption(); e.Random == nil {
		e.Random = q.random
	}
	if q.t.set.store() != nil {
		q.secrets = q.t.set.store().Find(random)
	}
	q.changed = true
}

// proven handles a packet with a short header: its sender has finished its part of the
// handshake, so there is no reason to wait for the unread part. Before the server's answer nothing
// shows that the packet is not forged.
func (q *conn) proven(r role) {
	if len(q.initials) > 0 && !q.row.Retry && q.row.ClientOneRTT > few && q.row.ServerOneRTT > few {
		q.initials = nil // a late Initial creates them again
		q.t.plain = nil
	}
	if q.shake.Done() || len(q.secrets) > 0 || !q.replied || !q.searched && q.t.set.store() != nil {
		return
	}
	q.shake.Ended(q.dir(r))
	if q.shake.Facts().AllFin {
		q.finishShake()
	}
}

// confirm handles the server's confirmation of the handshake.
func (q *conn) confirm() {
	if q.shake.Done() || !q.hasClient {
		return
	}
	q.shake.Ended(q.dir(client))
	q.shake.Ended(q.dir(server))
	q.finishShake()
}

func (q *conn) finishShake() {
	if q.shake.Done() {
		return
	}
	q.shake.Keys(q.keys())
	q.shake.Finish("")
	if q.app.inner != nil { // a server may open streams before the client has finished
		q.app.inner.SetTLSTime(q.c.TLSTime())
	}
}

// keys returns the state of the connection's keys and the reason.
func (q *conn) keys() (dissect.KeyState, string) {
	opened := false
	for k := zeroRTT; k < retry; k++ {
		for r := range q.rings[k] {
			opened = opened || q.rings[k][r].cur != nil
		}
	}
	row := q.row
	beyond := row.ClientHandshake + row.ServerHandshake + row.ClientOneRTT + row.ServerOneRTT + row.ZeroRTTPackets
	switch {
	case opened:
		return dissect.KeyVerified, q.whyUnread()
	case q.other != 0:
		return dissect.KeyNone, dissect.Unsupported
	case len(q.secrets) > 0 && q.suite != 0 && secrets.SuiteOf(q.suite) == nil:
		return dissect.KeyUnverified, dissect.Unsupported
	case len(q.secrets) > 0 && q.tried:
		return dissect.KeyUnverified, dissect.WrongKey
	case len(q.secrets) > 0 && beyond == 0:
		return dissect.KeyUnverified, dissect.Unencrypted
	case len(q.secrets) > 0:
		return dissect.KeyUnverified, dissect.NoKey
	case beyond == 0:
		return dissect.KeyNone, dissect.Unencrypted
	case q.random != nil:
		return dissect.KeyNone, dissect.NoKey
	case q.hasClient:
		return dissect.KeyNone, dissect.KeyGap
	}
	return dissect.KeyNone, dissect.NoHandshake
}

// whyUnread is the reason why some packets were not decrypted although others were, or "" if there are none.
func (q *conn) whyUnread() string {
	row := q.row
	if row.ClientUnread+row.ServerUnread == 0 {
		return ""
	}
	counts := [...][2]int64{zeroRTT: {row.ZeroRTTPackets, 0}, handshakePacket: {row.ClientHandshake, row.ServerHandshake}, oneRTT: {row.ClientOneRTT, row.ServerOneRTT}}
	for k := zeroRTT; k < retry; k++ {
		for r, n := range counts[k] {
			if n > 0 && q.rings[k][r].cur == nil {
				return dissect.NoKey
			}
		}
	}
	if q.snapped {
		return dissect.KeyGap
	}
	return dissect.WrongKey
}
