package proof

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// answers are the sequence numbers of the SYN-ACKs of one SYN. Only one is the server's: that which the
// client acknowledges (RFC 9293 section 3.10.7.3). Until it does, the first counts.
type answers struct {
	seqs         [4]uint32
	n            uint8
	acknowledged bool
}

func (a *answers) list() []uint32 { return a.seqs[:a.n] }

// add adds the number of a SYN-ACK, unless the client has acknowledged one.
func (a *answers) add(seq uint32) {
	if !a.acknowledged && int(a.n) < len(a.seqs) && !slices.Contains(a.list(), seq) {
		a.seqs[a.n] = seq
		a.n++
	}
}

// acknowledge keeps the number that a packet of the client acknowledges, if a SYN-ACK had it.
func (a *answers) acknowledge(f *flow.Packet) {
	if seq := f.Ack - 1; !a.acknowledged && f.TCPFlags&decode.ACK != 0 && slices.Contains(a.list(), seq) {
		*a = answers{seqs: [4]uint32{seq}, n: 1, acknowledged: true}
	}
}

// like reports whether both have the same number.
func (a *answers) like(b *answers) bool { return a.n > 0 && b.n > 0 && a.seqs[0] == b.seqs[0] }

// differs reports whether both have numbers, but none is the same.
func (a *answers) differs(b *answers) bool {
	return a.n > 0 && b.n > 0 && !slices.ContainsFunc(a.list(), func(seq uint32) bool { return slices.Contains(b.list(), seq) })
}
