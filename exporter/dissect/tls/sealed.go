package tls

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/internal/tlskeys"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// shared is the common state of the connections of one engine.
type shared struct {
	store  *secrets.Store
	certs  *Certs
	engine tlskeys.Engine
	spare  [][]byte // buffers for decrypted records; more than one if TLS carries TLS
}

const maxPlain = 1<<14 + 2048 + 256

func (s *shared) buffer() []byte {
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b
	}
	return make([]byte, 0, maxPlain)
}

func (s *shared) put(b []byte) { s.spare = append(s.spare, b[:0]) }

// maxEarly is how much 0-RTT data is kept until the server accepts or rejects it.
const maxEarly = 256 << 10

// setUp prepares the connection's keys and the record of its encryption.
func (k *conn) setUp(sh *shared, layer string) {
	k.shared = sh
	k.keys = tlskeys.New(sh.store, k.c, &sh.engine, layer == "dtls")
	k.by = layer
	if e := k.c.Encryption(); e.Layer == "" {
		e.Layer, k.enc = layer, e
	} else { // inside another encryption, which has the record
		k.enc = &dissect.Encryption{}
	}
	for i := range k.sides {
		k.sides[i].next = -1
	}
}

// note records the state of the keys.
func (k *conn) note() {
	if k.enc == nil {
		return
	}
	if k.enc.Random == nil {
		k.enc.Random = k.keys.Random()
	}
	state, reason := k.keys.State()
	if k.ssl2 {
		reason = tlskeys.Unsupported
	}
	switch {
	case state != tlskeys.Verified && k.enc.Records == [2]int64{} && reason != tlskeys.Unsupported:
		reason = dissect.Unencrypted
	case reason == "" && k.enc.Opened != k.enc.Records && k.refused:
		reason = dissect.WrongKey
	case reason == "" && k.enc.Opened != k.enc.Records:
		reason = dissect.NoKey
	}
	k.enc.State, k.enc.Reason = dissect.KeyState(state), reason
	for _, line := range k.keys.Lines() {
		k.line(line)
	}
}

const maxLines = 64 // of a key log that are listed for one connection

func (k *conn) line(s string) {
	e := k.c.Encryption()
	for _, have := range e.Lines {
		if have == s {
			return
		}
	}
	if len(e.Lines) < maxLines {
		e.Lines = append(e.Lines, s)
	}
}

// sealed reports whether a record is encrypted.
func (s *side) sealed(h recordHeader) bool {
	return h.typ == recordData || s.encrypted && h.typ != recordCCS && !(h.typ == recordAlert && h.size == 2)
}

// waits reports whether 0-RTT data has to wait for the server's answer.
func (k *conn) waits(in *dissect.Input, at int) bool {
	hs := k.hs
	if hs == nil || !hs.row.EarlyData || hs.encryptedExt || hs.retry || hs.row.HelloRetry || in.End ||
		k.role(in.Dir) != client || len(in.Data)-at > maxEarly || !k.keys.Early() {
		return false
	}
	return !hs.server || hs.row.Resumed.V == "psk" && k.keys.Answers() && !k.sides[in.Dir.Other()].lost
}

// refusesEarly reports whether the server rejected the client's 0-RTT data.
func (k *conn) refusesEarly() bool {
	hs := k.hs
	return hs != nil && (hs.row.HelloRetry || hs.server && hs.version13() && !hs.row.Resumed.OK || hs.encryptedExt && !hs.earlyAccepted)
}

// lostBefore is the number of bytes before in.Data[at] that were neither decrypted nor skipped
// deliberately.
func (s *side) lostBefore(in *dissect.Input, at int) int64 {
	if s.next < 0 {
		return tlskeys.Unknown
	}
	return max(in.Offset(at)-s.next, 0)
}

