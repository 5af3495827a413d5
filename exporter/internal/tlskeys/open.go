package tlskeys

import (
	"crypto/aes"
	"crypto/des"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Outcome is what became of an encrypted record.
type Outcome uint8

// The outcomes.
const (
	Opened   Outcome = iota
	NoKey            // there is none for it, or none of those that are there was ever right
	Refused          // there is a key that opened records before, and it did not authenticate
	Waits            // the record before it was lost, and the cipher goes on from there
	Headless         // it authenticates, but what its beginning says depends on a record that was lost
)

// Record is what came out of an encrypted record.
type Record struct {
	Plain []byte // appended to what was given
	Type  uint8  // content type
	// Missed is how many records of the same key were lost before this one.
	Missed   uint64
	Overhead int  // bytes by which a record is longer than its content, at least, with its header
	Early    bool // 0-RTT
	Data     bool // with keys that application data has: all before TLS 1.3, 0-RTT too
	Swapped  bool // the sides are the other way round than it was asked
	Stale    bool // DTLS: it came before, or is too old to tell
}

const recordHeader = 5

// Unknown is the loss before the first record of a connection that was under way.
const Unknown = -1

// Cost of trials. With AES-GCM all numbers together cost the record once, since its tag gives
// the number away; with other suites each number does.
const (
	firstAllowance = 1 << 20
	mostAllowance  = 1 << 24
	mostNumbers    = 1 << 22 // in one search, where each costs something
	maxFailed      = 32      // records of a direction that are tried before its keys are given up
	costBytes      = 32      // bytes of a record that cost one trial
	allNumbers     = 1 << 48
)

// Ready reports whether it is worth waiting for a whole record of a direction.
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
	for stage := from; stage <= k.last(r, from, true); stage++ {
		if len(k.candidates(r, stage)) > 0 {
			return true
		}
	}
	return k.middle.wants(k) || k.mayResume(k.shake) || k.covered(k.shake)
}

// stage is where a direction is now, given that it is encrypted.
func (k *Keys) stage(r Role) int { return max(k.sides[r].stage, k.first(r)) }

// last is the furthest stage whose keys a record may have. Where nothing was lost, changes
// between stages are seen.
func (k *Keys) last(r Role, from int, lost bool) int {
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

// Open opens the next record of a stream and appends its content to dst. lost is how many
// bytes lie between the end of the last record that was opened, or passed over knowingly,
// and this one; Unknown where no such record was seen. before is what was captured right
// before this record, up to Before bytes of it.
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
	for stage := from; stage <= k.last(r, from, lost != 0); stage++ {
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
				modern := k.modern()
				if what = Opened; c.macLast && (c.strayed || seq > first) {
					what = Headless
				}
				c.strayed = false
				return Record{Plain: plain, Type: typ, Missed: seq - first, Overhead: recordHeader + c.least,
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

// Skip passes over a record that was not opened though its place is sure.
func (k *Keys) Skip(r Role, rec *secrets.Record) {
	if c := k.sides[r].cur; c != nil {
		c.open.Skip(rec)
		c.strayed = true
	}
}

// Gap says that bytes of a direction were not captured. With size above 0 they lie inside one
// record whose body has that size.
func (k *Keys) Gap(r Role, size int) {
	s := &k.sides[r]
	k.lost = true
	if s.cur != nil && s.cur.stream && size > 0 && !s.gap {
		s.cur.open.Skip(&secrets.Record{Body: make([]byte, size)})
		return
	}
	s.gap = true
}

// Before is how many bytes before a record tell where a cipher goes on whose records hang
// together.
const Before = 96

// Chained reports whether a direction's cipher needs to be told what stands before a record.
func (k *Keys) Chained(r Role) bool {
	c := k.sides[r].cur
	if c == nil && k.shake != nil && len(k.shake.pairs) > 0 {
		c = k.shake.pairs[0].keys[r]
	}
	return c != nil && c.chained
}

// follow tells a cipher which bytes stand before the next record: the IV of CBC before TLS
// 1.1 is the end of the record before. With encrypt-then-MAC that would not do: the MAC does
// not hold the IV, so the end of a forged record would change the next one's first block.
func (c *key) follow(before []byte, gap bool) {
	switch {
	case c.macLast: // any IV will do: the MAC is right without it, and the content is not believed
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

// opened notes that a record opened under a number.
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

// try opens a record with a key under the number that it should have, or under a later
// one where bytes were lost.
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
	// Searching begins with as few records as the lost bytes can have held: large ones
	// are the rule where there are many.
	const largest = recordHeader + 1<<14 + 256
	most := uint64(lost/int64(recordHeader+c.least)) + 2
	least := min(uint64(lost/largest), most)
	if seq, ok := k.search(c, rec, first+least, most-least+1); ok {
		return k.under(dst, c, rec, seq)
	}
	if seq, ok := k.search(c, rec, first, least); ok { // bytes came in between that were no records
		return k.under(dst, c, rec, seq)
	}
	return dst, 0, first, err
}

func (k *Keys) under(dst []byte, c *key, rec *secrets.Record, seq uint64) ([]byte, uint8, uint64, error) {
	rec.Seq = seq
	plain, typ, err := c.open.Open(dst, rec)
	return plain, typ, seq, err
}

// search is Opener.Search within what the connection is allowed.
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
