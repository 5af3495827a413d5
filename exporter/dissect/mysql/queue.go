package mysql

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/inorder"
)

func (k *conn) newCall(of kind) *call {
	c := &call{}
	if n := len(k.spare); n > 0 {
		c, k.spare = k.spare[n-1], k.spare[:n-1]
		k.spareBytes -= callCost + cap(c.preview)
	}
	c.kind = of
	return c
}

// front is the command that the next reply answers, or nil.
func (k *conn) front() *call {
	if k.head < len(k.pending) {
		return k.pending[k.head]
	}
	return nil
}

// push appends a command to the queue.
func (k *conn) push(c *call, o *source) {
	if len(k.pending)-k.head >= maxPending {
		k.c.Anomaly("limit", "too many commands without a reply", 0)
		k.Shed()
	}
	c.size = k.c.Keep(callCost, k.Shed)
	if k.head > 64 && k.head*2 > len(k.pending) {
		n := copy(k.pending, k.pending[k.head:])
		clear(k.pending[n:])
		k.pending, k.head = k.pending[:n], 0
	}
	var oldest *inorder.Request
	if f := k.front(); f != nil && !k.lost {
		oldest = &f.asked
	}
	c.asked = k.line.Sent(o.in.Packet(o.at).Ack, o.in.Time(o.at), oldest)
	c.ahead, c.queued = int32(len(k.pending)-k.head), true
	k.pending = append(k.pending, c)
}

// weigh takes the memory for the text of a pending command.
func (k *conn) weigh(c *call) {
	if n := len(c.query) + c.params.cost() + c.attrs.cost(); n > 0 && c.queued {
		c.size += k.c.Keep(n, func() bool { return k.front() != c && k.Shed() })
	}
}

// drop removes a call from the queue.
func (k *conn) drop(c *call) {
	k.c.Release(c.size)
	c.size = 0
	for i := k.head; c.queued && i < len(k.pending); i++ {
		if k.pending[i] != c {
			continue
		}
		copy(k.pending[k.head+1:i+1], k.pending[k.head:i])
		k.pending[k.head] = nil
		if k.head++; k.head == len(k.pending) {
			k.pending, k.head = k.pending[:0], 0
		}
		break
	}
	for i := range k.sides {
		if k.sides[i].call == c {
			k.sides[i].call = nil
		}
	}
	if k.orphan == c {
		k.orphan = nil
	}
	if k.hello == c {
		k.hello = nil
	}
}

// answering finds the call that a message of the server belongs to.
func (k *conn) answering(o *source, seq byte, size int, b []byte) (c *call, wait bool, err error) {
	if h := k.hello; h != nil {
		if seq != h.seq+1 {
			return nil, false, errSequence(o, seq, h.seq+1)
		}
		return h, false, nil
	}
	if f := k.front(); f != nil && f.stage == stageMaybe && !(isEOF(b, size) && seq == f.seq+1) {
		k.finish(f)
	}
	f := k.front()
	switch {
	case f != nil && f.x.HasResponse() && k.orphan == nil:
		if seq != f.seq+1 && !o.packed {
			return nil, false, errSequence(o, seq, f.seq+1)
		}
		return f, false, nil
	case k.orphan != nil:
		if c := k.orphan; seq == c.seq+1 || o.packed {
			return c, false, nil
		}
		k.emit(k.orphan, "")
	}
	if seq == 0 && len(b) > 0 && b[0] == packetErr { // such as the end of a session that was idle
		return k.newCall(kindNotice), false, nil
	}
	if f != nil && (k.lost || f.asked.After) {
		f = k.resync(o)
	}
	if f != nil && f.asked.Follows(o.in.Seq(o.at)) {
		f = nil
	}
	if f == nil {
		if seq == 0 {
			return nil, false, errSequence(o, seq, 1)
		}
		if k.mayWait(o) && k.head == len(k.pending) && !k.sides[dissect.ToServer].open {
			return nil, true, nil
		}
		k.orphan = k.newCall(kindReply)
		return k.orphan, false, nil
	}
	if seq != f.seq+1 && !o.packed {
		return nil, false, errSequence(o, seq, f.seq+1)
	}
	return f, false, nil
}