// unseal decrypts the complete record in.Data[at:at+whole] and reads its content. sure means
// that a record certainly begins there. It returns false if decryption fails.
func (k *conn) unseal(s *side, in *dissect.Input, at, whole int, h recordHeader, sure bool) bool {
	b := in.Data[at : at+whole]
	if k.hs == nil && !k.done && h.typ == recordData && h.version == 0x0303 {
		k.keys.Middle()
	}
	k.rec = secrets.Record{Type: h.typ, Version: h.version, Header: b[:headerBytes], Body: b[headerBytes:]}
	lost := s.lostBefore(in, at)
	buf := k.shared.buffer()
	out, what := k.keys.Open(buf, tlskeys.Role(k.role(in.Dir)), &k.rec, lost, k.before(s, in, at, lost))
	if what == tlskeys.Opened {
		buf = out.Plain
		s.next = in.Offset(at + whole)
		k.count(in, at, whole)
		k.enc.Opened[in.Dir]++
		k.opened(s, in, at, whole, h, &out, lost)
	} else if what == tlskeys.Headless {
		buf = out.Plain
		s.next = in.Offset(at + whole)
		k.count(in, at, whole)
		k.learn(h, &out)
		k.headless(s, in, at, &out, lost)
	} else if sure {
		k.count(in, at, whole)
		k.notOpened(s, in, at, whole, what, lost)
	}
	k.shared.put(buf)
	read := what == tlskeys.Opened || what == tlskeys.Headless
	if read {
		s.hole, s.told, s.hidden = false, 0, 0
	}
	return read
}

// before is what was captured before in.Data[at], if the keys need it.
func (k *conn) before(s *side, in *dissect.Input, at int, lost int64) []byte {
	if lost == 0 || !k.keys.Chained(tlskeys.Role(k.role(in.Dir))) {
		return nil
	}
	if at >= tlskeys.Before {
		return in.Data[at-tlskeys.Before : at]
	}
	return append(s.tail[:len(s.tail):len(s.tail)], in.Data[:at]...)
}

// keepTail keeps the end of the consumed bytes, if the keys may need it.
func (k *conn) keepTail(s *side, in *dissect.Input, taken int) {
	if !k.keys.Chained(tlskeys.Role(k.role(in.Dir))) {
		return
	}
	s.tail = append(s.tail, in.Data[max(taken-tlskeys.Before, 0):taken]...)
	if n := len(s.tail) - tlskeys.Before; n > 0 {
		s.tail = append(s.tail[:0], s.tail[n:]...)
	}
}

// count counts an encrypted record.
func (k *conn) count(in *dissect.Input, at, whole int) {
	if k.enc != nil {
		k.enc.Saw(in.Dir, whole, in.Instant(at))
	}
}

func (k *conn) notOpened(s *side, in *dissect.Input, at, whole int, what tlskeys.Outcome, lost int64) {
	k.keys.Skip(tlskeys.Role(k.role(in.Dir)), &k.rec)
	switch {
	case what == tlskeys.Refused:
		k.notAuthentic(whole)
	case what == tlskeys.NoKey && lost == 0:
		s.next = in.Offset(at + whole) // skipped deliberately
	}
	k.hide(s, in.Dir, k.rec.Type, whole)
	if what == tlskeys.NoKey {
		k.skip(s, in.Dir, k.rec.Type, whole)
	}
}

// hide records that a record after the handshake was not decrypted, which may have application data. If a later one shows that
// it had none, nothing is missing.
func (k *conn) hide(s *side, dir dissect.Dir, typ uint8, whole int) {
	if typ == recordData && k.afterShake(dir) {
		s.hole, s.late = true, true
		s.hidden += int64(whole)
	}
}

// afterShake reports whether a side may have sent application data.
func (k *conn) afterShake(dir dissect.Dir) bool { return k.hs == nil && k.done || k.enc.Plain[dir] > 0 }

