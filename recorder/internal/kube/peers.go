package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// service is a service as last reported.
type service struct {
	uid string
	who *entry
}

// slice is an endpoint slice: the backends of a service.
type slice struct {
	service string
	ports   []workload.Front // on which the targets listen
	targets []target
}

type target struct {
	addrs     []netip.Addr
	uid, name string // of the pod, empty if the target is not a pod
	node      string
	ready     bool
}

// peerKey identifies a peer: a pod by its UID, an address without a pod by its service.
type peerKey struct {
	uid     string
	service name
	addr    netip.Addr
}

func (s *Source) service(v *corev1.Service) {
	k := name{v.Namespace, v.Name}
	if len(v.Namespace) > maxName || len(v.Name) > maxName {
		s.limited++
		return
	}
	old := s.services[k]
	if old != nil && old.uid != string(v.UID) {
		s.endService(k)
		old = nil
	}
	if old == nil {
		if len(s.services) >= maxServices {
			s.limited++
			return
		}
		old = &service{uid: string(v.UID), who: &entry{kind: isService, uid: cleanName(string(v.UID))}}
		s.services[k] = old
	}
	e := old.who
	e.namespace, e.name, e.labels = cleanName(v.Namespace), cleanName(v.Name), s.allowed(v.Labels)
	e.from = ns(v.CreationTimestamp.Time)
	texts := slices.Concat([]string{v.Spec.ClusterIP}, v.Spec.ClusterIPs, v.Spec.ExternalIPs)
	for i := range v.Status.LoadBalancer.Ingress {
		texts = append(texts, v.Status.LoadBalancer.Ingress[i].IP)
	}
	s.move(e, addresses(texts...))
}

// move replaces the addresses of an entry.
func (s *Source) move(e *entry, now []netip.Addr) {
	lost := slices.DeleteFunc(slices.Clone(e.addrs), func(a netip.Addr) bool { return slices.Contains(now, a) })
	s.release(e, s.now(), lost...)
	from := e.from
	if len(e.had) > 0 {
		from = s.now()
	}
	for _, a := range now {
		s.hold(a, e, from)
	}
	e.addrs = now
}

func (s *Source) endService(k name) {
	if v := s.services[k]; v != nil {
		s.end(v.who, s.now())
		delete(s.services, k)
	}
}

func (s *Source) sliceOf(v *discoveryv1.EndpointSlice) *slice {
	x := &slice{service: cleanName(v.Labels[discoveryv1.LabelServiceName])}
	for _, p := range v.Ports[:min(len(v.Ports), maxPorts)] {
		if p.Port != nil && *p.Port > 0 && *p.Port <= 65535 {
			f := workload.Front{Service: x.service, Port: uint16(*p.Port), Proto: protocol(corev1.ProtocolTCP)}
			if p.Protocol != nil {
				f.Proto = protocol(*p.Protocol)
			}
			x.ports = append(x.ports, f)
		}
	}
	x.ports = workload.SortFronts(x.ports)
	if len(v.Endpoints) > maxSlice {
		s.limited++
	}
	for i := range v.Endpoints[:min(len(v.Endpoints), maxSlice)] {
		p := &v.Endpoints[i]
		t := target{addrs: addresses(p.Addresses...), ready: p.Conditions.Ready == nil || *p.Conditions.Ready}
		if p.NodeName != nil {
			t.node = cleanName(*p.NodeName)
		}
		if r := p.TargetRef; r != nil && r.Kind == "Pod" {
			t.uid, t.name = cleanName(string(r.UID)), cleanName(r.Name)
		}
		x.targets = append(x.targets, t)
	}
	return x
}

// slice updates an endpoint slice; nil removes it.
func (s *Source) slice(k name, now *slice, events bool) {
	old := s.slices[k]
	switch {
	case now != nil && now.service == "", now == nil && old == nil:
		return // without a service
	case now != nil && old == nil && len(s.slices) >= maxServices:
		s.limited++
		return
	case now == nil:
		delete(s.slices, k)
	default:
		s.slices[k] = now
	}
	// Targets in both slices are counted twice for a moment, so that they do not end.
	if now != nil {
		for i := range now.targets {
			s.join(name{k.namespace, now.service}, now.ports, &now.targets[i])
		}
	}
	if old != nil {
		for i := range old.targets {
			s.leave(name{k.namespace, old.service}, old.ports, &old.targets[i])
		}
	}
	if events {
		s.endpointsChanged(k.namespace, old, now)
	}
}

func (t *target) key(of name) peerKey {
	if t.uid != "" {
		return peerKey{uid: t.uid}
	}
	k := peerKey{service: of}
	if len(t.addrs) > 0 {
		k.addr = t.addrs[0]
	}
	return k
}

