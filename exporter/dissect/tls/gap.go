package tls

import (
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/internal/tlskeys"
)

// Gap implements dissect.Dissector. Reading continues at the next record: its start is known if the
// gap is inside a record, else scan searches for it.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	s.lost, s.hole = true, true
	s.late = k.afterShake(in.Dir)
	s.hidden += missing
	at := 0
	if s.place == scanning && k.keys.Any() {
		at = k.drain(s, in)
	}
	rest := in.Data[at:]
	k.cutHello(s, in, rest)
	if k.hs != nil {
		k.hs.gap = true
		k.cite(in, at, len(in.Data))
	}
	k.keys.LostMessage()
	if k.hs == nil || !k.hs.client || !k.hs.server {
		k.keys.HiddenHello()
	}
	left, size := -1, 0
	inside := s.place == inOpaque
	switch {
	case s.place == inOpaque:
		left = s.left
	case s.place == atRecord && len(rest) >= headerBytes && !k.ssl2:
		h := header(rest)
		left = headerBytes + h.size - len(rest)
		if h.plausible() && s.sealed(h) { // it waited for the rest of the record
			k.count(in, at, headerBytes+h.size)
			k.beginOpaque(s, in, h)
			size = h.size
		}
	}
	known := !k.ssl2 && left >= 0 && int64(left) >= missing
	if !known {
		size = 0
	}
	if !known || !inside {
		k.keys.Gap(tlskeys.Role(k.role(in.Dir)), size)
	}
	s.tail = s.tail[:0]
	k.dropPart(s)
	s.astray = true
	s.place = scanning
	if !known {
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

// cutHello reads a ClientHello of which rest is all that was captured, for example because the next segment
// is missing: the server's name is often in its first bytes.
func (k *conn) cutHello(s *side, in *dissect.Input, rest []byte) {
	if s.place != atRecord || k.ssl2 || k.hs != nil && k.hs.client || len(rest) < headerBytes {
		return
	}
	h := header(rest)
	if !h.plausible() || h.typ != recordHandshake || s.sealed(h) {
		return
	}
	message := slices.Concat(s.part, rest[headerBytes:])
	if s.pass > 0 || messageSize(message) <= len(message) || message[0] != handshake.TypeClientHello {
		return
	}
	k.begin(s, in, message)
	k.hs.recordVersion(h.version)
	var hello handshake.Client
	_ = handshake.ReadClient(message[messageHeader:], false, &hello) // its end is missing
	k.hs.fillClient(&hello, 0, false)
}

// drain reads the complete records in the bytes that scan was searching, because they are
// dropped after a gap. It returns how many of these bytes were read.
func (k *conn) drain(s *side, in *dissect.Input) (at int) {
	for at < len(in.Data) {
		if s.place == scanning {
			at += k.scan(s, in, at, true)
			continue
		}
		n, err := k.step(s, in, at)
		if n == 0 || err != nil {
			break
		}
		at += n
	}
	return at
}

// scan looks for the next record. It returns the number of bytes before it, or including it if
// it was decrypted. final means that no more bytes follow.
//
// With keys, a position is accepted if its record can be decrypted or if another one follows it:
// five bytes that could be a header are not enough if every later record is to be read.
func (k *conn) scan(s *side, in *dissect.Input, at int, final bool) int {
	b := in.Data[at:]
	role := tlskeys.Role(k.role(in.Dir))
	i := 0
	for ; i+headerBytes <= len(b); i++ {
		if b[i] < recordCCS || b[i] > recordHeartbeat || b[i+1] != 3 {
			continue
		}
		h := header(b[i:])
		if !h.plausible() || h.size == 0 || h.typ == recordCCS && h.size != 1 {
			continue
		}
		whole := headerBytes + h.size
		next := i + whole
		follows := next+headerBytes <= len(b) && header(b[next:]).plausible()
		if !s.sealed(h) || !k.opens(role, h) {
			if next+headerBytes <= len(b) && !follows {
				continue
			}
			k.foundPlace(s, i)
			return i
		}
		if next > len(b) {
			if final {
				continue
			}
			s.scanned += int64(i)
			k.c.Need(in.Dir, whole)
			return i
		}
		if tried := 1 + in.Offset(at+i); s.failed != tried {
			s.place = atRecord
			if k.unseal(s, in, at+i, whole, h, false) {
				k.foundPlace(s, i)
				return next
			}
			s.place, s.failed = scanning, tried
		}
		if follows {
			k.foundPlace(s, i)
			return i
		}
		if next+headerBytes > len(b) && !final {
			s.scanned += int64(i)
			k.c.Need(in.Dir, whole+headerBytes)
			return i
		}
	}
	if in.End || final {
		i = len(b)
	} else if i == 0 {
		k.c.Need(in.Dir, headerBytes)
	}
	s.scanned += int64(i)
	return i
}

// tellHole reports the loss of a side's bytes to the inner connection before bytes of the other side, because it ended the
// calls that waited then, and none that begin later. How much content was lost shows only with the side's next record.
func (k *conn) tellHole(dir dissect.Dir, p dissect.Packet) { k.tellLost(dir, 1, p) }

// tellEnd is tellHole at the end of a side: all bytes since its last record may have been content.
func (k *conn) tellEnd(dir dissect.Dir, p dissect.Packet) {
	k.tellLost(dir, max(k.sides[dir].hidden-k.sides[dir].told, 1), p)
}

func (k *conn) tellLost(dir dissect.Dir, n int64, p dissect.Packet) {
	if s := &k.sides[dir]; s.hole && s.late && k.inner != nil && !k.innerEnded[dir] {
		s.hole = false
		s.told += n
		k.inner.Gap(dir, n, p)
	}
}

// foundPlace ends the search for a record, which begins after n more bytes.
func (k *conn) foundPlace(s *side, n int) {
	s.place = atRecord
	s.scanned += int64(n)
	if s.scanned > 0 {
		k.c.Anomaly("gap", fmt.Sprintf("%d bytes after a gap belong to a record whose start was lost", s.scanned), s.scanned)
	}
	s.scanned = 0
}

// Resync implements dissect.Dissector. After a gap, Gap looks for the next record itself.
func (k *conn) Resync(dir dissect.Dir, _ dissect.Loss) {
	s := &k.sides[dir]
	k.dropPart(s)
	s.place, s.of, s.lost = atRecord, nil, true
	if s.began {
		k.keys.Gap(tlskeys.Role(k.role(dir)), 0)
	}
	if k.hs != nil {
		k.hs.malformed = true
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for i := range k.sides {
		k.dropPart(&k.sides[i])
	}
	k.closed, k.end = true, why
	if k.hs != nil {
		k.finish(k.closeError(why))
	}
	k.note()
	k.keys.Close()
	k.tellEnd(dissect.ToServer, k.c.Now())
	k.tellEnd(dissect.ToClient, k.c.Now())
	if k.inner != nil {
		k.inner.Close(why, k.c.Now())
	}
}

// closeError is the error of a handshake that was unfinished when the connection ended.
func (k *conn) closeError(why dissect.End) string {
	hs := k.hs
	switch {
	case hs.malformed:
		return "malformed"
	case !hs.client && !hs.row.Renegotiation:
		return "no_request"
	case hs.gap, k.sides[0].lost, k.sides[1].lost: // its end may be among the missing bytes, or passed over after them
		return "gap"
	case hs.x.HasResponse() && (why == dissect.EndFin || why == dissect.EndReuse || why == dissect.EndUpgrade):
		return "cut"
	}
	return why.CallError()
}
