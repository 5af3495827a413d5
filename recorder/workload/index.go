package workload

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Index identifies the owner of an address at a time. Add first, from one goroutine; then
// any number of goroutines may call Lookup. Adding again is allowed while no lookup runs.
type Index struct {
	texts map[string]string // equal texts are kept once
	kept  int64

	pods     map[string]*pod
	services map[string]*service
	nodes    map[string]*node
	owners   map[string]*owner
	backends map[string]*backends // by namespace and service
	cidrs    map[string]*cidrs
	events   map[string]*event
	policies map[string]*netpolicy // by key and content: each spec that a dump shows
	spaces   map[string]*common    // namespaces, likewise
	lists    map[list]struct{}
	names    map[netip.Addr][]hostName
	said     map[netip.Addr][]Identity // segment, ptcpdump

	mu   sync.Mutex
	view atomic.Pointer[view]
}

// NewIndex returns an empty index.
func NewIndex() *Index {
	return &Index{
		texts: map[string]string{}, pods: map[string]*pod{}, services: map[string]*service{},
		nodes: map[string]*node{}, owners: map[string]*owner{}, backends: map[string]*backends{},
		cidrs: map[string]*cidrs{}, events: map[string]*event{}, policies: map[string]*netpolicy{}, spaces: map[string]*common{}, lists: map[list]struct{}{},
		names: map[netip.Addr][]hostName{}, said: map[netip.Addr][]Identity{},
	}
}

