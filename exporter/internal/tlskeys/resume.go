package tlskeys

import "github.com/pcapsule/pcapsule/recorder/secrets"

// Engine limits the attempts of all connections of one engine. What one connection reveals about
// a session is not used for others: they may be in another engine, and which ones are is
// arbitrary.
type Engine struct {
	spent   int64 // numbers tried for connections without captured hellos
	tried   int64 // secrets tried for sessions under another random
	masters [][]byte
	asked   int64 // 1 more than the growth of the store that masters are of; 0: not yet
	trials  []trial
	listed  int64             // the same for trials, in steps of trialStep
	header  [1 + 255 + 4]byte // of the DTLS 1.3 record being decrypted
}

// Limits for sessions under another random.
const (
	maxMaster = 4096    // master secrets of the key logs to try for one connection
	maxTried  = 1 << 18 // secrets for all of one engine
	trialStep = 64      // lines by which a store grows until trials are listed again
)

// resumes reports whether the server resumed a session, according to the hellos. If a stack logs
// no line for it, the key log has that of the session's first connection, under that random.
func (g *generation) resumes() bool {
	return g.client && g.server && !is13(g.answer.Version) &&
		(len(g.answer.SessionID) > 0 && string(g.answer.SessionID) == string(g.hello.SessionID) || g.hello.Ticket && !g.exchanged)
}

// mayResume reports whether the master secret may be one of another session.
func (k *Keys) mayResume(g *generation) bool {
	return g != nil && !g.searched && len(g.build(k)) == 0 && g.built && g.readable() && g.resumes() &&
		k.engine != nil && k.engine.tried < maxTried && len(k.engine.list(k.store)) > 0
}

func (e *Engine) list(store *secrets.Store) [][]byte {
	if n := store.Growth() + 1; e.asked != n {
		e.asked, e.masters = n, store.Masters(maxMaster)
	}
	return e.masters
}

// resume looks for the master secret that decrypts the first record of a direction.
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

// forgetStage drops the selected keys of a stage because more are known.
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

// uncover looks for the session of a client with an encrypted hello (ECH): its secrets are
// listed under the random of that hello.
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
