package workload

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sort"
)

// listen records the ports of a pod on its node's addresses.
func (b *builder) listen(p *pod, fronts []Front, from, to int64, who int) {
	var addrs []netip.Addr
	if p.hostNetwork {
		addrs = p.allAddrs()
	}
	addrs = append(append(addrs, p.hostAddrs...), b.nodes[p.node]...)
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	for _, key := range p.onNode(fronts) {
		for _, a := range addrs {
			h := b.at(a)
			if h.hostPods == nil {
				h.hostPods = map[portKey][]span{}
			}
			if len(h.hostPods[key]) >= maxShared {
				continue
			}
			h.hostPods[key] = append(h.hostPods[key], spanOf(seenAddr{a, p.seen}, &p.common, from, to, who))
		}
	}
}

// onNode are the ports on which a pod listens at its node's addresses. A pod in the network of its node need not declare
// those on which services reach it.
func (p *pod) onNode(fronts []Front) (keys []portKey) {
	for _, c := range p.containers {
		if c.init && !c.sidecar {
			continue
		}
		for _, cp := range c.ports {
			key := portKey{cp.host, cp.proto}
			if p.hostNetwork {
				key = cp.portKey
			}
			keys = append(keys, key)
		}
	}
	if p.hostNetwork {
		for _, f := range fronts {
			keys = append(keys, portKey{f.Port, f.Proto})
		}
	}
	slices.SortFunc(keys, portKey.compare)
	keys = slices.Compact(keys)
	return slices.DeleteFunc(keys, func(k portKey) bool { return k.port == 0 })
}

// own finds the topmost owner of a pod.
func (b *builder) own(id *Identity, p *pod) {
	o := p.owner
	switch o.kind {
	case "", "Node": // a bare pod, or a static one
		return
	case "ReplicaSet", "Job":
		up := b.owners[ref{kind: o.kind, uid: o.uid}]
		if up == nil {
			up = b.owners[ref{kind: o.kind, namespace: o.namespace, name: o.name}]
		}
		if up != nil {
			if up.owner.name != "" {
				o = up.owner
			}
			break
		}
		if o.kind == "Job" {
			if name, ok := CronJobOf(o.name, cmp.Or(p.from(), p.seen)); ok {
				o = ref{"CronJob", o.namespace, name, ""}
				id.OwnerDerived = true
			}
			break
		}
		// A Deployment names its ReplicaSets after itself and the hash of their template.
		for _, l := range p.labels {
			if l.Name != "pod-template-hash" || l.Value == "" {
				continue
			}
			if stem := len(o.name) - len(l.Value) - 1; stem > 0 && o.name[stem:] == "-"+l.Value {
				o = ref{"Deployment", o.namespace, o.name[:stem], ""}
				id.OwnerDerived = b.owners[o] == nil
			}
		}
	}
	id.Workload, id.WorkloadKind = o.name, o.kind
}

// reached are the services in front of a pod or of an address, and their ports.
type reached struct {
	services []string
	ports    []Front
}

// add adds a service whose slices state ports.
func (r *reached) add(service string, ports []portKey) {
	r.services = append(r.services, service)
	for _, p := range ports {
		r.ports = append(r.ports, Front{service, p.port, p.proto})
	}
}

// settle sorts services, and finds the ports of those whose slices state none: their numbers, and those of the pod's
// containers. A name that no container has leads to no port.
func (b *builder) settle(r *reached, namespace string, named []ServicePort) {
	sort.Strings(r.services)
	r.services = slices.Compact(r.services)
	r.services = r.services[:min(len(r.services), maxContained)]
	sliced := r.ports
	for _, name := range r.services {
		if slices.ContainsFunc(sliced, func(f Front) bool { return f.Service == name }) {
			continue
		}
		for _, p := range b.ports[[2]string{namespace, name}] {
			if p.name == "" {
				r.ports = append(r.ports, Front{name, p.target, p.proto})
				continue
			}
			none := len(r.ports)
			for _, n := range named {
				if n.Name == p.name && n.Protocol == protocolName(p.proto) {
					r.ports = append(r.ports, Front{name, n.Target, p.proto})
				}
			}
			if len(r.ports) == none {
				r.ports = append(r.ports, Front{Service: name})
			}
		}
	}
	r.ports = SortFronts(r.ports)
}

