package redis

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// transaction holds the commands that the server queued, until EXEC's reply has their results. If
// the first ones are missing, the last results are theirs: every command between MULTI and EXEC has
// one result, in order.
type transaction struct {
	calls []*call // from head on
	head  int
	bytes int   // memory of calls
	open  bool  // EXEC's reply is being read
	doubt bool  // commands were lost, perhaps EXEC or DISCARD
	left  int64 // results to come
	now   *call // the call of the result that is being read
}

// queued keeps a command that the server queued, and reports whether it did.
func (k *conn) queued(c *call) bool {
	if c.kind != '+' || string(c.reply) != "QUEUED" {
		return false
	}
	k.queue.Remove(c)
	c.queued, c.answered = true, true
	t := &k.tx
	t.calls = append(t.calls, c)
	t.bytes += c.memory()
	return true
}

func (c *call) memory() int { return callCost + cap(c.line) + cap(c.reply) }

// next removes the oldest command.
func (t *transaction) next() *call {
	c := t.calls[t.head]
	t.calls[t.head] = nil
	t.bytes -= c.memory()
	if t.head++; t.head == len(t.calls) {
		t.calls, t.head = t.calls[:0], 0
	}
	return c
}

// end emits the commands that got no result.
func (t *transaction) end(k *conn, why string) {
	c := t.now
	if t.doubt && why != "" {
		why = "gap"
	}
	t.open, t.now = false, nil
	switch {
	case c == nil:
	case c.queued:
		k.emit(c, why)
	default:
		k.drop(c)
	}
	for len(t.calls) > 0 {
		k.emit(t.next(), why)
	}
}

// shed ends the oldest command.
func (t *transaction) shed(k *conn) bool {
	if len(t.calls) == 0 || t.open {
		return false
	}
	k.emit(t.next(), "cut")
	return true
}

// value is the call of the value that is being read: of a result, or of the reply.
func (k *conn) value() *call {
	if k.tx.now != nil {
		return k.tx.now
	}
	return k.resp
}

// readResults reads the head of EXEC's array, or a part of one result.
func (k *conn) readResults(in *dissect.Input, at int) (n int, done bool, err error) {
	b, t, c := in.Data[at:], &k.tx, k.resp
	if !t.open {
		size, m := number(b[1:])
		if b[0] != '*' || m < 0 || m > 0 && size < int64(len(t.calls)-t.head) {
			return k.w.walk(k.c, c, b) // no results of these commands
		}
		if m == 0 {
			return 0, false, nil
		}
		t.open, t.left = true, size
		c.kind, c.elements, c.reply = '*', size, append(c.reply, '[')
		return 1 + m, false, nil
	}
	q := t.now
	if q == nil {
		if t.left > int64(len(t.calls)-t.head) {
			q = k.newCall() // of a command that was not captured
		} else {
			q = t.next()
			q.reply, q.kind = q.reply[:0], 0
		}
		t.now = q
	}
	n, done, err = k.w.walk(k.c, q, b)
	q.x.Cite(in, at, at+n)
	q.hideReply(in, at, at+n)
	if !done {
		return n, false, err
	}
	t.now = nil
	c.result(q, t.left == c.elements)
	if q.queued {
		k.emit(q, "")
	} else {
		k.drop(q)
	}
	if t.left--; t.left > 0 {
		return n, false, nil
	}
	t.open = false
	if !c.full {
		c.reply = append(c.reply, ']')
	}
	return n, true, nil
}

// result adds the result of a queued command to the reply of EXEC.
func (c *call) result(q *call, first bool) {
	if q.errors > 0 && c.errors == 0 {
		c.errText = q.errText
	}
	c.errors += q.errors
	if c.full {
		return
	}
	if !first {
		c.reply = append(c.reply, ", "...)
	}
	if q.null || bytes.IndexByte([]byte("*%~>:,(#"), q.kind) >= 0 || plain(q.reply) {
		c.reply = append(c.reply, q.reply...)
	} else {
		c.reply = append(append(append(c.reply, '"'), bytes.ReplaceAll(q.reply, []byte{'"'}, []byte(`\"`))...), '"')
	}
	c.full = q.full || len(c.reply) > maxText
}

// drop discards a value that belongs to no row.
func (k *conn) drop(c *call) {
	if b := c.x.RespBody; b != nil {
		b.Finish()
		b.Release()
	}
	k.free(c)
}
