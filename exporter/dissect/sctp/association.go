package sctp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	maxPayloads = 16
	associated  = int(unsafe.Sizeof(association{}) + unsafe.Sizeof(Row{}))
)

// association is one association.
type association struct {
	c     *dissect.Conn
	x     dissect.Exchange
	row   *Row
	sides [2]sender // by the direction in which they send
	inner *dissect.Conn
	at    dissect.Packet // the newest
	begun bool           // a packet was read
	open  bool           // the handshake is over, or was before the capture
	sound bool           // a checksum was right
	told  map[string]bool
	over  bool
}

func newAssociation(c *dissect.Conn) *association {
	return &association{c: c, row: &Row{}, told: map[string]bool{}}
}

func (a *association) kept() int {
	n := associated
	for i := range a.sides {
		n += a.sides[i].kept()
	}
	return n
}

func (a *association) shed() bool {
	for d := range a.sides {
		if s := &a.sides[d]; len(s.waiting) > 0 {
			a.skip(dissect.Dir(d))
			return true
		}
	}
	return a.inner != nil && a.inner.Shed()
}

// refuses reports a packet that its receiver does not accept, with the reason.
func (a *association) refuses(in *dissect.Input, p *packet) bool {
	if p.sum && a.sound {
		a.anomaly("checksum", "the checksum is wrong: the receiver did not take the packet", int64(len(in.Data)))
		return true
	}
	if p.sum {
		a.anomaly("checksum_unverified", "no checksum of the association is right; a network adapter may compute them", 0)
	} else if binary.BigEndian.Uint32(in.Data[8:]) != 0 {
		a.sound = true
	}
	return false
}

// anomaly reports each kind once.
func (a *association) anomaly(kind, detail string, bytes int64) {
	if !a.told[kind] {
		a.told[kind] = true
		a.c.Anomaly(kind, detail, bytes)
	}
}

// tagged reports whether a packet has the tag that its receiver expects, RFC 9260 section 8.5.
func (a *association) tagged(dir dissect.Dir, p *packet) bool {
	from, to := &a.sides[dir], &a.sides[dir.Other()]
	first := p.chunks[0]
	switch {
	case first.kind == chunkInit:
		return p.tag == 0
	case (first.kind == chunkAbort || first.kind == chunkShutdownComplete) && first.flags&ownTag != 0:
		return from.tag == 0 || p.tag == from.tag
	}
	return to.tag == 0 || p.tag == to.tag
}

// repeats reports whether an INIT is the one that began the association.
func (a *association) repeats(dir dissect.Dir, p *packet) bool {
	s, ok := readSetup(p.chunks[0].value)
	return ok && s.tag == a.sides[dir].tag
}

func (a *association) read(in *dissect.Input, p *packet) {
	if !a.tagged(in.Dir, p) {
		a.anomaly("wrong_tag", fmt.Sprintf("the verification tag 0x%08x is not the one that the receiver chose", p.tag), int64(len(in.Data)))
		return
	}
	first := p.chunks[0]
	if !a.begun && first.kind != chunkInit {
		a.row.Midstream, a.open = true, true
	}
	a.begun, a.at = true, in.Packet(0)
	if to := &a.sides[in.Dir.Other()]; to.tag == 0 && first.kind != chunkInit && first.flags&ownTag == 0 {
		to.tag = p.tag
	}
	a.x.Add(in, 0, len(in.Data))
	for i := range p.chunks {
		if a.chunk(in, &p.chunks[i]); a.over {
			return
		}
	}
	a.impatient(in.Dir)
}

