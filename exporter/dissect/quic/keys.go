package quic

import (
	"crypto/sha256"
	"crypto/sha512"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of the search for keys and numbers of one 5-tuple.
const (
	maxInitialKeys = 4    // sets of Initial keys: client's first packet, Retry, another version
	maxCandidates  = 48   // keys to try for one side of one level
	searchBudget   = 4096 // failed decryptions with unexpected numbers and keys
	searchCost     = 2    // cost of a search with AES-GCM, which finds any number
	searchWindows  = 16   // numbers with the same ending, tried for a packet without AES-GCM
	maxNumber      = 1 << 44
	maxPhases      = 4 // key updates that may be missed at once
)

// Cipher suites that QUIC uses, RFC 9001 section 5.3.
const (
	aes128 = 0x1301
	aes256 = 0x1302
	chacha = 0x1303
	ccm    = 0x1304
)

// initialKeys are Initial keys with the values from which they are derived.
type initialKeys struct {
	version uint32
	dcid    string
	keys    [2]*secrets.PacketKeys // by role
}

// ring is the keys of one side at one level of encryption.
type ring struct {
	version uint32
	built   bool
	tries   []*secrets.PacketKeys // have decrypted no packet yet
	cur     *secrets.PacketKeys   // has decrypted one

	// Of 1-RTT, RFC 9001 section 6.
	prev, next *secrets.PacketKeys
	phase      byte   // key phase bit of cur
	began      uint64 // lowest number decrypted with cur
}

// space counts the packets of one side in one packet number space.
type space struct {
	began    bool
	expected uint64     // one more than the largest number decrypted or acknowledged
	seen     [4]uint64  // bits of the numbers below top
	top      uint64     // one more than the largest number decrypted
	missing  []interval // numbers not seen below top, ascending
	unseen   bool       // packets that were not captured were acknowledged
}

// interval is the numbers from lo to hi, inclusive.
type interval struct{ lo, hi uint64 }

const maxMissing = 64 // intervals; the oldest are dropped

// replayed records that a number was decrypted and reports whether it had been before. It does
// not know numbers older than the bits of seen.
func (s *space) replayed(n uint64) bool {
	const bits = 256
	if n >= s.top {
		by := n + 1 - s.top
		if s.began && by > 1 {
			s.miss(s.top, n-1)
		} else if !s.began && n > 0 {
			s.miss(0, n-1)
		}
		s.began = true
		s.shift(by)
		s.seen[0] |= 1
		s.top = n + 1
		s.expected = max(s.expected, s.top)
		return false
	}
	back := s.top - 1 - n
	if back >= bits {
		s.found(n, n)
		return false
	}
	if s.seen[back/64]&(1<<(back%64)) != 0 {
		return true
	}
	s.seen[back/64] |= 1 << (back % 64)
	s.found(n, n)
	return false
}

// shift makes space for by newer numbers.
func (s *space) shift(by uint64) {
	if by >= 256 {
		s.seen = [4]uint64{}
		return
	}
	for ; by >= 64; by -= 64 {
		s.seen = [4]uint64{0, s.seen[0], s.seen[1], s.seen[2]}
	}
	if by > 0 {
		for i := 3; i > 0; i-- {
			s.seen[i] = s.seen[i]<<by | s.seen[i-1]>>(64-by)
		}
		s.seen[0] <<= by
	}
}

func (s *space) miss(lo, hi uint64) {
	if len(s.missing) >= maxMissing {
		copy(s.missing, s.missing[1:])
		s.missing = s.missing[:maxMissing-1]
	}
	s.missing = append(s.missing, interval{lo, hi})
}

// found removes the numbers lo to hi from the missing ones and reports whether any was missing.
func (s *space) found(lo, hi uint64) (any bool) {
	for i := 0; i < len(s.missing); i++ {
		m := s.missing[i]
		if hi < m.lo || lo > m.hi {
			continue
		}
		any = true
		var rest []interval
		if m.lo < lo {
			rest = append(rest, interval{m.lo, lo - 1})
		}
		if m.hi > hi {
			rest = append(rest, interval{hi + 1, m.hi})
		}
		if len(rest) == 2 && len(s.missing) >= maxMissing {
			rest = rest[1:]
		}
		s.missing = append(s.missing[:i], append(rest, s.missing[i+1:]...)...)
		i += len(rest) - 1
	}
	return any
}

// acked records that the other side received the numbers lo to hi.
func (s *space) acked(lo, hi uint64) {
	if hi >= s.expected && hi-s.expected < 1<<32 {
		s.expected = hi + 1
	}
	if len(s.missing) > 0 && lo <= s.missing[len(s.missing)-1].hi && s.found(lo, hi) {
		s.unseen = true
	}
}

// unmasked is a packet without header protection.
type unmasked struct {
	first     byte
	truncated uint32
	n         int // bytes of the number
}

// unmask removes header protection and writes the header covered by the tag to t.head.
func (t *tuple) unmask(k *secrets.PacketKeys, packet []byte, at int) (u unmasked, ok bool) {
	var err error
	u.first, u.truncated, u.n, err = k.Unmask(packet, at)
	if err != nil {
		return u, false
	}
	t.head = append(t.head[:0], packet[:at+u.n]...)
	t.head[0] = u.first
	for i := range u.n {
		t.head[at+u.n-1-i] = byte(u.truncated >> (8 * i))
	}
	return u, true
}

// try decrypts a packet that unmask has prepared.
func (t *tuple) try(k *secrets.PacketKeys, number uint64, packet []byte) ([]byte, bool) {
	plain, err := k.Open(t.plain[:0], number, t.head, packet[len(t.head):])
	if err != nil {
		return nil, false
	}
	t.plain = plain[:0]
	return plain, true
}

// openWith decrypts a packet of Initial, 0-RTT or Handshake level, or a 1-RTT packet with
// unverified keys.
func (t *tuple) openWith(k *secrets.PacketKeys, s *space, packet []byte, at int) (plain []byte, u unmasked, number uint64, ok bool) {
	if u, ok = t.unmask(k, packet, at); !ok {
		return nil, u, 0, false
	}
	number = secrets.FullNumber(s.expected, u.truncated, u.n)
	if plain, ok = t.try(k, number, packet); ok {
		return plain, u, number, true
	}
	if s.expected != s.top { // acknowledged numbers may be ahead of what is captured now
		if other := secrets.FullNumber(s.top, u.truncated, u.n); other != number {
			if plain, ok = t.try(k, other, packet); ok {
				return plain, u, other, true
			}
		}
	}
	return nil, u, number, false
}

// search decrypts a packet with an unexpected number: after many lost packets its truncated
// number has another meaning.
func (t *tuple) search(k *secrets.PacketKeys, u unmasked, packet []byte, from uint64) (plain []byte, number uint64, ok bool) {
	if t.trials >= searchBudget {
		return nil, 0, false
	}
	cost, n := searchCost, uint64(maxNumber)
	if id := k.Suite().ID; id != aes128 && id != aes256 { // each number costs as much as a decryption
		cost, n = searchWindows, uint64(searchWindows)<<(8*u.n)
	} else {
		from = 0
	}
	t.trials += cost
	number, ok = k.Search(t.head, packet[len(t.head):], u.truncated, u.n, from, n)
	if !ok {
		return nil, 0, false
	}
	t.trials -= cost
	plain, ok = t.try(k, number, packet)
	return plain, number, ok
}

// build derives keys from secrets for the client's random. suite is 0 if the ServerHello was not
// read; the length of the secret then limits the possible suites.
func (r *ring) build(version uint32, suite uint16, found []secrets.Secret, label secrets.Label) {
	r.built, r.version, r.tries = true, version, nil
	for _, s := range found {
		if s.Label != label || s.N != 0 {
			continue
		}
		for _, x := range suites(suite, len(s.Value)) {
			if len(r.tries) >= maxCandidates {
				return
			}
			if k, err := secrets.QUICKeys(version, x, s.Value); err == nil {
				r.tries = append(r.tries, k)
			}
		}
	}
}

// suites are the possible cipher suites of an n-byte secret.
func suites(chosen uint16, n int) []*secrets.Suite {
	if chosen != 0 {
		if s := secrets.SuiteOf(chosen); s != nil && s.Hash.Size() == n {
			return []*secrets.Suite{s}
		}
		return nil
	}
	switch n {
	case sha256.Size:
		return []*secrets.Suite{secrets.SuiteOf(aes128), secrets.SuiteOf(chacha), secrets.SuiteOf(ccm)}
	case sha512.Size384:
		return []*secrets.Suite{secrets.SuiteOf(aes256)}
	}
	return nil
}
