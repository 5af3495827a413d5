package tlskeys

import "github.com/pcapsule/pcapsule/recorder/secrets"

// replay recognizes repeated records, RFC 6347 section 4.1.2.6.
type replay struct {
	any  bool
	top  uint64 // highest number
	seen uint64 // bit i: top-i was received
}

// first reports whether a number occurs for the first time. A number that is too old to check
// does not count.
func (w *replay) first(n uint64) bool {
	switch {
	case !w.any || n > w.top:
		shift := n - w.top
		if !w.any || shift >= 64 {
			w.seen = 0
		} else {
			w.seen <<= shift
		}
		w.any, w.top, w.seen = true, n, w.seen|1
		return true
	case w.top-n >= 64 || w.seen&(1<<(w.top-n)) != 0:
		return false
	}
	w.seen |= 1 << (w.top - n)
	return true
}

const numberBits = 48 // of a record's number before DTLS 1.3, below its epoch

// OpenDatagram decrypts a record of DTLS 1.0 to 1.2. The upper 16 bits of its number are the
// epoch, which is above 0.
func (k *Keys) OpenDatagram(dst []byte, r Role, rec *secrets.Record) (out Record, what Outcome) {
	if k.store == nil {
		return out, NoKey
	}
	s := &k.sides[r]
	stage := int(rec.Seq >> numberBits)
	list := k.candidates(r, stage)
	what = NoKey
	for _, c := range list {
		k.tried = true
		plain, typ, err := c.open.Open(dst, rec)
		if err != nil {
			if c.window.any {
				what = Refused
			}
			continue
		}
		if !c.window.any {
			k.settle(r, stage, c)
			s.trim()
		}
		s.stage, s.cur = max(s.stage, stage), c
		return Record{Plain: plain, Type: typ, Stale: !c.window.first(rec.Seq & (1<<numberBits - 1))}, Opened
	}
	if s.cur == nil && k.resume(r, rec) {
		return k.OpenDatagram(dst, r, rec)
	}
	k.missing = k.missing || len(list) == 0
	return out, what
}

// OpenUnified decrypts a record of DTLS 1.3 (RFC 9147 section 4). header is a copy of its
// header, which OpenUnified changes.
func (k *Keys) OpenUnified(dst []byte, r Role, header, body []byte) (out Record, what Outcome) {
	if k.store == nil || k.engine == nil || !k.modern() || len(header) == 0 || len(header) > len(k.engine.header) {
		return out, NoKey
	}
	s := &k.sides[r]
	what = NoKey
	from := k.stage(r)
	any := false
	for _, stage := range [...]int{from, from + 1, from + 2, from - 1} {
		if stage < 0 || byte(stage+1)&3 != header[0]&3 { // epoch 1 is 0-RTT
			continue
		}
		for _, c := range k.candidates(r, stage) {
			k.tried, any = true, true
			h := k.engine.header[:copy(k.engine.header[:], header)]
			low, bits, err := c.open.UnmaskNumber(h, body)
			if err != nil {
				continue
			}
			rec := secrets.Record{Type: 23, Version: secrets.DTLS12, Header: h, Body: body,
				Seq: secrets.FullNumber(c.highest, uint32(low), bits/8)}
			plain, typ, err := c.open.Open(dst, &rec)
			if err != nil {
				if c.window.any {
					what = Refused
				}
				continue
			}
			if !c.window.any {
				k.settle(r, stage, c)
				s.trim()
			}
			s.stage, s.cur = max(s.stage, stage), c
			c.highest = max(c.highest, rec.Seq+1)
			return Record{Plain: plain, Type: typ, Early: stage == stageEarly, Stale: !c.window.first(rec.Seq)}, Opened
		}
	}
	k.missing = k.missing || !any
	return out, what
}
