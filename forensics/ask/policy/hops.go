package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/netpol"
)

// A hop is a connection as a network plugin sees it: after the service's address was translated.
type hop struct {
	src, dst  *peer
	from, to  *podGroup // nil if the end is not a pod that policies can select
	transport string
	port      int64
	dns       bool
}

// hops returns the possible hops of a connection: to a service, one to each of its workloads, or to
// each of their addresses if no selector selects them. No policy applies between a pod and itself.
func (g *policyMaker) hops(s *seen) []hop {
	h := hop{src: g.peers[[2]int64{s.Bundle, s.SrcID}], dst: g.peers[[2]int64{s.Bundle, s.DstID}], transport: strings.ToUpper(s.Transport), port: s.Port, dns: s.DNS}
	if h.src == nil || h.dst == nil || h.src.IP == h.dst.IP {
		return nil
	}
	h.from, h.to = g.at(h.src), g.at(h.dst)
	if h.dst.Kind == "service" && h.dst.Service != "" {
		return g.behind(h, s.Transport)
	}
	return []hop{h}
}

// behind returns the hops to the workloads and hosts behind a service, each at the ports on which
// its pods listen.
func (g *policyMaker) behind(h hop, transport string) []hop {
	service := h.dst.Namespace + "/" + h.dst.Service
	targets := g.targets[fmt.Sprintf("%s/%s/%d", service, transport, h.port)]
	known := len(targets) > 0
	if !known {
		targets = []int64{h.port}
	}
	address, _ := netip.ParseAddr(h.dst.IP)
	var list []hop
	for _, k := range slices.Sorted(maps.Keys(g.groups)) {
		if q := g.groups[k]; q.namespace == h.dst.Namespace && slices.Contains(q.services, h.dst.Service) {
			for _, port := range netpol.Listening(targets, q.ports) {
				list = append(list, g.hopsTo(h, q, address.Is4(), port)...)
			}
		}
	}
	pods := len(list)
	for _, k := range sortedPeers(g.peers) {
		if p := g.peers[k]; k[0] == h.dst.Bundle && p.Pod == "" && p.Kind != "service" && p.Namespace == h.dst.Namespace && slices.Contains(p.Services, h.dst.Service) {
			for _, port := range targets {
				one := h
				one.dst, one.port = p, port
				list = append(list, one)
			}
		}
	}
	if !known && pods > 0 {
		g.unresolved[service] = true
	}
	if len(list) == 0 {
		g.unlocated[service] = true
		return []hop{h}
	}
	return list
}

// hopsTo returns the hops to a workload behind a service, whose pods have addresses of the
// service's family.
func (g *policyMaker) hopsTo(h hop, q *podGroup, is4 bool, port int64) (list []hop) {
	for _, a := range q.addrs {
		if a.Is4() != is4 {
			continue
		}
		one, pod := h, *h.dst
		pod.IP = a.String()
		one.dst, one.to, one.port = &pod, q, port
		if g.nodes[a] {
			g.hosted[q.path()], one.to = true, nil
		}
		list = append(list, one)
		if one.to != nil && q.selector != nil {
			break // one rule selects all of its pods
		}
	}
	return list
}

// learn adds rules that allow a connection at both ends.
func (g *policyMaker) learn(s *seen) {
	hops := g.hops(s)
	g.leaveOut(hops, s.Learned)
	for _, h := range hops {
		if h.to != nil && g.includes(h.to.namespace) {
			if r, ok := h.rule(h.src, h.from); ok {
				h.to.ingress = addRule(h.to.ingress, r)
			}
		}
		if h.from != nil && g.includes(h.from.namespace) && !g.ingressOnly {
			if r, ok := h.rule(h.dst, h.to); ok {
				h.from.egress = addRule(h.from.egress, r)
			}
		}
	}
}

// leaveOut records why the hops of connections have no rule at an end.
func (g *policyMaker) leaveOut(hops []hop, connections int64) {
	ruled := func(h hop) bool {
		return h.from != nil || h.to != nil || !g.includes(h.src.Namespace) && !g.includes(h.dst.Namespace)
	}
	if len(hops) > 0 && !slices.ContainsFunc(hops, ruled) {
		g.unruled += connections
	}
	for _, h := range hops {
		if a, _ := netip.ParseAddr(h.dst.IP); h.to != nil || g.nodes[a] || !g.includes(h.dst.Namespace) {
			continue
		}
		for _, service := range append(slices.Clone(h.dst.Services), h.dst.Service) {
			if service != "" {
				g.podless[h.dst.Namespace+"/"+service] = true
			}
		}
	}
}

func (g *policyMaker) includes(namespace string) bool {
	return len(g.only) == 0 || slices.Contains(g.only, namespace)
}

// rule returns the rule for one end of the hop: the pods q, or the address of p.
func (h *hop) rule(p *peer, q *podGroup) (rule, bool) {
	r := rule{transport: h.transport, port: h.port, dns: h.dns}
	if q != nil && q.selector != nil {
		r.group, r.name = q, q.path()
		return r, true
	}
	addr, err := netip.ParseAddr(p.IP)
	if err != nil {
		return r, false
	}
	r.prefix, r.name = netip.PrefixFrom(addr, addr.BitLen()), p.who()
	return r, true
}

func addRule(list []rule, r rule) []rule {
	i, found := slices.BinarySearchFunc(list, r, func(a, b rule) int { return strings.Compare(a.key(), b.key()) })
	if found {
		list[i].dns = list[i].dns || r.dns
		return list
	}
	return slices.Insert(list, i, r)
}
