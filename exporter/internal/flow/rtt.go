package flow

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// acks counts duplicate ACKs and takes round-trip samples of the other direction.
func (f *Flow) acks(d, o *sideStats, dir dissect.Dir, p *Packet, kind segmentKind) {
	if d.hasAck && p.Ack == d.lastAck && p.PayloadLen == 0 && p.TCPFlags&(decode.SYN|decode.FIN|decode.RST) == 0 &&
		scaled(d, o, p) == d.window && o.started && int32(o.next-p.Ack) > 0 && kind == plain {
		f.rare(dir).dupAcks++
		d.dupRun++
		d.lastAckAt = p.Time
		return
	}
	if !d.hasAck || int32(p.Ack-d.lastAck) > 0 {
		d.hasAck, d.lastAck, d.dupRun, d.lastAckAt = true, p.Ack, 0, p.Time
		if f.timed(p) {
			f.answer(dir.Other(), p.Ack, p.Time)
		}
	}
}

// sample remembers when data that ends at end was sent in direction dir.
func (f *Flow) sample(dir dissect.Dir, end uint32, at int64) {
	if f.rtt == nil {
		f.rtt = &rtt{}
	}
	r := f.rtt
	if n := r.n[dir]; int(n) < len(r.ends[dir]) {
		r.ends[dir][n], r.at[dir][n] = end, at
		r.n[dir]++
	}
}

// forget drops samples that a retransmission makes ambiguous (Karn, RFC 6298 3).
func (f *Flow) forget(dir dissect.Dir) {
	if f.rtt != nil {
		f.rtt.n[dir] = 0
	}
}

// answer matches an acknowledgement of direction dir.
func (f *Flow) answer(dir dissect.Dir, ack uint32, at int64) {
	r := f.rtt
	if r == nil {
		return
	}
	ends, sent := &r.ends[dir], &r.at[dir]
	k := uint8(0)
	for k < r.n[dir] && int32(ack-ends[k]) >= 0 {
		if ends[k] == ack {
			d := max(at-sent[k], 0)
			if r.count == 0 || d < r.min {
				r.min = d
			}
			r.max = max(r.max, d)
			r.sum += d
			r.count++
		}
		k++
	}
	copy(ends[:], ends[k:r.n[dir]])
	copy(sent[:], sent[k:r.n[dir]])
	r.n[dir] -= k
}

// connectNs is the handshake's duration, 0 if it was not captured completely.
func (f *Flow) connectNs() int64 {
	if f.syn == 0 || f.ack == 0 {
		return 0
	}
	return max(f.ack-f.syn, 0)
}

// connectUs is the time from SYN to SYN-ACK, for which the client's connect() waited; -1 unknown. The first flow shows
// both, or one of them and a flow with the same clock the other, as in two files of a ring.
func (c *Conn) connectUs() int64 {
	first := c.flows[0]
	syn, synAck := first, first
	for _, f := range c.flows[1:] {
		switch {
		case f.clock != first.clock:
		case first.synAck == 0 && f.syn == 0 && f.synAck != 0:
			synAck = f
		case first.syn == 0 && f.synAck == 0 && f.syn != 0:
			syn = f
		}
	}
	if syn.syn == 0 || synAck.synAck < syn.syn {
		return -1
	}
	return (synAck.synAck - syn.syn) / 1000
}
