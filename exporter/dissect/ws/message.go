package ws

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// call is a message, with those that answer it.
type call struct {
	x          dissect.Exchange
	dir        dissect.Dir
	op         byte
	compressed bool
	gap        bool
	fragments  int32
	masked     bool
	size       int64  // payload
	payload    string // of a control frame
	unread     string // why the message could not be decompressed
	answers    int32
	waits      bool  // for answers
	several    bool  // it may have more than one
	losses     int   // of the other side, when it was sent
	answered   bool  // its last answer came
	shared     bool  // another call with its key waited at the same time
	sent       int64 // when, in ns
	entry      *byid.Entry[string, *call]
	attached   int // binary messages that are parts of it
}

const callCost = int(unsafe.Sizeof(call{})) + maxControl

// begin begins a data frame; in.Data[n:] is its head.
func (k *conn) begin(in *dissect.Input, n int, f frame) {
	s := &k.sides[in.Dir]
	if s.ended {
		k.c.Anomaly("after_close", "a message after a CLOSE", 0)
	}
	if f.op != opContinue {
		if s.msg != nil {
			k.c.Anomaly("fragment", "a new message before the end of one in fragments", 0)
			k.giveUp(in.Dir, "malformed")
		}
		s.msg = k.open(in.Dir, &f)
		if s.msg.compressed = f.rsv&rsv1 != 0; s.msg.compressed {
			s.raw = k.c.NewBody("", "")
		}
		if k.inner == nil || s.msg.compressed {
			s.msg.x.ReqBody = k.c.NewBody("", "")
		}
	}
	s.frame, s.open = f, true
	s.msg.fragments++
	s.msg.size += f.left
	if !k.carries(s.msg) {
		s.msg.x.Request(in, n, n+f.head)
	}
}

// open makes a call that begins with a frame.
func (k *conn) open(dir dissect.Dir, f *frame) *call {
	m := &call{dir: dir, op: f.op, masked: f.masked}
	m.x.Reversed, m.x.StreamID = dir == dissect.ToClient, k.stream
	return m
}

// write adds payload to the current message.
func (k *conn) write(s *side, p []byte) {
	if s.raw != nil {
		s.raw.Write(p)
		return
	}
	s.msg.x.ReqBody.Write(p)
}

// dropRaw frees the bytes of a compressed message.
func (k *conn) dropRaw(s *side) {
	if s.raw != nil {
		s.raw.Finish()
		s.raw.Release()
		s.raw = nil
	}
}

// finish ends a data message, at in.Data[:at]: it is decompressed, and joins those that it belongs to.
func (k *conn) finish(in *dissect.Input, at int) {
	dir := in.Dir
	s := &k.sides[dir]
	m := s.msg
	if k.carries(m) {
		s.msg = nil
		return
	}
	if m.compressed {
		k.inflate(dir, s, m)
	}
	k.dropRaw(s)
	s.msg = nil
	body := m.x.ReqBody
	if m.gap || m.unread != "" || body.Over() {
		k.losses[dir]++
	}
	text := body.Kept()
	body.ContentType = contentType(m.op, text)
	body.Complete = !m.gap && m.unread == ""
	if k.inner != nil {
		if body.Complete && !body.Over() {
			k.inner.CarryMessage(in, &m.x, at, text)
			body.Finish()
			body.Release()
			return
		}
		k.inner.Gap(dir, dissect.LostAll, k.c.Now())
	}
	if dir == dissect.ToClient && !s.begun && k.opening == (content.Opening{}) && m.op == opText {
		if o := all.OpeningBy(text); o != k.opening {
			k.opening, k.pair = o, all.PairingOf(o)
		}
	}
	s.begun = true
	if s.whole != nil && m.op == opBinary {
		k.attach(s, m)
		return
	}
	k.detach(s, "malformed")
	if !body.Complete || body.Over() || !k.meaningful(m) {
		k.emit(m, "")
		return
	}
	p := k.pair(dir == dissect.ToClient, text)
	if p.Attached > 0 {
		s.whole, s.missing = m, p.Attached
		return
	}
	k.join(m, text, p)
}

