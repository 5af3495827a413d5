package proof

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// Limits of the search for the common error of wrong checksums.
const (
	maxOneWay    = 16_384  // directions between two hosts that are kept
	maxOffs      = 8       // different errors of a direction that are counted
	enoughOff    = 8       // packets with one error that prove it
	enoughAsked  = 3       // the same, if no more packets can be waited for
	enoughHeard  = 2       // the same, if the receiver acknowledges one of them
	mostlyWrong  = 1000    // wrong packets for each right one that do not disprove it
	maxJudged    = 64      // packets of a direction that wait
	maxUndecided = 2048    // directions that wait
	ackSlack     = 1 << 20 // bytes by which an acknowledgement may be behind a packet
)

// sums judges wrong checksums. Receivers drop such packets (RFC 1122 sections 3.2.1.2 and 4.1.3.4, RFC
// 9293 section 3.1), so forged ones must not be read. But where a capture was rewritten, or a network
// adapter completes checksums, all those of a direction are wrong in it, also if those of the other
// direction are right. So of each direction between two hosts:
//
//   - If it has right checksums, a wrong one is dropped.
//   - If neither it nor the other has, a wrong one proves nothing.
//   - If only the other has, wrong ones are read if most of them have one error in common: they are off by
//     the same value, or are the sum of another pseudo-header. enoughOff packets prove that, fewer if the
//     other side acknowledges one of them. Until then the packets are held (see Awaits), so that the
//     proof covers the first packet. Those with another error are dropped.
type sums struct {
	ways    recent[oneWay, *summed]
	near    [256]*summed // those of the last packets, by a hash
	waiting []judgment   // oldest first
	limit   memory.Limit
}

// oneWay is a direction between two hosts.
type oneWay struct{ src, dst decode.Addr }

// summed are the checksums of a direction.
type summed struct {
	way          oneWay
	right, wrong int64
	offs         []known  // newest first
	judged       []judged // wait for a proof
	serial       int64    // of the wait
}

// off is how wrong a packet's checksums are: 0 if one was not verified, 0xffff if it is right.
type off struct {
	ip, l4 uint16
	pseudo bool // l4 is the difference from the sum of the pseudo-header
}

// known is an error that a direction has shown.
type known struct {
	off
	n      int64 // packets
	common bool  // proven not to be a forgery
}

// judged is a packet that waits.
type judged struct {
	spot
	errs             [2]off
	srcPort, dstPort uint16
	end              uint32 // sequence number behind it
	takes            bool   // sequence numbers, so it may be acknowledged
}

// judgment is a wait of a direction.
type judgment struct {
	of     *summed
	serial int64
}

func (j judgment) over() bool { return j.of.serial != j.serial || len(j.of.judged) == 0 }

// memory is the search's memory in bytes.
func (s *sums) memory() int {
	const offCost, judgedCost = int(unsafe.Sizeof(known{})), int(unsafe.Sizeof(judged{}))
	return s.ways.memory(int(unsafe.Sizeof(summed{}))+2*offCost) + len(s.waiting)*(8*judgedCost+maxOffs*offCost)
}

// judge sets f.Sum. at is the packet's position.
func (s *sums) judge(fr *decode.Frame, f *flow.Packet, at spot) {
	wrong := fr.Problems&(decode.BadIPSum|decode.BadSum) != 0
	if !wrong && fr.Sums.L4 == 0 && (fr.Sums.IP == 0 || fr.Proto == protoTCP || fr.Proto == protoUDP) {
		return // nothing was verified
	}
	x := s.of(oneWay{f.Src, f.Dst})
	if !wrong {
		x.right++
		x.judged = nil // they are forged
		s.heard(f)
		return
	}
	x.wrong++
	errs := [2]off{{fr.Sums.IP, fr.Sums.L4, false}, {fr.Sums.IP, fr.Sums.Pseudo, true}}
	n := max(x.count(errs[0]), x.count(errs[1]))
	back := s.ways.m[oneWay{f.Dst, f.Src}]
	switch {
	case x.right*mostlyWrong > x.wrong:
		f.Sum = flow.SumWrong
	case x.common(&errs):
		f.Sum = flow.SumRewritten
	case x.right == 0 && (back == nil || back.right == 0):
		f.Sum = flow.SumUnproven
	default:
		f.Sum = flow.SumWrong // unless a proof comes
		s.wait(x, judged{at, errs, f.SrcPort, f.DstPort, f.Seq + f.SeqLen(), f.SeqLen() > 0})
		if n >= enoughOff {
			x.accept(enoughOff)
		}
	}
}

