// Package pieces joins a file that many calls read or write in pieces, such as those of SMB and
// NFS.
//
// Pieces may arrive in any order. The bytes of a file are in the order of their positions; missing
// parts are left out, never filled, and reported. Bytes that wait for earlier ones have a limit and
// use the budget of the connection.
package pieces

import (
	"bytes"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/object"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one transfer.
const (
	maxWaiting = 1 << 20 // bytes that wait for those before them
	maxPieces  = 256     // runs of them
)

// Transfer is one direction of an open file.
type Transfer struct {
	Name    string           // of the file; may be empty
	Size    table.Opt[int64] // of the whole file, if known; what is read of a file of unknown size counts as a part
	Refused bool             // the server reported that a piece failed

	conn       *dissect.Conn
	body       *dissect.Body
	x          dissect.Exchange // the packets of all pieces
	waiting    []piece          // in order, without overlaps
	held       int
	begun      bool
	from, next int64 // positions in the file where the body begins, and ends so far
	lost       int64 // bytes that were transferred but not captured, and not yet counted in the body
	lostTo     int64 // position after the last of them
	holes      bool  // some bytes between from and next were not transferred
	rewritten  bool  // bytes came again, and were not the same
}

// piece is a run of bytes at a position of the file.
type piece struct {
	at   int64
	data []byte
}

// New returns an empty transfer.
func New(c *dissect.Conn, name string) *Transfer {
	return &Transfer{Name: name, conn: c, body: c.NewBody("", "")}
}

// Write adds in.Data[from:to], which is at a position of the file.
func (t *Transfer) Write(in *dissect.Input, from, to int, at int64) {
	if at < 0 || from >= to {
		return
	}
	switch {
	case t.x.HasRequest() || t.x.HasResponse():
		t.x.Cite(in, from, to)
	case in.Dir == dissect.ToServer:
		t.x.Request(in, from, to)
	default:
		t.x.Response(in, from, to)
	}
	t.write(in.Data[from:to], at)
	t.drain()
}

// Lose records that n bytes at a position of the file were transferred but not captured. They may
// come again.
func (t *Transfer) Lose(n, at int64) { t.lost, t.lostTo = t.lost+n, max(t.lostTo, at+n) }

// write adds bytes to the body, or keeps them until those before them have come.
func (t *Transfer) write(p []byte, at int64) {
	if !t.begun && at == 0 {
		t.begun = true
	}
	if !t.begun || at > t.next {
		t.keep(p, at)
		return
	}
	if again := min(t.next-at, int64(len(p))); again > 0 {
		t.compare(p[:again], at)
		p = p[again:]
	}
	t.body.Write(p)
	t.next += int64(len(p))
}

// compare records whether bytes that came again are the same.
func (t *Transfer) compare(p []byte, at int64) {
	if t.holes {
		return // it is not complete anyway
	}
	kept := t.body.Kept()
	if i := at - t.from; i < 0 || t.body.Over() || i+int64(len(p)) > int64(len(kept)) || !bytes.Equal(kept[i:i+int64(len(p))], p) {
		t.rewritten = true
	}
}

// keep keeps bytes for later.
func (t *Transfer) keep(p []byte, at int64) {
	for t.held+len(p) > maxWaiting || len(t.waiting) >= maxPieces || !t.conn.Hold(len(p)) {
		if !t.skip() {
			t.jump(at)
		}
		if t.begun && at <= t.next {
			t.write(p, at)
			return
		}
	}
	t.held += len(p)
	i, _ := slices.BinarySearchFunc(t.waiting, at, func(w piece, at int64) int {
		if w.at <= at {
			return -1
		}
		return 1
	})
	if i > 0 && t.waiting[i-1].at+int64(len(t.waiting[i-1].data)) == at {
		t.waiting[i-1].data = append(t.waiting[i-1].data, p...)
		return
	}
	t.waiting = slices.Insert(t.waiting, i, piece{at, bytes.Clone(p)})
}

// jump continues at a later position of the file.
func (t *Transfer) jump(at int64) {
	if !t.begun {
		t.from, t.next, t.begun = at, at, true
		return
	}
	hole := at - t.next
	n := min(hole, t.lost)
	if t.lost -= n; n > 0 {
		t.body.Missing(n)
	}
	t.holes, t.next = t.holes || hole > n, at
}

// drain adds what has waited for the bytes before it.
func (t *Transfer) drain() {
	for len(t.waiting) > 0 && t.begun && t.waiting[0].at <= t.next {
		t.first()
	}
}

// first adds the first run that waits.
func (t *Transfer) first() {
	w := t.waiting[0]
	t.waiting = slices.Delete(t.waiting, 0, 1)
	t.held -= len(w.data)
	t.conn.Release(len(w.data))
	t.write(w.data, w.at)
}

// skip stops waiting for the bytes before the first run. It reports whether there is one.
func (t *Transfer) skip() bool {
	if len(t.waiting) == 0 {
		return false
	}
	t.jump(t.waiting[0].at)
	t.first()
	t.drain()
	return true
}

// Whole reports whether all bytes from the beginning to a position have come.
func (t *Transfer) Whole(size int64) bool { return t.begun && t.from == 0 && t.next >= size }

// Shed frees memory and reports whether it could: first the bytes that wait, then the body.
func (t *Transfer) Shed() bool {
	if t == nil {
		return false
	}
	if held := t.held; held > 0 {
		for t.skip() {
		}
		return t.body.Spill() || held > 0
	}
	return t.body.Spill()
}

// Into ends the transfer in the call x. closed reports whether the file was closed, so that no piece can follow.
func (t *Transfer) Into(x *dissect.Exchange, response, closed bool) {
	if t == nil {
		return
	}
	for t.skip() {
	}
	if n := min(t.lost, t.lostTo-t.next); n > 0 {
		t.body.Missing(n)
	}
	t.body.Complete = closed && !t.Refused && t.body.Lost() == 0
	f := &dissect.File{Name: t.Name}
	if t.Name != "" {
		f.NamedBy = "path"
	}
	switch {
	case t.from > 0 || t.Size.OK && t.next < t.Size.V || response && !t.Size.OK:
		f.Offset = table.Some(t.from)
	case t.holes:
		f.Why = object.Hole
	case t.rewritten:
		f.Why = object.Rewritten
	}
	t.body.File = f
	x.SetBody(response, t.body)
	x.Include(t.conn, &t.x)
}

// Captured reports whether any byte was captured. Without one there is no packet to cite.
func (t *Transfer) Captured() bool { return t != nil && (t.x.HasRequest() || t.x.HasResponse()) }

// Part is the exchange of a call that consists of the pieces only.
func (t *Transfer) Part() dissect.Exchange {
	x := t.x
	t.x = dissect.Exchange{}
	return x
}
