package clickhouse

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Packets of the server.
const (
	serverHello       = 0
	serverData        = 1
	serverException   = 2
	serverProgress    = 3
	serverPong        = 4
	serverEnd         = 5
	serverProfile     = 6
	serverTotals      = 7
	serverExtremes    = 8
	serverTables      = 9
	serverLog         = 10
	serverColumns     = 11
	serverPartIDs     = 12
	serverProfileLog  = 14
	serverTimezone    = 17
	serverSSH         = 18
	serverLast        = serverSSH
	maxNested         = 16 // exceptions in one another
	maxRules          = 64 // of passwords
	maxServerSettings = 4096
)

// answering is the call to which the server's bytes at a place belong.
func (k *conn) answering(in *input, at int) *call {
	s := &k.sides[dissect.ToClient]
	if s.call == nil {
		if s.call = k.Answer(in.Seq(at)); s.call == nil {
			s.call = k.stray
		}
		if s.call == nil {
			s.call = k.newCall("")
		}
	}
	return s.call
}

// fromServer reads a packet of the server, without the block of data that follows.
func (k *conn) fromServer(in *input, at int) (int, error) {
	b := in.data[at:]
	r := &cursor{b: b, at: 1}
	part := func() *call {
		c := k.answering(in, at)
		in.add(&c.x, at, at+r.at)
		return c
	}
	switch b[0] {
	case serverHello:
		if k.endsMessage(in.Dir, b) {
			return 0, nil
		}
		h := readWelcome(r, k.revs.most)
		return k.packet(in, at, r, func() {
			k.revs, k.version = revisions{h.revision, h.revision}, h.version
			if h.revision < revChunked {
				k.choose(false, false)
			} else { // the client's next bytes say more, if they are captured
				k.sides[0].known, k.sides[1].known = false, false
			}
			c := part()
			c.row.Server, c.row.Revision = table.Some(h.version), table.Some(int64(h.revision))
			k.answered(c)
		})
	case serverPong, serverEnd:
		return k.packet(in, at, r, func() { k.answered(part()) })
	case serverException:
		e := readException(r)
		return k.packet(in, at, r, func() { k.failed(part(), e) })
	case serverProgress:
		var p progress
		k.readAny(r, func(r *cursor, rev uint64) { p = readProgress(r, rev) })
		return k.packet(in, at, r, func() { k.progress(part().row, p) })
	case serverProfile:
		k.readAny(r, readProfile)
		return k.packet(in, at, r, func() { part() })
	case serverData, serverTotals, serverExtremes, serverLog, serverProfileLog:
		r.name()
		return k.packet(in, at, r, func() { k.begin(in, at, r.at, k.answering(in, at), b[0] == serverData) })
	case serverColumns:
		r.bytes(maxText)
		r.bytes(maxText)
		return k.packet(in, at, r, func() { part() })
	case serverPartIDs:
		r.take(int(min(r.uvarint(), maxColumns)) * 16)
		return k.packet(in, at, r, func() { part() })
	case serverTimezone, serverSSH:
		r.bytes(maxName)
		return k.packet(in, at, r, func() { part() })
	}
	if b[0] > serverLast {
		return 0, errBytes
	}
	// What servers send each other has no reader here.
	k.answering(in, at).row.Partial = table.Some(true)
	k.lose("unread")
	return 0, nil
}

// welcome is the server's answer to a login.
type welcome struct {
	version  string
	revision uint64 // of both sides
}

