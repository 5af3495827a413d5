package tlskeys

import (
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of connections that start in the middle. They are counts, so that the same packets
// give the same answers on any machine.
const (
	maxSessions  = 256     // sessions of the key logs that are tried
	maxRecords   = 4       // records of a direction that are tried
	connBudget   = 1 << 22 // trials for one connection
	engineBudget = 1 << 26 // and for all of one engine
	firstWindow  = 1 << 4  // numbers tried first with each key, where each costs the record
	fullWindow   = 1 << 16 // most numbers then
)

// middle is the search for the session of a connection whose hellos were not captured.
type middle struct {
	on      bool // the connection has no hellos
	given   bool // up
	found   bool
	suite   *secrets.Suite
	secrets []secrets.Secret
	tries   [2]int
	spent   int64
}

// Middle says that the connection's hellos were not captured and that its records may be
// those of TLS 1.3.
func (k *Keys) Middle() {
	if k.store != nil && k.shake == nil && !k.middle.found {
		k.middle.on = true
	}
}

// Random of the session that was found; nil where none was.
func (m *middle) random() []byte {
	if m.found && len(m.secrets) > 0 {
		return m.secrets[0].ID
	}
	return nil
}

func (m *middle) wants(k *Keys) bool {
	return m.on && !m.given && !m.found && k.shake == nil && k.engine != nil && k.engine.spent < engineBudget
}

// middleOpen looks for the session and the number of a record among all that are known.
// Where each number costs, windows grow over all sessions together: low ones are likely.
func (k *Keys) middleOpen(dst []byte, r Role, rec *secrets.Record) (out Record, what Outcome) {
	m := &k.middle
	if m.tries[r]++; m.tries[r] >= maxRecords {
		m.given = m.tries[r^1] >= maxRecords || m.tries[r^1] == 0
		if m.tries[r] > maxRecords {
			return out, NoKey
		}
	}
	trials := k.middleTrials()
	for _, quick := range [...]bool{true, false} {
		for from, to := uint64(0), uint64(firstWindow); from < fullWindow; from, to = to, to*16 {
			n := to - from
			if quick {
				n = allNumbers
			}
			for i := range trials {
				if trials[i].c.quick == quick && k.middleTry(&trials[i], rec, from, n) {
					return k.middleFound(dst, r, &trials[i], rec)
				}
			}
			if quick {
				break
			}
		}
	}
	return out, NoKey
}

// middleTry looks for the number of a record with one key.
func (k *Keys) middleTry(t *trial, rec *secrets.Record, from, n uint64) bool {
	m := &k.middle
	cost := int64(len(rec.Body)/costBytes) + 1
	if left := min(connBudget-m.spent, engineBudget-k.engine.spent); !t.c.quick {
		n = min(n, uint64(max(left, 0)/cost))
		cost *= int64(n)
	} else if left < cost {
		n = 0
	}
	if n == 0 {
		m.given = true
		return false
	}
	m.spent += cost
	k.engine.spent += cost
	var ok bool
	rec.Seq, ok = t.c.open.Search(rec, from, n)
	return ok
}

// middleFound takes the session whose key opens a record under its number.
func (k *Keys) middleFound(dst []byte, r Role, t *trial, rec *secrets.Record) (out Record, what Outcome) {
	plain, typ, err := t.c.open.Open(dst, rec)
	if err != nil {
		return out, NoKey
	}
	m := &k.middle
	m.found, m.secrets, m.suite = true, t.group, t.c.suite
	k.allowance = mostAllowance // the other direction has its place to find too
	k.opened(t.role, t.stage, t.c, rec.Seq, len(rec.Body))
	k.sides[t.role^1].stage = stageData
	return Record{Plain: plain, Type: typ, Overhead: recordHeader + t.c.least, Data: true, Swapped: t.role != r}, Opened
}

// trial is a key of a session that may be the connection's.
type trial struct {
	c     *key
	role  Role
	stage int
	group []secrets.Secret
}

// middleTrials are the keys of all sessions. Who is the client is not sure in the middle
// of a connection, so both sides' are tried. They keep no state, so that the connections of
// an engine can share them.
func (k *Keys) middleTrials() []trial {
	e := k.engine
	if e.listed {
		return e.trials
	}
	e.listed = true
	for _, random := range k.store.Randoms(maxSessions) {
		group := k.store.Find(random)
		for _, s := range group {
			if s.Label != secrets.ClientTraffic && s.Label != secrets.ServerTraffic {
				continue
			}
			role := Client
			if s.Label == secrets.ServerTraffic {
				role = Server
			}
			for _, id := range suitesFor(len(s.Value)) {
				if keys := k.addTraffic(nil, secrets.SuiteOf(id), s.Value); len(keys) == 1 {
					e.trials = append(e.trials, trial{keys[0], role, stageData + s.N, group})
				}
			}
		}
	}
	return e.trials
}
