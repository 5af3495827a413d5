package postgresql

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// serverError holds the fields of an ErrorResponse or NoticeResponse.
type serverError struct {
	severity, code, message, detail string
}

// readReply reads one message of the server, or a piece of a long one.
func (k *conn) readReply(in *dissect.Input, at int) (int, error) {
	s := &k.rep
	b := in.Data[at:]
	if s.left > 0 {
		return k.more(s, in, at), nil
	}
	if o := k.front(); o != nil && o.kind == 'L' && (b[0] != 'E' || len(b) > 1 && b[1] != 0) {
		return k.readEncryption(o.call, in, at)
	}
	if (in.First(at) || in.Offset(at) == 0) && len(b) >= 5 && b[0] == 'N' && binary.BigEndian.Uint32(b[1:]) > maxMessage {
		k.refusedEncryption(in, at)
		return 1, nil
	}
	kind, size, ok, err := header(b, backendTypes, "server")
	if !ok || err != nil {
		return 0, err
	}
	if k.front() == nil && k.passing == 0 && k.early(kind, in, at) {
		return 0, nil
	}
	end := 5 + int(size)
	if end <= len(b) {
		body, cut := b[5:end], false
		if k.whole(kind) {
			body, cut = front(body)
		}
		return end, k.handle(kind, body, in, at, at+end, cut)
	}
	if size <= maxWhole && k.whole(kind) {
		k.c.Need(in.Dir, end)
		return 0, nil
	}
	s.begin(kind, size)
	k.target(s, in, at)
	k.piece(s, in, at, at+5, nil)
	return 5, nil
}

// early reports whether a reply was captured before its request.
func (k *conn) early(kind byte, in *dissect.Input, at int) bool {
	return k.c.Info.RolesKnown && !k.lost && !in.End && k.orphan == nil && strings.IndexByte("ENSA", kind) < 0 &&
		len(in.Data)-at < maxWait && k.req.left == 0 && k.open == nil
}

// accepts reports whether a message can answer an op.
func (o *op) accepts(kind byte) bool {
	switch o.kind {
	case 'L':
		return kind == 'E'
	case 'U':
		return strings.IndexByte("RKvEZ", kind) >= 0
	case 'P':
		return kind == '1' || kind == 'E'
	case 'B':
		return kind == '2' || kind == 'E'
	case 'C':
		return kind == '3' || kind == 'E'
	case 'D':
		return kind == 't' || kind == 'T' || kind == 'n' || kind == 'E'
	case 'E':
		return strings.IndexByte("DCIsGHWdcE", kind) >= 0
	case 'q':
		return strings.IndexByte("TDCIGHWdcEZ", kind) >= 0
	case 'F':
		return kind == 'V' || kind == 'E' || kind == 'Z'
	}
	return kind == 'Z' || kind == 'E'
}

// expect finds the message that a reply answers, or nil. Messages before it can no longer be
// answered.
func (k *conn) expect(kind byte, in *dissect.Input, at int) *op {
	if k.passing > 0 {
		if kind == 'Z' {
			k.passing--
		}
		return nil
	}
	o := k.answered(kind, in, at)
	k.line.Answered(k.c, in.Seq(at), o != nil, k.oldest())
	return o
}

func (k *conn) answered(kind byte, in *dissect.Input, at int) *op {
	if f := k.front(); f != nil && (k.lost || f.sent.After) && !k.resync(in, at) {
		return nil
	}
	if f := k.front(); f != nil && k.line.Excludes(k.c, in.Seq(at), &f.sent) {
		return nil
	}
	if !k.accepted(kind) {
		return nil
	}
	for i := k.head; i < len(k.ops); i++ {
		if !k.ops[i].accepts(kind) {
			continue
		}
		for n := i - k.head; n > 0; n-- {
			if c := k.ops[k.head].call; c != nil && k.lost {
				c.gap = true
			} else if c != nil {
				c.bad = true
			}
			k.pop(in)
		}
		return k.front()
	}
	return nil
}