// chunk reads a chunk.
func (a *association) chunk(in *dissect.Input, c *chunk) {
	switch c.kind {
	case chunkInit, chunkInitAck:
		a.setup(in.Dir, c)
	case chunkCookieAck:
		a.open = true
	case chunkData, chunkIData:
		a.open = true
		a.data(in, c)
	case chunkSack, chunkShutdown:
		if len(c.value) >= 4 {
			a.sides[in.Dir.Other()].acknowledge(binary.BigEndian.Uint32(c.value))
			a.ready(in.Dir.Other())
		}
		if c.kind == chunkShutdown {
			a.closedBy("shutdown", in.Dir)
		}
	case chunkForward, chunkIForward:
		if len(c.value) >= 4 {
			a.forward(in.Dir, binary.BigEndian.Uint32(c.value)+1)
		}
	case chunkHeartbeat:
		a.row.Heartbeats++
	case chunkError:
		a.cause(c.value)
	case chunkAbort:
		a.cause(c.value)
		a.closedBy("abort", in.Dir)
		a.end(dissect.EndReset)
	case chunkShutdownComplete:
		a.closedBy("shutdown", in.Dir.Other())
		a.end(dissect.EndFin)
	case chunkShutdownAck:
		a.closedBy("shutdown", in.Dir.Other())
	}
}

func (a *association) closedBy(how string, dir dissect.Dir) {
	if !a.row.Close.OK || how == "abort" {
		a.row.Close, a.row.CloseBy = table.Some(how), table.Some(dir.Sender())
	}
}

// cause reads the first cause of an error, RFC 9260 section 3.3.10.
func (a *association) cause(b []byte) {
	if len(b) < 4 || a.row.Cause.OK {
		return
	}
	code, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	text := tables()["cause"].Name(int64(code), "cause_")
	if reason := b[4:min(max(size, 4), len(b))]; (code == 12 || code == 13) && clip.Printable(reason) && len(reason) > 0 {
		text += ": " + clip.Line(reason, 200)
	}
	a.row.Cause = table.Some(text)
}

// setup stores the announcements of a side.
func (a *association) setup(dir dissect.Dir, c *chunk) {
	u, ok := readSetup(c.value)
	s, r := &a.sides[dir], a.row
	if !ok || s.set || a.open {
		return
	}
	s.set, s.tag, s.out, s.in = true, u.tag, u.out, u.in
	s.begin(u.first)
	streams := func(from, to *sender) table.Opt[int32] {
		n := from.out
		if to.set {
			n = min(n, to.in)
		}
		return table.Some(int32(n))
	}
	if dir == dissect.ToServer {
		r.ClientAddresses = u.addresses
	} else {
		r.ServerAddresses = u.addresses
	}
	client, server := &a.sides[dissect.ToServer], &a.sides[dissect.ToClient]
	if client.set {
		r.ClientStreams = streams(client, server)
	}
	if server.set {
		r.ServerStreams = streams(server, client)
	}
}

// deliver passes the bytes of a chunk to what reads them.
func (a *association) deliver(dir dissect.Dir, h *held) {
	s := &a.sides[dir]
	if h.interleaved && h.flags&(firstPiece|lastPiece) != firstPiece|lastPiece {
		if h = a.gather(s, h); h == nil {
			return
		}
	}
	if h.flags&firstPiece != 0 {
		s.messages++
		s.behind = false
		if name := tables()["payload"].Name(int64(h.payload), "payload_"); !slices.Contains(a.row.Payloads, name) && len(a.row.Payloads) < maxPayloads {
			a.row.Payloads = append(a.row.Payloads, name)
		}
	}
	if s.behind { // the rest of a message whose beginning is missing
		a.anomaly("unfinished", "a user message lacks pieces before this one", int64(len(h.data)))
		return
	}
	p := h.packet
	// What identifies a call must not depend on where the capture began.
	p.Seq, p.Ack, p.Cut = h.tsn, a.sides[dir.Other()].tag, 0
	s.bytes += int64(len(h.data))
	if a.inner == nil {
		a.inner = a.c.NewInner(a.c.Info.OpenedBy)
		a.inner.Info.Transport = dissect.Association
		if a.row.Midstream {
			a.inner.Info.Began = [2]bool{}
		}
	}
	a.inner.Data(dir, h.data, p)
	if h.cut > 0 {
		a.inner.Gap(dir, int64(h.cut), p)
	}
}