// skip counts a record that no key decrypts, if it has application data. In TLS 1.3 its type does not show that, but the
// numbers of later records show that only 0-RTT can be missing.
func (k *conn) skip(s *side, dir dissect.Dir, typ uint8, whole int) {
	early := k.hs != nil && k.hs.row.EarlyData && k.role(dir) == client && !k.refusesEarly()
	if typ == recordData && (early || !k.version13()) {
		s.closed.bytes += int64(whole)
		s.closed.records++
	}
}

func (k *conn) notAuthentic(whole int) {
	k.refused = true
	k.c.Anomaly("tls_record_not_authentic", fmt.Sprintf("a record of %d bytes does not authenticate with the connection's keys", whole), int64(whole))
}

// opened reads the content of a record that authenticated.
func (k *conn) opened(s *side, in *dissect.Input, at, whole int, h recordHeader, out *tlskeys.Record, lost int64) {
	if out.Swapped {
		k.client = k.client.Other()
	}
	k.learn(h, out)
	if out.Missed > 0 || out.Jumped {
		k.missed(s, in, at, out, lost)
	} else if s.closed.records > 0 {
		k.missedClosed(s, in, at, out)
	}
	s.closed.bytes, s.closed.records = 0, 0
	if !out.Early {
		k.doubtEarly(in, at)
	}
	if len(out.Plain) > 1<<14 {
		k.c.Anomaly("limit", fmt.Sprintf("a record has %d bytes of content, the limit is %d", len(out.Plain), 1<<14), 0)
	}
	k.inside(s, in, at, whole, out)
}

// learn fills in what the keys reveal about a handshake without captured hellos.
func (k *conn) learn(h recordHeader, out *tlskeys.Record) {
	if k.hs == nil && !k.done {
		k.newShake()
		k.hs.row.Midstream, k.midstream = true, true
		k.hs.recordVersion(h.version)
	}
	hs := k.hs
	if hs == nil || hs.row.Version.OK || out.Early {
		return
	}
	version, suite := k.keys.Negotiated()
	if version == 0 {
		return
	}
	hs.version, k.version, hs.keyed = version, version, true
	hs.setVersion()
	if suite != 0 && !hs.row.Suite.OK {
		hs.row.Suite, hs.row.SuiteName = table.Some(int32(suite)), table.Some(handshake.Suite(suite))
	}
	if hs.version13() {
		k.sides[0].encrypted, k.sides[1].encrypted = true, true
	}
}

// missed reports the lost content before a record to the inner connection: the lost bytes without the overhead of their
// records, whose number is known.
func (k *conn) missed(s *side, in *dissect.Input, at int, out *tlskeys.Record, lost int64) {
	k.dropPart(s)
	s.astray = true
	if lost < 0 || !out.Data && !out.Jumped || out.Jumped && k.refusesEarly() {
		return
	}
	records := int64(out.Missed)
	n := lost - records*int64(out.Overhead)
	if hs := k.hs; records > 0 && hs != nil && !hs.version13() && !hs.fin[k.role(in.Dir)] { // one of them is the Finished
		const finished = messageHeader + 12
		n, records = n-finished, records-1
	}
	if out.Jumped { // by one record; how many were before it is unknown: at least as many as the bytes need
		n -= int64(out.Overhead) + keyUpdate
		n -= (max(n, 0) + maxRecord - 1) / maxRecord * int64(out.Overhead)
	}
	if records > 0 {
		n = max(n, 1)
	}
	if n -= s.told; (records > 0 || out.Jumped) && n > 0 && k.carry(in) {
		if s.told > 0 && !s.hole {
			k.inner.GapGrows(in.Dir, n, in.Packet(at))
		} else {
			k.inner.Gap(in.Dir, n, in.Packet(at))
		}
	}
}

// Bytes of the messages that end the use of keys, RFC 8446 sections 4.5 and 4.6.3.
const (
	endOfEarlyData = messageHeader
	keyUpdate      = messageHeader + 1
)

