package kernelcheck

import (
	"fmt"
	"slices"
)

// span is the bytes [from, to) of a body or a datagram.
type span struct{ from, to int }

func (a span) overlaps(b span) bool { return a.from < b.to && b.from < a.to }

// first is interval A. relations lists the 13 possible relations of two intervals (Allen, 1983),
// with B as given.
var first = span{16, 40}

var relations = []struct {
	name string
	b    span
}{
	{"before", span{48, 56}}, {"meets", span{40, 56}}, {"overlaps", span{32, 56}}, {"starts", span{16, 56}}, {"during", span{8, 56}},
	{"finishes", span{8, 40}}, {"equals", span{16, 40}}, {"finished by", span{24, 40}}, {"contains", span{24, 32}},
	{"started by", span{16, 32}}, {"overlapped by", span{8, 24}}, {"met by", span{8, 16}}, {"after", span{0, 8}},
}

// rest are the parts of [0, size) outside all spans.
func rest(size int, spans ...span) (left []span) {
	covered := make([]bool, size+1)
	covered[size] = true
	for _, s := range spans {
		for i := s.from; i < s.to; i++ {
			covered[i] = true
		}
	}
	from := -1
	for i, c := range covered {
		switch {
		case !c && from < 0:
			from = i
		case c && from >= 0:
			left = append(left, span{from, i})
			from = -1
		}
	}
	return left
}

// pieces is a set of spans in order of arrival, each with its own bytes unless they are the
// same.
type pieces struct {
	spans []span
	same  bool
	last  bool // the bytes before them arrive last
}

func (p pieces) overlap() bool {
	for i, a := range p.spans {
		for _, b := range p.spans[:i] {
			if a.overlaps(b) {
				return true
			}
		}
	}
	return false
}

func (p pieces) String() (s string) {
	for i, a := range p.spans {
		s += fmt.Sprintf(" %c[%d,%d)", 'A'+i, a.from, a.to)
	}
	if p.same {
		s += ", same bytes"
	}
	if p.last {
		s += ", beginning last"
	}
	return s
}

func (p pieces) want() want {
	if p.overlap() && !p.same {
		return told
	}
	return exact
}

// pairs returns all relations in both orders.
func pairs() (list []pieces, names []string) {
	for _, r := range relations {
		for _, swap := range []bool{false, true} {
			for _, same := range []bool{false, true} {
				for _, last := range []bool{false, true} {
					p := pieces{[]span{first, r.b}, same, last}
					if swap {
						slices.Reverse(p.spans)
					}
					list, names = append(list, p), append(names, r.name)
				}
			}
		}
	}
	return list, names
}

// triples are all sets of three spans with these borders, in varying order.
func triples() (list []pieces) {
	borders := []int{8, 16, 24, 40, 56}
	var all []span
	for i, from := range borders {
		for _, to := range borders[i+1:] {
			all = append(all, span{from, to})
		}
	}
	for i := range all {
		for j := range i {
			for k := range j {
				p := pieces{spans: []span{all[i], all[j], all[k]}, last: len(list)%2 == 1}
				n := len(list) % 6
				if n >= 3 {
					slices.Reverse(p.spans)
				}
				for range n % 3 {
					p.spans = append(p.spans[1:], p.spans[0])
				}
				list = append(list, p)
			}
		}
	}
	return list
}

// segments plays pieces as TCP segments.
func (p pieces) segments(c *client) {
	c.connect()
	left := rest(bodySize, p.spans...)
	var before []span
	if len(left) > 0 && left[0].from == 0 {
		before, left = left[:1], left[1:]
	}
	begin := func() {
		c.sendHead()
		for _, s := range before {
			c.send(s.from, s.to, how{})
		}
	}
	if !p.last {
		begin()
	}
	for i, s := range p.spans {
		if p.same {
			c.send(s.from, s.to, how{})
		} else {
			c.forge(string(rune('A'+i)), s.from, s.to, how{})
		}
	}
	for _, s := range left {
		c.send(s.from, s.to, how{})
	}
	if p.last {
		begin()
	}
	c.finish()
}

// turn rotates the 16-bit words of each 8 bytes by n, so that every mixture of versions has the
// same checksum.
func turn(data []byte, n int) []byte {
	out := slices.Clone(data)
	for i := 0; i+8 <= len(out); i += 8 {
		for k := range 8 {
			out[i+k] = data[i+(k+2*n)%8]
		}
	}
	return out
}

// fragments plays pieces as IP fragments of one transport segment; begin is the offset of the
// first span in it.
func (p pieces) fragments(c *client, proto byte, l4 []byte, begin int) {
	c.id += 3
	send := func(s span, version int) {
		piece := l4[s.from:s.to]
		if version > 0 {
			piece = turn(piece, version)
		}
		c.copies.note(s.from-(len(l4)-bodySize), piece)
		c.emit(fragment(c.client.Addr(), c.server.Addr(), proto, c.id, s.from, s.to < len(l4), piece), how{})
	}
	var moved []span
	for _, s := range p.spans {
		moved = append(moved, span{s.from + begin, s.to + begin})
	}
	left := rest(len(l4), moved...)
	if !p.last {
		send(left[0], 0)
	}
	for i, s := range moved {
		if p.same {
			send(s, 0)
		} else {
			send(s, i+1)
		}
	}
	for _, s := range left[1:] {
		send(s, 0)
	}
	if p.last {
		send(left[0], 0)
	}
}

// udpFragments plays pieces as fragments of a UDP datagram.
func (p pieces) udpFragments(c *client) {
	p.fragments(c, protoUDP, udpDatagram(c.client, c.server, c.text[len(c.head):]), 8)
}

// tcpFragments plays pieces as fragments of the TCP segment with the body.
func (p pieces) tcpFragments(c *client) {
	c.connect()
	c.sendHead()
	l4 := tcpSegment(c.client, c.server, c.isn+1+uint32(len(c.head)), c.peer.isn+1, ack_|psh, 65000, 0, nil, c.text[len(c.head):])
	p.fragments(c, protoTCP, l4, 24)
	c.finish()
}

// overlapCases are pairs and triples of overlapping segments and fragments.
func overlapCases() (list []testCase) {
	add := func(class, name string, p pieces, v6, udp bool, w want, play func(*client)) {
		list = append(list, testCase{class: class, name: name + p.String(), v6: v6, udp: udp, want: w, play: play})
	}
	all, names := pairs()
	for i, p := range all {
		fragmented := p.want()
		if p.overlap() && p.same {
			fragmented = either // Linux drops a datagram with overlapping fragments, RFC 5722
		}
		for _, v6 := range []bool{false, true} {
			f := family(v6)
			add("pairs of segments, "+f, names[i], p, v6, false, p.want(), p.segments)
			add("pairs of fragments of UDP, "+f, names[i], p, v6, true, fragmented, p.udpFragments)
			add("pairs of fragments of TCP, "+f, names[i], p, v6, false, fragmented, p.tcpFragments)
		}
	}
	for i, p := range triples() {
		v6 := i%2 == 1
		add("triples of segments", "", p, v6, false, p.want(), p.segments)
		add("triples of fragments, "+family(v6), "", p, v6, true, p.want(), p.udpFragments)
	}
	return list
}

func family(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}
