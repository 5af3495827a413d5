package workload

import (
	"net/netip"
	"slices"
	"sort"
)

// slack is the time outside its known life for which a pod still owns its address if it has
// no other owner: clocks of nodes differ, and a last packet follows the exit that caused it.
const slack = 2_000_000_000 // ns

// Lookup identifies the owner of addr at time t (ns since 1970; 0 if unknown). port and proto
// (IP protocol number) are those of this end of the flow, 0 without one; they distinguish
// containers, services and pods on a node's address. If t is unknown, an address that had
// several owners has no answer.
func (x *Index) Lookup(addr netip.Addr, port uint16, proto uint8, t int64) (Identity, bool) {
	v := x.current()
	h := v.addrs[addr.Unmap().WithZone("")]
	if h == nil {
		return Identity{}, false
	}
	key := portKey{port, proto}
	id, ok := v.kube(h, key, t)
	if s, said := single(h.said, t); said {
		stated := v.ids[s.who]
		stated.ValidFrom, stated.ValidTo = s.times()
		if ok {
			if rank(stated.HowKnown) < rank(id.HowKnown) {
				stated, id = id, stated
			}
			id.fill(&stated)
		} else {
			id, ok = stated, true
		}
	}
	id, ok = v.peer(h, id, ok, t)
	if h.hostname == nil {
		return id, ok
	}
	if !ok {
		n := h.hostname
		return Identity{Kind: "host", Name: n.name, Hostname: n.name, HowKnown: n.how, Source: n.source}, true
	}
	if id.Hostname == "" {
		id.Hostname = h.hostname.name
	}
	return id, true
}

// peer adds what recorders knew of an address that was not theirs. It ranks below other
// sources, but it was observed. A segment's identity of a pod ends when another pod has its
// address, which only peers report.
func (v *view) peer(h *holders, id Identity, ok bool, t int64) (Identity, bool) {
	s, found := single(h.peers, t)
	if !found {
		s, found = near(h.peers, t)
		if found && ok {
			return id, ok
		}
	}
	if !found {
		return id, ok
	}
	stated := v.ids[s.who]
	stated.ValidFrom, stated.ValidTo = s.times()
	switch {
	case !ok:
		return stated, true
	case id.HowKnown == "segment" && id.Kind == "pod" && stated.Kind == "pod" && id.PodUID != stated.PodUID && id.PodUID != "" && stated.ValidFrom > id.ValidFrom:
		return stated, true
	}
	from, to := id.ValidFrom, id.ValidTo
	id.fill(&stated)
	id.ValidFrom = from
	if to != 0 {
		id.ValidTo = to
	}
	return id, true
}

// rank orders the sources of an identity; smaller ranks take precedence.
func rank(how string) int {
	switch how {
	case "segment":
		return 0
	case "kube":
		return 1
	case knownAsPeer:
		return 2
	case "ptcpdump":
		return 3
	case "hosts":
		return 4
	case "nrb":
		return 5
	}
	return 6
}

// Fill copies the fields that id lacks from other, if both describe the same pod.
func (id *Identity) Fill(other *Identity) { id.fill(other) }

// fill copies the fields that id lacks from other, if both describe the same pod.
func (id *Identity) fill(other *Identity) {
	if id.Pod == "" && id.PodUID == "" || id.Kind != other.Kind {
		return
	}
	if id.PodUID != "" && other.PodUID != "" {
		if id.PodUID != other.PodUID {
			return
		}
	} else if id.Pod != other.Pod || id.Namespace != other.Namespace {
		return
	}
	for _, f := range [...]struct{ to, from *string }{
		{&id.Name, &other.Name}, {&id.Namespace, &other.Namespace}, {&id.Pod, &other.Pod}, {&id.PodUID, &other.PodUID},
		{&id.Node, &other.Node}, {&id.Process, &other.Process}, {&id.Hostname, &other.Hostname},
	} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
	if id.Workload == "" {
		id.Workload, id.WorkloadKind, id.OwnerDerived = other.Workload, other.WorkloadKind, other.OwnerDerived
	}
	if id.Container == "" {
		id.Container, id.Image = other.Container, other.Image
	} else if id.Image == "" && id.Container == other.Container {
		id.Image = other.Image
	}
	if len(id.Services) == 0 {
		id.Services = other.Services
	}
	if len(id.Fronts) == 0 {
		id.Fronts = other.Fronts
	}
	if len(id.Labels) == 0 {
		id.Labels = other.Labels
	}
	if id.PID == 0 {
		id.PID = other.PID
	}
	if id.ValidFrom == 0 {
		id.ValidFrom = other.ValidFrom
	}
	if id.ValidTo == 0 {
		id.ValidTo = other.ValidTo
	}
}

