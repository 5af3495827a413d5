package recorder

import (
	"errors"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/internal/cooked"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
)

// write passes the packets up to a time to the output.
func (r *recording) write(limit uint64) error {
	defer r.release()
	var p bpf.Packet
	for {
		body, seq, ok := r.packets.Next(limit)
		if !ok {
			return nil
		}
		r.appended, r.recordEnd = nil, r.packets.End(seq)
		err := r.one(&p, body)
		if l := r.appended; l != nil && r.reading().ledger != nil {
			l.held.push(r.packets, seq)
		} else {
			r.packets.Done(seq)
		}
		if err != nil {
			return err
		}
		if r.o.Count > 0 && r.left == 0 {
			return nil
		}
	}
}

func (r *recording) one(p *bpf.Packet, body []byte) error {
	r.read.Add(1)
	data, ok := p.Decode(body)
	if !ok {
		r.invalid.Add(1)
		return nil
	}
	at := r.clock.UTC(p.Time)
	cooked.Put(r.prefix[:], p.Protocol, p.IfIndex, p.PktType)
	x := r.ifaces.of(p.Cgroup, at)
	source := r.reading()
	if p.Lost != 0 && source.earlier == nil {
		lost := uint64(r.losses.of(p.Cgroup).New(p.Lost))
		x.lost.Add(lost)
		x.unreported += lost
	}
	if !r.matches(p, data, source) {
		r.refused.Add(1)
		return nil
	}
	if r.enforcer != nil && r.enforcer.fate(p, data, x, at) != policy.Kept {
		return nil
	}
	if r.o.Sight == sight.Once && r.sights.Again(data, p.Outgoing, at) {
		r.refused.Add(1)
		return nil
	}
	if err := r.ifaces.declare(x); err != nil {
		return err
	}
	r.packet = ring.Packet{
		Interface: x.id, Time: at, Prefix: r.prefix[:], Data: data, OrigLen: p.Len + cooked.Len,
		Flags: uint32(cooked.Flags(p.Outgoing, p.PktType, p.GSOSize != 0, data)), ID: r.nextID, Drops: x.unreported,
	}
	if p.Kind == bpf.Writer {
		r.packet.PID, r.packet.TID = p.TGID, p.TID
	}
	if p.Cookie != 0 && !r.o.NoOwners {
		r.packet.Socket = socketOf(p, data, &r.ends)
	}
	if r.o.Comments {
		r.packet.Comment = r.comment.of(r, p, at)
	}
	if source.ledger != nil {
		source.ledger.Note(x.output.tag|r.nextID&packetIDMask, r.recordEnd)
	}
	x.unreported = 0 // an output that drops the packet keeps count of them itself
	l := x.output
	switch err := l.sink.append(&r.packet); {
	case err == nil:
		r.appended = l
		x.delivered.Add(1)
	case errors.Is(err, ring.ErrDisk):
		x.lost.Add(1)
		if r.trouble == nil && l.sink.failed() == nil { // an error of failed ends the recording
			r.trouble = err
			r.o.OnError(err)
		}
		return nil
	default:
		return err
	}
	r.bytes.Add(uint64(len(data) + cooked.Len))
	r.keys.packet(data, at, r.packet.PID)
	r.owned(p, l, at)
	if (l.segment == ring.ID{}) || l.sink.ended() != l.endedSeen {
		r.segmentChanged(l)
		r.owned(p, l, at) // it may be in either segment
	}
	r.peers.packet(data, p.Outgoing, at, r.outputs[0].file)
	r.nextID++
	if r.left > 0 {
		r.left--
	}
	return nil
}

// matches asks the filter if the kernel's program did not. Earlier programs may have had
// another filter, and did not know this process.
func (r *recording) matches(p *bpf.Packet, data []byte, from *source) bool {
	match := r.match
	if from.earlier != nil {
		if match = r.asked; p.Kind != bpf.None && p.TGID == r.ownTGID || p.Cgroup == r.ownCgroup && r.ownCgroup != 0 {
			return false
		}
	}
	if match == nil {
		return true
	}
	r.matched = append(append(r.matched[:0], r.prefix[:]...), data...)
	return match.Match(r.matched, p.Len+cooked.Len)
}

// foresee shows the enforcer a packet that waits for its turn.
func (r *recording) foresee(body []byte) {
	var p bpf.Packet
	if data, ok := p.Decode(body); ok {
		at := r.clock.UTC(p.Time)
		r.enforcer.foresee(&p, data, r.ifaces.of(p.Cgroup, at), at)
	}
}
