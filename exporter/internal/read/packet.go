package read

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// add numbers and decodes one packet into the current round, if it passes the filter.
func (r *Reader) add(o *opened, p *pcapng.Packet, pass bool) {
	r.damages(o, p.Offset, o.now)
	l := &r.links[o.links[p.Interface]]
	if !p.TimeOK {
		r.noTime++
	}
	if n, ok := p.DropCount(); ok && n > 0 {
		o.drops += int64(min(n, 1<<53))
		r.dropped(o, p, int64(min(n, 1<<53)))
	}
	o.extend(l.section, p.TimeOK)
	o.packets++
	clock := flow.NoClock
	if c := l.recording; p.TimeOK && !o.outlier {
		c.Passed(p.Time)
		clock = c.Clock
	}
	if r.opt.FromNs != 0 && p.Time < r.opt.FromNs || r.opt.ToNs != 0 && p.Time > r.opt.ToNs || !pass {
		r.left++
		o.left++
		return
	}
	r.now = max(r.now, o.now)
	if r.opt.Keep != nil && !r.opt.Keep(o.id, p.Index) {
		r.numbered++
		return
	}
	f := r.cur.Add(len(p.Data))
	f.No, f.Time, f.Stamp, f.Offset, f.FileIndex, f.Frame = r.numbered, o.now, p.Time, p.Offset, p.Index, p.Frame
	f.File, f.Interface, f.Clock = o.id, o.links[p.Interface], clock
	f.CapLen, f.Len = int32(len(p.Data)), int32(min(p.OrigLen, 1<<31-1))
	if o.outlier {
		r.outlier(f)
	}
	if o.back > 0 {
		r.timeBack(f, o.back)
	}
	r.numbered++
	if len(p.Options) > 0 {
		f.Owner = r.packetOwner(p)
	}
	if f.Owner == 0 {
		f.Owner = r.links[f.Interface].ownerAt(f.Time)
	}
	r.decode(o, p, f)
	r.addIncomplete()
}

// maxDelivery is how long, in ns, a probe may keep a payload before it sends it in HEP. If its time is further away, then
// its clock is wrong, and the time of the capture applies.
const maxDelivery = int64(60e9)

func (r *Reader) decode(o *opened, p *pcapng.Packet, f *flow.Packet) {
	fr := &r.frame
	if r.heard.since == 0 {
		r.heard.since = max(1, f.Time)
	}
	r.decoder.Decode(decode.Input{LinkType: p.LinkType, Interface: f.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: f.Time, No: f.No}, fr)
	f.Kind, f.Problems, f.VLAN, f.Direction = fr.Kind, fr.Problems, -1, fr.LinkDirection
	if fr.Problems != 0 {
		r.problems(f)
	}
	if fr.Kind != decode.KindIP {
		if fr.Kind == decode.KindFragment {
			f.Mark |= flow.Fragment
		} else {
			r.notIP(fr)
			r.arp(fr, f)
		}
		return
	}
	l := &r.links[f.Interface]
	var socket pcapng.Socket
	if o.side != nil {
		socket, _ = p.Socket()
	}
	namespace := l.namespace
	if socket.Netns != 0 {
		namespace = o.side.namespace(socket.Netns)
	}
	f.Take(fr, namespace)
	if fr.Stated != 0 && distance(fr.Stated, f.Time) <= maxDelivery {
		f.Time = fr.Stated
	}
	f.Several = len(r.links)+len(r.waiting) > 1
	if fr.Problems&decode.UnfinishedSum != 0 && !l.unsummed {
		l.unsummed = true
		r.anomaly(f.No, f.Time, "link", "unfinished_checksums", "the network adapter fills in checksums later: on this interface they prove nothing", 0)
	}
	if f.Direction == decode.DirUnknown {
		f.Direction = directionOf(p)
	}
	if o.side != nil {
		r.sideOwner(o, p, f, &socket)
	}
	if len(f.FragNos) > 0 {
		f.Mark |= flow.Fragment
	}
	if !fr.L4 && hasPorts(fr.Proto) { // without ports, the conversation is unknown
		f.Mark |= flow.NotWhole
		r.capped["no_transport_header"]++
		return
	}
	h := r.judge.Place(fr, f, namespace, &socket, r.cur)
	r.oneWay.see(r.links, fr, f)
	s, i := h%flow.ShardCount, int32(len(r.cur.Packets)-1)
	r.cur.Shards[s] = append(r.cur.Shards[s], i)
	report, ok := flow.Undelivered(f)
	if !ok {
		report, ok = r.judge.AnsweredElsewhere(f)
	}
	if ok {
		s := r.judge.PlaceQuoted(&report) % flow.ShardCount
		*r.cur.Add(0) = report // its bytes are those of f
		r.cur.Shards[s] = append(r.cur.Shards[s], i+1)
	}
}

// incomplete is a datagram with missing fragments, and the shard of its conversation. Without ports, any may have it.
type incomplete struct {
	packet flow.Packet
	shard  uint64
}

// addIncomplete adds incomplete datagrams to the round: their conversations count them, but they
// are not packets of a file.
func (r *Reader) addIncomplete() {
	for i := range r.incomplete {
		g := &r.incomplete[i]
		*r.cur.Add(len(g.packet.Payload)) = g.packet
		at := int32(len(r.cur.Packets) - 1)
		for s := range r.cur.Shards {
			if g.packet.Portless || uint64(s) == g.shard {
				r.cur.Shards[s] = append(r.cur.Shards[s], at)
			}
		}
	}
	clear(r.incomplete)
	r.incomplete = r.incomplete[:0]
}

// hasPorts reports whether ports identify the conversations of an IP protocol.
func hasPorts(proto uint8) bool {
	const tcp, udp, sctp = 6, 17, 132
	return proto == tcp || proto == udp || proto == sctp
}

// directionOf reads the direction from the packet's flags option.
func directionOf(p *pcapng.Packet) decode.Direction {
	if len(p.Options) == 0 {
		return decode.DirUnknown
	}
	fl, ok := p.Flags()
	if !ok {
		return decode.DirUnknown
	}
	switch fl & 3 {
	case 1:
		return decode.DirIn
	case 2:
		return decode.DirOut
	}
	return decode.DirUnknown
}