// fronts finds the services in front of each pod: by slices, or by selector for services
// without slices and for pods that had left the slices before the dump.
func (b *builder) fronts(pods []*pod) []reached {
	out := make([]reached, len(pods))
	byUID, byName := map[string]int{}, map[[2]string][]int{}
	for i, p := range pods {
		if p.uid != "" {
			byUID[p.uid] = i
		}
		byName[[2]string{p.namespace, p.name}] = append(byName[[2]string{p.namespace, p.name}], i)
	}
	for _, s := range sorted(b.x.backends, func(w *backends) *common { return &w.common }) {
		for t, ports := range s.targets {
			if i, ok := byUID[t.uid]; ok && t.uid != "" {
				out[i].add(s.name, ports)
				continue
			}
			if t.uid != "" {
				continue // another pod with the same name
			}
			for _, i := range byName[[2]string{t.namespace, t.name}] {
				out[i].add(s.name, ports)
			}
		}
	}
	type pick struct {
		namespace string
		first     Label
	}
	selectors := map[pick][]*service{}
	for _, s := range sorted(b.x.services, func(s *service) *common { return &s.common }) {
		k := [2]string{s.namespace, s.name}
		b.ports[k] = append(b.ports[k], s.ports...)
		if len(s.selector) > 0 {
			k := pick{s.namespace, s.selector[0]}
			selectors[k] = append(selectors[k], s)
		}
	}
	for i, p := range pods {
		over := p.ended() != 0
		for _, l := range p.labels {
			for _, s := range selectors[pick{p.namespace, l}] {
				if _, sliced := b.x.backends[s.namespace+"/"+s.name]; sliced && !over {
					continue
				}
				if matches(s.selector, p.labels) {
					out[i].add(s.name, nil)
				}
			}
		}
		b.settle(&out[i], p.namespace, p.namedPorts())
	}
	return out
}

// matches reports whether labels contain all labels of a selector; both are sorted by name.
func matches(selector, labels []Label) bool {
	j := 0
	for _, s := range selector {
		for j < len(labels) && labels[j].Name < s.Name {
			j++
		}
		if j == len(labels) || labels[j] != s {
			return false
		}
	}
	return true
}

func (b *builder) addServices() {
	for _, s := range sorted(b.x.services, func(s *service) *common { return &s.common }) {
		from, to := s.created, b.end(&s.common, "service", textEnd(s.deleted))
		who := b.identity(Identity{
			Kind: "service", Name: s.name, Namespace: s.namespace, Services: []string{s.name}, Labels: s.labels,
			ValidFrom: from, ValidTo: to, HowKnown: "kube", Source: s.source,
		}, nil)
		for _, a := range s.addrs {
			h := b.at(a.addr)
			if len(h.services) >= maxShared {
				continue
			}
			sp := spanOf(a, &s.common, from, to, who)
			h.services = append(h.services, sp)
			if h.ports == nil {
				h.ports = map[portKey][]span{}
			}
			for _, p := range s.ports {
				h.ports[p.portKey] = append(h.ports[p.portKey], sp)
			}
		}
		for _, key := range s.nodePorts {
			if len(b.v.nodePorts[key]) >= maxShared {
				continue
			}
			b.v.nodePorts[key] = append(b.v.nodePorts[key], spanOf(seenAddr{seen: s.seen}, &s.common, from, to, who))
		}
		b.v.objects = append(b.v.objects, object{"service", &s.common, from, to, who, b.targets(s)})
	}
}

// namedPorts returns the ports of the pod's containers that have a name.
func (p *pod) namedPorts() []ServicePort {
	var out []ServicePort
	for _, c := range p.containers {
		for _, cp := range c.ports {
			if cp.name != "" && (!c.init || c.sidecar) {
				out = append(out, ServicePort{Protocol: protocolName(cp.proto), Name: cp.name, Target: cp.port})
			}
		}
	}
	return out
}

// targets finds the ports on which the pods behind a service listen. A name may be another port in
// each of them: the ports come in the order of the pods, by namespace and name.
func (b *builder) targets(s *service) []ServicePort {
	var out []ServicePort
	for _, p := range s.ports {
		t := ServicePort{Protocol: protocolName(p.proto), Port: p.port, Target: p.target}
		if len(s.selector) == 0 {
			t.Target = b.sliced(s, p)
		}
		if p.name == "" || len(s.selector) == 0 {
			out = append(out, t)
			continue
		}
		found := len(out)
		list := b.named[portName{s.namespace, p.name, p.proto}]
		for _, pod := range list[:min(len(list), maxNamed)] {
			if t.Target = pod.port; matches(s.selector, pod.labels) && !slices.Contains(out[found:], t) {
				out = append(out, t)
			}
		}
		if t.Target = p.target; len(out) == found {
			out = append(out, t)
		}
	}
	return out
}

// sliced finds the port behind a port of a service without a selector: that of its slices if they
// have any, because the service's own target has no effect then. It is 0 if they have several.
func (b *builder) sliced(s *service, p servicePort) uint16 {
	var ports []uint16
	if w := b.x.backends[s.namespace+"/"+s.name]; w != nil {
		for _, list := range slices.Concat(slices.Collect(maps.Values(w.targets)), slices.Collect(maps.Values(w.plain))) {
			for _, k := range list {
				if k.proto == p.proto && !slices.Contains(ports, k.port) {
					ports = append(ports, k.port)
				}
			}
		}
	}
	switch {
	case len(ports) == 0 || slices.Contains(ports, p.target):
		return p.target
	case len(ports) == 1:
		return ports[0]
	}
	return 0
}

// maxNamed is the maximum number of pods with a port of a name that are compared with a selector.
const maxNamed = 4096

// portName identifies a container's port by name; namedPort is a pod that has one.
type (
	portName struct {
		namespace, name string
		proto           uint8
	}
	namedPort struct {
		labels []Label
		port   uint16
	}
)