// missedClosed reports the content of records that no key decrypted to the inner connection.
func (k *conn) missedClosed(s *side, in *dissect.Input, at int, out *tlskeys.Record) {
	n := s.closed.bytes - s.closed.records*int64(out.Overhead)
	if k.version13() {
		n -= endOfEarlyData
	}
	if n > 0 && !k.refusesEarly() && k.carry(in) {
		k.inner.Gap(in.Dir, n, in.Packet(at))
	}
}

// doubtEarly states that the server rejected the 0-RTT that was read, if its answer was not: then the client does not send
// EndOfEarlyData, but the same data again (RFC 8446 section 4.2.10).
func (k *conn) doubtEarly(in *dissect.Input, at int) {
	hs := k.hs
	if hs == nil || hs.early == 0 || hs.encryptedExt || hs.endOfEarly || k.role(in.Dir) != client {
		return
	}
	k.c.Anomaly("early_data", fmt.Sprintf("%d bytes of 0-RTT were read, but the client did not end them with EndOfEarlyData: the server rejected them, or that message is missing", hs.early), 0)
	hs.early = 0
	if k.carry(in) {
		k.inner.Gap(in.Dir, 1, in.Packet(at))
	}
}

// headless counts a record as lost together with those before it.
func (k *conn) headless(s *side, in *dissect.Input, at int, out *tlskeys.Record, lost int64) {
	k.missed(s, in, at, out, lost)
	if out.Type == recordData && len(out.Plain) > 0 && k.carry(in) {
		k.inner.Gap(in.Dir, int64(len(out.Plain)), in.Packet(at))
	}
}

// carry ensures that there is an inner connection; it returns false after that has ended.
func (k *conn) carry(in *dissect.Input) bool {
	if k.inner == nil {
		k.inner = k.c.NewInner(k.by)
		if k.midstream {
			k.inner.Info.RolesKnown, k.inner.Info.Began = k.c.Info.RolesKnown, [2]bool{}
		}
		k.c.Continue(k.inner)
	}
	return !k.innerEnded[in.Dir]
}

// opens reports whether it makes sense to wait for the whole record.
func (k *conn) opens(role tlskeys.Role, h recordHeader) bool {
	if !k.keys.Any() {
		return false
	}
	if k.hs == nil && !k.done && h.typ == recordData && h.version == 0x0303 {
		k.keys.Middle()
	}
	return k.keys.Ready(role)
}

// fits reports whether there is memory to wait for a whole record. If not, the record is skipped
// like one without a key, and the position is not lost.
func (k *conn) fits(role tlskeys.Role, h recordHeader) bool {
	if n := headerBytes + h.size; !k.c.Hold(n) {
		k.c.Anomaly("limit", fmt.Sprintf("a record of %d bytes exceeds the memory limit of all connections", n), 0)
		k.keys.Gap(role, h.size)
		return false
	}
	k.c.Release(headerBytes + h.size)
	return true
}

// clientKeys passes a ClientHello to the keys. In SSL 2.0 form its challenge is the random, RFC
// 5246 appendix E.2.
func (k *conn) clientKeys(h *handshake.Client) {
	if k.quic || len(h.Random) == 0 {
		return
	}
	random := h.Random
	if h.SSL2 {
		random = make([]byte, 32)
		copy(random[32-min(len(h.Random), 32):], h.Random)
	}
	k.keys.ClientHello(&tlskeys.ClientHello{Version: h.MaxVersion(), Random: random, SessionID: h.SessionID,
		Ticket: len(h.Ticket) > 0, Early: h.HasEarly, Hidden: h.ECH != ""}, !k.inRecord)
}

func (k *conn) serverKeys(h *handshake.Server) {
	if !k.quic {
		k.keys.ServerHello(&tlskeys.ServerHello{Version: h.Version, Suite: h.Suite, Random: h.Random, SessionID: h.SessionID,
			Compression: h.Compression, Master: h.Master, MACLast: h.MACLast}, !k.inRecord)
	}
}