func (s *Source) join(of name, ports []workload.Front, t *target) {
	if t.uid != "" {
		list := s.served[t.uid]
		i := find(list, of.name, ports)
		switch {
		case i >= 0:
			list[i].slices++
		case len(list) >= maxServed:
			s.limited++
		case s.known(t.uid):
			list = append(slices.Clone(list), membership{of.name, ports, 1})
			slices.SortStableFunc(list, func(a, b membership) int { return strings.Compare(a.service, b.service) })
			s.served[t.uid] = list
			if e := s.pods[t.uid]; e != nil {
				s.changed(e)
			}
		}
		if t.node == s.o.Node || s.pods[t.uid] != nil {
			return // its pod has more information
		}
	}
	from := int64(0)
	if s.feeds.synced("endpoints") {
		from = s.now()
	}
	s.peer(of, t, from)
}

// known reports whether there is room for a pod's services.
func (s *Source) known(uid string) bool {
	if s.pods[uid] != nil || len(s.served) < maxPeers+maxPods {
		return true
	}
	s.limited++
	return false
}

// peer adds a use of a peer, which has its addresses from a time on. It returns nil if there are too many.
func (s *Source) peer(of name, t *target, from int64) *entry {
	k := t.key(of)
	e := s.peers[k]
	if e == nil || e.gone != 0 {
		if len(s.peers) >= maxPeers {
			s.limited++
			return nil
		}
		e = &entry{kind: isOutside, namespace: of.namespace, name: of.name, node: t.node, key: k, from: from}
		if t.uid != "" {
			e.kind, e.uid, e.name = isPod, t.uid, t.name
		}
		s.peers[k] = e
	}
	e.users++
	s.holdAll(e, t.addrs)
	return e
}

// holdAll gives addresses to a peer since its beginning.
func (s *Source) holdAll(e *entry, addrs []netip.Addr) {
	for _, a := range addrs {
		if !slices.Contains(e.addrs, a) && len(e.addrs) < maxAddresses {
			e.addrs = append(slices.Clone(e.addrs), a)
		}
		s.hold(a, e, e.from)
	}
}

func (s *Source) leave(of name, ports []workload.Front, t *target) {
	if e := s.peers[t.key(of)]; e != nil && e.gone == 0 {
		if e.users--; e.users <= 0 {
			s.end(e, s.now())
			return // it keeps its services until it is removed
		}
	}
	if t.uid == "" {
		return
	}
	own := s.pods[t.uid]
	list := s.served[t.uid]
	i := find(list, of.name, ports)
	if i < 0 {
		return
	}
	if list[i].slices--; list[i].slices > 0 || own != nil && (own.gone != 0 || own.deleting || own.to != 0) {
		return // a pod's services apply to its last packets too
	}
	if list = slices.Delete(slices.Clone(list), i, i+1); len(list) == 0 {
		delete(s.served, t.uid)
	} else {
		s.served[t.uid] = list
	}
	if own != nil {
		s.changed(own)
	}
}

// endpointsChanged reports which pods of this node became or ceased to be endpoints. Other
// nodes' recorders report theirs.
func (s *Source) endpointsChanged(namespace string, old, now *slice) {
	before, after := s.ownTargets(old), s.ownTargets(now)
	var said []string
	for pod, ready := range after {
		was, there := before[pod]
		switch {
		case !there && ready:
			said = append(said, "added "+pod)
		case !there:
			said = append(said, "added "+pod+", not ready")
		case was && !ready:
			said = append(said, pod+" is not ready")
		case !was && ready:
			said = append(said, pod+" is ready")
		}
	}
	for pod := range before {
		if _, stays := after[pod]; !stays {
			said = append(said, "removed "+pod)
		}
	}
	if len(said) == 0 {
		return
	}
	slices.Sort(said)
	service := ""
	if now != nil {
		service = now.service
	} else {
		service = old.service
	}
	uid := ""
	if v := s.services[name{namespace, service}]; v != nil {
		uid = v.who.uid
	}
	s.reportEvent(workload.Event{
		TsNs: s.now(), Type: "Normal", Reason: "EndpointsChanged", Message: clean(strings.Join(said, "; "), maxMessage),
		Kind: "Service", Namespace: cleanName(namespace), Name: service, UID: uid, Count: 1, Source: "endpoint slices", Node: s.o.Node,
	})
}

// ownTargets returns the pods of this node in a slice, and whether they are ready.
func (s *Source) ownTargets(x *slice) map[string]bool {
	out := map[string]bool{}
	if x == nil {
		return out
	}
	for i := range x.targets {
		if t := &x.targets[i]; t.uid != "" && (t.node == s.o.Node || s.pods[t.uid] != nil) {
			addr := ""
			if len(t.addrs) > 0 {
				addr = t.addrs[0].String()
			}
			out[fmt.Sprintf("pod %s (%s)", t.name, addr)] = t.ready
		}
	}
	return out
}