// resync restores the pairing after a gap. It returns nil if no command matches.
func (k *conn) resync(o *source) *call {
	m := k.line.Find(o.in.Seq(o.at), k.waiting)
	var f *call
	if m.Place >= 0 {
		f, k.lost = k.pending[m.Place], false
	} else if m.Any {
		k.lost = true
	}
	for n := m.End - k.head; n > 0 && k.front() != f; n-- {
		k.emit(k.front(), "gap")
	}
	if m.Guessed {
		k.c.Anomaly("pairing_guessed", inorder.Guessed, 0)
	}
	return f
}

// waiting yields the pending commands with their positions.
func (k *conn) waiting(yield func(int, *inorder.Request) bool) {
	for i := k.head; i < len(k.pending); i++ {
		if !yield(i, &k.pending[i].asked) {
			return
		}
	}
}

// finish emits a call that ended normally.
func (k *conn) finish(c *call) {
	k.emit(c, "")
	if k.head == len(k.pending) {
		k.lost = false
	}
}

// Lost implements dissect.Resyncer: Read returned an error, and the unread bytes were dropped.
func (k *conn) Lost(dir dissect.Dir) { k.lose(dir, true) }

// lose records that the position in a direction was lost.
func (k *conn) lose(dir dissect.Dir, bad bool) {
	s := &k.sides[dir]
	c := s.call
	*s = side{keep: s.keep[:0]}
	k.acc = span{}
	if k.phase == phaseConnect && k.hello != nil {
		c = k.hello
		k.phase = phaseCommand
	}
	if dir == dissect.ToServer {
		k.line.Missing(nil)
	} else {
		k.lost = true
		if c == nil {
			c = k.orphan
		}
		if f := k.front(); c == nil && f != nil && f.x.HasResponse() {
			c = f
		}
	}
	if c == nil {
		return
	}
	c.bad, c.gap = c.bad || bad, c.gap || !bad
	if dir == dissect.ToClient || c == k.hello {
		k.emit(c, "")
	}
}

// Shed implements dissect.Shedder.
func (k *conn) Shed() bool {
	k.acc = span{}
	c := k.front()
	if c == nil {
		c = k.orphan
	}
	if c == nil {
		c = k.hello
	}
	if c == nil {
		return false
	}
	if c == k.hello {
		k.phase = phaseCommand
	}
	if c.x.ReqBody.Spill() {
		return true
	}
	if c.queued {
		k.lost = true
		if k.head+1 < len(k.pending) {
			k.line.Missing(&k.pending[k.head+1].asked)
		} else {
			k.line.Missing(nil)
		}
	}
	k.emit(c, "cut")
	return true
}

// Kept implements dissect.Keeper.
func (k *conn) Kept() int {
	n := k.prepared.bytes + cap(k.scratch) + k.spareBytes
	for i := range k.sides {
		n += cap(k.sides[i].keep) + cap(k.sides[i].plain)
	}
	if k.newest != nil {
		n += k.newest.cost()
	}
	for _, c := range [...]*call{k.hello, k.orphan, k.front()} {
		if c == nil {
			continue
		}
		n += cap(c.preview) + len(c.info)
		if !c.queued {
			n += callCost
		}
		if c.cols != nil && c.cols != k.newest {
			n += c.cols.cost()
		}
	}
	return n
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.acc = span{}
	if c := k.hello; c != nil {
		word := why.CallError()
		if !c.x.HasRequest() && why != dissect.EndCapture {
			c.answered, word = true, "" // a probe: the client closed without a word
		}
		k.emit(c, word)
	}
	if c := k.orphan; c != nil {
		k.emit(c, why.CallError())
	}
	for c := k.front(); c != nil; c = k.front() {
		word := why.CallError()
		switch {
		case c.stage == stageMaybe:
			word = ""
		case why == dissect.EndFin && c.x.HasResponse():
			word = "cut"
		}
		k.emit(c, word)
	}
}
