package postgresql

import (
	"encoding/binary"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/inorder"
)

const maxSpare = 32 // calls kept for reuse

func (k *conn) newCall(kind string) *call {
	c := &call{}
	if n := len(k.spare); n > 0 {
		c, k.spare = k.spare[n-1], k.spare[:n-1]
		k.spareBytes -= callCost + cap(c.preview)
	}
	c.kind = kind
	return c
}

// assign adds in.Data[from:to] to c. Adjacent messages of a call are added together.
func (k *conn) assign(c *call, in *dissect.Input, from, to int) {
	if from >= to {
		return
	}
	a := &k.acc
	if a.call == c && a.to == from {
		a.to = to
		return
	}
	k.flush(in)
	a.call, a.from, a.to = c, from, to
}

// flush adds the collected bytes to their call.
func (k *conn) flush(in *dissect.Input) {
	a := &k.acc
	if a.call != nil && in != nil {
		a.call.x.Add(in, a.from, a.to)
	}
	a.call, a.from, a.to = nil, 0, 0
}

// start records a pending call.
func (k *conn) start(c *call) {
	c.ahead = k.live
	k.live++
	k.last = c
}

// wait appends a message to the queue of those without a reply.
func (k *conn) wait(kind byte, c *call, in *dissect.Input, at int) {
	if k.aborted && kind != 'S' {
		if c != nil {
			c.skipped = true
		}
		return
	}
	cost := opCost
	if c != nil && c.left == 0 {
		cost += callCost + len(c.query)
	}
	if kind == 'B' {
		cost += c.params.cost()
	}
	if c != nil {
		c.left++ // so that Shed, if memory gives up the messages before this one, does not end the call
	}
	cost = k.c.Keep(cost)
	if c != nil {
		c.left--
		c.size += cost
	} else {
		k.held += cost
	}
	if k.head > 64 && k.head*2 > len(k.ops) {
		n := copy(k.ops, k.ops[k.head:])
		clear(k.ops[n:])
		k.ops, k.head = k.ops[:n], 0
	}
	o := op{kind: kind, call: c, first: !k.group || kind == 'q'}
	o.sent.Ack = in.Packet(at).Ack
	if o.first {
		oldest := k.oldest()
		if k.lost || k.passing > 0 {
			oldest = nil
		}
		o.sent = k.line.Sent(k.c, o.sent.Ack, oldest)
	}
	k.group = kind != 'S' && kind != 'q' && kind != 'F'
	k.queue(o)
}

// queue appends a message to those without a reply.
func (k *conn) queue(o op) {
	k.ops = append(k.ops, o)
	k.kinds[o.kind]++
	if o.call != nil {
		o.call.left++
	}
}

// dequeue removes the front message from the queue.
func (k *conn) dequeue() *call {
	o := k.ops[k.head]
	k.kinds[o.kind]--
	k.ops[k.head] = op{}
	if k.head++; k.head == len(k.ops) {
		k.ops, k.head = k.ops[:0], 0
		k.c.Release(k.held)
		k.held = 0
	}
	return o.call
}

// Memory of pending messages in addition to their text.
const (
	callCost = int(unsafe.Sizeof(call{}))
	opCost   = int(unsafe.Sizeof(op{}))
)

// Shed implements dissect.Dissector. Messages depend on each other, so it ends all of them. Each
// group of them ends with one ReadyForQuery, so the replies to later ones are found by counting.
func (k *conn) Shed() bool {
	k.acc.call = nil
	if k.head == len(k.ops) {
		return k.shedMessage()
	}
	n, known := k.groups()
	k.closeOps(func(*call) string { return "cut" })
	if k.passing += n; !known || k.lost {
		k.missed()
	}
	return true
}

// groups is the number of ReadyForQuery that the pending messages get, and whether it is known.
func (k *conn) groups() (n int, known bool) {
	for i := range k.ops[k.head:] {
		switch o := &k.ops[k.head+i]; {
		case o.kind == 'L':
			return 0, false
		case o.kind == 'S', o.kind == 'F', o.kind == 'U', o.kind == 'q' && o.last:
			n++
		}
	}
	return n, true
}

// shedMessage ends the call of a long message that is being read.
func (k *conn) shedMessage() bool {
	for _, s := range [...]*side{&k.req, &k.rep} {
		if c := s.call; c != nil {
			k.lost = true
			k.emit(c, nil, "cut")
			return true
		}
	}
	if c := k.orphan; c != nil {
		k.lost = true
		k.emit(c, nil, "cut")
		return true
	}
	return false
}

// finish records that c's request is complete.
func (k *conn) finish(c *call, in *dissect.Input) {
	c.closed = true
	if c == k.open {
		k.open = nil
	}
	if c.left == 0 {
		k.emit(c, in, "")
	}
}

// front is the message that the next reply answers, or nil.
func (k *conn) front() *op {
	if k.head < len(k.ops) {
		return &k.ops[k.head]
	}
	return nil
}

// oldest is the position of the front message, or nil.
func (k *conn) oldest() *inorder.Request {
	if f := k.front(); f != nil {
		return &f.sent
	}
	return nil
}

