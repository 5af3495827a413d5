package tls

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Gap implements dissect.Dissector. Reading goes on at the next record: where it begins
// is known when the lost bytes lie inside a record, else it is looked for.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	s.lost = true
	rest := in.Data
	if k.hs != nil {
		k.hs.gap = true
		k.give(in, 0, len(rest))
	}
	k.dropPart(s)
	left := -1
	switch {
	case s.place == inOpaque:
		left = s.left
	case s.place == atRecord && len(rest) >= headerBytes && !k.ssl2:
		left = headerBytes + header(rest).size - len(rest)
	}
	s.place = scanning
	if k.ssl2 || left < 0 || int64(left) < missing {
		s.of = nil
		return true
	}
	s.left = left - int(missing)
	if s.left > 0 {
		s.place = inOpaque
		return true
	}
	s.place = atRecord
	if s.of != nil && s.of == k.hs && s.ends {
		k.hs.fin[k.role(in.Dir)] = true
	}
	s.of = nil
	k.finishIfDone()
	return true
}

// scan looks for the next record; it returns the bytes before it.
func (k *conn) scan(s *side, in *dissect.Input, at int) int {
	b := in.Data[at:]
	i := 0
	for ; i+headerBytes <= len(b); i++ {
		if b[i] < recordCCS || b[i] > recordHeartbeat || b[i+1] != 3 {
			continue
		}
		h := header(b[i:])
		if !h.plausible() || h.size == 0 || h.typ == recordCCS && h.size != 1 {
			continue
		}
		if next := i + headerBytes + h.size; next+headerBytes > len(b) || header(b[next:]).plausible() {
			s.place = atRecord
			s.scanned += int64(i)
			k.c.Anomaly("gap", fmt.Sprintf("%d bytes after a gap belong to a record whose start was lost", s.scanned), s.scanned)
			s.scanned = 0
			return i
		}
	}
	if in.End {
		i = len(b)
	} else if i == 0 {
		k.c.Need(in.Dir, headerBytes)
	}
	s.scanned += int64(i)
	return i
}

// Lost implements dissect.Resyncer: Read gave an error.
func (k *conn) Lost(dir dissect.Dir) {
	s := &k.sides[dir]
	k.dropPart(s)
	s.place, s.of, s.lost = atRecord, nil, true
	if k.hs != nil {
		k.hs.malformed = true
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for i := range k.sides {
		k.dropPart(&k.sides[i])
	}
	if k.hs == nil {
		return
	}
	k.closed, k.end = true, why
	k.finish(k.closeError(why))
}

// closeError is the word for a handshake that the connection's end found unfinished.
func (k *conn) closeError(why dissect.End) string {
	hs := k.hs
	switch {
	case hs.malformed:
		return "malformed"
	case !hs.client && !hs.row.Renegotiation:
		return "no_request"
	case hs.x.HasResponse() && (why == dissect.EndFin || why == dissect.EndReuse || why == dissect.EndUpgrade):
		return "cut"
	}
	return why.CallError()
}
