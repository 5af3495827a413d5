package postgresql

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
)

// Message types, PostgreSQL documentation, section Message Formats.
const (
	frontendTypes = "QPBDECSHFdcfpX"
	backendTypes  = "RSKZTDCENI123nstAGHWdcVv"
)

// headSize is the size of a message's type and length.
const headSize = 5

func (s *side) begin(kind byte, left int64) {
	*s = side{kind: kind, left: left, size: left, keep: s.keep[:0]}
}

// header reads a message's type and its size after the length field. ok is false if there are
// too few bytes.
func header(b []byte, types, who string) (kind byte, size int64, ok bool, err error) {
	if strings.IndexByte(types, b[0]) < 0 {
		return 0, 0, false, fmt.Errorf("reading a message of the %s: type %q is none of %s", who, b[0], types)
	}
	if len(b) < 5 {
		return 0, 0, false, nil
	}
	size = int64(binary.BigEndian.Uint32(b[1:])) - 4
	if size < 0 || size > maxMessage {
		return 0, 0, false, fmt.Errorf("reading message %q of the %s: length %d is outside 4 to %d", b[0], who, size+4, maxMessage)
	}
	return b[0], size, true, nil
}

// readRequest reads one message of the client, or a piece of a long one.
func (k *conn) readRequest(in *dissect.Input, at int) (int, error) {
	s := &k.req
	b := in.Data[at:]
	if s.left > 0 {
		return k.more(s, in, at), nil
	}
	if b[0] == 0 {
		return k.readStartup(in, at)
	}
	kind, size, ok, err := header(b, frontendTypes, "client")
	if !ok || err != nil {
		return 0, err
	}
	end := 5 + int(size)
	if end <= len(b) {
		body, cut := b[5:end], false
		if k.whole(kind) {
			body, cut = front(body)
		}
		return end, k.request(kind, body, in, at, at+end, cut)
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

// whole reports whether a message of this type is read as a whole: all but the data of COPY.
func (k *conn) whole(kind byte) bool { return kind != 'd' || k.stream != nil }

// front is the part of a message that is read. Its fixed limit keeps the row independent of
// segment boundaries.
func front(body []byte) (_ []byte, cut bool) {
	if len(body) > maxWhole {
		return body[:maxWhole], true
	}
	return body, false
}

// more continues a long message.
func (k *conn) more(s *side, in *dissect.Input, at int) int {
	n := int(min(s.left, int64(len(in.Data)-at)))
	k.piece(s, in, at, at+n, in.Data[at:at+n])
	if s.left == 0 {
		k.ended(s, in, at+n)
	}
	return n
}

// target finds the call of a long message at its start.
func (k *conn) target(s *side, in *dissect.Input, at int) {
	if in.Dir == dissect.ToClient {
		if o := k.expect(s.kind, in, at); o != nil {
			s.call = o.call
		} else if strings.IndexByte("NSA", s.kind) < 0 {
			s.call = k.reply(in)
		} else if s.call = k.running(s.kind); s.call == nil {
			s.call = k.unsolicited(s.kind, in, at, at)
		}
		if r := k.stream; r != nil && s.kind == 'd' && r.part != nil && s.call == r.start {
			s.call = r.part
		}
		return
	}
	switch s.kind {
	case 'd', 'c', 'f':
		s.call = k.copying()
	case 'Q':
		s.call = k.newCall(kindQuery)
	case 'F':
		s.call = k.newCall(kindFunction)
	case 'P', 'B', 'D', 'C', 'E':
		s.call = k.opened(s.kind)
	case 'p':
		if o := k.front(); o != nil && o.kind == 'U' {
			o.call.proved = true
			s.call = o.call
		}
	}
}

// piece reads a part of a long message. payload is the part of in.Data[from:to] after the
// header.
func (k *conn) piece(s *side, in *dissect.Input, from, to int, payload []byte) {
	s.left -= int64(len(payload))
	if room := maxWhole - len(s.keep); room > 0 && !s.gap && k.whole(s.kind) {
		s.keep = append(s.keep, payload[:min(room, len(payload))]...)
	}
	if s.call == nil {
		return
	}
	switch s.kind {
	case 'p':
		s.call.x.Hide(in, to-len(payload), to)
	case 'D', 'd':
		if in.Dir == dissect.ToClient && (s.kind == 'D' || s.call.changes != nil) {
			s.call.x.HideRest(in, to-len(payload), to)
		}
	}
	k.assign(s.call, in, from, to)
	if body := s.call.body(in.Dir); body != nil && s.kind == 'd' {
		body.Write(payload)
	}
}

// ended reads the beginning of a long message once its end has arrived.
func (k *conn) ended(s *side, in *dissect.Input, at int) {
	keep := s.keep
	cut := s.gap || int64(len(keep)) < s.size
	switch {
	case s.kind == 'd' && k.stream != nil:
		k.stream.start.copyBytes += s.size - int64(len(keep))
		if in.Dir == dissect.ToServer {
			_ = k.request(s.kind, keep, in, at, at, cut)
		} else {
			_ = k.handle(s.kind, keep, in, at, at, cut)
		}
	case s.kind == 'd':
		if s.call != nil {
			s.call.copyBytes += s.size
		}
	case in.Dir == dissect.ToServer:
		// An error only means that the beginning is incomplete, which is expected.
		_ = k.request(s.kind, keep, in, at, at, cut)
	default:
		_ = k.handle(s.kind, keep, in, at, at, cut)
	}
	*s = side{keep: keep[:0]}
}

// request reads a message of the client; in.Data[from:to] carries it.
func (k *conn) request(kind byte, body []byte, in *dissect.Input, from, to int, cut bool) error {
	r := cursor.New(body)
	switch kind {
	case 'Q':
		k.simple(body, in, from, to, cut)
	case 'P':
		name, query := r.CString(), r.CString()
		if r.Short() && !cut {
			return errShort(kind, body)
		}
		if query == nil {
			query = r.Rest()
		}
		c := k.opened(kind)
		if c.query != "" || c.kind == kindClose { // several statements are prepared before one Sync
			k.finish(c, in)
			c = k.opened(kind)
		}
		k.assign(c, in, from, to)
		statement := sqltext.Text(query[:min(len(query), maxQuery)])
		if cut {
			statement += "…" // calls that execute it later show the same text
		}
		c.stmt = k.prepare(sqltext.Text(name), statement, oids(&r))
		c.query, c.known = c.stmt.query, true
		k.wait(kind, c, in, from)
	case 'B':
		return k.bind(&r, in, from, to, cut)
	case 'D', 'C':
		return k.describe(kind, &r, in, from, to, cut)
	case 'E':
		return k.execute(&r, in, from, to, cut)
	case 'S':
		k.sync(in, from, to)
	case 'F':
		c, sent := k.req.call, max(from-1, 0)
		if c == nil { // it did not arrive in pieces
			c, sent = k.newCall(kindFunction), from
		}
		c.closed = true
		k.start(c)
		k.assign(c, in, from, to)
		c.query = fmt.Sprintf("function %d", r.Uint32())
		k.wait(kind, c, in, sent)
	case 'd', 'c', 'f':
		if c := k.copying(); c != nil {
			k.assign(c, in, from, to)
			c.gaveUp, c.dataSent = c.gaveUp || kind == 'f', c.dataSent || kind != 'd'
			if b := c.body(in.Dir); kind == 'd' {
				c.copyBytes += int64(max(len(body), to-from-headSize))
				if k.stream != nil {
					k.stream.confirmed(body)
				}
				if b != nil {
					b.Write(body)
				}
			} else if b != nil {
				b.Complete = kind == 'c' && b.Lost() == 0
			}
		}
	case 'p':
		if o := k.front(); o != nil && o.kind == 'U' {
			o.call.proved = true
			k.assign(o.call, in, from, to)
			if o.call.auth == "sasl" {
				o.call.auth = mechanism(r.CString())
				r.Skip(4) // the length of what follows
			}
			if from < to { // else its pieces are hidden already
				end := to
				if !cut {
					end -= len(body) - len(bytes.TrimSuffix(body, []byte{0}))
				}
				o.call.x.Hide(in, from+headSize+r.Used(), end)
			}
		}
	default: // Flush and Terminate have no reply
		if c := k.open; c != nil {
			k.assign(c, in, from, to)
		} else if k.last != nil {
			k.assign(k.last, in, from, to)
		}
	}
	return nil
}

func errShort(kind byte, body []byte) error {
	return fmt.Errorf("reading message %q of the client: it is too short for its fields: %.60q", kind, body)
}

// simple reads a simple query; each of its statements is a call.
func (k *conn) simple(body []byte, in *dissect.Input, from, to int, cut bool) {
	if c := k.open; c != nil { // no Sync came before
		k.finish(c, in)
	}
	body = bytes.TrimSuffix(body, []byte{0})
	if c := k.req.call; c != nil { // it arrived in pieces
		c.closed, c.known = true, true
		c.query = sqltext.Text(body[:min(len(body), maxQuery)])
		k.start(c)
		k.wait('q', c, in, max(from-1, 0))
		k.lastOp()
		return
	}
	ends := split(body, maxStatements)
	start := from
	base := to - len(body) - 1
	if cut || len(ends) == 0 || base < from {
		ends = []int{len(body)}
	}
	prev := 0
	for i, end := range ends {
		c := k.newCall(kindQuery)
		c.closed, c.known = true, true
		part := body[prev:min(end, prev+maxQuery)]
		if len(ends) > 1 {
			part = bytes.TrimSpace(part)
		}
		c.query, c.part, c.parts = sqltext.Text(part), int32(i), int32(len(ends))
		k.start(c)
		stop := base + end
		if i == len(ends)-1 {
			stop = to
		}
		k.assign(c, in, start, stop)
		k.flush(in)
		k.wait('q', c, in, from)
		if c.skipped {
			k.emit(c, in, "")
		}
		start, prev = stop, end
	}
	k.lastOp()
}

// lastOp marks the newest message as the last statement of its query.
func (k *conn) lastOp() {
	if n := len(k.ops); n > k.head {
		k.ops[n-1].last = true
	}
}

// copying is the call with a COPY that receives the client's data, or nil.
func (k *conn) copying() *call {
	if k.stream != nil {
		return k.stream.start
	}
	for i := k.head; i < len(k.ops) && i < k.head+maxStatements; i++ {
		if c := k.ops[i].call; c != nil && c.copied {
			return c
		}
	}
	return k.last
}

// body is the body for COPY data.
func (c *call) body(dir dissect.Dir) *dissect.Body {
	if dir == dissect.ToServer {
		return c.x.ReqBody
	}
	return c.x.RespBody
}
