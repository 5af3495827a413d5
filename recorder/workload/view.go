package workload

import (
	"math"
	"net/netip"
	"slices"
	"sort"
)

// span is a time in which an address has an owner. to is excluded.
type span struct {
	from, to int64 // math.MinInt64 and math.MaxInt64 if open
	who      int   // in view.ids
}

// holders are all owners of an address over time.
type holders struct {
	said     []span             // stated by recorders; one at a time
	peers    []span             // stated by recorders about peers; one at a time
	pods     []span             // pods with their own address; one at a time
	hostPods map[portKey][]span // pods that listen on their node's address
	services []span             // several at a time, by name
	ports    map[portKey][]span // of these services
	nodes    []span             // one at a time
	plain    []span             // backends of a service that are not pods
	hostname *hostName
}

// view is the index in a form for lookups. It is immutable.
type view struct {
	ids        []Identity
	containers [][]container // of ids that are pods
	addrs      map[netip.Addr]*holders
	nodePorts  map[portKey][]span // valid on every node
	ranges     Ranges
	inside     map[netip.Prefix]struct{}
	insideBits []int
	objects    []object
	others     []Workload // namespaces and network policies
}

// object is the source of a row of EachWorkload.
type object struct {
	kind     string
	c        *common
	from, to int64
	who      int
	ports    []ServicePort
}

// builder makes a view.
type builder struct {
	x      *Index
	v      *view
	gone   map[string][]list // by kind, ascending by time
	owners map[ref]*owner    // by kind and UID, and by kind, namespace and name
	nodes  map[string][]netip.Addr
	named  map[portName][]namedPort    // ports of pods, in the order of the pods
	ports  map[[2]string][]servicePort // of services, by namespace and name
}

func (x *Index) build() *view {
	b := &builder{
		x: x,
		v: &view{
			addrs: map[netip.Addr]*holders{}, nodePorts: map[portKey][]span{},
			inside: map[netip.Prefix]struct{}{},
			ids:    make([]Identity, 0, len(x.pods)+len(x.services)+len(x.nodes)),
		},
		gone: map[string][]list{}, owners: map[ref]*owner{}, nodes: map[string][]netip.Addr{}, named: map[portName][]namedPort{}, ports: map[[2]string][]servicePort{},
	}
	for l := range x.lists {
		b.gone[l.of] = append(b.gone[l.of], l)
	}
	for _, lists := range b.gone {
		sort.Slice(lists, func(i, j int) bool { return lists[i].seen < lists[j].seen })
	}
	for _, o := range sorted(x.owners, func(o *owner) *common { return &o.common }) {
		if o.uid != "" {
			b.owners[ref{kind: o.kind, uid: o.uid}] = o
		}
		b.owners[ref{kind: o.kind, namespace: o.namespace, name: o.name}] = o
	}
	pods := sorted(x.pods, podCommon)
	b.addNodes(pods)
	b.addPods(pods)
	b.addServices()
	b.addBackends()
	b.addSaid()
	b.addNames()
	for _, h := range b.v.addrs {
		h.pods, h.nodes, h.said, h.peers = b.clip(h.pods), b.clip(h.nodes), b.clip(h.said), b.clip(h.peers)
	}
	b.addRanges()
	b.addOthers()
	return b.v
}

func (b *builder) at(a netip.Addr) *holders {
	h := b.v.addrs[a]
	if h == nil {
		h = &holders{}
		b.v.addrs[a] = h
	}
	return h
}

// identity adds an identity and returns its number.
func (b *builder) identity(id Identity, containers []container) int {
	b.v.ids = append(b.v.ids, id)
	b.v.containers = append(b.v.containers, containers)
	return len(b.v.ids) - 1
}

// end is when an object ceased to exist: its own end, or the first complete list without it.
func (b *builder) end(c *common, kind string, own int64) int64 {
	if own != 0 {
		return own
	}
	lists := b.gone[kind]
	i := sort.Search(len(lists), func(i int) bool { return lists[i].seen > c.seen })
	if i < len(lists) {
		return lists[i].seen
	}
	return 0
}

// spanOf is the span of one address of an object that lived from and to.
func spanOf(a seenAddr, c *common, from, to int64, who int) span {
	s := span{math.MinInt64, math.MaxInt64, who}
	if from != 0 {
		s.from = from
	}
	if to != 0 {
		s.to = max(to, s.from)
	}
	if a.seen < c.seen {
		// A later sighting has other addresses (the pod's sandbox was recreated).
		s.to = min(s.to, max(c.seen, s.from))
	}
	return s
}

// clip ends each span where the next one begins: an address has one owner at a time, but the
// status of a pod that no longer runs often still contains its address.
func (b *builder) clip(spans []span) []span {
	sort.SliceStable(spans, func(i, j int) bool {
		if spans[i].from != spans[j].from {
			return spans[i].from < spans[j].from
		}
		return spans[i].to < spans[j].to
	})
	for i := range spans[:max(len(spans)-1, 0)] {
		spans[i].to = min(spans[i].to, spans[i+1].from)
	}
	return spans
}

