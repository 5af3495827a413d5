package dns

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// call is a pending question, or an answer without a question.
type call struct {
	row        *Row
	x          dissect.Exchange
	dir        dissect.Dir // of the question
	typ, class uint16      // of the first question
	last       int64       // time of its last message, ns
	flags      uint16      // of the question
	requested  uint16      // requestedDO, requestedQU
	rcode      int
	text       int // bytes of text in the row
	entry      *byid.Entry[key, *call]
	kept       int  // bytes of conn.kept for the answers of a transfer
	transfer   bool // a zone transfer, whose answer may have many messages
	broken     string
	first      string // first value of the answer, for the summary
	records    int    // shown in the answer section
	soa        string // first record of a transfer
}

// What a question requests in addition to its flags.
const (
	requestedDO = 1 << iota
	requestedQU
)

// key has the fields in which an answer equals its question, in addition to the question itself.
type key struct {
	dir dissect.Dir
	id  int32
}

type conn struct {
	c        *dissect.Conn
	variant  string
	carrier  string // dot, doq or doh; "" if messages are not encrypted
	unpaired bool   // messages go to a group: the answer is in another conversation
	pending  byid.Table[key, *call]
	spare    *call
	gaps     [2]bool // bytes of the direction are missing
	m        message
	kept     int // bytes of unfinished transfers
	answered []answered
	answers  int // replaced in answered
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c, variant: "dns"}
	k.pending = byid.Table[key, *call]{Conn: c, Emit: k.emit}
	ports := [2]uint16{c.Info.ServerPort, c.Info.ClientPort}
	switch {
	case ports[0] == portDNS || ports[1] == portDNS: // a resolver may ask from any port
	case ports[0] == portMDNS || ports[1] == portMDNS:
		k.variant = "mdns"
	case ports[0] == portLLMNR || ports[1] == portLLMNR:
		k.variant = "llmnr"
	}
	k.m.utf8 = k.variant != "dns"
	for _, outer := range c.Path() {
		switch {
		case outer == "tls" && c.Info.Transport == dissect.TCP:
			k.carrier = "dot"
		case outer == "quic":
			k.carrier = "doq"
		}
	}
	k.unpaired = c.Info.Transport != dissect.TCP && c.Info.Transport != dissect.QUIC && (c.Info.Multicast || k.variant != "dns")
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	if in.Datagram {
		if len(in.Data) < headerSize {
			return 0, fmt.Errorf("reading a message: %d bytes, a header needs %d", len(in.Data), headerSize)
		}
		k.expire(in.Time(0))
		k.message(in, 0, in.Data, in.Packet(0).Cut > 0)
		return len(in.Data), nil
	}
	if len(in.Data) < 2 {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(in.Data)) + 2
	if n < 2+headerSize {
		return 0, fmt.Errorf("reading a message: length %d is below the %d bytes of a header", n-2, headerSize)
	}
	if len(in.Data) < n {
		k.c.Need(in.Dir, n)
		return 0, nil
	}
	k.expire(in.Time(0))
	k.message(in, 2, in.Data[:n], false)
	return n, nil
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// Resync implements dissect.Dissector. Questions and answers are paired by id, so pending
// questions stay.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	if why == dissect.LossGap && !k.c.Starting() {
		k.gaps[dir] = true
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	word := why.CallError()
	if t := k.c.Info.Transport; t != dissect.TCP && t != dissect.QUIC && why != dissect.EndEvicted {
		word = "no_response" // a datagram has no connection that could end before the answer arrives
	}
	for c := k.pending.First(); c != nil; c = k.pending.First() {
		switch {
		case k.gaps[c.dir.Other()]:
			k.emit(c, "gap")
		case c.x.HasResponse() && word == "no_response":
			k.emit(c, "cut")
		default:
			k.emit(c, word)
		}
	}
}

// expire emits questions that waited too long.
func (k *conn) expire(now int64) {
	for c := k.pending.First(); c != nil && now-c.last > responseTimeout; c = k.pending.First() {
		if c.x.HasResponse() {
			k.emit(c, "cut")
		} else {
			k.emit(c, "no_response")
		}
	}
}

// message reads one message; data includes skip bytes of framing.
func (k *conn) message(in *dissect.Input, skip int, data []byte, cut bool) {
	m := &k.m
	msg := data[skip:]
	m.read(msg, k.variant == "mdns")
	broken := ""
	switch {
	case m.problem != "" && cut:
		broken = "gap"
	case m.problem != "":
		broken = "malformed"
		k.c.Anomaly("malformed", m.problem, int64(len(msg)-m.end))
	case m.end < len(msg):
		k.c.Anomaly("trailing", fmt.Sprintf("%d bytes after the message", len(msg)-m.end), int64(len(msg)-m.end))
	}
	if m.odd != "" {
		k.c.Anomaly("record", m.odd, 0)
	}
	if m.limited {
		k.c.Anomaly("limit", fmt.Sprintf("the message has more than %d bytes of text", maxText), 0)
	}
	if m.response() {
		k.response(in, data, broken)
	} else {
		k.request(in, data, broken)
	}
}