// of returns the direction's checksums so far.
func (s *sums) of(way oneWay) *summed {
	near := &s.near[(binary.LittleEndian.Uint64(way.src[8:])*0x9e3779b97f4a7c15^binary.LittleEndian.Uint64(way.dst[8:])*0xbf58476d1ce4e5b9)>>56]
	if x := *near; x != nil && x.way == way {
		return x
	}
	x := s.ways.m[way]
	if x == nil {
		x = &summed{way: way}
		s.ways.put(way, x, s.limit.Scale(maxOneWay))
	}
	*near = x
	return x
}

// count counts an error, and returns how many packets had it.
func (x *summed) count(o off) int64 {
	i := slices.IndexFunc(x.offs, func(k known) bool { return k.off == o })
	k := known{off: o, n: 1}
	switch {
	case i >= 0:
		k = x.offs[i]
		k.n++
	case len(x.offs) < maxOffs:
		i, x.offs = len(x.offs), append(x.offs, k)
	default:
		i = maxOffs - 1
	}
	copy(x.offs[1:i+1], x.offs[:i])
	x.offs[0] = k
	return k.n
}

// common reports whether one of the errors is proven not to be a forgery.
func (x *summed) common(errs *[2]off) bool {
	return slices.ContainsFunc(x.offs, func(k known) bool { return k.common && (k.off == errs[0] || k.off == errs[1]) })
}

// wait lets a packet wait for a proof.
func (s *sums) wait(x *summed, p judged) {
	switch len(x.judged) {
	case maxJudged:
		return
	case 0:
		if len(s.waiting) == maxUndecided {
			s.pop()
		}
		x.serial++
		s.waiting = append(s.waiting, judgment{x, x.serial})
	}
	x.judged = append(x.judged, p)
}

// heard accepts an error of the other direction if f, whose checksum is right, acknowledges a packet that
// has it.
func (s *sums) heard(f *flow.Packet) {
	if len(s.waiting) == 0 || f.Proto != protoTCP || f.TCPFlags&decode.ACK == 0 {
		return
	}
	x := s.ways.m[oneWay{f.Dst, f.Src}]
	if x != nil && slices.ContainsFunc(x.judged, func(p judged) bool {
		return p.takes && p.srcPort == f.DstPort && p.dstPort == f.SrcPort && f.Ack-p.end < ackSlack
	}) {
		x.accept(enoughHeard)
	}
}

// accept proves the error that enough of the direction's wrong packets have, and most of them. It ends
// the wait if there is one.
func (x *summed) accept(enough int64) {
	proven := false
	for i := range x.offs {
		if n := x.offs[i].n; n >= enough && 2*n > x.wrong {
			x.offs[i].common, proven = true, true
		}
	}
	if !proven {
		return
	}
	for _, p := range x.judged {
		if x.common(&p.errs) {
			p.in.Packets[p.i].Sum = flow.SumRewritten
		}
	}
	x.judged = nil
}

// pop ends the oldest wait.
func (s *sums) pop() {
	if j := s.waiting[0]; !j.over() {
		j.of.accept(enoughAsked)
		j.of.judged = nil
	}
	s.waiting[0] = judgment{}
	s.waiting = s.waiting[1:] // moving the others would cost quadratic time
}

// awaits reports whether packets of a round wait. r is the oldest unsent round.
func (s *sums) awaits(r *round.Round) bool {
	for len(s.waiting) > 0 && s.waiting[0].over() {
		s.pop()
	}
	return len(s.waiting) > 0 && s.waiting[0].of.judged[0].in == r
}
