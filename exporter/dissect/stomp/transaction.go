package stomp

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// postponed is ACK or NACK of a message in a transaction that has not ended.
type postponed struct {
	waiting
	command string
}

const postponedCost = 2 * (waitCost + 96) // with its place in the list of the transaction, which may be new

// postpone keeps an acknowledgement until the end of its transaction. It reports whether there is memory for it.
func (k *conn) postpone(transaction string, p postponed) bool {
	cost := postponedCost + len(transaction)
	if !k.c.Hold(cost) {
		return false
	}
	if k.transactions == nil {
		k.transactions = map[string][]postponed{}
	}
	k.transactions[transaction] = append(k.transactions[transaction], p)
	k.have += cost
	return true
}

// endTransaction handles COMMIT, with which the acknowledgements of a transaction become valid, or ABORT, after which
// their messages wait again.
func (k *conn) endTransaction(in *dissect.Input, at, end int, f *frame) {
	transaction := string(k.value(f, "transaction"))
	list := k.transactions[transaction]
	delete(k.transactions, transaction)
	cost := len(list) * (postponedCost + len(transaction))
	k.have -= cost
	k.c.Release(cost)
	for _, p := range list {
		c := k.waits(p.waiting)
		switch {
		case c == nil:
		case f.command == "COMMIT":
			c.x.Cite(in, at, end)
			k.settle(c, p.command)
		case !slices.Contains(k.lines[c.sub], p.waiting):
			k.lines[c.sub] = append(k.lines[c.sub], p.waiting)
			slices.SortFunc(k.lines[c.sub], func(a, b waiting) int { return cmp.Compare(a.no, b.no) })
			k.inLines++
		}
	}
}

// settle emits a message with its acknowledgement.
func (k *conn) settle(c *call, command string) {
	k.delivered.Take(c.place)
	c.answered = true
	c.row.Ack = table.Some(strings.ToLower(command))
	if command == "NACK" {
		c.row.Outcome, c.row.StatusText = table.ClientError, table.Some("NACK")
	}
	k.emit(c, "")
}
