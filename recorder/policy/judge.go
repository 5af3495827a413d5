package policy

import (
	"net/netip"
	"regexp"
	"slices"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Fate is the decision about a packet.
type Fate uint8

// Fates.
const (
	Kept      Fate = iota
	Unwanted       // its owner is not among those to record
	Forbidden      // a never-rule matches it
)

// Marks are the policy's verdicts about an owner, one bit for each: forbidden outright,
// matched by a rule that has more conditions, or wanted.
type Marks struct{ Yes, Maybe uint64 }

const (
	outright uint64 = 1 << 63
	wanted   uint64 = 1 << 62
)

// Or merges the marks of both sides of a packet. Only certain marks of the other side count.
func (m Marks) Or(other Marks) Marks { return Marks{m.Yes | other.Yes, m.Maybe} }

// Judge applies a policy to packets. It must not be used by two goroutines at once.
type Judge struct {
	owners   []selected
	rules    []rule // with conditions on bytes
	only     bool
	dropMay  bool // treat possibly forbidden packets as forbidden
	dropOnly bool // treat possibly wanted packets as unwanted
	parts    fragments

	// Address returns the marks of an address in a frame that was captured on an interface,
	// where packets have no owner; false if the address is unknown. It may be nil.
	Address func(a netip.Addr, port uint16, protocol uint8) (Marks, bool)
}

type selected struct {
	*workload.Selector
	bit  uint64
	sure bool
}

// maybe is the mark of an owner that may be selected.
func (s *selected) maybe() uint64 {
	if s.sure {
		return 0
	}
	return s.bit
}

// rule is a never-rule with conditions on bytes.
type rule struct {
	bit     uint64 // of its owner; 0 without one
	ports   []Ports
	pattern *regexp.Regexp
	sure    bool
}

// New returns a judge for a policy, or nil if the policy records everything.
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
		j.owners = append(j.owners, selected{&s, wanted, false})
	}
	next := uint64(1)
	for i := range p.Never {
		r := p.Never[i]
		x := rule{ports: r.Ports, sure: r.Sure}
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
			j.owners = append(j.owners, selected{&r.Owner, bit, r.Sure})
		}
		if bytes {
			j.rules = append(j.rules, x)
		}
	}
	return j, nil
}

// Owned reports whether the policy depends on the owner of a packet.
func (j *Judge) Owned() bool { return len(j.owners) > 0 }

// Processes reports whether the policy depends on the process of a packet.
func (j *Judge) Processes() bool {
	return slices.ContainsFunc(j.owners, func(s selected) bool { return len(s.Processes) > 0 })
}

// Names reports whether the policy depends on names from Kubernetes.
func (j *Judge) Names() bool {
	return slices.ContainsFunc(j.owners, func(s selected) bool { return s.NeedsNames() || len(s.Pods) > 0 || len(s.Containers) > 0 })
}

// Marks returns the marks of an owner.
func (j *Judge) Marks(x *workload.Subject) (m Marks) {
	for i := range j.owners {
		s := &j.owners[i]
		switch s.Match(x) {
		case workload.Yes:
			m.Yes |= s.bit
		case workload.Maybe:
			m.Maybe |= s.maybe()
		}
	}
	return m
}

// Silenced reports whether no packet of an owner may be recorded.
func (j *Judge) Silenced(m Marks) bool {
	return m.Yes&outright != 0 || j.dropMay && m.Maybe&outright != 0 || j.unwanted(m)
}

func (j *Judge) unwanted(m Marks) bool {
	return j.only && m.Yes&wanted == 0 && (m.Maybe&wanted == 0 || j.dropOnly)
}

// owner returns the fate that the owner decides, regardless of the bytes.
func (j *Judge) owner(m Marks) Fate {
	if m.Yes&outright != 0 || j.dropMay && m.Maybe&outright != 0 {
		return Forbidden
	}
	return Kept
}

// Packet decides about an IP packet by its bytes and the marks of its owners.
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

const maxDepth = 4 // nested packets

// forbids applies the rules that need bytes to a packet and to the packets nested in it.
func (j *Judge) forbids(m Marks, ip []byte) bool {
	for range maxDepth {
		p := j.parts.parse(ip)
		if j.matches(m, &p) {
			return true
		}
		if p.inner == nil {
			return false
		}
		ip = p.inner
	}
	return j.dropMay && slices.ContainsFunc(j.rules, func(r rule) bool { return !r.sure }) // deeper packets are not parsed
}

func (j *Judge) matches(m Marks, p *packet) bool {
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
			v = min(v, p.hasPort(r.ports))
		}
		if v == workload.No || v == workload.Maybe && (r.sure || !j.dropMay) || r.pattern != nil && !r.pattern.Match(p.payload) {
			continue
		}
		return true
	}
	return false
}

// Frame decides about a frame with an Ethernet header by the addresses in it.
func (j *Judge) Frame(frame []byte) Fate {
	ip, other := behindEthernet(frame)
	if ip == nil {
		return j.nonIP(frame, other)
	}
	var m Marks
	known := false
	for range maxDepth {
		p := j.parts.parse(ip)
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
		for i := range j.owners {
			m.Maybe |= j.owners[i].maybe()
		}
	}
	ip, _ = behindEthernet(frame)
	return j.Packet(m, ip)
}

// nonIP decides about a frame without a readable IP packet. ARP and similar protocols have
// no owner; a frame that may carry packets in a form not parsed here may have any owner.
func (j *Judge) nonIP(frame []byte, carries bool) Fate {
	m := Marks{}
	p := packet{payload: frame[min(len(frame), 14):], unread: carries}
	for i := range j.owners {
		if carries {
			m.Maybe |= j.owners[i].maybe()
		}
	}
	switch {
	case j.owner(m) == Forbidden || j.matches(m, &p):
		return Forbidden
	case carries && j.unwanted(m):
		return Unwanted
	}
	return Kept
}