// pop removes the front message from the queue. A call is emitted with its last message.
func (k *conn) pop(in *dissect.Input) {
	c := k.dequeue()
	if c == nil {
		return
	}
	if c.left--; c.left == 0 && c.closed {
		k.emit(c, in, "")
	}
}

// missed records that an unknown number of replies to dropped requests may still come.
func (k *conn) missed() {
	k.lost, k.passing = true, 0
	if f := k.front(); f != nil {
		f.sent.After = true
	} else {
		k.line.Missing(nil)
	}
}

// resync restores the pairing after a gap. It returns false if no request matches.
func (k *conn) resync(in *dissect.Input, at int) bool {
	return k.line.Find(k.c, in.Seq(at), k.waiting, func(m inorder.Match) { k.skip(m, in) }).Place >= 0
}

// skip ends the requests that a response after a gap shows to be without one.
func (k *conn) skip(m inorder.Match, in *dissect.Input) {
	if m.Any {
		k.lost = m.Place < 0
	}
	end := m.Place
	if end < 0 {
		for end = m.End; end > k.head && end < len(k.ops) && !k.ops[end].first; { // all of the group
			end++
		}
		if end == len(k.ops) {
			k.group = false // its rest follows
		}
	}
	for n := end - k.head; n > 0; n-- {
		if c := k.front().call; c != nil {
			c.gap = true
		}
		k.pop(in)
	}
}

// waiting yields the pending requests with the positions of their first messages.
func (k *conn) waiting(yield func(int, *inorder.Request) bool) {
	for i := k.head; i < len(k.ops); i++ {
		if o := &k.ops[i]; (o.first || i == k.head) && !yield(i, &o.sent) {
			return
		}
	}
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.req
	if in.Dir == dissect.ToClient {
		s = &k.rep
	}
	b := in.Data
	if s.left == 0 && len(b) >= 5 && b[0] != 0 {
		size := int64(binary.BigEndian.Uint32(b[1:]))
		if size > int64(len(b)) && missing <= size+1-int64(len(b)) {
			s.begin(b[0], size-4)
			k.target(s, in, 0)
			k.piece(s, in, 0, len(b), b[5:])
			b = nil
		}
	}
	if s.left > 0 && missing <= s.left {
		s.left -= missing
		s.gap = true
		if s.call != nil {
			s.call.gap = true
			if body := s.call.body(in.Dir); body != nil {
				body.Missing(missing)
			}
		}
		if s.left == 0 {
			k.ended(s, in, len(in.Data))
		}
		k.flush(in)
		return true
	}
	k.flush(in)
	return false
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	s := &k.req
	c := k.open
	if dir == dissect.ToClient {
		k.interrupt(why)
		s, c = &k.rep, k.orphan
		if o := k.front(); o != nil {
			c = o.call
		}
	}
	if s.call != nil {
		c = s.call
	}
	*s = side{keep: s.keep[:0]}
	k.lost = true
	if dir == dissect.ToServer {
		k.line.Interrupted(k.c.Starting(), k.c.FromStart(dissect.ToClient))
		k.group = false                       // what follows may be in the middle of one
		k.aborted, k.unsynced = false, true   // the server may have read a lost Sync
		k.unnamed, k.unnamedPortal = nil, nil // a lost message may have replaced them
	} else {
		k.line.Lost()
		if k.passing > 0 {
			k.missed()
		}
	}
	k.acc.call = nil
	if c == nil {
		return
	}
	if why == dissect.LossGap {
		c.gap = true
	} else {
		c.bad = true
	}
	if c.unsolicited() {
		k.emit(c, nil, "")
		return
	}
	if dir == dissect.ToServer && !c.closed { // its reply may still come
		if c.left == 0 && c.kind != kindPrepare {
			k.queue(op{kind: 'q', call: c, first: true, last: true})
		}
		k.finish(c, nil)
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.acc.call = nil
	if c := k.rep.call; c != nil && c.unsolicited() {
		k.emit(c, nil, "cut")
	}
	if c := k.orphan; c != nil {
		k.orphan = nil
		k.emit(c, nil, "")
	}
	k.closeOps(func(c *call) string { return closeError(c, why) })
	if c := k.open; c != nil {
		k.emit(c, nil, closeError(c, why))
	}
	if c := k.req.call; c != nil && (k.req.kind == 'Q' || k.req.kind == 'F') {
		k.emit(c, nil, why.CallError())
	}
}

// closeOps emits all pending calls with the error that why returns for each.
func (k *conn) closeOps(why func(*call) string) {
	for k.head < len(k.ops) {
		c := k.dequeue()
		if c == nil {
			continue
		}
		if c.left--; c.left == 0 {
			k.emit(c, nil, why(c))
		}
	}
}

// closeError is the error of a call that was unfinished when the connection ended.
func closeError(c *call, why dissect.End) string {
	if c.stream != nil && why != dissect.EndFin { // it lasts until the connection ends
		return why.CallError()
	}
	switch {
	case !c.answered:
	case why == dissect.EndFin || why == dissect.EndReset || c.err != nil && c.err.severity != "ERROR": // no ReadyForQuery comes after a fatal error
		return ""
	default:
		return "cut"
	}
	if why == dissect.EndFin && c.x.HasResponse() {
		return "cut"
	}
	return why.CallError()
}
