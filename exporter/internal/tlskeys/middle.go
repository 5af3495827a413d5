package tlskeys

import (
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of connections that start in the middle. They are counts of numbers tried, so that
// the same packets give the same answers on any machine.
const (
	maxSessions  = 256     // sessions of the key logs that are tried
	maxRecords   = 4       // records of a direction that are tried
	connBudget   = 1 << 24 // numbers tried for one connection
	engineBudget = 1 << 28 // and for all of one engine
	firstWindow  = 1 << 8  // numbers tried first with each key
	fullWindow   = 1 << 16 // most numbers, where each costs a whole record
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
// Windows grow over all sessions together, so that the likely numbers come first.
func (k *Keys) middleOpen(dst []byte, r Role, rec *secrets.Record) (out Record, what Outcome) {
	m := &k.middle
	if m.tries[r]++; m.tries[r] >= maxRecords {
		m.given = m.tries[r^1] >= maxRecords || m.tries[r^1] == 0
		if m.tries[r] > maxRecords {
			return out, NoKey
		}
	}
	trials := k.middleTrials()
	for from, to := uint64(0), uint64(firstWindow); from < mostNumbers; from, to = to, to*16 {
		to = min(to, mostNumbers)
		for _, t := range trials {
			n := to - from
			if !t.c.quick {
				if from >= fullWindow {
					continue
				}
				n = min(n, fullWindow-from)
			}
			seq, ok := k.searchMiddle(t.c, rec, from, n)
			if !ok {
				if m.spent >= connBudget || k.engine.spent >= engineBudget {
					m.given = true
					return out, NoKey
				}
				continue
			}
			rec.Seq = seq
			plain, typ, err := t.c.open.Open(dst, rec)
			if err != nil {
				continue
			}
			m.found, m.secrets, m.suite = true, t.group, t.c.suite
			k.allowance = mostAllowance // the other direction has its place to find too
			k.opened(t.role, t.stage, t.c, seq, len(rec.Body))
			k.sides[t.role^1].stage = stageData
			return Record{Plain: plain, Type: typ, Overhead: recordHeader + t.c.least, Data: true, Swapped: t.role != r}, Opened
		}
	}
	return out, NoKey
}

// trial is a key of a session that may be the connection's.
type trial struct {
	c     *key
	role  Role
	stage int
	group []secrets.Secret
}

// middleTrials are the keys of all sessions. Who is the client is not sure in the middle
// of a connection, so both sides' are tried.
func (k *Keys) middleTrials() (list []trial) {
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
					list = append(list, trial{keys[0], role, stageData + s.N, group})
				}
			}
		}
	}
	return list
}

func (k *Keys) searchMiddle(c *key, rec *secrets.Record, from, n uint64) (uint64, bool) {
	each := int64(len(rec.Body)/costBytes) + 1
	once := int64(0)
	if c.quick {
		each, once = 1, each
	}
	left := min(connBudget-k.middle.spent, engineBudget-k.engine.spent)
	n = min(n, uint64(max(left-once, 0)/each))
	k.middle.spent += once + int64(n)*each
	k.engine.spent += once + int64(n)*each
	if n == 0 {
		k.middle.spent = connBudget
		return 0, false
	}
	return c.open.Search(rec, from, n)
}
