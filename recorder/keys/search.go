package keys

import (
	"crypto/hkdf"
	"encoding/binary"
	"slices"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of a search in one object.
const (
	maxRandomAt = 4096 // a client random further on belongs to a neighbour in the heap
	maxSlots    = 400  // places that may contain a secret
	maxPairs    = 160000
	maxMasters  = 20000
)

// object is the content of a connection's object, and of the memory its pointers refer to.
type object struct {
	data []byte
	hops map[uint32][]byte
	// The last search that found the secrets of a handshake, but no record after it.
	half half
}

type half struct {
	random  [32]byte
	layout  layout // of the handshake's secrets only
	records int    // that were captured
}

// at implements get for an object.
func (o *object) at(p *place) []byte {
	from := o.data
	if p.Hop != noHop {
		from = o.hops[p.Hop]
	}
	if uint64(p.At) >= uint64(len(from)) {
		return nil
	}
	return from[p.At:min(int(p.At)+bpf.MaxSecret, len(from))]
}

// looksRandom reports whether bytes can be a secret, a random or a hash: no zero word, no
// pointer, many different bytes. at is their offset in memory that is aligned to 8 bytes.
func looksRandom(b []byte, at int) bool {
	var seen [256]bool
	different := 0
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			different++
		}
	}
	if different < len(b)*5/8 {
		return false
	}
	for i := 0; i+4 <= len(b); i += 4 {
		if binary.NativeEndian.Uint32(b[i:]) == 0 {
			return false
		}
	}
	for i := (8 - at%8) % 8; i+8 <= len(b); i += 8 {
		if v := binary.NativeEndian.Uint64(b[i:]); v>>48 == 0 || v>>47 == 1<<17-1 {
			return false
		}
	}
	return true
}

// slots returns the places of n bytes that look random, after pointers too if hops is set.
func (o *object) slots(n, end int, hops bool) (list []*place) {
	for at := 0; at+n <= min(len(o.data), end) && len(list) < maxSlots; at += 4 {
		if looksRandom(o.data[at:at+n], at) {
			list = append(list, &place{noHop, uint32(at)})
		}
	}
	if !hops {
		return list
	}
	for hop := uint32(0); int(hop)+8 <= len(o.data); hop += 8 {
		b := o.hops[hop]
		for at := 0; at+n <= len(b) && len(list) < maxMasters; at += 8 {
			if looksRandom(b[at:at+n], at) {
				list = append(list, &place{hop, uint32(at)})
			}
		}
	}
	return list
}

// derive is Derive-Secret of RFC 8446 section 7.1 with a precomputed hash.
func derive(secret []byte, label string, hash []byte) []byte {
	h := secrets.SuiteOf(0x1301).Hash
	if len(secret) == 48 {
		h = secrets.SuiteOf(0x1302).Hash
	}
	info := binary.BigEndian.AppendUint16(nil, uint16(len(secret)))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(append(info, "tls13 "...), label...)
	info = append(append(info, byte(len(hash))), hash...)
	out, err := hkdf.Expand(h.New, secret, string(info), len(secret))
	if err != nil {
		return nil // a hash that FIPS mode does not allow
	}
	return out
}

// randoms finds the client randoms of captured connections in an object.
func (o *object) randoms(from Captured, known *place) (found []*place, talks []*conversation, err error) {
	places := []*place{known}
	if known == nil {
		places = o.slots(32, maxRandomAt+32, true)
	}
	err = errMore
	for _, p := range places {
		b := o.at(p)
		if len(b) < 32 {
			continue
		}
		c, e := conversationOf(from, b[:32])
		if e == nil {
			found, talks, err = append(found, p), append(talks, c), nil
		} else if e != errMore && err == errMore {
			err = e
		}
	}
	return found, talks, err
}

