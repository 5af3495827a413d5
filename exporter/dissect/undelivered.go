package dissect

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// undelivered is an ICMP error about a datagram.
type undelivered struct {
	no      int64 // of the datagram
	at      Packet
	why     string
	refused bool
}

// maxUndelivered is how many ICMP errors of a connection are kept. LIMIT: of more, the oldest are forgotten, and the
// calls that they are about have no answer for another reason.
const maxUndelivered = 1024

const undeliveredCost = int(unsafe.Sizeof(undelivered{}))

// Undelivered reports that packet at is an ICMP error about a datagram of the connection, given by its number. why is the
// error in words; refused says that the datagram was rejected, not lost. Only the first error about a datagram counts.
func (c *Conn) Undelivered(no int64, at Packet, why string, refused bool) {
	if c.closed {
		return
	}
	f := c.known()
	i, known := slices.BinarySearchFunc(f.undelivered, no, func(u undelivered, no int64) int { return int(u.no - no) })
	if known {
		return
	}
	if len(f.undelivered) < maxUndelivered {
		c.owe(undeliveredCost)
	} else {
		if i == 0 {
			return
		}
		f.undelivered = slices.Delete(f.undelivered, 0, 1)
		i--
	}
	f.undelivered = slices.Insert(f.undelivered, i, undelivered{no, at, why, refused})
	c.weigh()
}

// undelivered lists the ICMP errors about a call's request. What was answered was delivered.
func (c *Conn) undelivered(x *Exchange) (list []*undelivered) {
	f := c.root().facts
	if f == nil || !x.req.seen || x.resp.seen {
		return nil
	}
	for i := range f.undelivered {
		if u := &f.undelivered[i]; x.cites.Has(u.no) {
			list = append(list, u)
		}
	}
	return list
}

// explain says in a row that ICMP errors report what became of its request. The last one counts.
func (c *Conn) explain(x *Exchange, b *table.Call, list []*undelivered) {
	u := list[len(list)-1]
	b.Outcome = table.NoAnswer
	if u.refused {
		b.Outcome = table.Refused
	}
	if !b.StatusText.OK {
		b.StatusText = table.Some(u.why)
	}
	b.Summary = outcomeInstead(b, strings.ReplaceAll(u.why, "_", " "))
	b.Error, b.Complete = table.Some(table.Undelivered), false
	for _, u := range list {
		b.Cites.Add(u.at.No, u.at.No)
	}
	b.WaitedUs = c.Micros(x.req.begin(), u.at.Instant())
}
