// Package tlskeys keeps the state of one connection's keys: the handshake parameters of TLS or
// DTLS, the matching secrets, and the number of the next record.
//
// The caller passes both sides' handshakes and asks it to decrypt records. A secret belongs to
// the connection once it has decrypted a record; until then all possible secrets are tried.
// After a gap the package finds its position by trial, limited by counts and never by time. It
// parses no records and no messages itself.
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

// Memory accounts for kept bytes.
type Memory interface {
	Hold(n int) bool
	Release(n int)
}

// Limits of one connection.
const (
	maxMasters    = 16       // master secrets to try
	maxKeys       = 32       // keys of one direction and stage to try
	maxTranscript = 64 << 10 // bytes of handshake messages kept for their hash
	maxStages     = 4        // stages of one direction with kept keys
)

// Stages of TLS 1.3. In earlier versions stages are counted: each ChangeCipherSpec starts
// another.
const (
	stageEarly = iota
	stageHandshake
	stageData // and one more with each KeyUpdate
)

// ClientHello holds the fields that keys depend on. Its slices are copied.
type ClientHello struct {
	Version   uint16 // the highest version offered
	Random    []byte
	SessionID []byte
	Ticket    bool // the client offered a session ticket, before TLS 1.3
	Early     bool // 0-RTT
	Hidden    bool // the real hello may be encrypted (ECH)
}

// ServerHello holds the fields that keys depend on. Its slices are copied.
type ServerHello struct {
	Version, Suite uint16
	Random         []byte
	SessionID      []byte
	Compression    uint8
	Master         bool // extended master secret
	MACLast        bool // encrypt-then-MAC
}

// Keys are the keys of one connection. They are not safe for concurrent use.
type Keys struct {
	store    *secrets.Store
	memory   Memory
	engine   *Engine
	datagram bool

	shake  *generation // the newest handshake
	shakes []*generation
	sides  [2]side
	random []byte // of the first ClientHello

	hidden    bool  // missing bytes may contain a hello
	tried     bool  // a key was tried on a record
	verified  bool  // and decrypted it
	missing   bool  // there was a record without a key
	lost      bool  // records were lost, or their position was
	allowance int64 // attempts left
	middle    middle
}

// side is one direction.
type side struct {
	stage  int
	cur    *key // decrypted the last record of the stage; nil before the first
	last   *key // of the previous stage
	seq    uint64
	stages []stageKeys
	gap    bool // bytes were lost, and the opener has not processed that yet
	failed int  // records that could not be decrypted
}

type stageKeys struct {
	stage int
	keys  []*key
}

// key is a possible key of one direction.
type key struct {
	open    *secrets.Opener
	suite   *secrets.Suite
	secret  []byte // traffic secret; nil before TLS 1.3
	pair    *pair  // before TLS 1.3
	least   int    // overhead
	quick   bool   // searching costs one block per number
	chained bool   // a record's IV is the end of the previous record
	macLast bool   // chained, and the MAC covers the ciphertext without the IV
	strayed bool   // the IV of the next record is uncertain
	stream  bool   // RC4: the key stream continues from record to record
	window  replay // DTLS
	highest uint64 // DTLS 1.3: next number expected
}

// pair is the keys derived from one master secret.
type pair struct {
	of     *generation
	master []byte
	logged bool // a key log line for the client random contains it
	keys   [2]*key
}

// New starts a connection. A nil store has no secrets; memory limits the kept bytes; engine may
// be nil.
func New(store *secrets.Store, memory Memory, engine *Engine, datagram bool) *Keys {
	if store != nil && store.Empty() {
		store = nil
	}
	return &Keys{store: store, memory: memory, engine: engine, datagram: datagram, allowance: firstAllowance}
}

// Any reports whether there are any secrets at all.
func (k *Keys) Any() bool { return k.store != nil }

// Random is the client random of the first handshake, nil if it was not seen.
func (k *Keys) Random() []byte { return k.random }

// HiddenHello records that missing bytes may contain a hello.
func (k *Keys) HiddenHello() { k.hidden = true }

// ClientHello starts a handshake, or continues one after HelloRetryRequest or
// HelloVerifyRequest. clear means that it is not encrypted, so no keys are in use.
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

// ServerHello is the server's part. Do not call it for HelloRetryRequest.
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

// Reset removes all keys: an unencrypted handshake starts again.
func (k *Keys) Reset() {
	k.Close()
	k.shakes, k.shake, k.sides = nil, nil, [2]side{}
}

// Close frees the kept bytes.
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
		if !k.shake.used { // the previous one was never used
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

// modern reports whether the connection is TLS 1.3 according to its hellos or secrets.
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

// Change records that a side sent ChangeCipherSpec, before TLS 1.3.
func (k *Keys) Change(r Role) {
	if k.shake == nil || k.modern() {
		return
	}
	k.shake.used = true
	k.enter(r, k.shake.number)
}

// Finished records that a side of TLS 1.3 ended its handshake: its next records have other keys.
func (k *Keys) Finished(r Role) {
	if s := &k.sides[r]; k.modern() && s.stage == stageHandshake {
		k.enter(r, stageData)
	}
}

// EndOfEarlyData records that the client of TLS 1.3 ended its 0-RTT data.
func (k *Keys) EndOfEarlyData() {
	if s := &k.sides[Client]; k.modern() && s.stage == stageEarly {
		k.enter(Client, stageHandshake)
	}
}

// KeyUpdate records that a side of TLS 1.3 switches to its next keys.
func (k *Keys) KeyUpdate(r Role) {
	if s := &k.sides[r]; k.modern() && s.stage >= stageData {
		k.enter(r, s.stage+1)
	}
}

// enter changes to a stage.
func (k *Keys) enter(r Role, stage int) {
	s := &k.sides[r]
	if stage == s.stage && s.cur != nil {
		return
	}
	s.last, s.cur, s.stage, s.seq = s.cur, nil, stage, 0
	s.trim()
}

// trim keeps the keys of stages that are still needed.
func (s *side) trim() {
	for len(s.stages) > maxStages {
		s.stages = append(s.stages[:0], s.stages[1:]...)
	}
}

// first is the first stage of a direction.
func (k *Keys) first(r Role) int {
	if !k.modern() {
		return 1
	}
	if r == Client && k.shake != nil && k.shake.hello.Early {
		return stageEarly
	}
	return stageHandshake
}

// Early reports whether the client's records before the ServerHello can be decrypted.
func (k *Keys) Early() bool {
	return k.store != nil && k.shake != nil && k.shake.hello.Early && k.sides[Client].stage == stageEarly &&
		len(k.candidates(Client, stageEarly)) > 0
}

// Answers reports whether the server's handshake records are likely to be decryptable.
func (k *Keys) Answers() bool {
	return k.store != nil && k.modern() && k.sides[Server].failed == 0 && len(k.candidates(Server, stageHandshake)) > 0
}