func (k *conn) newCall(in *dissect.Input, dir dissect.Dir) *call {
	c := k.spare
	k.spare = nil
	if c == nil {
		c = &call{}
	}
	c.row = &Row{}
	c.dir, c.last = dir, in.Time(0)
	c.describe(&k.m, k)
	return c
}

// describe fills the columns that every message has.
func (c *call) describe(m *message, k *conn) {
	c.row.ID, c.row.Variant, c.row.Opcode = int32(m.id), k.variant, int32(m.opcode())
	if k.carrier != "" {
		c.row.Carrier = table.Some(k.carrier)
	}
	if len(m.questions) > 0 {
		c.typ, c.class = m.questions[0].typ, m.questions[0].class
	}
}

func (k *conn) request(in *dissect.Input, data []byte, broken string) {
	m := &k.m
	c := k.newCall(in, in.Dir)
	c.x.Request(in, 0, len(data))
	c.x.Reversed = in.Dir == dissect.ToClient
	c.broken = broken
	c.transfer = (c.typ == typeAXFR || c.typ == typeIXFR) && !in.Datagram
	c.fillRequest(m)
	attempt := int32(1)
	if o := k.find(in.Dir, false); o != nil {
		attempt += o.row.Attempt.V
	}
	setInt(&c.row.Attempt, attempt)
	if k.unpaired && k.c.Info.Multicast || broken != "" && len(m.questions) == 0 && m.count[0] > 0 {
		k.emit(c, "")
		return
	}
	c.entry = k.pending.Add(key{in.Dir, int32(m.id)}, c, callCost+len(m.text))
}

// callCost is the memory of a pending question in addition to its text.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// recordCost is the memory of a record of an answer in addition to its text.
const recordCost = 160

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return k.kept + answeredCost*cap(k.answered) }

// Settled implements dissect.Settler.
func (k *conn) Settled() bool { return k.pending.Len() == 0 }

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool { return k.pending.Shed() }

// find returns the newest pending question of direction dir with the id and question of the
// current message. With loose, a message without a question matches any.
func (k *conn) find(dir dissect.Dir, loose bool) *call {
	m := &k.m
	for c := range k.pending.Same(key{dir, int32(m.id)}, maxSame) {
		if int(c.row.Opcode) != m.opcode() {
			continue
		}
		if len(m.questions) == 0 {
			if loose || len(c.row.Questions) == 0 {
				return c
			}
			continue
		}
		q := &m.questions[0]
		if len(c.row.Questions) == 0 {
			continue
		}
		if c.typ == q.typ && c.class == q.class && equalFold(c.row.Questions[0], m.str(q.name)) {
			return c
		}
	}
	return nil
}

func (k *conn) response(in *dissect.Input, data []byte, broken string) {
	m := &k.m
	dir := in.Dir.Other()
	c := k.find(dir, true)
	if c == nil {
		if len(m.questions) > 0 && k.idPending(dir) {
			k.c.Anomaly("other_question", fmt.Sprintf("the answer has the id of a pending question (%d), but another question", m.id), 0)
		}
		k.second(dir, data)
		c = k.newCall(in, dir)
		// An announcement belongs to its sender, an answer to the side that sent the question.
		c.x.Reversed = dir == dissect.ToClient && !k.unpaired
		c.fillQuestions(m, string(m.text))
	}
	c.x.Response(in, 0, len(data))
	c.last = max(c.last, in.Time(0))
	if broken != "" {
		c.broken = broken
	}
	c.fillResponse(m)
	if c.x.HasRequest() && c.transfer && broken == "" && !c.transferDone(m) {
		kept := c.text + recordCost*len(c.row.Answers)
		k.kept += kept - c.kept
		c.kept = kept
		return
	}
	if c.x.HasRequest() {
		k.remember(c, data)
	}
	k.emit(c, "")
}

// idPending reports whether any question with the same id is pending.
func (k *conn) idPending(dir dissect.Dir) bool {
	_, ok := k.pending.Get(key{dir, int32(k.m.id)})
	return ok
}

// transferDone reports whether the message ends a zone transfer: the last record is the
// SOA that was also the first (RFC 5936 section 2.2, RFC 1995 section 4).
func (c *call) transferDone(m *message) bool {
	if m.rcode() != 0 || c.records == 0 {
		return true
	}
	var last *record
	for i := range m.records {
		if r := &m.records[i]; r.section == 1 {
			last = r
			if c.soa == "" {
				c.soa = string(m.str(r.value))
			}
		}
	}
	if m.limited || c.text > maxTransfer { // its end will not be found
		return last == nil || last.typ == typeSOA
	}
	if last == nil || last.typ != typeSOA || string(m.str(last.value)) != c.soa {
		return false
	}
	return c.records > 1 || c.typ == typeIXFR // one SOA: nothing newer
}

func equalFold(a string, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	if a == string(b) {
		return true
	}
	return strings.EqualFold(a, string(b))
}
