package servicemap

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// external groups external destinations by registrable domain, most calls first.
func (g *graph) external() []ExternalDomain {
	by := map[string]*ExternalDomain{}
	for i := range g.edges {
		e := &g.edges[i]
		if e.pb != terms.Outside || e.pa == terms.Outside {
			continue
		}
		name := terms.Domain(e.Dst)
		d := by[name]
		if d == nil {
			d = &ExternalDomain{Domain: name}
			by[name] = d
		}
		d.Names, d.Clients = ask.AddName(d.Names, e.Dst), ask.AddName(d.Clients, e.Src)
		d.Calls += e.Calls
		d.Failed += e.Failed
		d.KB = ask.Round(d.KB + e.RequestKB + e.ResponseKB)
	}
	out := []ExternalDomain{}
	for _, d := range by {
		d.Names, d.Clients = ask.SomeNames(d.Names), ask.SomeNames(d.Clients)
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b ExternalDomain) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Domain, b.Domain))
	})
	return out
}

// onLink reports whether a node is an address that no router forwards packets to, or a group of receivers.
func onLink(name string) bool {
	a, err := netip.ParseAddr(name)
	return err == nil && a.IsLinkLocalUnicast() || isGroup(name)
}

// isGroup reports whether a node is a multicast or the broadcast address, which is no server.
func isGroup(name string) bool {
	a, err := netip.ParseAddr(name)
	return err == nil && (a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
}

// ingress returns the nodes that are called from outside. If the case has known inside nodes, it
// also returns those called from addresses without a name.
func (g *graph) ingress() []IngressPoint {
	by := map[string]*IngressPoint{}
	for i := range g.edges {
		e := &g.edges[i]
		if e.Calls <= e.back || onLink(e.Dst) || e.pb == terms.Outside || !(e.pa == terms.Outside || e.pa == "unknown" && e.pb == terms.Inside) {
			continue
		}
		p := by[e.Dst]
		if p == nil {
			p = &IngressPoint{Service: e.Dst, KFL: g.dst(g.nodes[e.Dst])}
			by[e.Dst] = p
		}
		p.From = ask.AddName(p.From, e.Src)
		p.Calls += e.Calls
		p.Failed += e.Failed
	}
	out := []IngressPoint{}
	for _, p := range by {
		var froms []string
		for _, name := range p.From {
			froms = append(froms, terms.NodeKFL("src", g.by, name, g.nodes[name].levels))
		}
		if len(froms) > 3 {
			froms = []string{`src.kind not in ["pod", "service", "node", "process"]`}
		}
		p.KFL += " and (" + strings.Join(froms, " or ") + ")" + terms.NotCarriers
		p.From = ask.SomeNames(p.From)
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b IngressPoint) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Service, b.Service))
	})
	return out
}

// reach follows the edges from the nodes of a namespace, nearest first. It omits edges that lead
// back to nodes that were already reached.
func (g *graph) reach(namespace string) []Reachable {
	next := map[string][]int{}
	depth := map[string]int{}
	for i := range g.edges {
		e := &g.edges[i]
		next[e.Src] = append(next[e.Src], i)
		if e.nsA == namespace || g.nodes[e.Src].Namespace == namespace {
			depth[e.Src] = 0
		}
		if g.nodes[e.Dst].Namespace == namespace {
			depth[e.Dst] = 0
		}
	}
	var level []string
	for name := range depth {
		level = append(level, name)
	}
	out := []Reachable{}
	for d := 1; len(level) > 0; d++ {
		level = g.alike(level)
		found := map[string]*Reachable{}
		for _, name := range level {
			for _, i := range next[name] {
				g.step(found, depth, d, &g.edges[i])
			}
		}
		level = level[:0]
		var rows []Reachable
		for name, r := range found {
			depth[name] = d
			level = append(level, name)
			r.Via = ask.SomeNames(r.Via)
			rows = append(rows, *r)
		}
		slices.SortFunc(rows, func(a, b Reachable) int {
			return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Name, b.Name))
		})
		out = append(out, rows...)
	}
	return out
}

func (g *graph) step(found map[string]*Reachable, depth map[string]int, d int, e *MapEdge) {
	if _, seen := depth[e.Dst]; seen {
		return
	}
	r := found[e.Dst]
	if r == nil {
		r = &Reachable{Name: e.Dst, Place: g.nodes[e.Dst].Place, Depth: d, KFL: []string{}}
		found[e.Dst] = r
	}
	r.Via = ask.AddName(r.Via, e.Src)
	r.Calls += e.Calls
	r.Failed += e.Failed
	for _, p := range e.Protocols {
		r.Protocols = ask.AddName(r.Protocols, p.Protocol)
	}
	if len(r.KFL) < 3 && e.KFL != "" {
		r.KFL = append(r.KFL, e.KFL)
	}
}
