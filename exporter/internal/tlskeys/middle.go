package tlskeys

import (
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits for connections without a captured start. They are counts, so that the same packets
// give the same results on any machine.
const (
	maxSessions  = 256     // sessions of the key logs to try
	maxRecords   = 4       // records of a direction to try
	connBudget   = 1 << 22 // attempts for one connection
	engineBudget = 1 << 26 // attempts for one engine
	firstWindow  = 1 << 4  // numbers to try first with each key if each one costs a decryption
	fullWindow   = 1 << 16 // most numbers afterwards
)

// middle is the search for the session of a connection without captured hellos.
type middle struct {
	on      bool // the connection has no hellos
	givenUp bool // given up
	found   bool
	suite   *secrets.Suite
	secrets []secrets.Secret
	tries   [2]int
	spent   int64
}

// Middle records that the connection's hellos were not captured and that its records may belong
// to TLS 1.3.
func (k *Keys) Middle() {
	if k.store != nil && k.shake == nil && !k.middle.found {
		k.middle.on = true
	}
}

// random is the random of the session found, or nil if there is none.
func (m *middle) random() []byte {
	if m.found && len(m.secrets) > 0 {
		return m.secrets[0].ID
	}
	return nil
}

func (m *middle) wants(k *Keys) bool {
	return m.on && !m.givenUp && !m.found && k.shake == nil && k.engine != nil && k.engine.spent < engineBudget
}

// middleOpen looks for the session and the number of a record among all known sessions. If each
// number has a cost, windows grow over all sessions together, because low numbers are likely.
func (k *Keys) middleOpen(dst []byte, r Role, rec *secrets.Record) (out Record, what Outcome) {
	m := &k.middle
	if m.tries[r]++; m.tries[r] >= maxRecords {
		m.givenUp = m.tries[r^1] >= maxRecords || m.tries[r^1] == 0
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
		m.givenUp = true
		return false
	}
	m.spent += cost
	k.engine.spent += cost
	var ok bool
	rec.Seq, ok = t.c.open.Search(rec, from, n)
	return ok
}

// middleFound selects the session with the key that decrypts a record.
func (k *Keys) middleFound(dst []byte, r Role, t *trial, rec *secrets.Record) (out Record, what Outcome) {
	plain, typ, err := t.c.open.Open(dst, rec)
	if err != nil {
		return out, NoKey
	}
	m := &k.middle
	m.found, m.secrets, m.suite = true, t.group, t.c.suite
	k.allowance = mostAllowance // the other direction has to find its position too
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

// middleTrials are the keys of all sessions. In the middle of a connection the client is not
// certain, so both sides' keys are tried. They keep no state, so that the connections of an
// engine can share them.
func (k *Keys) middleTrials() []trial {
	e := k.engine
	n := k.store.Growth()/trialStep + 1
	if e.listed == n {
		return e.trials
	}
	e.listed, e.trials = n, nil
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
