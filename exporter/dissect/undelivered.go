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

// undelivered is the first ICMP error about a call's request, or nil. What was answered was delivered.
func (c *Conn) undelivered(x *Exchange) *undelivered {
	f := c.root().facts
	if f == nil || !x.req.seen || x.resp.seen {
		return nil
	}
	for i := range f.undelivered {
		if u := &f.undelivered[i]; x.cites.Has(u.no) {
			return u
		}
	}
	return nil
}

// explain says in a row that an ICMP error reports what became of its request.
func (u *undelivered) explain(b *table.Call) {
	b.Outcome = table.NoAnswer
	if u.refused {
		b.Outcome = table.Refused
	}
	b.Error, b.Complete = table.Some(table.Undelivered), false
	if !b.StatusText.OK {
		b.StatusText = table.Some(u.why)
	}
	const silent = "no response"
	if words := strings.ReplaceAll(u.why, "_", " "); strings.HasSuffix(b.Summary, silent) {
		b.Summary = strings.TrimSuffix(b.Summary, silent) + words
	} else {
		b.Summary += ", " + words
	}
	b.Cites.Add(u.at.No, u.at.No)
}