// attach adds a binary message to the message of the same side that announced it.
func (k *conn) attach(s *side, m *call) {
	c, b := s.whole, m.x.ReqBody
	c.x.Extend(k.c, &m.x)
	c.attached++
	c.size += m.size
	c.gap = c.gap || m.gap
	if c.unread == "" {
		c.unread = m.unread
	}
	whole := c.x.ReqBody
	whole.Write(b.Kept())
	whole.Wire += m.size
	whole.Complete = whole.Complete && !b.Over() && !c.gap && c.unread == ""
	b.Finish()
	b.Release()
	if s.missing--; s.missing > 0 {
		return
	}
	s.whole = nil
	text := whole.Kept()
	if !whole.Complete || whole.Over() {
		k.losses[c.dir]++
		k.emit(c, "")
		return
	}
	k.join(c, text, k.pair(c.dir == dissect.ToClient, text))
}

// detach ends a message without all its binary messages.
func (k *conn) detach(s *side, why string) {
	if c := s.whole; c != nil {
		s.whole = nil
		k.emit(c, why)
	}
}

// meaningful reports whether the content of a message may show what it means: JSON, or a packet of Engine.IO.
func (k *conn) meaningful(m *call) bool {
	return m.x.ReqBody != nil && (m.x.ReqBody.ContentType == "application/json" || m.op == opText && k.opening.Engine != 0)
}

// inflate decompresses a message, RFC 7692 section 7.2.2. Without takeover of the context, each message is independent.
func (k *conn) inflate(dir dissect.Dir, s *side, m *call) {
	takeover := !k.fresh[dir]
	switch {
	case m.gap:
		m.unread = "gap"
	case s.raw.Over():
		m.unread = "cut"
	case takeover && s.lost:
		m.unread = "gap"
	}
	if m.unread == "" {
		out, err := k.c.Inflate(s.raw.Kept(), s.window)
		m.x.ReqBody.Write(out)
		m.x.ReqBody.Wire = m.size
		if err != nil {
			k.c.Anomaly("compression", fmt.Sprintf("a message of %d bytes: %v", s.raw.Size(), err), s.raw.Size())
			m.unread = "malformed"
		} else if takeover {
			s.window = last(s.window, out)
			return
		}
	} else {
		m.x.ReqBody.Write(s.raw.Kept())
	}
	if takeover && m.unread != "" {
		s.window, s.lost = nil, true
	}
}

// last is the window after out was decompressed.
func last(window, out []byte) []byte {
	if len(out) >= maxWindow {
		return append(window[:0], out[len(out)-maxWindow:]...)
	}
	if over := len(window) + len(out) - maxWindow; over > 0 {
		window = window[:copy(window, window[over:])]
	}
	return append(window, out...)
}

// contentType is the type of a message by its form: nothing announces it.
func contentType(op byte, text []byte) string {
	if op == opBinary {
		return "application/octet-stream"
	}
	if c := content.Kind(text); c == '{' || c == '[' {
		if end := strings.TrimRight(string(text[max(len(text)-8, 0):]), " \t\r\n"); strings.HasSuffix(end, string(c+2)) {
			return "application/json"
		}
	}
	return "text/plain"
}

// join adds a message to the call that it belongs to.
func (k *conn) join(m *call, text []byte, p content.Pair) {
	if p.Role == content.Opens {
		m.waits, m.several, m.losses = true, p.Several, k.losses[m.dir.Other()]
		m.sent = k.c.Now().Time
		if c := k.waiting(p.Key); c != nil && c.dir == m.dir {
			if m.sent-c.sent < sameTime && c.losses == m.losses {
				c.shared, m.shared = true, true
			} else {
				k.calls.Remove(c.entry)
				k.emit(c, "no_response")
			}
		}
		m.entry = k.calls.Add(p.Key, m, callCost+len(p.Key))
		return
	}
	if p.Role == content.Single {
		k.emit(m, "")
		return
	}
	c := k.waiting(p.Key)
	if c == nil || c.dir == m.dir && !p.FromEither {
		why := "no_request" // what it answers was not captured, or unreadable
		if p.Elsewhere && k.losses[m.dir.Other()] == 0 || p.Late && k.over.has(p.Key) {
			why = ""
		}
		k.emit(m, why)
		return
	}
	if c.dir == m.dir {
		c.x.Include(k.c, &m.x)
	} else {
		c.answers++
		c.x.Answer(k.c, &m.x)
		if c.x.RespBody == nil {
			c.x.RespBody = k.c.NewBody(m.x.ReqBody.ContentType, "")
		} else {
			c.x.RespBody.Write([]byte("\n"))
			c.x.RespBody.Wire++
		}
		c.x.RespBody.Write(text)
		c.x.RespBody.Wire += m.size
	}
	m.x.ReqBody.Finish()
	m.x.ReqBody.Release()
	if p.Role == content.Ends {
		k.calls.Remove(c.entry)
		if p.Late {
			k.over.add(p.Key)
		}
		c.answered = true
		k.emit(c, "")
	}
}

