package quic

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of the search for the keys of connections without a captured handshake.
const (
	maxRandoms  = 128     // client randoms of the store to try
	guessBudget = 1 << 13 // failed decryptions for one 5-tuple
	lastBudget  = 1 << 11 // of these, before QUIC is detected on an unusual port
	few         = 16      // packets within which a connection's first ones may still arrive
)

// budget counts attempts.
type budget int

func newBudget() *budget {
	b := budget(guessBudget)
	return &b
}

// try is the keys of one client random and one side.
type try struct {
	random  []byte
	role    role
	version uint32
	keys    *secrets.PacketKeys
	updated *secrets.PacketKeys // after the first key update
}

// guessed describes how a packet with a short header was decrypted.
type guessed struct {
	*try
	idLen  int
	number uint64
}

// load makes the keys to try, the cheapest first.
func (s *settings) load() {
	randoms := s.keys.Randoms(maxRandoms)
	for _, id := range [...]uint16{aes128, aes256, chacha} {
		suite := secrets.SuiteOf(id)
		for _, version := range [...]uint32{version1, version2} {
			for _, random := range randoms {
				for _, x := range s.keys.Find(random) {
					s.addTry(random, version, suite, x)
				}
			}
		}
	}
}

func (s *settings) addTry(random []byte, version uint32, suite *secrets.Suite, x secrets.Secret) {
	r := client
	switch {
	case x.N != 0 || len(x.Value) != suite.Hash.Size():
		return
	case x.Label == secrets.ServerTraffic:
		r = server
	case x.Label != secrets.ClientTraffic:
		return
	}
	if k, err := secrets.QUICKeys(version, suite, x.Value); err == nil {
		s.tries = append(s.tries, try{append([]byte(nil), random...), r, version, k, k.Next()})
	}
}

// guess looks for a key of the store that decrypts a packet with a short header, for any length
// of the connection id. The number of attempts is limited, not the time.
func (s *settings) guess(b []byte, left *budget) (g guessed, ok bool) {
	if s.store() == nil || len(b) < minShort || !fixed(b[0]) || *left <= 0 {
		return g, false
	}
	s.once.Do(s.load)
	s.mu.Lock()
	defer s.mu.Unlock()
	var t tuple
	for i := range s.tries {
		x := &s.tries[i]
		for n := 0; n <= maxID && 1+n+minSealed <= len(b); n++ {
			u, ok := t.unmask(x.keys, b, 1+n)
			if !ok || u.first&reservedOne != 0 {
				continue
			}
			k := x.keys
			if u.first&keyPhase != 0 {
				k = x.updated
			}
			t.trials = 0
			if _, number, ok := t.search(k, u, b, 0); ok {
				return guessed{x, n, number}, true
			}
			if *left -= budget(t.trials); *left <= 0 {
				return g, false
			}
		}
	}
	return g, false
}

// tryGuess is guess within the remaining budget of the 5-tuple.
func (t *tuple) tryGuess(b []byte) (guessed, bool) {
	if t.set.store() == nil || t.p.Cut > 0 {
		return guessed{}, false
	}
	if t.guess == nil {
		t.guess = newBudget()
	}
	return t.set.guess(b, t.guess)
}

// guessedBy copies the fields of the connection that the decrypting key reveals.
func (q *conn) guessedBy(g guessed, d dissect.Dir, b []byte) {
	q.guessed, q.atStart = true, g.number < few
	q.version = g.version
	q.setClient(d)
	if g.role == server {
		q.setClient(d.Other())
	}
	if q.random == nil {
		q.findSecrets(g.random)
	}
	q.receiver(d).add(0, b[1:1+g.idLen])
}

// measure determines the length of the connection ids of a direction with the sender's keys, if
// no packet of the other direction contains it.
func (q *conn) measure(d dissect.Dir, b []byte) {
	g, _ := q.ring(oneRTT, q.role(d), q.version)
	if g == nil || q.t.p.Cut > 0 {
		return
	}
	keys := g.tries
	if g.cur != nil {
		keys = []*secrets.PacketKeys{g.cur}
	}
	if q.t.guess == nil {
		q.t.guess = newBudget()
	}
	before := q.t.trials
	defer func() { q.t.trials = before }()
	for _, current := range keys {
		updated := current.Next()
		for n := 0; n <= maxID && 1+n+minSealed <= len(b); n++ {
			u, ok := q.t.unmask(current, b, 1+n)
			if !ok || u.first&reservedOne != 0 {
				continue
			}
			k := current
			if u.first&keyPhase != g.phase {
				k = updated
			}
			q.t.trials = 0
			if _, _, ok := q.t.search(k, u, b, 0); ok {
				q.receiver(d).add(0, b[1:1+n])
				return
			}
			if *q.t.guess -= budget(q.t.trials); *q.t.guess <= 0 {
				return
			}
		}
	}
}
