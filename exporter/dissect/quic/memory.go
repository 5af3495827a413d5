package quic

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Memory of a connection in addition to that of Conn.Hold.
const (
	connCost     = 6<<10 + int(unsafe.Sizeof(conn{})+unsafe.Sizeof(Row{})) // with the handshake's row
	keysCost     = 2 << 10                                                 // of one direction at one level
	skippedCost  = 24                                                      // of a skipped id
	idCost       = 96
	intervalCost = int(unsafe.Sizeof(interval{}))
)

// Kept implements dissect.Dissector.
func (t *tuple) Kept() int {
	n := cap(t.plain) + cap(t.head)
	for _, q := range t.conns {
		n += q.size()
	}
	return n
}

func (q *conn) size() int {
	n := connCost + 2*keysCost*len(q.initials)
	for i := range q.rings {
		for r := range q.rings[i] {
			n += q.rings[i][r].size()
		}
	}
	for i := range q.spaces {
		n += intervalCost * (cap(q.spaces[i][0].missing) + cap(q.spaces[i][1].missing))
	}
	n += q.unacked[0].size() + q.unacked[1].size()
	for i := range q.app.skipped {
		n += skippedCost * len(q.app.skipped[i])
	}
	for r := range q.ends {
		n += idCost * len(q.ends[r].ids)
	}
	if s := q.app.streams; s != nil {
		n += s.Kept()
	}
	return n
}

func (g *ring) size() int {
	n := len(g.tries)
	for _, k := range [...]bool{g.cur != nil, g.prev != nil, g.next != nil} {
		if k {
			n++
		}
	}
	return keysCost * n
}

// Shed implements dissect.Dissector: it ends HTTP/3 calls, else the oldest connection.
func (t *tuple) Shed() bool {
	for _, q := range t.conns {
		if s := q.app.streams; s != nil && s.Shed() {
			return true
		}
	}
	if len(t.conns) == 0 {
		return false
	}
	t.conns[0].close(dissect.EndEvicted)
	t.conns = append(t.conns[:0], t.conns[1:]...)
	return true
}
