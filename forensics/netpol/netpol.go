package netpol

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Truth is whether a condition is true. The values are ordered: of two conditions that must both be
// true the smaller one counts, of two alternatives the greater one.
type Truth uint8

// The values of Truth.
const (
	No Truth = iota
	Maybe
	Yes
)

// Answer is a truth, with the reason if it is Maybe.
type Answer struct {
	Truth
	Why string
}

func maybe(why string) Answer { return Answer{Maybe, why} }

func sure(is bool) Answer {
	if is {
		return Answer{Truth: Yes}
	}
	return Answer{Truth: No}
}

func not(a Answer) Answer { return Answer{Yes - a.Truth, a.Why} }

// and returns whether both are true; or, whether one is.
func and(a, b Answer) Answer {
	if b.Truth < a.Truth {
		return b
	}
	return a
}

func or(a, b Answer) Answer {
	if b.Truth > a.Truth {
		return b
	}
	return a
}

// Labels are the known labels of a pod or a namespace.
type Labels struct {
	Known   map[string]string
	Partial string // why there may be others; empty if Known has all of them
}

// Pod is a pod, except for its addresses.
type Pod struct {
	Namespace string
	Labels    Labels
	Space     Labels           // of its namespace
	Ports     map[string]int64 // numbers by protocol and name, such as tcp/http; nil if unknown
}

// End is an end of a connection.
type End struct {
	Addr    netip.Addr // of the pod behind a service, not of the service; invalid if unknown
	Pod     *Pod       // nil if it is not one, or if it is unknown
	Unknown string     // why it may be a pod although Pod is nil
}

// Conn is a connection as a network plugin sees it: after the service's address was translated.
type Conn struct {
	Src, Dst  End
	Transport string
	Port      int64 // at Dst; 0 if unknown
}

// Policy is a policy that may be in force.
type Policy struct {
	Namespace, Name string
	Specs           []*Spec // possible specs, one of which applies; a nil one is unknown
	Exists          Answer
}

// Refused returns whether policies refuse a connection in one direction, and the names of those that
// select the pod at its end, sorted. A pod that no policy selects for the direction is not
// restricted. If several select it, one that allows the connection is enough.
func (c *Conn) Refused(list []Policy, direction string) (Answer, []string) {
	self := c.Dst.Pod
	if direction == Egress {
		self = c.Src.Pod
	}
	if self == nil {
		return sure(false), nil
	}
	denied, allowed := sure(false), sure(false)
	var names []string
	for i := range list {
		p := &list[i]
		if p.Namespace != self.Namespace {
			continue
		}
		selects := p.each(func(s *Spec) Answer { return s.Selects(self, direction) })
		if selects.Truth == No {
			continue
		}
		if selects.Truth == Yes {
			names = append(names, p.Namespace+"/"+p.Name)
		}
		// A policy that allows the connection never denies it, even if it is unknown whether it selects the pod.
		denied = or(denied, p.each(func(s *Spec) Answer { return and(s.Selects(self, direction), not(s.allows(c, direction))) }))
		allowed = or(allowed, p.each(func(s *Spec) Answer { return and(s.Selects(self, direction), s.allows(c, direction)) }))
	}
	slices.Sort(names)
	return and(denied, not(allowed)), names
}

// Selects returns whether a policy selects a pod, in any direction.
func (p *Policy) Selects(pod *Pod) Answer {
	if p.Namespace != pod.Namespace {
		return sure(false)
	}
	return p.each(func(s *Spec) Answer { return or(s.Selects(pod, Ingress), s.Selects(pod, Egress)) })
}

// each evaluates every possible spec. If they differ, the answer is Maybe.
func (p *Policy) each(do func(*Spec) Answer) Answer {
	out := p.Exists
	for i, s := range p.Specs {
		a := maybe("the spec of network policy " + p.Namespace + "/" + p.Name + " could not be read")
		if s != nil {
			a = do(s)
		}
		if a = and(p.Exists, a); i == 0 {
			out = a
		} else if a.Truth != out.Truth {
			return maybe("network policy " + p.Namespace + "/" + p.Name + " was changed at an unknown time")
		}
	}
	return out
}

// Selects returns whether the spec restricts a direction of a pod in the policy's namespace. Without
// policyTypes it restricts ingress, and egress if it has rules for it.
func (s *Spec) Selects(pod *Pod, direction string) Answer {
	types := s.PolicyTypes
	if len(types) == 0 {
		if types = []string{Ingress}; len(s.Egress) > 0 {
			types = append(types, Egress)
		}
	}
	if !slices.Contains(types, direction) {
		return sure(false)
	}
	return s.PodSelector.matches(&pod.Labels)
}

