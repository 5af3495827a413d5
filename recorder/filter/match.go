package filter

import "encoding/binary"

// step is a node as Match runs it.
type step struct {
	load    stepLoad
	op      compare
	off     int
	ip      int
	mask, k uint32
	yes, no int32
	left    *expr // of stepExpr
	right   *expr // instead of k
}

type stepLoad uint8

const (
	stepKeep stepLoad = iota // what the step before had
	step8
	step16
	step32
	step8PastIP4
	step16PastIP4
	step32PastIP4
	stepLength
	stepExpr
)

// steps gives the nodes that are reached in the order they are run, the first one first.
func (g *graph) steps() []step {
	place := map[int]int32{accept: accept, reject: reject}
	n := int32(0)
	for i := g.root; i >= 0; i-- {
		if g.nodes[i].reached {
			place[i] = n
			n++
		}
	}
	if g.root < 0 {
		// One step that always jumps to the same place.
		return []step{{load: stepLength, op: equal, yes: int32(g.root), no: int32(g.root)}}
	}
	out := make([]step, 0, n)
	for i := g.root; i >= 0; i-- {
		if nd := &g.nodes[i]; nd.reached {
			s := step{op: nd.test.op, k: nd.test.k, mask: nd.test.load.mask, off: int(nd.test.load.off), ip: int(nd.test.load.ip),
				yes: place[nd.yes], no: place[nd.no], right: nd.test.right}
			s.load = stepOf(nd)
			if s.load == stepExpr {
				s.left = nd.test.load.expr
			}
			out = append(out, s)
		}
	}
	return out
}

func stepOf(n *node) stepLoad {
	l := n.test.load
	switch {
	case l.kind == loadExpr:
		return stepExpr
	case n.loaded:
		return stepKeep
	case l.kind == loadLength:
		return stepLength
	}
	s := map[uint8]stepLoad{1: step8, 2: step16, 4: step32}[l.size]
	if l.kind == loadPastIP4 {
		s += step8PastIP4 - step8
	}
	return s
}

// Match tells whether a packet passes: data as captured from the link header on, origLen
// its length on the wire.
func (p *Program) Match(data []byte, origLen uint32) bool {
	var v uint32 // before the mask, so that a later step can use another
	for i := int32(0); i >= 0; {
		s := &p.steps[i]
		at, k := s.off, s.k
		if s.load >= step8PastIP4 && s.load <= step32PastIP4 {
			if s.ip >= len(data) {
				return false
			}
			at += 4 * int(data[s.ip]&15)
		}
		switch s.load {
		case step8, step8PastIP4:
			if at >= len(data) {
				return false
			}
			v = uint32(data[at])
		case step16, step16PastIP4:
			if at+2 > len(data) {
				return false
			}
			v = uint32(binary.BigEndian.Uint16(data[at:]))
		case step32, step32PastIP4:
			if at+4 > len(data) {
				return false
			}
			v = binary.BigEndian.Uint32(data[at:])
		case stepLength:
			v = origLen
		case stepExpr:
			var ok bool
			if v, ok = s.left.value(data, origLen); !ok {
				return false
			}
		}
		if s.right != nil {
			var ok bool
			if k, ok = s.right.value(data, origLen); !ok {
				return false
			}
		}
		if s.op.holds(v&s.mask, k) {
			i = s.yes
		} else {
			i = s.no
		}
		if i < 0 {
			return i == accept
		}
	}
	return false
}