// search finds where an object keeps the secrets of a captured connection, each proven by
// a record that it opens, and adds the places to a layout. It returns errMore if more must
// be captured first, and false if nothing was found.
func (o *object) search(from Captured, l *layout) (ok bool, err error) {
	randoms, talks, err := o.randoms(from, l.Random)
	if err != nil {
		return false, err
	}
	for i, c := range talks {
		found := layout{}
		if c.version == secrets.TLS13 {
			if len(c.client) < 2 || len(c.server) < 2 {
				return false, errMore
			}
			if ok, err = o.search13(c, &found); err != nil {
				return false, err
			}
		} else {
			if len(c.client) == 0 && len(c.server) == 0 {
				return false, errMore
			}
			ok = o.search12(c, &found)
		}
		if ok {
			l.Random = randoms[i]
			l.merge(&found)
			return true, nil
		}
	}
	return false, nil
}

func (l *layout) merge(f *layout) {
	if f.Master != nil {
		l.Master = f.Master
		return
	}
	master, random := l.Master, l.Random
	*l = *f
	l.Master, l.Random = master, random
}

func (o *object) search12(c *conversation, l *layout) bool {
	for _, p := range o.slots(48, len(o.data), true) {
		if c.opens12(o.at(p)[:48]) {
			l.Master = p
			return true
		}
	}
	return false
}

func (o *object) search13(c *conversation, l *layout) (ok bool, err error) {
	n, records := c.suite.Hash.Size(), len(c.client)+len(c.server)
	known := o.half.records > 0 && o.half.random == [32]byte(c.clientRandom)
	if known && o.half.records == records {
		return false, errMore
	}
	slots := o.slots(n, len(o.data), false)
	value := func(p *place) []byte { return o.at(p)[:n] }
	find := func(side, most int) *place {
		for _, p := range slots {
			if c.opens13(value(p), side, most) {
				return p
			}
		}
		return nil
	}
	if known {
		*l = o.half.layout
	} else if l.ServerHandshake = find(1, 1); l.ServerHandshake != nil {
		// The server's first protected record belongs to the handshake. So does the client's
		// first one or, after early data, a later one.
		l.ClientHandshake = find(0, maxSealed)
	} else {
		o.searchPair(c, slots, l)
	}
	if l.Handshake == nil && l.ClientHandshake == nil {
		return false, nil
	}
	shake := *l
	// Search for traffic secrets, except at the places of the handshake.
	slots = slices.DeleteFunc(slots, func(p *place) bool {
		return slices.ContainsFunc(shake.fields(), func(q *place) bool { return q != nil && *q == *p })
	})
	l.ClientTraffic, l.ServerTraffic = find(0, maxSealed), find(1, maxSealed)
	var client, server []byte // of the handshake
	if l.Handshake != nil {
		client, server = derive(value(l.Handshake), "c hs traffic", value(l.Hash)), derive(value(l.Handshake), "s hs traffic", value(l.Hash))
	} else {
		client, server = value(l.ClientHandshake), value(l.ServerHandshake)
	}
	if l.ClientTraffic == nil && !c.continues(client, 0) || l.ServerTraffic == nil && !c.continues(server, 1) {
		o.half = half{[32]byte(c.clientRandom), shake, records}
		return false, errMore
	}
	return l.ClientTraffic != nil && l.ServerTraffic != nil, nil
}

// searchPair finds the handshake secret and the hash from which traffic secrets are derived.
func (o *object) searchPair(c *conversation, slots []*place, l *layout) {
	n := c.suite.Hash.Size()
	tried := 0
	for _, s := range slots {
		for _, h := range slots {
			if s == h {
				continue
			}
			if tried++; tried > maxPairs {
				return
			}
			secret, hash := o.at(s)[:n], o.at(h)[:n]
			if c.opens13(derive(secret, "s hs traffic", hash), 1, 1) {
				if c.opens13(derive(secret, "c hs traffic", hash), 0, maxSealed) {
					l.Handshake, l.Hash = s, h
				}
				return
			}
		}
	}
}
