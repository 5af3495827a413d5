// Package tlskeys keeps the state of one connection's keys: what TLS or DTLS says of them,
// which of the given secrets fit, and under which number the next record stands.
//
// It is told what both sides say in their handshakes and is asked to open records. A secret
// counts as the connection's once a record opened with it; until then all that may fit are
// tried. After lost bytes it finds its place by trial, within bounds that are counts and
// never time. It reads no records and no messages itself.
package tlskeys

import (
	"bytes"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Role is a side of the handshake.
type Role uint8

// The roles.
const (
	Client Role = iota
	Server
)

// Memory is where kept bytes are accounted for.
type Memory interface {
	Hold(n int) bool
	Release(n int)
}

// Limits of one connection.
const (
	maxMasters    = 16       // master secrets that are tried
	maxKeys       = 32       // keys of one direction and stage that are tried
	maxTranscript = 64 << 10 // bytes of handshake messages kept for their hash
	maxStages     = 4        // stages of one direction whose keys are kept
)

// Stages of TLS 1.3. Before, stages are counted: each ChangeCipherSpec begins another.
const (
	stageEarly = iota
	stageHandshake
	stageData // and one more with each KeyUpdate
)

// ClientHello is what keys depend on. Its slices are copied.
type ClientHello struct {
	Version   uint16 // the highest that is offered
	Random    []byte
	SessionID []byte
	Ticket    bool // a session ticket was offered, before TLS 1.3
	Early     bool // 0-RTT
	Hidden    bool // the real hello may be encrypted (ECH)
}

// ServerHello is what keys depend on. Its slices are copied.
type ServerHello struct {
	Version, Suite uint16
	Random         []byte
	SessionID      []byte
	Compression    uint8
	Master         bool // extended master secret
	MACLast        bool // encrypt-then-MAC
}

// Keys are one connection's. Not for concurrent use.
type Keys struct {
	store    *secrets.Store
	memory   Memory
	engine   *Engine
	datagram bool

	shake  *generation // the newest handshake
	shakes []*generation
	sides  [2]side
	random []byte // of the first ClientHello

	hidden    bool  // lost bytes hid a hello
	tried     bool  // a key was tried on a record
	verified  bool  // and opened it
	missing   bool  // a record came for which there is no key
	lost      bool  // records were lost or could not be found again
	allowance int64 // trials left
	middle    middle
}

// side is one direction.
type side struct {
	stage  int
	cur    *key // what opened the last record of the stage; nil before the first
	last   *key // of the stage before
	seq    uint64
	stages []stageKeys
	gap    bool // bytes were lost, and the opener does not know it yet
	failed int  // records that were tried and not opened
}

type stageKeys struct {
	stage int
	keys  []*key
}

// key is a key of one direction that may be right.
type key struct {
	open    *secrets.Opener
	suite   *secrets.Suite
	secret  []byte // traffic secret; nil before TLS 1.3
	pair    *pair  // before TLS 1.3
	least   int    // overhead
	quick   bool   // searching costs one block a number
	chained bool   // a record's IV is the end of the record before
	macLast bool   // chained, and the MAC is over the encryption, without the IV
	strayed bool   // the IV of the next record is not known to be right
	stream  bool   // RC4: a record goes on where the one before ended
	window  replay // DTLS
	highest uint64 // DTLS 1.3: next number expected
}

// pair is what one master secret gives.
type pair struct {
	of     *generation
	master []byte
	logged bool // a line under the client random gives it
	keys   [2]*key
}

// New starts a connection. A nil store has no secrets; memory says how much may be kept;
// engine may be nil.
func New(store *secrets.Store, memory Memory, engine *Engine, datagram bool) *Keys {
	if store != nil && store.Empty() {
		store = nil
	}
	return &Keys{store: store, memory: memory, engine: engine, datagram: datagram, allowance: firstAllowance}
}

// Any reports whether there are any secrets at all.
func (k *Keys) Any() bool { return k.store != nil }

// Random is the client random of the first handshake, nil where it was not seen.
func (k *Keys) Random() []byte { return k.random }

// HiddenHello says that lost bytes may have held a hello.
func (k *Keys) HiddenHello() { k.hidden = true }

// ClientHello begins a handshake, or goes on with one after HelloRetryRequest or
// HelloVerifyRequest. clear says that it is not encrypted, so that no keys are in use.
func (k *Keys) ClientHello(h *ClientHello, clear bool) {
	if k.random == nil {
		k.random = bytes.Clone(h.Random)
	}
	if k.store == nil {
		return
	}
	if g := k.shake; g != nil && g.client && !g.server && bytes.Equal(g.hello.Random, h.Random) {
		g.again(h)
		return
	}
	if clear {
		k.Reset()
	}
	g := k.newShake()
	g.client = true
	g.hello = *h
	g.hello.Random, g.hello.SessionID = bytes.Clone(h.Random), bytes.Clone(h.SessionID)
}

// ServerHello is the other half. It is not told of HelloRetryRequest.
func (k *Keys) ServerHello(h *ServerHello, clear bool) {
	if k.store == nil {
		return
	}
	g := k.shake
	if g == nil || g.server {
		if clear {
			k.Reset()
		}
		g = k.newShake()
	}
	g.server = true
	g.answer = *h
	g.answer.Random, g.answer.SessionID = bytes.Clone(h.Random), bytes.Clone(h.SessionID)
	g.suite = secrets.SuiteOf(h.Suite)
	if !g.transcript() {
		g.forget(k.memory)
	}
}

// Reset forgets all keys: a handshake in clear begins anew.
func (k *Keys) Reset() {
	k.Close()
	k.shakes, k.shake, k.sides = nil, nil, [2]side{}
}

// Close gives back what is kept.
func (k *Keys) Close() {
	for _, g := range k.shakes {
		g.forget(k.memory)
	}
}

// newShake starts a generation of keys; at most the last two count.
func (k *Keys) newShake() *generation {
	g := &generation{store: k.store, number: 1}
	if k.shake != nil {
		k.shake.forget(k.memory)
		g.number = k.shake.number + 1
		if !k.shake.used { // the one before came to nothing
			g.number--
			k.shakes = k.shakes[:len(k.shakes)-1]
		}
	}
	k.shake = g
	k.shakes = append(k.shakes, g)
	if len(k.shakes) > 2 {
		k.shakes = k.shakes[len(k.shakes)-2:]
	}
	return g
}

// modern reports whether the connection is TLS 1.3, as far as hellos or secrets tell.
func (k *Keys) modern() bool {
	g := k.shake
	switch {
	case g == nil:
		return k.middle.found
	case g.server:
		return is13(g.answer.Version)
	}
	return g.hasTraffic()
}

func is13(v uint16) bool { return v == 0x0304 || v == 0xfefc || v>>8 == 0x7f || v>>8 == 0xfb }

// Change says that a side sent ChangeCipherSpec, before TLS 1.3.
func (k *Keys) Change(r Role) {
	if k.shake == nil || k.modern() {
		return
	}
	k.shake.used = true
	k.enter(r, k.shake.number)
}

// Finished says that a side of TLS 1.3 ended its handshake: what follows has other keys.
func (k *Keys) Finished(r Role) {
	if s := &k.sides[r]; k.modern() && s.stage == stageHandshake {
		k.enter(r, stageData)
	}
}

// EndOfEarlyData says that the client of TLS 1.3 ended its 0-RTT.
func (k *Keys) EndOfEarlyData() {
	if s := &k.sides[Client]; k.modern() && s.stage == stageEarly {
		k.enter(Client, stageHandshake)
	}
}

// KeyUpdate says that a side of TLS 1.3 goes on with its next keys.
func (k *Keys) KeyUpdate(r Role) {
	if s := &k.sides[r]; k.modern() && s.stage >= stageData {
		k.enter(r, s.stage+1)
	}
}

// enter makes a stage the current one.
func (k *Keys) enter(r Role, stage int) {
	s := &k.sides[r]
	if stage == s.stage && s.cur != nil {
		return
	}
	s.last, s.cur, s.stage, s.seq = s.cur, nil, stage, 0
	s.trim()
}

// trim keeps the keys of stages that are still of use.
func (s *side) trim() {
	for len(s.stages) > maxStages {
		s.stages = append(s.stages[:0], s.stages[1:]...)
	}
}

// first is the stage with which a direction begins.
func (k *Keys) first(r Role) int {
	if !k.modern() {
		return 1
	}
	if r == Client && k.shake != nil && k.shake.hello.Early {
		return stageEarly
	}
	return stageHandshake
}

// Early reports whether what a client sends before the ServerHello can be opened.
func (k *Keys) Early() bool {
	return k.store != nil && k.shake != nil && k.shake.hello.Early && k.sides[Client].stage == stageEarly &&
		len(k.candidates(Client, stageEarly)) > 0
}

// Answers reports whether the server's records of the handshake can be expected to open.
func (k *Keys) Answers() bool {
	return k.store != nil && k.modern() && k.sides[Server].failed == 0 && len(k.candidates(Server, stageHandshake)) > 0
}
