// Package jsonrpc reads JSON-RPC: requests, notifications, batches and responses. On TCP, either side may send requests, as
// JSON texts one after the other, or each after a header with its length, as language servers do. Version 2.0 is also read
// over HTTP and WebSocket. It never shows params or results.
package jsonrpc

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	rpc "github.com/pcapsule/pcapsule/exporter/dissect/content/jsonrpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is a request with its response, or a notification.
type Row struct {
	table.Call
	rpc.Exchange
	Version table.Opt[string] `col:"jsonrpc_version" enc:"dict" doc:"2.0, or 1.0 if the messages state no version"`
	Framing table.Opt[string] `col:"jsonrpc_framing" enc:"dict" doc:"text, or header if each message follows its length (Content-Length)"`
}

// Protocol is JSON-RPC on TCP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "jsonrpc",
		Doc:        "JSON-RPC on TCP: nodes of block chains, miners, Open vSwitch, language servers",
		Versions:   "1.0, 2.0",
		Depth:      "method, id, errors, batches",
		Transports: []dissect.Transport{dissect.TCP},
		Detect:     detect,
		Resume:     resume,
		Sender:     sender,
		New:        newConn,
		Row:        &Row{},
	}
}

// key identifies a request: its sender, and its id.
type key struct {
	from dissect.Dir
	id   string
}

// call is a message, with the response to it.
type call struct {
	x      dissect.Exchange
	row    Row
	gap    bool
	shared bool // another call with its id waited at the same time
	entry  *byid.Entry[key, *call]
}

const (
	maxSame  = 64  // requests with one id that are compared
	sameTime = 1e9 // ns from a request to a later one with its id, after which it is not answered any longer
)

const callCost = int(unsafe.Sizeof(call{}))

// side is the message that is being read in a direction.
type side struct {
	msg   *call
	text  scanner
	left  int64 // bytes to come, if its length is known
	long  bool  // it is
	first bool  // it begins the connection
}

type conn struct {
	byid.Table[key, *call]
	sides [2]side
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Conn, k.Emit = c, k.emit
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s := &k.sides[in.Dir]
	return in.Each(func(at int) (n int, err error) {
		b := in.Data[at:]
		if s.msg == nil {
			if n = blank(b); n > 0 {
				s.text.line = !s.text.lines && (s.text.line || bytes.IndexByte(b[:n], '\n') >= 0)
				return n, nil
			}
			if n, err = k.begin(in, at); n > 0 || s.msg == nil {
				return n, err
			}
		}
		done := false
		if s.long {
			n = int(min(s.left, int64(len(b))))
			s.left -= int64(n)
			done = s.left == 0
		} else {
			n, done = s.text.read(b)
		}
		s.msg.x.Request(in, at, at+n)
		s.msg.x.ReqBody.Write(b[:n])
		switch {
		case s.text.broken:
			err = k.broken(in.Dir)
		case done:
			err = k.finish(in.Dir, "")
		}
		return n, err
	})
}

// broken ends a message that ends with its line: the next line is a message again.
func (k *conn) broken(dir dissect.Dir) error {
	const why = "reading a message: its line ends before its JSON does"
	if k.Conn.Unproved() {
		return errors.New(why)
	}
	k.Conn.Anomaly("malformed", why, 0)
	return k.finish(dir, "malformed")
}

// begin reads the header of a message, if it has one.
func (k *conn) begin(in *dissect.Input, at int) (int, error) {
	head, size, err := header(in.Data[at:])
	if err != nil || head < 0 {
		return 0, err
	}
	c := &call{}
	c.x.Reversed, c.x.ReqBody = in.Dir == dissect.ToClient, k.Conn.NewBody("application/json", "")
	c.x.Request(in, at, at+head)
	c.row.Framing = table.Some("text")
	if head > 0 {
		c.row.Framing = table.Some("header")
	}
	s := &k.sides[in.Dir]
	*s = side{msg: c, left: size, long: head > 0, first: in.First(at), text: scanner{line: s.text.line, lines: s.text.lines}}
	return head, nil
}