// current returns the view that Lookup uses, built on the first call after a change.
func (x *Index) current() *view {
	if v := x.view.Load(); v != nil {
		return v
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if v := x.view.Load(); v != nil {
		return v
	}
	v := x.build()
	x.view.Store(v)
	return v
}

// unit is the objects that were read together: a list, or the loose objects of a file.
type unit struct {
	pods     []*pod
	services []*service
	nodes    []*node
	owners   []*owner
	backends []*backends
	cidrs    []*cidrs
	events   []*event

	netpolicies []*netpolicy
	spaces      []*common

	newest  int64
	owned   bool // it contains where and when each object was seen
	partial bool // some of its objects were refused, so an object missing from it may exist
}

// commit puts a unit into the index. whole means that it was a list that was read completely.
func (x *Index) commit(u *unit, source string, seen int64, whole bool) {
	x.view.Store(nil)
	for _, o := range u.pods {
		stamp(&o.common, source, seen)
		x.addPod(o)
	}
	for _, o := range u.services {
		stamp(&o.common, source, seen)
		put(x, x.services, o.key(), o, func(s *service) *common { return &s.common })
	}
	for _, o := range u.nodes {
		stamp(&o.common, source, seen)
		put(x, x.nodes, o.key(), o, func(n *node) *common { return &n.common })
	}
	for _, o := range u.owners {
		stamp(&o.common, source, seen)
		put(x, x.owners, o.key(), o, func(w *owner) *common { return &w.common })
	}
	for _, o := range u.cidrs {
		stamp(&o.common, source, seen)
		put(x, x.cidrs, o.key(), o, func(w *cidrs) *common { return &w.common })
	}
	for _, o := range u.netpolicies {
		stamp(&o.common, source, seen)
		put(x, x.policies, o.key()+"\x00"+o.text, o, func(p *netpolicy) *common { return &p.common })
	}
	for _, o := range u.spaces {
		stamp(o, source, seen)
		put(x, x.spaces, fmt.Sprint(o.key(), o.labels), o, func(c *common) *common { return c })
	}
	for _, o := range u.events {
		stamp(&o.common, source, seen)
		put(x, x.events, o.key(), o, func(w *event) *common { return &w.common })
	}
	for _, o := range u.backends {
		stamp(&o.common, source, seen)
		x.addBackends(o)
	}
	if whole && !u.owned && !u.partial {
		for _, of := range u.complete() {
			x.lists[list{of, seen, source}] = struct{}{}
		}
	}
}

// stamp records the sighting, unless the object contains its own.
func stamp(c *common, source string, seen int64) {
	if c.own {
		return
	}
	c.source, c.seen = source, seen
	for i := range c.addrs {
		c.addrs[i].seen = seen
	}
}

// put merges a sighting of an object with earlier ones.
func put[T any](x *Index, m map[string]*T, key string, o *T, of func(*T) *common) {
	now := of(o)
	old, ok := m[key]
	if !ok {
		m[key] = o
		return
	}
	was := of(old)
	addrs := mergeAddrs(was.addrs, now.addrs)
	other := max(was.other, now.other)
	if !slices.Equal(was.labels, now.labels) {
		other = max(other, min(was.seen, now.seen))
	}
	if now.newer(was) {
		x.kept -= was.cost
	} else {
		x.kept -= now.cost
		o, now = old, was
	}
	now.addrs, now.other = addrs, other
	m[key] = o
}

func (x *Index) addPod(p *pod) {
	key := p.key()
	past := p.past
	if old, ok := x.pods[key]; ok {
		past = mergePast(old.past, p.past)
	}
	put(x, x.pods, key, p, func(p *pod) *common { return &p.common })
	x.pods[key].past = past
}

func (x *Index) addBackends(b *backends) {
	key := b.namespace + "/" + b.name
	old, ok := x.backends[key]
	if !ok {
		x.backends[key] = b
		return
	}
	x.kept -= b.cost
	x.kept += 96*addTargets(old.targets, b.targets) + 64*addTargets(old.plain, b.plain)
	if old.created == 0 || b.created != 0 && b.created < old.created {
		old.created = b.created
	}
	if b.newer(&old.common) {
		old.seen, old.source = b.seen, b.source
	}
}

// addTargets adds the targets of another sighting to old, with their ports, and returns how many are new.
func addTargets[K comparable](old, other map[K][]portKey) (added int64) {
	for t, ports := range other {
		known, ok := old[t]
		if !ok && len(old) >= maxTargets {
			continue
		}
		if !ok {
			added++
		}
		old[t] = unite(known, ports)
	}
	return added
}

// complete returns the kinds whose objects a list probably contained completely: pods or services from more than one
// namespace mean all namespaces, more than one node means all nodes, and a policy with anything of another namespace
// means all policies. An object of these kinds that is missing from a later list no longer exists.
func (u *unit) complete() []string {
	var out []string
	if namespaces(u.pods, func(p *pod) string { return p.namespace }) > 1 {
		out = append(out, "pod")
	}
	if namespaces(u.services, func(s *service) string { return s.namespace }) > 1 {
		out = append(out, "service")
	}
	if len(u.nodes) > 1 {
		out = append(out, "node")
	}
	if len(u.netpolicies) > 0 {
		of := u.netpolicies[0].namespace
		elsewhere := func(namespace string) bool { return namespace != of }
		if slices.ContainsFunc(u.netpolicies, func(p *netpolicy) bool { return elsewhere(p.namespace) }) || slices.ContainsFunc(u.pods, func(p *pod) bool { return elsewhere(p.namespace) }) ||
			slices.ContainsFunc(u.services, func(s *service) bool { return elsewhere(s.namespace) }) {
			out = append(out, "networkpolicy")
		}
	}
	return out
}

func namespaces[T any](list []T, of func(T) string) int {
	seen := map[string]struct{}{}
	for _, o := range list {
		seen[of(o)] = struct{}{}
	}
	return len(seen)
}

// sorted returns the objects by namespace, name, start and UID.
func sorted[T any](m map[string]*T, of func(*T) *common) []*T {
	out := make([]*T, 0, len(m))
	for _, o := range m {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *T) int { return compareCommon(of(a), of(b)) })
	return out
}

func compareCommon(a, b *common) int {
	return cmp.Or(
		cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name), cmp.Compare(a.created, b.created),
		cmp.Compare(a.uid, b.uid), cmp.Compare(a.seen, b.seen),
	)
}
