package tlskeys

import (
	"crypto/aes"
	"crypto/des"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Outcome is the result of decrypting a record.
type Outcome uint8

// The outcomes.
const (
	Opened   Outcome = iota
	NoKey            // there is no key for it, or none that was ever correct
	Refused          // a key that decrypted earlier records did not authenticate it
	Waits            // the previous record is missing, and the cipher continues from it
	Headless         // it authenticates, but the meaning of its start depends on a missing record
)

// Record is a decrypted record.
type Record struct {
	Plain []byte // appended to dst
	Type  uint8  // content type
	// Missed is the number of records of the same key that were lost before this one.
	Missed   uint64
	Jumped   bool // bytes were lost, and with them the last records of earlier keys, whose number is unknown
	Overhead int  // minimum difference between the length of a record, including its header, and its content
	Early    bool // 0-RTT
	Data     bool // with keys for application data: always before TLS 1.3, and for 0-RTT
	Swapped  bool // the sides are swapped compared with the call
	Stale    bool // DTLS: it is a repetition, or too old to check
}

const recordHeader = 5

// Unknown is the loss before the first record of a connection without a captured start.
const Unknown = -1

// Costs of attempts. With AES-GCM all numbers together cost one decryption, because the tag
// reveals the number; with other suites each number costs one.
const (
	firstAllowance = 1 << 20
	mostAllowance  = 1 << 24
	mostNumbers    = 1 << 22 // in one search, if each one has a cost
	maxFailed      = 32      // records of a direction to try before its keys are given up
	costBytes      = 32      // bytes of a record that cost one attempt
	allNumbers     = 1 << 48
)

// Ready reports whether it makes sense to wait for a whole record of a direction.
func (k *Keys) Ready(r Role) bool {
	if k.store == nil {
		return false
	}
	if k.sides[r].cur != nil {
		return true
	}
	return (k.verified || k.sides[r].failed < maxFailed) && k.any(r)
}

func (k *Keys) any(r Role) bool {
	from := k.stage(r)
	for stage := from; stage <= k.last(from, true); stage++ {
		if len(k.candidates(r, stage)) > 0 {
			return true
		}
	}
	return k.middle.wants(k) || k.mayResume(k.shake) || k.covered(k.shake)
}

// stage is the current stage of a direction that is encrypted.
func (k *Keys) stage(r Role) int { return max(k.sides[r].stage, k.first(r)) }

// last is the furthest stage that a record's keys may belong to. If nothing was lost, changes of
// stage are seen.
func (k *Keys) last(from int, lost bool) int {
	if !k.modern() {
		if k.shake != nil {
			return max(from, k.shake.number)
		}
		return from
	}
	most := max(stageData, from)
	if lost && from >= stageData {
		most += 2
	} else if lost {
		most++
	}
	return most
}

// Open decrypts the next record of a stream and appends its content to dst. lost is the number
// of bytes between the end of the last record that was decrypted or deliberately skipped and
// this one; Unknown if there was no such record. before is what was captured right before this
// record, up to Before bytes.
func (k *Keys) Open(dst []byte, r Role, rec *secrets.Record, lost int64, before []byte) (out Record, what Outcome) {
	if k.store == nil {
		return out, NoKey
	}
	s := &k.sides[r]
	if s.cur != nil && lost != 0 {
		s.cur.follow(before, s.gap)
		s.gap = false
	}
	what = NoKey
	absent := false
	from := k.stage(r)
	for stage := from; stage <= k.last(from, lost != 0); stage++ {
		list := k.candidates(r, stage)
		absent = absent || stage == from && len(list) == 0
		for _, c := range list {
			first := uint64(0)
			if c == s.cur {
				first = s.seq
			}
			k.tried = true
			plain, typ, seq, err := k.try(dst, c, rec, first, lost, before)
			if err == nil {
				k.opened(r, stage, c, seq, len(rec.Body))
				modern, jumped := k.modern(), lost > 0 && k.jumped(r, from, stage)
				if what = Opened; c.macLast && (c.strayed || seq > first) {
					what = Headless
				}
				c.strayed = false
				return Record{Plain: plain, Type: typ, Missed: seq - first, Jumped: jumped, Overhead: recordHeader + c.least,
					Early: modern && stage == stageEarly, Data: !modern || stage != stageHandshake}, what
			}
			if c == s.cur || s.cur == nil && s.last != nil && stage == from {
				what = Refused
			}
			if err == secrets.ErrLost {
				return out, Waits
			}
		}
	}
	if k.middle.wants(k) {
		return k.middleOpen(dst, r, rec)
	}
	if rec.Seq = 0; s.cur == nil && (k.resume(r, rec) || k.uncover(r, rec)) {
		return k.Open(dst, r, rec, lost, before)
	}
	s.failed++
	k.missing = k.missing || absent && k.shake != nil
	return out, what
}

// jumped reports whether a change from one stage to another, which was not seen, ended keys of application data.
func (k *Keys) jumped(r Role, from, to int) bool {
	switch {
	case !k.modern():
		return to > from
	case from == stageEarly:
		return r == Client && to > from
	}
	return to > max(from, stageData)
}

// Skip skips a record with a known position that was not decrypted.
func (k *Keys) Skip(r Role, rec *secrets.Record) {
	if c := k.sides[r].cur; c != nil {
		c.open.Skip(rec)
		c.strayed = true
	}
}

// Gap records that bytes of a direction were not captured. If size is above 0, they lie inside
// one record with a body of that size.
func (k *Keys) Gap(r Role, size int) {
	s := &k.sides[r]
	k.lost = true
	if s.cur != nil && s.cur.stream && size > 0 && !s.gap {
		s.cur.open.Skip(&secrets.Record{Body: make([]byte, size)})
		return
	}
	s.gap = true
}

// Before is the number of bytes before a record that determine the state of a chained cipher.
const Before = 96

// Chained reports whether a direction's cipher needs the bytes before a record.
func (k *Keys) Chained(r Role) bool {
	c := k.sides[r].cur
	if c == nil && k.shake != nil && len(k.shake.pairs) > 0 {
		c = k.shake.pairs[0].keys[r]
	}
	return c != nil && c.chained
}

// follow sets the bytes before the next record: the IV of CBC before TLS 1.1 is the end of the
// previous record. It ignores them with encrypt-then-MAC: that MAC does not cover the IV, so the
// end of a forged record would change the next one's first block.
func (c *key) follow(before []byte, gap bool) {
	switch {
	case c.macLast: // any IV will do: the MAC is correct without it, and the content is not trusted
		c.open.Skip(&secrets.Record{Body: make([]byte, aes.BlockSize+c.least-1)})
		c.strayed = true
	case c.chained:
		n := aes.BlockSize
		if strings.Contains(c.suite.Name, "_3DES_") {
			n = des.BlockSize
		}
		if len(before) >= n {
			c.open.Skip(&secrets.Record{Body: before[len(before)-n:]})
		} else {
			c.open.Lost()
		}
	case gap:
		c.open.Lost()
	}
}

// opened records that a record was decrypted with a number.
func (k *Keys) opened(r Role, stage int, c *key, seq uint64, size int) {
	s := &k.sides[r]
	if s.cur != c {
		if s.stage != stage {
			s.last = nil
		}
		if s.cur != nil {
			s.last = s.cur
		}
		s.cur, s.stage = c, stage
		k.settle(r, stage, c)
		s.trim()
	}
	s.seq, s.gap = seq+1, false
	k.allowance = min(k.allowance+int64(size/4)+1, mostAllowance)
}

// try decrypts a record with a key and the expected number, or with a later one if bytes were
// lost.
func (k *Keys) try(dst []byte, c *key, rec *secrets.Record, first uint64, lost int64, before []byte) (plain []byte, typ uint8, seq uint64, err error) {
	rec.Seq = first
	plain, typ, err = c.open.Open(dst, rec)
	if err == nil || lost == 0 || err == secrets.ErrRecord || err == secrets.ErrLost {
		return plain, typ, first, err
	}
	if c.chained && c.pair.of.sure && first == 0 {
		c.follow(before, false)
	}
	if lost < 0 {
		if seq, ok := k.search(c, rec, first, allNumbers); ok {
			return k.under(dst, c, rec, seq)
		}
		return dst, 0, first, err
	}
	// The search starts with the smallest number of records that the lost bytes can contain: a
	// sender of many records mostly sends large ones.
	const largest = recordHeader + 1<<14 + 256
	most := uint64(lost/int64(recordHeader+c.least)) + 2
	least := min(uint64(lost/largest), most)
	if seq, ok := k.search(c, rec, first+least, most-least+1); ok {
		return k.under(dst, c, rec, seq)
	}
	if seq, ok := k.search(c, rec, first, least); ok { // the bytes between were not records
		return k.under(dst, c, rec, seq)
	}
	return dst, 0, first, err
}

func (k *Keys) under(dst []byte, c *key, rec *secrets.Record, seq uint64) ([]byte, uint8, uint64, error) {
	rec.Seq = seq
	plain, typ, err := c.open.Open(dst, rec)
	return plain, typ, seq, err
}

// search is Opener.Search within the connection's allowance.
func (k *Keys) search(c *key, rec *secrets.Record, from, n uint64) (seq uint64, ok bool) {
	cost := int64(len(rec.Body)/costBytes) + 1
	if c.quick {
		if k.allowance < cost {
			return 0, false
		}
		k.allowance -= cost
		return c.open.Search(rec, from, n)
	}
	if n = min(n, mostNumbers, uint64(max(k.allowance, 0)/cost)); n == 0 {
		return 0, false
	}
	seq, ok = c.open.Search(rec, from, n)
	if ok {
		n = seq - from + 1
	}
	k.allowance -= int64(n) * cost
	return seq, ok
}
