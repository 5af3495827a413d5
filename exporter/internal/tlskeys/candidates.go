package tlskeys

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Suites of TLS 1.3 by the size of their secrets, most used first.
var (
	suites32 = [...]uint16{0x1301, 0x1303, 0x1304, 0x1305}
	suites48 = [...]uint16{0x1302}
)

func newKey(o *secrets.Opener) *key {
	least, _ := o.Overhead()
	name := o.Suite().Name
	return &key{open: o, suite: o.Suite(), least: least, quick: strings.Contains(name, "_GCM"), stream: strings.Contains(name, "_RC4_")}
}

// candidates are the keys that may decrypt a direction's records in a stage. A key that has
// decrypted one is the only candidate.
func (k *Keys) candidates(r Role, stage int) []*key {
	if k.store == nil {
		return nil
	}
	s := &k.sides[r]
	for i := range s.stages {
		if s.stages[i].stage == stage {
			return s.stages[i].keys
		}
	}
	var list []*key
	final := true
	if k.modern() {
		list = k.traffic(r, stage)
		final = k.middle.found || k.shake.server || stage != stageEarly
	} else {
		list, final = k.paired(r, stage)
	}
	if final {
		s.stages = append(s.stages, stageKeys{stage, list})
	}
	return list
}

// paired are the keys of the handshake that starts a stage, before TLS 1.3.
func (k *Keys) paired(r Role, stage int) (list []*key, final bool) {
	for _, g := range k.shakes {
		if g.number != stage {
			continue
		}
		for _, p := range g.build(k) {
			list = append(list, p.keys[r])
		}
		return list, g.built
	}
	return nil, false
}

// traffic are the keys of a stage of TLS 1.3.
func (k *Keys) traffic(r Role, stage int) (list []*key) {
	label, n := secrets.ClientTraffic, 0
	switch {
	case stage == stageEarly && r == Client:
		label = secrets.ClientEarlyTraffic
	case stage == stageEarly:
		return nil
	case stage == stageHandshake:
		label = secrets.ClientHandshakeTraffic
	default:
		n = stage - stageData
	}
	if r == Server {
		label += secrets.ServerTraffic - secrets.ClientTraffic
		if stage == stageHandshake {
			label = secrets.ServerHandshakeTraffic
		}
	}
	if n > 0 { // keys derived from the previous stage are more certain than a line
		s := &k.sides[r]
		from := s.cur
		if s.stage != stage-1 {
			from = nil
		}
		if from == nil && s.stage == stage {
			from = s.last
		}
		if from != nil {
			list = k.derive(list, from)
		} else {
			for _, c := range k.candidates(r, stage-1) {
				list = k.derive(list, c)
			}
		}
	}
	for _, s := range k.found() {
		if s.Label == label && s.N == n {
			list = k.withSuites(list, s.Value)
		}
	}
	return list
}

func (k *Keys) found() []secrets.Secret {
	if k.middle.found {
		return k.middle.secrets
	}
	return k.shake.secrets()
}

// withSuites adds the keys of a traffic secret for the suite, or for every suite of its length
// if the suite is unknown.
func (k *Keys) withSuites(list []*key, secret []byte) []*key {
	if g := k.shake; g != nil && g.server {
		if g.readable() {
			list = k.addTraffic(list, g.suite, secret)
		}
		return list
	}
	if k.middle.suite != nil {
		return k.addTraffic(list, k.middle.suite, secret)
	}
	for _, s := range suitesFor(len(secret)) {
		list = k.addTraffic(list, secrets.SuiteOf(s), secret)
	}
	return list
}

func suitesFor(size int) []uint16 {
	switch size {
	case 32:
		return suites32[:]
	case 48:
		return suites48[:]
	}
	return nil
}

func (k *Keys) derive(list []*key, from *key) []*key {
	next := secrets.NextTraffic
	if k.datagram {
		next = secrets.NextTrafficDTLS
	}
	return k.addTraffic(list, from.suite, next(from.suite, from.secret))
}

func (k *Keys) addTraffic(list []*key, s *secrets.Suite, secret []byte) []*key {
	if s == nil || len(list) >= maxKeys {
		return list
	}
	for _, c := range list {
		if c.suite == s && bytes.Equal(c.secret, secret) {
			return list
		}
	}
	open := secrets.Open13
	if k.datagram {
		open = secrets.Open13DTLS
	}
	o, err := open(s, secret)
	if err != nil { // a line with a secret of another length
		return list
	}
	c := newKey(o)
	c.secret = secret
	return append(list, c)
}

// settle records that a key decrypted a record, which rules out the others of its stage.
func (k *Keys) settle(r Role, stage int, c *key) {
	k.verified = true
	s := &k.sides[r]
	found := false
	for i := range s.stages {
		if s.stages[i].stage == stage {
			s.stages[i].keys, found = []*key{c}, true
		}
	}
	if !found {
		s.stages = append(s.stages, stageKeys{stage, []*key{c}})
	}
	if c.pair == nil {
		return
	}
	c.pair.of.used, c.pair.of.sure = true, true
	if len(c.pair.of.pairs) > 1 {
		c.pair.of.pairs = []*pair{c.pair}
		other := &k.sides[r^1]
		for i := range other.stages {
			if other.stages[i].stage == stage && other.cur == nil {
				other.stages[i].keys = []*key{c.pair.keys[r^1]}
			}
		}
	}
}