// readWelcome reads the packet after its number. most is the revision of the client, revMost if it is unknown.
func readWelcome(r *cursor, most uint64) (w welcome) {
	name := r.name()
	major, minor := r.uvarint(), r.uvarint()
	w.revision = r.uvarint()
	if r.err == nil && (name == "" || major > maxMajor || w.revision < revLeast || w.revision > revMost) {
		r.fail(errBytes)
	}
	w.version = name + " " + strconv.FormatUint(major, 10) + "." + strconv.FormatUint(minor, 10)
	rev := min(w.revision, most)
	w.revision = rev
	if rev >= revParallel {
		r.uvarint()
	}
	if rev >= revTimezone {
		r.name()
	}
	if rev >= revDisplayName {
		r.name()
	}
	if rev >= revPatch {
		w.version += "." + strconv.FormatUint(r.uvarint(), 10)
	}
	if rev >= revChunked {
		r.name()
		r.name()
	}
	if rev >= revRules {
		for range min(r.uvarint(), maxRules) {
			r.bytes(maxName)
			r.bytes(maxName)
		}
	}
	if rev >= revNonce {
		r.take(8)
	}
	if rev >= revServerSet {
		for range maxServerSettings {
			if r.name() == "" || r.err != nil {
				break
			}
			r.uvarint()
			r.bytes(maxType)
		}
	}
	if rev >= revPlan {
		r.uvarint()
	}
	if rev >= revCluster {
		r.uvarint()
	}
	return w
}

// exception is an error with those that caused it.
type exception struct {
	code       int32
	name, text string
}

func readException(r *cursor) (e exception) {
	for i := range maxNested {
		code, name, text := int32(r.u32()), r.name(), r.bytes(maxText)
		r.bytes(maxText) // the server's stack
		if i == 0 {
			e = exception{code, name, clip.Text(text, maxError)}
		}
		if !r.flag() {
			break
		}
	}
	return e
}

// progress is the server's work since its last report.
type progress struct{ rows, bytes, written uint64 }

func readProgress(r *cursor, rev uint64) (p progress) {
	p.rows, p.bytes = r.uvarint(), r.uvarint()
	r.uvarint() // rows in all
	if rev >= revTotalBytes {
		r.uvarint()
	}
	if rev >= revWritten {
		p.written = r.uvarint()
		r.uvarint()
	}
	if rev >= revElapsed {
		r.uvarint()
	}
	return p
}

// readProfile reads the facts about a result.
func readProfile(r *cursor, rev uint64) {
	r.uvarint()
	r.uvarint()
	r.uvarint()
	r.flag()
	r.uvarint()
	r.flag()
	if rev >= revAggregation {
		r.flag()
		r.uvarint()
	}
}

// longer are the revisions with which an answer's packets became longer, newest first, and 0.
var longer = []uint64{revAggregation, revTotalBytes, revElapsed, revWritten, 0}

// readAny reads a packet in its longest form that nothing follows, or another packet.
func (k *conn) readAny(r *cursor, read func(r *cursor, rev uint64)) {
	from, rev := *r, k.revs.most
	for _, next := range longer {
		if next > rev { // its form is that of an older one
			continue
		}
		*r = from
		if read(r, rev); next <= k.revs.least || r.err == nil && begins(r.b[r.at:]) {
			return
		}
		rev = next - 1
	}
}

// begins reports whether a packet of the server may begin here, or nothing follows.
func begins(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	switch b[0] {
	case serverEnd, serverProgress, serverProfile, serverException:
		return true
	case serverData, serverTotals, serverExtremes, serverLog, serverProfileLog:
		packed := len(b) > 2+frameSum && methods[b[2+frameSum]] != ""
		return len(b) < 10 || b[1] == 0 && (packed || plainBlock(b[2:]))
	}
	return false
}

func (k *conn) progress(row *Row, p progress) {
	row.ReadRows = table.Some(row.ReadRows.V + int64(p.rows))
	row.ReadBytes = table.Some(row.ReadBytes.V + int64(p.bytes))
	if p.written > 0 {
		row.WrittenRows = table.Some(row.WrittenRows.V + int64(p.written))
	}
}

// answered ends a call.
func (k *conn) answered(c *call) {
	c.answered = true
	k.emit(c, "")
}

// failed ends a call with an error.
func (k *conn) failed(c *call, e exception) {
	row := c.row
	row.fail(e.code, e.text)
	k.answered(c)
}
