package recording

import (
	"math"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// start is what the first packets of a recording show.
type start struct {
	first  int64 // time of the first one; math.MaxInt64 if there is none
	twoWay bool  // both directions of a conversation are among them
	local  []mac // Ethernet addresses that all of them have: that of the machine is among them
}

type mac [6]byte

// agrees reports whether two recordings can be of one machine: both show a conversation in both
// directions, otherwise they may be the two halves of a tap, and no two machines' own addresses.
func (a *start) agrees(b *start) bool {
	if !a.twoWay || !b.twoWay {
		return false
	}
	shared := func(m mac) bool { return slices.Contains(b.local, m) }
	return len(a.local) == 0 || len(b.local) == 0 || slices.ContainsFunc(a.local, shared)
}

// look looks at the first packets of a section.
func look(section int32, packets []pcapng.Packet, list []pcapng.Interface) start {
	s := start{first: math.MaxInt64}
	d := decode.New(decode.Options{MaxFragmentBytes: 1 << 16})
	said := map[[2]flow.End]bool{}
	looked, macs := 0, 0
	var f decode.Frame
	for i := range packets {
		p := &packets[i]
		if p.Interface < 0 || int(p.Interface) >= len(list) || list[p.Interface].Section != section {
			continue
		}
		if p.TimeOK && s.first == math.MaxInt64 {
			s.first = p.Time
		}
		if looked++; looked > maxLooked {
			break
		}
		macs = s.ethernet(p, macs)
		if s.twoWay {
			continue
		}
		d.Decode(decode.Input{LinkType: p.LinkType, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time}, &f)
		if f.Kind == decode.KindIP {
			src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
			said[[2]flow.End{src, dst}] = true
			s.twoWay = said[[2]flow.End{dst, src}]
		}
	}
	return s
}

// ethernet keeps the addresses that a packet has, too. It returns the number of packets with addresses.
func (s *start) ethernet(p *pcapng.Packet, seen int) int {
	const link, group = 1, 1
	if p.LinkType != link || len(p.Data) < 12 || p.Data[0]&group != 0 {
		return seen
	}
	dst, src := mac(p.Data[:6]), mac(p.Data[6:12])
	if seen == 0 && src != (mac{}) {
		s.local = []mac{dst, src}
	} else {
		s.local = slices.DeleteFunc(s.local, func(m mac) bool { return m != dst && m != src })
	}
	return seen + 1
}
