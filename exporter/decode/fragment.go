package decode

import "time"

// Memory in addition to the bytes, so that many tiny fragments count as well.
const (
	datagramCost = 384 + 896 // the first fragment's frame
	fragmentCost = 96
)

// Reason is the reason for giving up a datagram.
type Reason uint8

// Reasons.
const (
	TimedOut Reason = iota // its timeout passed, by capture time
	Evicted                // newer datagrams needed its budget
	Flushed                // the capture ended
	TooMany                // more fragments than one datagram may have
)

// String returns the reason's name.
func (r Reason) String() string {
	switch r {
	case TimedOut:
		return "timeout"
	case Evicted:
		return "evicted"
	case TooMany:
		return "too_many"
	}
	return "end"
}

// Incomplete is a datagram that is no longer waited for although fragments are missing.
type Incomplete struct {
	Frame     *Frame // the datagram up to the first missing byte, from its first fragment; nil if that did not arrive
	Last      int64  // time of the newest fragment
	Interface int32
	First     int64   // number of its first packet
	Nos       []int64 // packets with held bytes, in order of arrival
	Bytes     int     // payload bytes held
	Missing   int     // payload bytes known to be missing; -1 if the end was not seen
	Version   uint8
	Proto     uint8
	ID        uint32
	Src, Dst  Addr
	Reason    Reason
}

// Counts counts the outcomes of fragments.
type Counts struct {
	Fragments   int64 // seen
	Reassembled int64 // datagrams completed
	TimedOut    int64 // datagrams given up, by reason
	Evicted     int64
	Flushed     int64
	TooMany     int64
	Dropped     int64 // fragments that cannot belong to any datagram
	Overlaps    int64 // fragments that overlapped others
	Conflicts   int64 // those that contradicted others
}

// piece is one fragment according to its header.
type piece struct {
	off    int
	header int // bytes of the IP header before the fragmentable part
	more   bool
	proto  uint8
}

type fragKey struct {
	src, dst Addr
	context  uint64
	id       uint32
	version  uint8
	proto    uint8 // IPv4 only: RFC 8200 excludes it from the key
	badSum   bool  // receivers drop it, so it only joins others like it
}

// held is a range of bytes that no earlier fragment had.
type held struct {
	off, size int    // on the wire
	data      []byte // captured, at most size
}

type datagram struct {
	key        fragKey
	prev, next *datagram
	since      int64
	seq        uint64
	runs       []held // ascending, disjoint
	nos        []int64
	packets    int
	total      int // -1 until the last fragment
	got        int // bytes in runs, on the wire
	cost       int
	header     int
	proto      uint8
	first      bool // the first fragment has arrived, so proto is valid
	problems   Problem
	pieces     Pieces
	newest     int64  // time of the newest fragment
	head       *Frame // of the first fragment
	inif       int32
}

// reassembler holds incomplete datagrams, those of each IP version oldest first.
type reassembler struct {
	opt    Options
	open   map[fragKey]*datagram
	lists  [2]datagram // sentinels of rings: IPv4, IPv6
	cost   int
	seq    uint64
	counts Counts
}

func (r *reassembler) init(opt Options) {
	r.opt = opt
	r.open = make(map[fragKey]*datagram)
	for i := range r.lists {
		l := &r.lists[i]
		l.prev, l.next = l, l
	}
}

// Counts returns the current counts of fragments.
func (d *Decoder) Counts() Counts { return d.frags.counts }

// Held returns the bytes now held for incomplete datagrams, overhead included.
func (d *Decoder) Held() int { return d.frags.cost }

// Flush ends all incomplete datagrams, as at the end of a capture.
func (d *Decoder) Flush() {
	for g := d.frags.oldest(); g != nil; g = d.frags.oldest() {
		d.frags.giveUp(g, Flushed)
	}
}

func (r *reassembler) expire(now int64) {
	for i, limit := range [2]time.Duration{r.opt.TimeoutIPv4, r.opt.TimeoutIPv6} {
		l := &r.lists[i]
		for l.next != l && now-l.next.since > int64(limit) {
			r.giveUp(l.next, TimedOut)
		}
	}
}

func (r *reassembler) oldest() *datagram {
	a, b := r.lists[0].next, r.lists[1].next
	switch {
	case a == &r.lists[0] && b == &r.lists[1]:
		return nil
	case a == &r.lists[0]:
		return b
	case b == &r.lists[1] || a.seq < b.seq:
		return a
	}
	return b
}