const (
	maxSame  = 64  // calls with one key that are compared
	sameTime = 1e9 // ns from a call to a later one with its key, after which it is not answered any longer
)

// waiting is the call that the next answer with a key belongs to: the oldest, because messages come in order. It is nil
// if there is none.
func (k *conn) waiting(key string) (oldest *call) {
	for c := range k.calls.Same(key, maxSame) {
		oldest = c
	}
	return oldest
}

// maxOver is the number of ended calls of a connection whose keys are remembered.
const maxOver = 32

// recent are the keys of the calls that ended last.
type recent struct {
	keys [maxOver]string
	next int // place of the oldest one
	size int // bytes of the keys
}

func (r *recent) add(key string) {
	r.size += len(key) - len(r.keys[r.next])
	r.keys[r.next] = key
	r.next = (r.next + 1) % maxOver
}

func (r *recent) has(key string) bool { return slices.Contains(r.keys[:], key) }

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(m *call, why string) {
	row := &Row{}
	name := opNames[m.op]
	if why == "no_response" && m.answers > 0 {
		why = "" // a subscription ends with its connection
	}
	if m.shared && m.answers > 0 {
		k.c.Anomaly("same_id", "another request with its id waited at the same time: the answer may be to that one", 0)
	}
	unanswered := m.waits && m.answers == 0 && (why == "no_response" || why == "reset" || why == "timeout")
	switch {
	case unanswered && m.losses != k.losses[m.dir.Other()]: // an answer may be among those that were not read
		why = "gap"
	case unanswered && m.shared:
		row.Outcome = table.Unread
	case why != "":
	case m.gap:
		why = "gap"
	case m.unread != "":
		why = m.unread
	case m.several && m.losses != k.losses[m.dir.Other()]: // some of its answers may be missing
		why = "gap"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Method, row.Opcode = table.Some(strings.ToUpper(name)), table.Some(name)
	row.Host, row.Path = table.NonEmpty(k.host), table.NonEmpty(k.path)
	row.From = table.Some("client")
	if m.dir == dissect.ToClient {
		row.From = table.Some("server")
	}
	row.Masked, row.Size = table.Some(m.masked), table.Some(m.size)
	row.Subprotocol, row.Extensions = table.NonEmpty(k.opening.Subprotocol), table.NonEmpty(k.extensions)
	if m.op == opText || m.op == opBinary {
		row.Fragments, row.Compressed = table.Some(m.fragments), table.Some(m.compressed)
	}
	if m.answers > 0 && m.op <= opBinary {
		row.Answers = table.Some(m.answers)
	}
	if b := m.x.RespBody; b != nil {
		b.Complete = m.answered
	}
	row.Summary = k.summary(m, row, why)
	if m.op == opClose {
		row.closed(m.payload)
	}
	if k.meaningful(m) {
		row.Columns = all.OfSocket(&row.Call, &m.x, k.opening, why == "gap")
	}
	if why == "cut" && !m.waits {
		row.Outcome = table.Cut // nothing answers it
	}
	k.c.Emit(&m.x, row)
}

// summary is OPCODE from SENDER path → size.
func (k *conn) summary(m *call, row *Row, why string) string {
	path := "?" // the handshake was not captured
	if k.path != "" {
		path = clip.Text(k.path, 120)
	}
	s := row.Method.V + " from " + row.From.V + " " + path + " → "
	switch {
	case m.op == opClose || m.op == opPing && m.answered:
		s += "answered"
		if !m.answered {
			s = strings.TrimSuffix(s, "answered") + "not answered"
		}
	default:
		s += clip.Count(m.size, "byte", "bytes")
		if m.attached > 0 {
			s += ", " + clip.Count(int64(m.attached), "attachment", "attachments")
		}
	}
	if why != "" {
		s += ", " + strings.ReplaceAll(why, "_", " ")
	}
	return s
}