// accepted reports whether a message can answer any pending one, without a look at all of them.
func (k *conn) accepted(kind byte) bool {
	for _, pending := range []byte("LUPBCDEqFS") {
		if o := (op{kind: pending}); k.kinds[pending] > 0 && o.accepts(kind) {
			return true
		}
	}
	return false
}

// reply is the call for replies to a request that was not captured.
func (k *conn) reply(in *dissect.Input) *call {
	if k.orphan != nil && k.orphan.answered {
		c := k.orphan
		k.orphan = nil
		k.emit(c, in, "")
	}
	if k.orphan == nil {
		k.orphan = k.newCall(kindReply)
		k.live++
	}
	return k.orphan
}

// handle reads a message of the server; in.Data[from:to] carries it.
func (k *conn) handle(kind byte, body []byte, in *dissect.Input, from, to int, cut bool) error {
	if kind == 'D' {
		if o := k.front(); o != nil && !k.lost && k.passing == 0 && !o.sent.After && (o.kind == 'q' || o.kind == 'E') {
			k.assign(o.call, in, from, to)
			o.call.row(body, in, from, to, cut)
			return nil
		}
	}
	if kind == 'A' || kind == 'N' || kind == 'S' {
		k.async(kind, body, in, from, to)
		return nil
	}
	o := k.expect(kind, in, from)
	if kind == 'd' && (o == nil && k.adopt(body, in) || o != nil && k.stream != nil && o.call == k.stream.start) {
		return k.streamed(body, in, from, to, cut)
	}
	if o == nil {
		k.orphaned(kind, body, in, from, to, cut)
		return nil
	}
	c := o.call
	if c == nil && kind == 'E' { // at Sync, after all calls before it were done
		c = k.reply(in)
	}
	if c != nil {
		k.assign(c, in, from, to)
	}
	r := cursor.New(body)
	switch kind {
	case 'E':
		k.failed(o, c, parseError(body), in)
	case 'Z':
		k.ready(o, r.Uint8(), in)
	case 'D': // the first one after a loss
		c.row(body, in, from, to, cut)
	case '1', '2', '3', 'n':
		k.pop(in)
	case 'T':
		c.cols = k.columns(body)
		if o.kind == 'D' {
			if c.stmt != nil {
				k.described(c.stmt, c.cols)
			}
			k.pop(in)
		}
	case 'C', 'I', 's':
		c.complete(kind, body)
		if o.kind == 'E' || !o.last {
			k.pop(in)
		}
	case 'R':
		if c.authentication(&r) && from < to {
			c.x.Hide(in, from+headSize+r.Used(), to)
		}
	case 'K':
		if c.pid = table.Some(int64(r.Uint32())); from < to {
			c.x.Hide(in, from+headSize+r.Used(), to)
		}
	case 'V':
		c.answered = true
	case 't':
		if c.stmt != nil && len(c.stmt.oids) == 0 {
			c.stmt.oids = oids(&r)
			k.weigh(c.stmt)
		}
	default:
		k.copyOut(c, kind, body)
	}
	if r.Short() && !cut {
		return fmt.Errorf("reading message %q of the server: it is too short for its fields: %.60q", kind, body)
	}
	return nil
}

// running is the call that an asynchronous message of the server concerns.
func (k *conn) running(kind byte) *call {
	switch o := k.front(); {
	case kind == 'A':
		return nil
	case k.passing == 0 && o != nil && o.call != nil:
		return o.call
	}
	return k.orphan
}