// allows returns whether a rule of the spec allows a connection.
func (s *Spec) allows(c *Conn, direction string) Answer {
	rules, namespace, other := s.Ingress, "", &c.Src
	if direction == Egress {
		rules, other, namespace = s.Egress, &c.Dst, c.Src.Pod.Namespace
	} else {
		namespace = c.Dst.Pod.Namespace
	}
	out := sure(false)
	for _, r := range rules {
		peers, ports := r.From, sure(len(r.Ports) == 0)
		if direction == Egress {
			peers = r.To
		}
		fits := sure(len(peers) == 0)
		for i := range peers {
			fits = or(fits, peers[i].is(other, namespace))
		}
		for i := range r.Ports {
			ports = or(ports, r.Ports[i].is(c))
		}
		out = or(out, and(fits, ports))
	}
	return out
}

// is returns whether a peer of a policy in a namespace selects an end.
func (p *Peer) is(e *End, namespace string) Answer {
	switch {
	case p.Block != nil:
		return p.Block.has(e)
	case e.Pod == nil && e.Unknown != "":
		return maybe(e.Unknown)
	case e.Pod == nil:
		return sure(false)
	case p.Namespaces == nil && p.Pods == nil:
		return maybe("a rule has a peer that selects nothing")
	}
	var out Answer
	if p.Namespaces != nil {
		out = p.Namespaces.matches(&e.Pod.Space)
	} else {
		out = sure(e.Pod.Namespace == namespace)
	}
	if p.Pods != nil {
		out = and(out, p.Pods.matches(&e.Pod.Labels))
	}
	return out
}

// has returns whether a block has the address of an end.
func (b *Block) has(e *End) Answer {
	if !e.Addr.IsValid() {
		return maybe(cmp.Or(e.Unknown, "an address is unknown"))
	}
	out := within(b.CIDR, e.Addr)
	for _, s := range b.Except {
		out = and(out, not(within(s, e.Addr)))
	}
	return out
}

func within(cidr string, addr netip.Addr) Answer {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return maybe("a rule has a range that is not one")
	}
	return sure(p.Contains(addr.Unmap()))
}

// is returns whether a connection is to a port.
func (p *Port) is(c *Conn) Answer {
	if !strings.EqualFold(cmp.Or(p.Protocol, "TCP"), c.Transport) {
		return sure(false)
	}
	switch {
	case p.Port == nil:
		return sure(true)
	case c.Port == 0:
		return maybe("the port behind a service is unknown")
	case p.Port.Name == "" && p.EndPort != 0:
		return sure(p.Port.Number <= c.Port && c.Port <= p.EndPort)
	case p.Port.Name == "":
		return sure(p.Port.Number == c.Port)
	case c.Dst.Pod == nil && c.Dst.Unknown != "":
		return maybe(c.Dst.Unknown)
	case c.Dst.Pod == nil:
		return sure(false) // only pods have named ports
	case c.Dst.Pod.Ports == nil:
		return maybe("the named ports of a pod are unknown")
	}
	number, ok := c.Dst.Pod.Ports[strings.ToLower(c.Transport)+"/"+p.Port.Name]
	return sure(ok && number == c.Port)
}

// matches returns whether labels satisfy every requirement of a selector.
func (s *Selector) matches(l *Labels) Answer {
	out := sure(true)
	for key, value := range s.Labels {
		out = and(out, l.has(Expression{Key: key, Operator: "In", Values: []string{value}}))
	}
	for _, e := range s.Expressions {
		out = and(out, l.has(e))
	}
	return out
}

// has returns whether labels satisfy a requirement. A label that is absent is not in a list.
func (l *Labels) has(e Expression) Answer {
	value, ok := l.Known[e.Key]
	if !ok && l.Partial != "" {
		return maybe(l.Partial)
	}
	switch e.Operator {
	case "In":
		return sure(ok && slices.Contains(e.Values, value))
	case "NotIn":
		return sure(!ok || !slices.Contains(e.Values, value))
	case "Exists":
		return sure(ok)
	case "DoesNotExist":
		return sure(!ok)
	}
	return maybe("a selector has the unknown operator " + e.Operator)
}

// Listening returns the ports behind a service on which a pod listens: those that it declares, or else
// all of them.
func Listening(behind, declared []int64) []int64 {
	own := slices.DeleteFunc(slices.Clone(behind), func(n int64) bool { return !slices.Contains(declared, n) })
	if len(own) == 0 {
		return behind
	}
	return own
}
