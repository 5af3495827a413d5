package rtp

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const (
	headSize   = 12
	proof      = 6    // packets of one source, each the successor of the one before
	maxDropout = 3000 // RFC 3550 appendix A.1
	maxMisses  = 3    // packets that may be missing between two of the proof
	maxTypes   = 8    // payload types of one stream
	maxJump    = 1    // seconds by which a timestamp may differ from the arrival without being a new start
)

// rates are the clock rates for which jitter is computed, because the rate is known only later.
var rates = [...]int64{8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 90000}

// packet is the head of a packet, RFC 3550 section 5.1.
type packet struct {
	kind      uint8 // payload type
	sequence  uint16
	time      uint32 // timestamp
	source    uint32 // SSRC
	payload   int    // bytes
	arrivedNs int64
	clock     int32 // of arrivedNs
}

// parse reads the head of a packet. The types from 64 to 95 are those of RTCP, RFC 5761 section 4.
func parse(b []byte) (p packet, err error) {
	if len(b) < headSize || b[0]>>6 != 2 {
		return p, fmt.Errorf("reading a packet: %d bytes that do not begin with version 2", len(b))
	}
	if p.kind = b[1] & 0x7f; p.kind >= 64 && p.kind < 96 {
		return p, fmt.Errorf("reading a packet: payload type %d is one of RTCP", p.kind)
	}
	n := headSize + 4*int(b[0]&0xf)
	if b[0]&0x10 != 0 { // an extension
		if len(b) < n+4 {
			return p, fmt.Errorf("reading a packet: the extension is beyond the end")
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	if b[0]&0x20 != 0 { // padding
		n += int(b[len(b)-1])
	}
	if n > len(b) {
		return p, fmt.Errorf("reading a packet: its head and padding have %d bytes, the datagram %d", n, len(b))
	}
	p.sequence, p.time, p.source, p.payload = binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), len(b)-n
	return p, nil
}

// stream has the packets of one side with one SSRC.
type stream struct {
	x     dissect.Exchange
	first packet
	last  packet // the newest by sequence number

	packets, duplicates, reordered, restarts, bytes int64
	highest                                         int64  // extended sequence number, from that of the first packet on
	lowest                                          int64  // of a packet that came after the first one
	before                                          int64  // packets expected before the last restart
	strays                                          int64  // packets whose number is far from the others
	seen                                            uint64 // packets up to highest, the lowest bit is highest
	bad                                             int32  // sequence number that would continue after a restart; -1 is none

	previousNs int64 // arrival of the latest packet
	longestNs  int64 // between two arrivals by one clock
	timed      bool  // there were two
	clock      int32 // of the latest packet
	transit    [len(rates)]int64
	kind       uint8 // of the latest packet
	types      []typeCount
}

// jitter is the estimate of RFC 3550 section 6.4.1 in 1/16 of the timestamp's unit.
type jitter struct{ now, sum, max int64 }

type typeCount struct {
	kind    uint8
	packets int64
	steps   int64 // pairs of packets that jitter is about
	jitter  [len(rates)]jitter
}

func newStream(p packet) *stream {
	return &stream{first: p, last: p, bad: -1, highest: int64(p.sequence), lowest: int64(p.sequence)}
}

// follows reports whether p can be the successor of the newest packet, for the proof.
func (s *stream) follows(p packet) bool {
	step := p.sequence - s.last.sequence
	return step >= 1 && step <= 1+maxMisses && p.time-s.last.time < 1<<24
}

// add counts a packet.
func (s *stream) add(p packet) {
	if s.packets++; s.packets == 1 {
		s.seen, s.previousNs = 1, p.arrivedNs
	} else {
		if s.timedAfter(p) {
			s.longestNs, s.timed = max(s.longestNs, p.arrivedNs-s.previousNs), true
		}
		s.previousNs = p.arrivedNs
		s.sequence(p)
	}
	s.bytes += int64(p.payload)
	i := slices.IndexFunc(s.types, func(t typeCount) bool { return t.kind == p.kind })
	if i < 0 && len(s.types) < maxTypes {
		s.types, i = append(s.types, typeCount{kind: p.kind}), len(s.types)
	}
	if i >= 0 {
		s.types[i].packets++
		s.delay(&s.types[i], p)
	}
	s.kind, s.clock = p.kind, p.clock
}

// timedAfter reports whether the same clock has stamped a packet and the one before it.
func (s *stream) timedAfter(p packet) bool { return s.clock == p.clock && p.clock != dissect.NoClock }

// sequence judges the sequence number of a packet, RFC 3550 appendix A.1.
func (s *stream) sequence(p packet) {
	step := int64(int16(p.sequence - uint16(s.highest)))
	switch {
	case step > 0 && step < maxDropout:
		s.highest += step
		s.seen = s.seen<<min(step, 64) | 1
		s.last = p
	case step <= 0 && step > -64:
		if bit := uint64(1) << -step; s.seen&bit != 0 {
			s.duplicates++
		} else {
			s.seen |= bit
			s.late(step)
		}
	case step < 0 && step > -maxDropout:
		s.late(step)
	case int32(p.sequence) == s.bad: // two packets in order: the source has begun again
		s.before += s.highest - s.lowest + 1
		s.restarts++
		s.strays--
		s.highest, s.lowest, s.seen, s.last = int64(p.sequence), int64(p.sequence)-1, 3, p
	default:
		s.strays++
		s.bad = int32(p.sequence + 1)
		return
	}
	s.bad = -1
}

func (s *stream) late(step int64) {
	s.reordered++
	s.lowest = min(s.lowest, s.highest+step)
}

// lost is how many packets are missing, RFC 3550 appendix A.3, without duplicates.
func (s *stream) lost() int64 {
	expected := s.before + s.highest - s.lowest + 1
	return max(expected-(s.packets-s.duplicates-s.strays), 0)
}

// units is the arrival of a packet in units of a clock rate, counted from the first one.
func (s *stream) units(p packet, rate int64) int64 {
	ns := p.arrivedNs - s.first.arrivedNs
	return ns/1e9*rate + ns%1e9*rate/1e9
}

// delay updates the estimates of jitter. Another payload type and a jump of the timestamp, as after a pause, are a new
// start, because they do not depend on the network. Neither does another clock.
func (s *stream) delay(t *typeCount, p packet) {
	begin := s.packets == 1 || s.kind != p.kind || !s.timedAfter(p)
	if !begin {
		t.steps++
	}
	for i, rate := range rates {
		transit := s.units(p, rate) - int64(int32(p.time-s.first.time))
		d := int64(int32(transit - s.transit[i]))
		s.transit[i] = transit
		if d = max(d, -d); begin || d > maxJump*rate {
			continue
		}
		j := &t.jitter[i]
		j.now += d - (j.now+8)>>4
		j.sum += j.now
		j.max = max(j.max, j.now)
	}
}

// measured is the clock rate that timestamps and arrivals show, 0 if they show none.
func (s *stream) measured() int64 {
	ns := s.last.arrivedNs - s.first.arrivedNs
	units := int64(s.last.time - s.first.time)
	if s.first.clock != s.last.clock || ns < 1e8 || units <= 0 || units > 1<<31 || s.restarts > 0 {
		return 0
	}
	got := units * 1000 / max(ns/1e6, 1)
	for _, rate := range rates {
		if got*100 > rate*95 && got*100 < rate*105 {
			return rate
		}
	}
	return 0
}