// gather puts the pieces of an interleaved message together. It returns the message once it is complete.
func (a *association) gather(s *sender, h *held) *held {
	m := s.pieces[h.message]
	if h.flags&firstPiece != 0 && m == nil {
		if len(s.pieces) >= maxPieces || !a.c.Hold(heldCost+len(h.data)) {
			a.anomaly("limit", "no memory for a message in pieces", int64(len(h.data)))
			return nil
		}
		if s.pieces == nil {
			s.pieces = map[message]*held{}
		}
		w := *h
		w.data, w.piece = slices.Clone(h.data), 1
		s.pieces[h.message] = &w
		return nil
	}
	if m == nil || h.piece != m.piece || !a.c.Hold(len(h.data)) {
		a.anomaly("unfinished", "a user message lacks pieces before this one", int64(len(h.data)))
		return nil
	}
	m.data, m.packet.Also, m.piece, m.cut = append(m.data, h.data...), append(m.packet.Also, m.packet.No), m.piece+1, m.cut+h.cut
	m.packet.No, m.packet.Time = h.packet.No, h.packet.Time
	if h.flags&lastPiece == 0 {
		return nil
	}
	delete(s.pieces, h.message)
	a.c.Release(heldCost + len(m.data))
	return m
}

// end ends the association and emits its row.
func (a *association) end(why dissect.End) {
	if a.over {
		return
	}
	for d := range a.sides {
		a.skipAll(dissect.Dir(d))
	}
	for d := range a.sides {
		for _, m := range a.sides[d].pieces {
			a.c.Release(heldCost + len(m.data))
			a.anomaly("unfinished", "a user message lacks pieces at the end", 0)
		}
		a.sides[d].pieces = nil
	}
	if a.over = true; !a.begun {
		return
	}
	r := a.row
	if r.Close.V == "shutdown" && why != dissect.EndReuse {
		why = dissect.EndFin
	}
	if a.inner != nil {
		a.inner.Close(why, a.at)
		a.inner = nil
	}
	client, server := &a.sides[dissect.ToServer], &a.sides[dissect.ToClient]
	r.ClientTag, r.ServerTag = client.known(), server.known()
	r.ClientMessages, r.ClientBytes, r.ServerMessages, r.ServerBytes = client.messages, client.bytes, server.messages, server.bytes
	fault := a.fault(why)
	r.Error, r.Complete = table.NonEmpty(fault), fault == ""
	r.StatusText = r.Cause
	if r.Close.V == "abort" && !a.open {
		r.Outcome = table.Refused
		if !r.Cause.OK {
			r.StatusText = table.Some("ABORT")
		}
	}
	r.Summary = a.summary(fault)
	a.c.Emit(&a.x, r)
}

// fault is the value of column error.
func (a *association) fault(why dissect.End) string {
	r := a.row
	switch {
	case r.Midstream && !r.Close.OK:
		return "cut"
	case r.Close.V == "abort" && a.open:
		return "reset"
	case r.Close.V == "abort":
		return ""
	case !a.open:
		return why.CallError()
	case r.Lost > 0, r.Midstream:
		return "gap"
	case r.Close.OK:
		return ""
	}
	return why.CallError()
}

func (a *association) summary(fault string) string {
	r := a.row
	s := "SCTP"
	if len(r.Payloads) > 0 {
		s += " " + r.Payloads[0]
	}
	s += ", " + clip.Count(r.ClientMessages+r.ServerMessages, "message", "messages")
	switch {
	case r.Cause.OK:
		s += " → " + r.Cause.V
	case r.Close.OK:
		s += " → " + r.Close.V
	case fault != "":
		s += " → " + fault
	}
	return clip.Text(s, 300)
}
