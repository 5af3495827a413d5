package amqp

import "github.com/pcapsule/pcapsule/exporter/table"

// finish emits a message or an acknowledgement. On a channel with tx.select, it counts only when the transaction ends.
func (k *conn) finish(c *call) {
	ch := k.channels[c.channel]
	if ch == nil || !ch.tx || c.id == returned {
		k.emit(c, "")
		return
	}
	k.settle(c)
	ch.made++
	k.undecided.Put(tagged{c.channel, ch.made}, c, callCost+c.texts)
}

// decide ends the transaction of a channel, which has the messages and acknowledgements up to a number.
func (k *conn) decide(number uint16, id uint32, upTo uint64) {
	ch := k.channels[number]
	for ch != nil && ch.decided < min(upTo, ch.made) {
		ch.decided++
		key := tagged{number, ch.decided}
		lost := k.undecided.MayBeLost(key)
		c, ok := k.undecided.Take(key)
		if !ok {
			continue
		}
		if c.gap = c.gap || lost; id != txCommit && !c.gap {
			c.rolledBack()
			ch.got = max(ch.got, uint64(c.row.Tag.V)) // it may be acknowledged again
		}
		k.emit(c, "")
	}
}

// rolledBack records that the message was not published, or is not acknowledged.
func (c *call) rolledBack() {
	word := "rolled back"
	if c.row.Ack.OK {
		word = c.row.Ack.V + ", " + word
	}
	c.answered, c.row.Ack = true, table.Some(word)
	c.row.Outcome, c.row.StatusText = table.ClientError, table.Some("ROLLED_BACK")
}