// kube returns the identity according to dumps.
func (v *view) kube(h *holders, key portKey, t int64) (Identity, bool) {
	if s, ok := single(h.pods, t); ok {
		return v.answer(s, key), true
	}
	if s, ok := v.one(h.hostPods[key], t); ok {
		return v.answer(s, key), true
	}
	if id, ok := v.several(h.ports[key], t); ok {
		return id, true
	}
	if n, ok := single(h.nodes, t); ok {
		if id, ok := v.several(v.nodePorts[key], t); ok {
			id.Node = v.ids[n.who].Name
			return id, true
		}
		return v.answer(n, key), true
	}
	if id, ok := v.several(h.services, t); ok {
		return id, true
	}
	if s, ok := v.one(h.plain, t); ok {
		return v.answer(s, key), true
	}
	if s, ok := near(h.pods, t); ok {
		return v.answer(s, key), true
	}
	return Identity{}, false
}

// answer is the identity of a span, with the container that the port identifies.
func (v *view) answer(s span, key portKey) Identity {
	id := v.ids[s.who]
	id.ValidFrom, id.ValidTo = s.times()
	var regular, match *container
	regulars, matches := 0, 0
	list := v.containers[s.who]
	for i := range list {
		c := &list[i]
		if c.init && !c.sidecar {
			continue
		}
		if !c.init {
			regular, regulars = c, regulars+1
		}
		for _, p := range c.ports {
			if key.port != 0 && (p.portKey == key || p.host == key.port && p.proto == key.proto) {
				match, matches = c, matches+1
				break
			}
		}
	}
	switch {
	case matches == 1:
		id.Container, id.Image = match.name, match.image
	case matches == 0 && regulars == 1 && len(list) > 0:
		id.Container, id.Image = regular.name, regular.image
	}
	return id
}

// times are the ends of a span in the form of an Identity.
func (s span) times() (from, to int64) {
	if s.from > 0 {
		from = s.from
	}
	if s.to < 1<<63-1 {
		to = s.to
	}
	return from, to
}

func (s span) covers(t int64) bool { return s.from <= t && t < s.to }

// single finds the span that covers t among spans that do not overlap. If t is unknown, it
// returns the only span.
func single(spans []span, t int64) (span, bool) {
	if t <= 0 {
		if len(spans) == 1 {
			return spans[0], true
		}
		return span{}, false
	}
	i := sort.Search(len(spans), func(i int) bool { return spans[i].from > t })
	if i > 0 && spans[i-1].covers(t) {
		return spans[i-1], true
	}
	return span{}, false
}

// near finds the span nearest to t within the slack.
func near(spans []span, t int64) (span, bool) {
	if t <= 0 {
		return span{}, false
	}
	i := sort.Search(len(spans), func(i int) bool { return spans[i].from > t })
	best, found := span{}, false
	least := int64(slack) + 1
	if i > 0 && t-spans[i-1].to < least {
		best, found, least = spans[i-1], true, t-spans[i-1].to
	}
	if i < len(spans) && spans[i].from-t < least {
		best, found = spans[i], true
	}
	return best, found
}

// one finds the only span that covers t.
func (v *view) one(spans []span, t int64) (span, bool) {
	var found []span
	for _, s := range spans {
		if t <= 0 || s.covers(t) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return span{}, false
	}
	return found[0], true
}

// several returns the services that cover t: the first by name, with all of its namespace in
// its list.
func (v *view) several(spans []span, t int64) (Identity, bool) {
	var id Identity
	n := 0
	for _, s := range spans {
		if t > 0 && !s.covers(t) {
			continue
		}
		next := v.ids[s.who]
		next.ValidFrom, next.ValidTo = s.times()
		n++
		if n == 1 {
			id = next
			continue
		}
		if next.Namespace == id.Namespace && len(id.Services) < maxContained && !slices.Contains(id.Services, next.Name) {
			id.Services = append(slices.Clone(id.Services), next.Name)
			slices.Sort(id.Services)
		}
	}
	if t <= 0 && n > 1 {
		return Identity{}, false // without a time, the service is ambiguous
	}
	return id, n > 0
}
