package tlskeys

import (
	"crypto/sha256"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Engine is what the connections of one engine share: the sessions that they may take up
// again, and how many trials are left to them all.
type Engine struct {
	spent    int64 // numbers tried for connections whose hellos were not captured
	tried    int64 // master secrets tried for sessions that were taken up
	masters  [][]byte
	asked    bool
	sessions map[string][]byte // master secret by session id or ticket
	order    []string          // of sessions, a ring
	next     int
}

// Limits of sessions that are taken up, before TLS 1.3.
const (
	maxLearned = 4096    // session ids and tickets that are remembered
	maxMaster  = 4096    // master secrets of the key logs that are tried for one connection
	maxTried   = 1 << 18 // and for all of one engine
)

// learn remembers the master secret of a session.
func (e *Engine) learn(name string, master []byte) {
	if e == nil || name == "" {
		return
	}
	if e.sessions == nil {
		e.sessions = map[string][]byte{}
	}
	if _, ok := e.sessions[name]; !ok {
		if len(e.order) < maxLearned {
			e.order = append(e.order, name)
		} else {
			delete(e.sessions, e.order[e.next])
			e.order[e.next] = name
			e.next = (e.next + 1) % maxLearned
		}
	}
	e.sessions[name] = master
}

func sessionName(id []byte) string {
	if len(id) == 0 {
		return ""
	}
	return "id " + string(id)
}

func ticketName(ticket []byte) string {
	if len(ticket) == 0 {
		return ""
	}
	sum := sha256.Sum256(ticket)
	return "ticket " + string(sum[:])
}

// ticket reads NewSessionTicket before TLS 1.3, RFC 5077 section 3.3.
func (g *generation) ticket(body []byte) string {
	if len(body) < 6 {
		return ""
	}
	n := int(body[4])<<8 | int(body[5])
	return ticketName(body[6:][:min(n, len(body)-6)])
}

// remember notes under which names a session whose master secret is known can be taken up.
func (k *Keys) remember(g *generation) {
	if len(g.pairs) != 1 || !g.sure {
		return
	}
	k.engine.learn(sessionName(g.answer.SessionID), g.pairs[0].master)
	k.engine.learn(g.given, g.pairs[0].master)
}

// resumes reports whether the server took up a session, as far as hellos tell.
func (g *generation) resumes() bool {
	return g.client && g.server && !is13(g.answer.Version) &&
		(len(g.answer.SessionID) > 0 && string(g.answer.SessionID) == string(g.hello.SessionID) || g.hello.ticket != "" && !g.exchanged)
}

// mayResume reports whether the master secret may be found among those of other sessions.
func (k *Keys) mayResume(g *generation) bool {
	return g != nil && !g.searched && len(g.build(k)) == 0 && g.built && g.readable() && g.resumes() &&
		k.engine != nil && k.engine.tried < maxTried && len(k.engine.list(k.store)) > 0
}

func (e *Engine) list(store *secrets.Store) [][]byte {
	if !e.asked {
		e.asked, e.masters = true, store.Masters(maxMaster)
	}
	return e.masters
}

// resume looks for the master secret with which the first record of a direction opens.
func (k *Keys) resume(r Role, rec *secrets.Record) bool {
	g := k.shake
	if !k.mayResume(g) {
		return false
	}
	g.searched = true
	buf := make([]byte, 0, len(rec.Body))
	for _, m := range k.engine.list(k.store) {
		if k.engine.tried++; k.engine.tried > maxTried {
			return false
		}
		client, server, err := secrets.Open12(g.version(), g.suite, g.answer.MACLast, m, g.hello.Random, g.answer.Random)
		if err != nil {
			return false
		}
		if _, _, err := [2]*secrets.Opener{client, server}[r].Open(buf, rec); err == nil {
			g.add(m, false)
			k.forgetStage(g.number)
			return true
		}
	}
	return false
}

// forgetStage forgets which keys a stage has: more are known.
func (k *Keys) forgetStage(stage int) {
	for i := range k.sides {
		s := &k.sides[i]
		for j := range s.stages {
			if s.stages[j].stage == stage {
				s.stages = append(s.stages[:j], s.stages[j+1:]...)
				break
			}
		}
	}
}

// uncover looks for the session of a client whose real hello is encrypted (ECH): its
// secrets stand under the random of that one.
func (k *Keys) uncover(r Role, rec *secrets.Record) bool {
	g := k.shake
	if !k.covered(g) || r != Server {
		return false
	}
	g.searched = true
	buf := make([]byte, 0, len(rec.Body))
	for _, random := range k.store.Randoms(maxSessions) {
		group := k.store.Find(random)
		for _, s := range group {
			if s.Label != secrets.ServerHandshakeTraffic && (s.Label != secrets.ServerTraffic || s.N > 0) {
				continue
			}
			if k.engine.tried++; k.engine.tried > maxTried {
				return false
			}
			for _, c := range k.addTraffic(nil, g.suite, s.Value) {
				rec.Seq = 0
				if _, _, err := c.open.Open(buf, rec); err == nil {
					g.found = group
					k.sides[Client].stages, k.sides[Server].stages = nil, nil
					return true
				}
			}
		}
	}
	return false
}

func (k *Keys) covered(g *generation) bool {
	return g != nil && !g.searched && g.hello.Hidden && g.server && is13(g.answer.Version) && g.readable() &&
		len(g.secrets()) == 0 && k.engine != nil && k.engine.tried < maxTried && !k.datagram
}
