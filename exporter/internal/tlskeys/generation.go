package tlskeys

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// generation is the part of the keys that belongs to one handshake.
type generation struct {
	store          *secrets.Store
	number         int  // of the stage that it starts, before TLS 1.3
	client, server bool // the hello was seen
	hello          ClientHello
	answer         ServerHello
	suite          *secrets.Suite // nil if unknown or unsupported
	used           bool           // a side changed to its keys

	messages  []byte // up to the client's key exchange, as far as the hash needs them
	held      int
	over      bool   // messages are incomplete
	exchange  []byte // the client's secret, encrypted with the server's RSA key
	exchanged bool

	looked   bool
	found    []secrets.Secret
	built    bool
	sure     bool // its keys decrypted a record
	searched bool // secrets of other sessions were tried
	pairs    []*pair
}

// again processes a second ClientHello with the same random.
func (g *generation) again(h *ClientHello) {
	g.hello.Early = g.hello.Early && h.Early
	g.hello.SessionID = bytes.Clone(h.SessionID)
}

// secrets are all secrets for the client random.
func (g *generation) secrets() []secrets.Secret {
	if !g.looked && g.client {
		g.looked, g.found = true, g.store.Find(g.hello.Random)
	}
	return g.found
}

func (g *generation) has(label secrets.Label) bool {
	for _, s := range g.secrets() {
		if s.Label == label {
			return true
		}
	}
	return false
}

// hasTraffic reports whether there are secrets of TLS 1.3.
func (g *generation) hasTraffic() bool {
	return g.has(secrets.ClientTraffic) || g.has(secrets.ServerTraffic) || g.has(secrets.ClientHandshakeTraffic) || g.has(secrets.ServerHandshakeTraffic)
}

// transcript reports whether the hash over the messages is needed: the extended master secret is
// derived from a premaster secret and this hash.
func (g *generation) transcript() bool {
	return !g.server || g.answer.Master && g.suite != nil && !g.suite.TLS13 && (g.suite.RSA || g.has(secrets.PreMaster))
}

// Message processes every handshake message in order before TLS 1.3, header and body; number is
// that of DTLS. Call it after ClientHello or ServerHello for those.
func (k *Keys) Message(typ uint8, number uint16, body []byte) {
	const helloRequest, helloVerify = 0, 3
	g := k.shake
	if k.store == nil || g == nil || g.exchanged || g.over || typ == helloRequest || typ == helloVerify || !g.transcript() {
		return
	}
	if typ == 1 { // also after HelloVerifyRequest, which is never hashed
		g.forget(k.memory)
		g.over = false
	}
	n := len(body) + 12
	if len(g.messages)+n > maxTranscript || !k.memory.Hold(n) {
		g.forget(k.memory)
		g.over = true
		return
	}
	g.held += n
	g.messages = append(g.messages, typ, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	if k.datagram { // hashed as one piece, RFC 6347 section 4.2.6
		g.messages = append(g.messages, byte(number>>8), byte(number), 0, 0, 0, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	}
	g.messages = append(g.messages, body...)
}

// LostMessage records that a handshake message was not captured completely.
func (k *Keys) LostMessage() {
	if k.shake != nil && !k.shake.exchanged {
		k.shake.forget(k.memory)
		k.shake.over = true
	}
}

// KeyExchange processes the body of ClientKeyExchange, after Message.
func (k *Keys) KeyExchange(body []byte) {
	g := k.shake
	if k.store == nil || g == nil || g.exchanged || g.built {
		return
	}
	g.exchanged = true
	if g.suite == nil || !g.suite.RSA {
		return
	}
	if g.answer.Version != secrets.SSL30 && len(body) >= 2 { // RFC 5246 section 7.4.7.1
		n := int(body[0])<<8 | int(body[1])
		body = body[2:]
		body = body[:min(n, len(body))]
	}
	if len(body) <= maxEncrypted {
		g.exchange = bytes.Clone(body)
	}
}

const maxEncrypted = 2 << 10 // bytes: an RSA key of 16384 bits

func (g *generation) forget(m Memory) {
	m.Release(g.held)
	g.messages, g.held = nil, 0
}

// version is the version that determines the handshake's keys: 0 if it is unsupported.
func (g *generation) version() uint16 {
	v := g.answer.Version
	switch {
	case v >= secrets.SSL30 && v <= secrets.TLS13, v == secrets.DTLS10, v == secrets.DTLS12, v == secrets.DTLS13:
		return v
	case v == 0x0100: // OpenSSL's DTLS before the RFC
		return 0
	case v >= 0x7f1a && v <= 0x7f1c: // drafts with the records of the RFC
		return secrets.TLS13
	}
	return 0
}

// readable reports whether records of the handshake can be decrypted at all, given secrets.
func (g *generation) readable() bool {
	v := g.version()
	return g.suite != nil && v != 0 && g.answer.Compression == 0 && g.suite.TLS13 == is13(v)
}

// build makes the keys of all possible master secrets of the handshake, before TLS 1.3.
func (g *generation) build(k *Keys) []*pair {
	if g.built || !g.server || !g.client {
		return g.pairs
	}
	g.built = true
	if g.readable() {
		for _, s := range g.masters() {
			g.add(s.value, s.logged)
		}
	}
	g.forget(k.memory)
	g.exchange = nil
	return g.pairs
}

type master struct {
	value  []byte
	logged bool
}

func (g *generation) masters() (list []master) {
	var pre [][]byte
	for _, s := range g.secrets() {
		switch s.Label {
		case secrets.ClientRandom:
			list = append(list, master{s.Value, true})
		case secrets.PreMaster:
			pre = append(pre, s.Value)
		}
	}
	logged := len(pre)
	for _, id := range [2][]byte{g.answer.SessionID, g.hello.SessionID} {
		if len(id) == 0 {
			continue
		}
		for _, s := range g.store.FindSession(id) {
			list = append(list, master{s.Value, false})
		}
		if bytes.Equal(g.answer.SessionID, g.hello.SessionID) {
			break
		}
	}
	if len(g.exchange) > 0 {
		pre = append(pre, g.store.DecryptRSA(g.exchange)...)
	}
	v := g.version()
	for i, p := range pre {
		var m []byte
		switch {
		case !g.answer.Master:
			m = secrets.MasterSecret(v, g.suite, p, g.hello.Random, g.answer.Random)
		case len(g.messages) > 0 && g.exchanged:
			m = secrets.ExtendedMasterSecret(v, g.suite, p, secrets.TranscriptHash(v, g.suite, g.messages))
		default:
			continue
		}
		list = append(list, master{m, i < logged})
	}
	return list
}

func (g *generation) add(m []byte, logged bool) {
	if len(g.pairs) >= maxMasters {
		return
	}
	for _, p := range g.pairs {
		if bytes.Equal(p.master, m) {
			p.logged = p.logged || logged
			return
		}
	}
	client, server, err := secrets.Open12(g.version(), g.suite, g.answer.MACLast, m, g.hello.Random, g.answer.Random)
	if err != nil {
		return
	}
	p := &pair{of: g, master: m, logged: logged}
	for i, o := range [2]*secrets.Opener{client, server} {
		p.keys[i] = newKey(o)
		p.keys[i].pair = p
		p.keys[i].macLast = g.answer.MACLast && g.version() <= secrets.TLS10 && strings.Contains(g.suite.Name, "_CBC")
		p.keys[i].chained = g.version() <= secrets.TLS10 && strings.Contains(g.suite.Name, "_CBC")
	}
	g.pairs = append(g.pairs, p)
}
