package policy

import (
	"net/netip"
	"regexp"
	"slices"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Fate is what becomes of a packet.
type Fate uint8

// Fates.
const (
	Kept      Fate = iota
	Unwanted       // not of whom packets are wanted
	Forbidden      // a never-rule means it
)

// Marks are answers of a policy about somebody, one bit for each that it needs: whether
// they are forbidden outright, meant by a rule that asks for more, or wanted.
type Marks struct{ Yes, Maybe uint64 }

const (
	outright uint64 = 1 << 63
	wanted   uint64 = 1 << 62
)

// Or joins what is known of both sides: of the other, only what is sure counts.
func (m Marks) Or(other Marks) Marks { return Marks{m.Yes | other.Yes, m.Maybe} }

// Judge holds a policy. One goroutine at a time may use it.
type Judge struct {
	owners   []selected
	rules    []rule // that need bytes
	only     bool
	dropMay  bool // what may be forbidden is
	dropOnly bool // what may be wanted is not
	parts    fragments

	// Address answers for the sides of packets that nobody owns here, frames of
	// interfaces; false where nobody is known there. It may be nil.
	Address func(a netip.Addr, port uint16, protocol uint8) (Marks, bool)
}

type selected struct {
	*workload.Selector
	bit uint64
}

// rule is one with conditions on bytes.
type rule struct {
	bit     uint64 // of its owner, 0 where it has none
	ports   []Ports
	pattern *regexp.Regexp
}

// New makes a judge of a policy, nil where all is recorded.
func New(p *Policy) (*Judge, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if p.Empty() {
		return nil, nil
	}
	j := &Judge{only: !p.Only.Empty(), dropMay: p.unknownNever() == Drop, dropOnly: p.Unknown == Drop}
	if j.only {
		s := p.Only
		j.owners = append(j.owners, selected{&s, wanted})
	}
	next := uint64(1)
	for i := range p.Never {
		r := p.Never[i]
		x := rule{ports: r.Ports}
		if r.Pattern != "" {
			x.pattern = regexp.MustCompile(r.Pattern) // Check compiled it
		}
		bytes := len(x.ports) > 0 || x.pattern != nil
		if !r.Owner.Empty() {
			bit := outright
			if bytes {
				x.bit, next = next, next<<1
				bit = x.bit
			}
			j.owners = append(j.owners, selected{&r.Owner, bit})
		}
		if bytes {
			j.rules = append(j.rules, x)
		}
	}
	return j, nil
}

// Owned reports whether it matters whose a packet is.
func (j *Judge) Owned() bool { return len(j.owners) > 0 }

// Processes reports whether it matters which process a packet is of.
func (j *Judge) Processes() bool {
	return slices.ContainsFunc(j.owners, func(s selected) bool { return len(s.Processes) > 0 })
}

// Names reports whether names of Kubernetes matter.
func (j *Judge) Names() bool {
	return slices.ContainsFunc(j.owners, func(s selected) bool { return s.NeedsNames() || len(s.Pods) > 0 || len(s.Containers) > 0 })
}

// Marks answers for somebody.
func (j *Judge) Marks(x *workload.Subject) (m Marks) {
	for _, s := range j.owners {
		switch s.Match(x) {
		case workload.Yes:
			m.Yes |= s.bit
		case workload.Maybe:
			m.Maybe |= s.bit
		}
	}
	return m
}

// Silenced reports whether nothing at all may be kept of somebody, or nothing is wanted.
func (j *Judge) Silenced(m Marks) bool {
	return m.Yes&outright != 0 || j.dropMay && m.Maybe&outright != 0 || j.unwanted(m)
}

func (j *Judge) unwanted(m Marks) bool {
	return j.only && m.Yes&wanted == 0 && (m.Maybe&wanted == 0 || j.dropOnly)
}

// owner is the fate that whose it is alone decides.
func (j *Judge) owner(m Marks) Fate {
	if m.Yes&outright != 0 || j.dropMay && m.Maybe&outright != 0 {
		return Forbidden
	}
	return Kept
}

// Packet decides of an IP packet of somebody; length is its true length.
func (j *Judge) Packet(m Marks, ip []byte) Fate {
	if f := j.owner(m); f != Kept {
		return f
	}
	if len(j.rules) > 0 && j.forbids(m, ip) {
		return Forbidden
	}
	if j.unwanted(m) {
		return Unwanted
	}
	return Kept
}

const maxDepth = 4 // packets in packets

// forbids asks the rules that need bytes, also of packets inside.
func (j *Judge) forbids(m Marks, ip []byte) bool {
	for range maxDepth {
		p := j.parts.look(ip)
		if j.meant(m, &p) {
			return true
		}
		if p.inner == nil {
			return false
		}
		ip = p.inner
	}
	return j.dropMay // nobody looked further in
}

func (j *Judge) meant(m Marks, p *packet) bool {
	for i := range j.rules {
		r := &j.rules[i]
		v := workload.Yes
		if r.bit != 0 {
			switch {
			case m.Yes&r.bit != 0:
			case m.Maybe&r.bit != 0:
				v = workload.Maybe
			default:
				continue
			}
		}
		if len(r.ports) > 0 {
			v = min(v, p.has(r.ports))
		}
		if v == workload.No || v == workload.Maybe && !j.dropMay || r.pattern != nil && !r.pattern.Match(p.payload) {
			continue
		}
		return true
	}
	return false
}

// Frame decides of a frame with an Ethernet header, by the addresses in it.
func (j *Judge) Frame(frame []byte) Fate {
	ip, other := behindEthernet(frame)
	if ip == nil {
		return j.noIP(frame, other)
	}
	var m Marks
	known := false
	for range maxDepth {
		p := j.parts.look(ip)
		if len(j.owners) > 0 && p.src.IsValid() {
			for _, s := range []struct {
				a    netip.Addr
				port uint16
			}{{p.src, p.ports[0]}, {p.dst, p.ports[1]}} {
				if j.Address == nil {
					break
				}
				if x, ok := j.Address(s.a, s.port, p.protocol); ok {
					m.Yes, known = m.Yes|x.Yes, true
				}
			}
		}
		if p.inner == nil {
			break
		}
		ip = p.inner
	}
	if !known {
		for _, s := range j.owners {
			m.Maybe |= s.bit
		}
	}
	ip, _ = behindEthernet(frame)
	return j.Packet(m, ip)
}

// noIP decides of a frame without an IP packet that could be read: ARP and its like are
// nobody's; what carries packets in a way that is not read here may be anybody's.
func (j *Judge) noIP(frame []byte, carries bool) Fate {
	m := Marks{}
	p := packet{payload: frame[min(len(frame), 14):], unread: carries}
	for _, s := range j.owners {
		if carries {
			m.Maybe |= s.bit
		}
	}
	switch {
	case j.owner(m) == Forbidden || j.meant(m, &p):
		return Forbidden
	case carries && j.unwanted(m):
		return Unwanted
	}
	return Kept
}