func (b *builder) addNodes(pods []*pod) {
	all := sorted(b.x.nodes, func(n *node) *common { return &n.common })
	known := map[string]bool{}
	for _, n := range all {
		known[n.name] = true
	}
	derived := map[string]*node{}
	for _, p := range pods {
		if p.node == "" || known[p.node] || len(p.hostAddrs) == 0 {
			continue
		}
		n := derived[p.node]
		if n == nil {
			n = &node{common: common{name: p.node, source: p.source, seen: p.seen}, derived: true}
			derived[p.node] = n
		}
		for _, a := range p.hostAddrs {
			n.addrs = mergeAddrs(n.addrs, []seenAddr{{a, n.seen}})
		}
	}
	all = append(all, sorted(derived, func(n *node) *common { return &n.common })...)
	for _, n := range all {
		from, to := n.created, b.end(&n.common, "node", textEnd(n.deleted))
		if n.derived {
			to = 0
		}
		who := b.identity(Identity{
			Kind: "node", Name: n.name, Node: n.name, Labels: n.labels,
			ValidFrom: from, ValidTo: to, HowKnown: "kube", Source: n.source,
		}, nil)
		for _, a := range n.addrs {
			h := b.at(a.addr)
			h.nodes = append(h.nodes, spanOf(a, &n.common, from, to, who))
		}
		b.nodes[n.name] = append(b.nodes[n.name], n.allAddrs()...)
		b.v.objects = append(b.v.objects, object{kind: "node", c: &n.common, from: from, to: to, who: who})
	}
}

func (b *builder) addPods(pods []*pod) {
	fronts := b.fronts(pods)
	for i, p := range pods {
		from, to := p.from(), b.end(&p.common, "pod", p.ended())
		if to != 0 && to < from {
			to = from
		}
		id := Identity{
			Kind: "pod", Name: p.name, Namespace: p.namespace, Pod: p.name, PodUID: p.uid, Services: fronts[i].services, Fronts: fronts[i].ports,
			Node: p.node, Labels: p.labels, ValidFrom: from, ValidTo: to, HowKnown: "kube", Source: p.source,
		}
		b.own(&id, p)
		who := b.identity(id, p.containers)
		b.v.objects = append(b.v.objects, object{kind: "pod", c: &p.common, from: from, to: to, who: who, ports: p.namedPorts()})
		for _, a := range p.addrs {
			if !p.hostNetwork {
				h := b.at(a.addr)
				h.pods = append(h.pods, spanOf(a, &p.common, from, to, who))
			}
		}
		b.listen(p, fronts[i].ports, from, to, who)
		b.name(p)
	}
}

func (b *builder) name(p *pod) {
	for _, c := range p.containers {
		for _, cp := range c.ports {
			if cp.name != "" {
				k := portName{p.namespace, cp.name, cp.proto}
				b.named[k] = append(b.named[k], namedPort{p.labels, cp.port})
			}
		}
	}
}

// addBackends names addresses that a Service lists and that are not pods, such as a
// database outside the cluster.
func (b *builder) addBackends() {
	type front struct {
		namespace string
		reached
		first *backends
	}
	found := map[netip.Addr]*front{}
	var order []netip.Addr
	for _, s := range sorted(b.x.backends, func(w *backends) *common { return &w.common }) {
		for a, ports := range s.plain {
			f := found[a]
			if f == nil {
				f = &front{namespace: s.namespace, first: s}
				found[a] = f
				order = append(order, a)
			}
			if f.namespace == s.namespace && len(f.services) < maxContained {
				f.add(s.name, ports)
			}
		}
	}
	slices.SortFunc(order, netip.Addr.Compare)
	for _, a := range order {
		f := found[a]
		b.settle(&f.reached, f.namespace, nil)
		from := f.first.created
		who := b.identity(Identity{
			Kind: "host", Name: f.services[0], Namespace: f.namespace, Services: f.services, Fronts: f.ports,
			ValidFrom: from, HowKnown: "kube", Source: f.first.source,
		}, nil)
		h := b.at(a)
		h.plain = append(h.plain, spanOf(seenAddr{a, f.first.seen}, &f.first.common, from, 0, who))
	}
}

func (b *builder) addSaid() {
	for a, ids := range b.x.said {
		ids = slices.Clone(ids)
		slices.SortFunc(ids, compareSaid)
		for _, id := range ids {
			h := b.at(a)
			s := span{math.MinInt64, math.MaxInt64, b.identity(id, nil)}
			if id.ValidFrom != 0 {
				s.from = id.ValidFrom
			}
			if id.ValidTo != 0 {
				s.to = max(id.ValidTo, s.from)
			}
			if id.HowKnown == knownAsPeer {
				h.peers = append(h.peers, s)
			} else {
				h.said = append(h.said, s)
			}
		}
	}
}

// addOthers adds the rows of objects without addresses.
func (b *builder) addOthers() {
	for _, p := range b.x.policies {
		b.v.others = append(b.v.others, p.row(b.end(&p.common, "networkpolicy", textEnd(p.deleted))))
	}
	for _, s := range b.x.spaces {
		b.v.others = append(b.v.others, s.row("namespace", textEnd(s.deleted)))
	}
}

func (b *builder) addNames() {
	for a, names := range b.x.names {
		best := slices.MinFunc(names, compareHostNames)
		b.at(a).hostname = &best
	}
}
