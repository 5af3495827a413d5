package filter

import "encoding/binary"

// step is a node in the form that Match runs.
type step struct {
	load    stepLoad
	op      compare
	off     uint
	ip      uint
	mask, k uint32
	yes, no int32
	left    *expr // of stepExpr
	right   *expr // instead of k
}

type stepLoad uint8

const (
	stepKeep stepLoad = iota // the value of the previous step
	step8
	step16
	step32
	step8PastIP4
	step16PastIP4
	step32PastIP4
	stepLength
	stepExpr
)

// steps returns the reached nodes in the order they run, starting at the root.
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
			s := step{op: nd.test.op, k: nd.test.k, mask: nd.test.load.mask, off: uint(nd.test.load.off), ip: uint(nd.test.load.ip),
				yes: place[nd.yes], no: place[nd.no], right: nd.test.right}
			s.load = stepOf(nd)
			if s.load == stepExpr {
				s.left = asExpr(nd.test.load)
			}
			out = append(out, s)
		}
	}
	return out
}

func stepOf(n *node) stepLoad {
	l := n.test.load
	switch {
	case l.kind == loadExpr, n.test.right != nil:
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

// CanMatch reports whether any packet can match. It is false for "tcp and udp", and for "udp and
// vlan", which tests for udp before the tag.
func (p *Program) CanMatch() bool {
	for i := range p.steps {
		if p.steps[i].yes == accept || p.steps[i].no == accept {
			return true
		}
	}
	return false
}

// Match reports whether a packet matches. data begins with the link header. origLen is the packet's
// length on the wire, in bytes.
func (p *Program) Match(data []byte, origLen uint32) bool {
	var v uint32 // before the mask, so that a later step can use another
	size := uint(len(data))
	for i := int32(0); ; {
		s := &p.steps[i]
		at := s.off
		switch s.load {
		case step8PastIP4, step16PastIP4, step32PastIP4:
			if s.ip >= size {
				return false
			}
			at += 4 * uint(data[s.ip]&15)
		}
		switch s.load {
		case step8, step8PastIP4:
			if at >= size {
				return false
			}
			v = uint32(data[at])
		case step16, step16PastIP4:
			if at+1 >= size {
				return false
			}
			v = uint32(data[at+1]) | uint32(data[at])<<8
		case step32, step32PastIP4:
			if at+3 >= size {
				return false
			}
			v = binary.BigEndian.Uint32(data[at:])
		case stepLength:
			v = origLen
		case stepExpr:
			matched, ok := s.compare(data, origLen)
			if !ok {
				return false
			}
			if i = s.no; matched {
				i = s.yes
			}
			if i < 0 {
				return i == accept
			}
			continue
		}
		matched := false
		switch m := v & s.mask; s.op {
		case equal:
			matched = m == s.k
		case anyBit:
			matched = m&s.k != 0
		default:
			matched = s.op.compare(m, s.k)
		}
		if i = s.no; matched {
			i = s.yes
		}
		if i < 0 {
			return i == accept
		}
	}
}

// compare runs a step with arithmetic; ok is false if it reads past the end of the packet or
// divides by zero.
func (s *step) compare(data []byte, origLen uint32) (matched, ok bool) {
	v, ok := s.left.value(data, origLen)
	if !ok {
		return false, false
	}
	k := s.k
	if s.right != nil {
		if k, ok = s.right.value(data, origLen); !ok {
			return false, false
		}
	}
	return s.op.compare(v, k), true
}
