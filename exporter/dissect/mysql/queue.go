package mysql

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
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

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued: a call is emitted with its reply.
func (c *call) Waits() bool { return true }

// drop removes a call from everything that refers to it.
func (k *conn) drop(c *call) {
	k.queue.Remove(c)
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
	if f := k.queue.Front(); f != nil && f.stage == stageMaybe && !(isEOF(b, size) && seq == f.seq+1) {
		k.emit(f, "")
	}
	f := k.queue.Front()
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
	if f = k.queue.Answer(o.in.Seq(o.at)); f == nil {
		if seq == 0 {
			return nil, false, errSequence(o, seq, 1)
		}
		if k.mayWait(o) && k.queue.Front() == nil && !k.queue.Passes(o.in.Seq(o.at)) && !k.sides[dissect.ToServer].open {
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

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	s := &k.sides[dir]
	c := s.call
	*s = side{keep: s.keep[:0]}
	k.acc = span{}
	k.queue.Resync(dir, why)
	if dir == dissect.ToServer {
		k.losses++
		k.latest, k.database = nil, "" // a later COM_STMT_PREPARE or COM_INIT_DB may be lost
	}
	ends := dir == dissect.ToClient
	switch f := k.queue.Front(); {
	case k.hello != nil:
		c, ends = k.hello, true
		k.phase = phaseCommand
	case c != nil || dir == dissect.ToServer:
	case k.orphan != nil:
		c = k.orphan
	case f != nil && f.x.HasResponse():
		c = f
	}
	if c == nil {
		return
	}
	if why == dissect.LossGap {
		c.gap = true
	} else {
		c.bad = true
	}
	if ends {
		k.emit(c, "")
	}
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	k.acc = span{}
	f := k.queue.Front()
	if f != nil && f.x.ReqBody.Spill() || k.queue.Shed() {
		return true
	}
	for _, c := range [...]*call{k.orphan, k.hello} {
		if c != nil {
			k.phase = phaseCommand
			k.emit(c, "cut")
			return true
		}
	}
	return false
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := k.prepared.bytes + cap(k.scratch) + k.spareBytes
	for i := range k.sides {
		n += cap(k.sides[i].keep) + cap(k.sides[i].plain)
	}
	if k.newest != nil {
		n += k.newest.cost()
	}
	for _, c := range [...]*call{k.hello, k.orphan, k.queue.Front()} {
		if c == nil {
			continue
		}
		n += cap(c.preview) + len(c.info) + max(callCost-c.asked.Cost(), 0)
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
		if !c.x.HasRequest() && (why == dissect.EndFin || why == dissect.EndReset) {
			c.answered, word = true, "" // a probe: the client closed without a word
		}
		k.emit(c, word)
	}
	if c := k.orphan; c != nil {
		k.emit(c, why.CallError())
	}
	for c := k.queue.Front(); c != nil; c = k.queue.Front() {
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