// async reads a message that the server may send at any time.
func (k *conn) async(kind byte, body []byte, in *dissect.Input, from, to int) {
	r := cursor.New(body)
	c := k.rep.call // it arrived in pieces
	if c == nil {
		c = k.running(kind)
	}
	own := c == nil || c.unsolicited()
	if c == nil {
		c = k.unsolicited(kind, in, from, to)
	} else {
		k.assign(c, in, from, to)
	}
	switch kind {
	case 'A':
		c.pid = table.Some(int64(r.Uint32()))
		c.channel, c.text = sqltext.Text(r.CString()), clip.Text(r.CString(), maxMessageLen)
	case 'N':
		if len(c.notices) < maxNotices {
			e := parseError(body)
			c.notices = append(c.notices, e.code+" "+e.severity+": "+e.message)
		}
	case 'S':
		name, value := r.CString(), sqltext.Text(r.CString())
		switch string(name) {
		case "server_version":
			c.version = value
		case "application_name":
			k.application = value
		}
		if own {
			c.text = sqltext.Text(name) + " = " + clip.Text(value, maxMessageLen)
		}
	}
	if own {
		why := ""
		if kind != 'A' && k.lost { // it may belong to a request that was not captured
			why = "no_request"
		}
		k.emit(c, in, why)
	}
}

// orphaned reads a reply to a request that was not captured.
func (k *conn) orphaned(kind byte, body []byte, in *dissect.Input, from, to int, cut bool) {
	if kind == 'Z' {
		if c := k.orphan; c != nil {
			k.assign(c, in, from, to)
			k.orphan = nil
			c.tx = first(body)
			k.emit(c, in, "")
		}
		return
	}
	if kind == 'E' && k.orphan == nil && !k.lost && k.terminated(parseError(body), in, from, to) {
		return
	}
	c := k.reply(in)
	k.assign(c, in, from, to)
	switch kind {
	case 'T':
		c.cols = k.columns(body)
	case 'D':
		c.row(body, in, from, to, cut)
	case 'C', 'I', 's':
		c.complete(kind, body)
	case 'E':
		c.err, c.answered = parseError(body), true
	case 'G', 'H', 'W', 'd', 'c':
		k.copyOut(c, kind, body)
	}
}

func first(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// ready reads ReadyForQuery.
func (k *conn) ready(o *op, tx byte, in *dissect.Input) {
	if o.call != nil {
		o.call.tx = tx
		if o.kind == 'U' {
			o.call.answered = true
		}
	}
	for o.kind == 'q' && !o.last { // fewer results than separated statements
		k.pop(in)
		if o = k.front(); o == nil {
			return
		}
	}
	k.pop(in)
	if k.front() == nil {
		k.lost = false
	}
}

// failed reads ErrorResponse. After it the server skips the rest of a simple query, or an
// extended query up to Sync.
func (k *conn) failed(o *op, c *call, e *serverError, in *dissect.Input) {
	c.answered = true
	if c.err == nil {
		c.err = e
	}
	switch o.kind {
	case 'U', 'L':
		k.pop(in)
	case 'q':
		at := k.head
		for k.ops[k.head].kind == 'q' && !k.ops[k.head].last && k.head+1 < len(k.ops) {
			k.head++
			if n := &k.ops[k.head]; n.kind == 'q' {
				n.call.skipped = true
				n.call.left--
				k.emit(n.call, in, "")
				n.call = c
			}
		}
		for ; at < k.head; at++ {
			k.kinds[k.ops[at].kind]--
			k.ops[at] = op{}
		}
	case 'P', 'B', 'D', 'E', 'C':
		k.aborted = !k.unsynced
		for at := k.head; k.front() != nil; {
			o := k.front()
			if o.kind == 'S' || k.unsynced && o.first && k.head > at {
				k.aborted = false
				break
			}
			if o.call != nil && o.call != c {
				o.call.skipped = true
			}
			k.pop(in)
		}
	}
}

// parseError reads the fields of ErrorResponse and NoticeResponse.
func parseError(body []byte) *serverError {
	e := &serverError{}
	r := cursor.New(body)
	for r.Left() > 1 && !r.Short() {
		field, value := r.Uint8(), r.CString()
		if r.Short() {
			break
		}
		s := clip.Text(value[:min(len(value), maxMessageLen)], maxMessageLen)
		switch field {
		case 'S':
			if e.severity == "" {
				e.severity = s
			}
		case 'V': // not translated
			e.severity = s
		case 'C':
			e.code = s
		case 'M':
			e.message = s
		case 'D':
			e.detail = s
		}
	}
	return e
}