// finish ends a message. why is the value of column error of one that is not whole.
func (k *conn) finish(dir dissect.Dir, why string) error {
	s := &k.sides[dir]
	c := s.msg
	if s.msg = nil; c == nil {
		return nil
	}
	if c.gap && why == "" {
		why = string(dissect.LossGap)
	}
	body := c.x.ReqBody
	body.Complete = why == ""
	list := content.AnyMessages(body.Kept())
	if c.gap { // any part of the text may be wrong
		list = nil
	}
	switch {
	case len(list) == 0 && body.Over() && why == "":
		why = "unread"
	case len(list) == 0 && why == "":
		return fmt.Errorf("reading a message: %.40q is not JSON-RPC", body.Kept())
	}
	if s.first && len(list) > 0 && !list[0].Old {
		k.Conn.Confirm()
	}
	if c.gap || body.Over() { // it may be the response to any request
		k.Table.Resync(dir, dissect.LossGap)
		k.Conn.Incomplete(dir)
	}
	m := rpc.Paired(list)
	switch {
	case m != nil && m.Method == "":
		k.answer(dir, c, k.waiting(key{dir.Other(), m.ID}), why)
	case m == nil && len(list) > 0 && list[0].Method == "": // the error of a request that the other side could not read
		k.answer(dir, c, nil, why)
	case m == nil || why != "":
		k.emit(c, why)
	default:
		k.wait(key{dir, m.ID}, c)
	}
	return nil
}

// wait keeps a request until its response comes.
func (k *conn) wait(id key, c *call) {
	if old := k.waiting(id); old != nil {
		from, _ := old.x.RequestTime()
		to, _ := c.x.RequestTime()
		if since, ok := k.Conn.Between(from, to); ok && since > sameTime {
			k.Remove(old.entry)
			k.emit(old, "no_response")
		} else {
			old.shared, c.shared = true, true
		}
	}
	c.entry = k.Add(id, c, callCost+len(id.id))
}

// waiting is the request that the next response with an id answers: the oldest, because most programs answer in order. It
// is nil if there is none.
func (k *conn) waiting(id key) (oldest *call) {
	for c := range k.Same(id, maxSame) {
		oldest = c
	}
	return oldest
}

// answer adds a response to its request, which is nil if it is not known.
func (k *conn) answer(dir dissect.Dir, m, c *call, why string) {
	if c == nil {
		c = &call{row: m.row}
		if c.x.Reversed = dir == dissect.ToServer; why == "" {
			why = "no_request"
		}
	}
	k.Remove(c.entry)
	c.x.Answer(k.Conn, &m.x)
	c.x.RespBody = m.x.ReqBody
	k.emit(c, why)
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := &c.row
	if c.shared {
		k.Conn.Anomaly("same_id", "another request with its id waited at the same time: the response may be to that one", 0)
		if c.x.RespBody == nil && why != "cut" {
			row.Outcome = table.Unread
		}
	}
	e := content.NewExchange(&row.Call, text(c.x.ReqBody), text(c.x.RespBody))
	if e.Socket = true; c.gap {
		e.Request = content.Body{}
	}
	asked := content.AnyMessages(e.Request.Bytes())
	row.Fill(&e, asked, content.AnyMessages)
	first := asked
	if len(first) == 0 {
		first = content.AnyMessages(e.Response.Bytes())
	}
	if len(first) > 0 {
		if row.Version = table.Some("2.0"); first[0].Old {
			row.Version = table.Some("1.0")
		}
	}
	if why == "cut" && rpc.Paired(first) == nil { // nothing answers it
		row.Outcome = table.Cut
	}
	row.Call.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Call.Method = row.Exchange.Method
	what := row.Exchange.Method.V
	if what == "" {
		what = "response"
		if len(first) == 0 {
			what = "message"
		}
	}
	if row.Summary = what + row.Size(); why != "" {
		row.Summary += " → " + why
	}
	if word := row.Failure(); word != "" {
		row.Summary += " → error " + word
		e.Fail(rpc.Outcome(row.Code.V), word)
	} else if row.Errors.OK && why == "" {
		row.Summary += " → ok"
	}
	k.Conn.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.Conn.Emit(&c.x, row)
}

// text is a body as content.
func text(b *dissect.Body) content.Body {
	if b == nil {
		return content.Body{}
	}
	return content.Body{Size: b.Size(), Lost: b.Lost() > 0 || b.Over(), Part: !b.Complete, Get: b.Kept}
}

// Gap implements dissect.Dissector: bytes of a message whose length is known have a place.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	if s.msg == nil || !s.long || missing > s.left {
		return false
	}
	s.msg.gap = true
	s.msg.x.ReqBody.Missing(missing)
	if s.left -= missing; s.left == 0 {
		_ = k.finish(in.Dir, "") // which is no error of a message with a gap
	}
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	_ = k.finish(dir, string(why))
	k.Table.Resync(dir, why)
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() (n int) {
	for i := range k.sides {
		if k.sides[i].msg != nil {
			n += callCost
		}
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	for i := range k.sides {
		if m := k.sides[i].msg; m != nil && m.x.ReqBody.Spill() {
			return true
		}
	}
	return k.Table.Shed()
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	_ = k.finish(dissect.ToClient, "cut")
	_ = k.finish(dissect.ToServer, "cut")
	k.Table.Close(why)
}