func (r *reassembler) giveUp(g *datagram, why Reason) {
	r.remove(g)
	switch why {
	case TimedOut:
		r.counts.TimedOut++
	case Evicted:
		r.counts.Evicted++
	case Flushed:
		r.counts.Flushed++
	case TooMany:
		r.counts.TooMany++
	}
	if r.opt.OnIncomplete == nil {
		return
	}
	in := Incomplete{
		Nos: g.nos, Missing: -1, Version: g.key.version, Proto: g.proto,
		ID: g.key.id, Src: g.key.src, Dst: g.key.dst, Reason: why,
	}
	if len(g.nos) > 0 {
		in.First = g.nos[0]
	}
	in.Frame, in.Last, in.Interface = g.partial(), g.newest, g.inif
	for i := range g.runs {
		in.Bytes += len(g.runs[i].data)
	}
	if g.total >= 0 {
		in.Missing = g.total - g.got
	}
	r.opt.OnIncomplete(in)
}

func (r *reassembler) remove(g *datagram) {
	g.prev.next, g.next.prev = g.next, g.prev
	delete(r.open, g.key)
	r.cost -= g.cost
}

// fragment holds the current fragment. If it completes its datagram, the walk continues in the
// reassembled bytes.
func (w *walk) fragment(p piece) layer {
	f, r := w.f, &w.d.frags
	r.counts.Fragments++
	f.Kind = KindFragment
	w.payload()
	size, data := w.wire, w.data
	if p.more && size&7 != 0 {
		// Only the last fragment may have any length. IPv4 hosts truncate others; RFC 8200
		// discards them.
		f.Problems |= BadLength
		if f.IPVersion == 6 {
			return w.dropped()
		}
		size &^= 7
		data = data[:min(len(data), size)]
	}
	end := p.off + size
	if end > maxIPv4 || f.IPVersion == 4 && end+p.header > maxIPv4 {
		f.Problems |= FragmentTooLong
	}
	if p.more && size == 0 || end > r.opt.MaxDatagram || f.Problems&FragmentTooLong != 0 {
		return w.dropped()
	}
	key := fragKey{src: f.Src, dst: f.Dst, context: f.context(w.inif), id: f.IPID, version: f.IPVersion}
	if key.version == 4 {
		key.proto, key.badSum = p.proto, f.Problems&BadIPSum != 0
	}
	cost := len(data) + fragmentCost + 8*len(f.FragNos)
	g := r.find(key, w.time, cost)
	if g == nil {
		return w.dropped()
	}
	if !g.fits(end, p.more) {
		r.counts.Conflicts++
		g.problems |= FragmentConflict
		f.Problems |= FragmentConflict
		return layerDone
	}
	if !p.more {
		g.total = end
	}
	if p.off == 0 && !g.first {
		g.first, g.proto, g.header = true, p.proto, p.header
		head := *f
		head.Payload = nil // the packet's bytes belong to the caller
		g.head = &head
	}
	w.hold(g, p.off, size, data, cost)
	if g.total >= 0 && g.got == g.total {
		return w.complete(g)
	}
	if g.packets >= r.opt.MaxFragments {
		f.Problems |= FragmentDropped
		r.giveUp(g, TooMany)
	}
	return layerDone
}

func (w *walk) dropped() layer {
	w.f.Problems |= FragmentDropped
	w.d.frags.counts.Dropped++
	return layerDone
}

// find returns the datagram of key and makes room for need more bytes in the budget. It returns
// nil if the budget is too small for that.
func (r *reassembler) find(key fragKey, now int64, need int) *datagram {
	r.expire(now)
	if _, ok := r.open[key]; !ok {
		need += datagramCost
	}
	if need+datagramCost > r.opt.MaxFragmentBytes {
		return nil
	}
	for r.cost+need > r.opt.MaxFragmentBytes {
		g := r.oldest()
		if g.key == key {
			need += datagramCost // it starts again
		}
		r.giveUp(g, Evicted)
	}
	if g := r.open[key]; g != nil {
		return g
	}
	r.seq++
	g := &datagram{key: key, since: now, seq: r.seq, total: -1, cost: datagramCost, proto: key.proto}
	l := &r.lists[0]
	if key.version == 6 {
		l = &r.lists[1]
	}
	g.prev, g.next = l.prev, l
	l.prev.next, l.prev = g, g
	r.open[key] = g
	r.cost += g.cost
	return g
}
