package kube

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Kinds of entries behind an address, best first.
const (
	isPod = iota
	isService
	isNode
	isOutside // an address in an endpoint slice that is not a pod's
)

// entry is an owner of addresses. The Source's lock guards its fields.
type entry struct {
	kind      int
	own       bool // a pod of this node
	uid       string
	path      string // the UID in the paths of a static pod's control groups, if it differs
	namespace string
	name      string
	node      string
	labels    []workload.Label
	addrs     []netip.Addr
	had       []netip.Addr // all addresses that it ever had
	hostNet   bool
	deleting  bool

	controller ref // its controller
	hash       string
	owner      topOwner

	containers []container
	ids        []string // of containers, over all restarts, oldest first
	status     status

	from, to int64   // ns; 0 if unknown or open
	seen     int64   // when its pod was first reported by a watch; 0 if it was listed
	gone     int64   // when its end became known; 0 before
	users    int     // number of endpoints of the peer, and 1 if its pod is watched
	watched  bool    // the pod of another node is watched
	key      peerKey // of a peer
}

type ref struct{ kind, namespace, name, uid string }

type topOwner struct {
	kind, name string
	derived    bool
}

type container struct {
	name, image string
	ports       []port
}

type port struct {
	number uint16
	proto  uint8
}

// contained is a container of a pod.
type contained struct {
	pod  *entry
	name string
}

// span is a time in which an entry had an address.
type span struct {
	who      *entry
	from, to int64
}

// membership counts the endpoint slices with equal ports in which a service has a pod.
type membership struct {
	service string
	ports   []workload.Front // sorted
	slices  int
}

// find returns the index of a service's membership with the ports, or -1.
func find(list []membership, service string, ports []workload.Front) int {
	return slices.IndexFunc(list, func(m membership) bool { return m.service == service && slices.Equal(m.ports, ports) })
}

// slack extends a pod's ownership of its address at both ends, unless another entry has it then:
// the times in Kubernetes are whole seconds.
const slack = 2_000_000_000 // ns

// hold gives an address to an entry from a time on.
func (s *Source) hold(a netip.Addr, e *entry, from int64) {
	list := s.spans[a]
	for i := range list {
		if list[i].who == e && list[i].to == 0 {
			return
		}
		// A pod gets its address after it is created, when no other has it. Ends are whole seconds.
		if e.kind == isPod && list[i].who.kind == isPod && list[i].who != e {
			from = max(from, list[i].to-1e9)
		}
	}
	if len(list) >= maxSpans {
		list = slices.Delete(list, 0, 1)
		s.limited++
	}
	s.spans[a] = append(list, span{who: e, from: from})
	if !slices.Contains(e.had, a) {
		e.had = append(e.had, a)
	}
}

// release ends an entry's ownership of addresses.
func (s *Source) release(e *entry, at int64, of ...netip.Addr) {
	for _, a := range of {
		for i := range s.spans[a] {
			if x := &s.spans[a][i]; x.who == e && (x.to == 0 || x.to > at) {
				x.to = max(at, x.from)
			}
		}
	}
}

// at returns the owner of an address at a time.
func (s *Source) at(a netip.Addr, at int64) *entry {
	var best, near *entry
	var from int64
	several := false
	for _, x := range s.spans[a] {
		in := x.from <= at && (x.to == 0 || at < x.to)
		switch {
		case in && (best == nil || x.who.kind < best.kind || x.who.kind == best.kind && x.from >= from):
			best, from = x.who, x.from
		case !in && x.who.kind == isPod && x.from-slack <= at && (x.to == 0 || at < x.to+slack):
			several = several || near != nil && near != x.who
			near = x.who
		}
	}
	if near != nil && !several && (best == nil || best.kind != isPod) {
		return near
	}
	return best
}

// end records that an entry was removed, and when it ended: now if that is unknown, 0.
func (s *Source) end(e *entry, to int64) {
	if e.gone != 0 {
		return
	}
	e.gone = s.now()
	if to == 0 || to > e.gone {
		to = e.gone
	}
	if e.to == 0 {
		e.to = to
	}
	s.release(e, e.to, e.addrs...)
	delete(s.hostNet, e)
	s.gone = append(s.gone, e)
}

// forget removes entries that ended before a time, and the oldest beyond the limit.
func (s *Source) forget(before int64) {
	n := 0
	for n < len(s.gone) && (s.gone[n].gone < before || len(s.gone)-n > maxPods/2) {
		s.drop(s.gone[n])
		n++
	}
	if n > 0 {
		clear(s.gone[:n])
		s.gone = s.gone[n:]
	}
	if len(s.gone) == 0 {
		s.gone = nil
	}
	s.early.expire(s.now())
}

func (s *Source) drop(e *entry) {
	for _, a := range e.had {
		list := slices.DeleteFunc(s.spans[a], func(x span) bool { return x.who == e })
		if len(list) == 0 {
			delete(s.spans, a)
		} else {
			s.spans[a] = list
		}
	}
	for _, id := range e.ids {
		if s.ids[id].pod == e {
			delete(s.ids, id)
		}
	}
	for _, uid := range [...]string{e.uid, e.path} {
		if uid != "" && s.pods[uid] == e {
			delete(s.pods, uid)
		}
	}
	if e.own {
		s.owners.release(e)
	}
	if e.key != (peerKey{}) && s.peers[e.key] == e {
		delete(s.peers, e.key)
	}
	if e.kind == isPod && s.pods[e.uid] == nil && s.peers[peerKey{uid: e.uid}] == nil {
		delete(s.served, e.uid)
	}
}

// Find returns the workload of a key.
func (s *Source) Find(k workload.Key) (workload.InterfaceComment, bool) {
	container, uid := k.Container, k.PodUID
	if k.Cgroup != "" {
		c, u := workload.ParseCgroup(k.Cgroup)
		if container == "" {
			container = c
		}
		if uid == "" {
			uid = u
		}
	}
	at := k.At
	s.mu.RLock()
	defer s.mu.RUnlock()
	if x, ok := s.ids[container]; ok && container != "" {
		return s.comment(x.pod, x.name, "cgroup"), true
	}
	if e := s.pods[uid]; e != nil && uid != "" {
		name := ""
		if len(container) >= 12 {
			name = container[:12] // its name is not known yet, or it is the pod's sandbox
		}
		return s.comment(e, name, "cgroup"), true
	}
	if !k.Addr.IsValid() {
		return workload.InterfaceComment{}, false
	}
	if at == 0 {
		at = s.now()
	}
	e := s.at(k.Addr.Unmap().WithZone(""), at)
	if e == nil {
		return workload.InterfaceComment{}, false
	}
	if e.kind == isNode && k.Port != 0 {
		if p := s.onHost(port{k.Port, k.Proto}); p != nil {
			e = p
		}
	}
	name := ""
	if e.kind == isPod {
		name = e.containerOf(port{k.Port, k.Proto})
	}
	return s.comment(e, name, "address"), true
}

// onHost returns the only pod on this node's network with a port.
func (s *Source) onHost(p port) *entry {
	var one *entry
	for e := range s.hostNet {
		if e.has(p) {
			if one != nil {
				return nil
			}
			one = e
		}
	}
	return one
}

func (e *entry) has(p port) bool {
	return slices.ContainsFunc(e.containers, func(c container) bool { return slices.Contains(c.ports, p) })
}

// containerOf returns the only container with a port, or the only container of the pod.
func (e *entry) containerOf(p port) string {
	name := ""
	for _, c := range e.containers {
		if p.number != 0 && slices.Contains(c.ports, p) {
			if name != "" {
				return ""
			}
			name = c.name
		}
	}
	if name == "" && len(e.containers) == 1 {
		return e.containers[0].name
	}
	return name
}

// comment returns the result for an entry.
func (s *Source) comment(e *entry, container, how string) workload.InterfaceComment {
	id := workload.Identity{
		Kind: "pod", Name: e.name, Namespace: e.namespace, Node: e.node, Labels: slices.Clone(e.labels),
		ValidFrom: e.from, ValidTo: e.to, HowKnown: "kube", Source: "api",
	}
	switch e.kind {
	case isService:
		id.Kind, id.Services = "service", []string{e.name}
	case isNode:
		id.Kind = "node"
	case isOutside:
		id.Kind, id.Services = "host", []string{e.name}
	default:
		id.Pod, id.PodUID = e.name, e.uid
		id.Workload, id.WorkloadKind, id.OwnerDerived = e.owner.name, e.owner.kind, e.owner.derived
		id.Container = container
		for _, c := range e.containers {
			if c.name == container {
				id.Image = c.image
			}
		}
		for _, m := range s.served[e.uid] {
			id.Services, id.Fronts = append(id.Services, m.service), append(id.Fronts, m.ports...)
		}
	}
	id.Services, id.Fronts = slices.Compact(id.Services), workload.SortFronts(id.Fronts)
	return workload.InterfaceComment{Identity: id, Addresses: slices.Clone(e.addrs), HostNetwork: e.hostNet, How: how}
}

// changed reports the current state of a pod of this node.
func (s *Source) changed(e *entry) {
	only := ""
	if len(e.containers) == 1 {
		only = e.containers[0].name
	}
	uid := e.uid
	if e.path != "" {
		uid = e.path
	}
	s.report(Change{PodUID: uid, Comment: s.comment(e, only, "cgroup"), From: e.from, To: e.to})
}

// allowed returns the labels that may be kept.
func (s *Source) allowed(labels map[string]string) []workload.Label {
	var out []workload.Label
	for key, value := range labels {
		if slices.ContainsFunc(s.o.Labels, func(rule string) bool {
			prefix, open := strings.CutSuffix(rule, "*")
			return key == rule || open && strings.HasPrefix(key, prefix)
		}) {
			out = append(out, workload.Label{Name: clean(key, maxText), Value: clean(value, maxText)})
		}
	}
	slices.SortFunc(out, func(a, b workload.Label) int { return strings.Compare(a.Name, b.Name) })
	if len(out) > maxLabels {
		s.limited++
		out = out[:maxLabels]
	}
	return out
}

// clean cleans and shortens text from the API.
func clean(text string, limit int) string { return strings.TrimSpace(workload.CleanText(text, limit)) }

func cleanName(text string) string { return clean(text, maxName) }

// addresses parses up to maxAddresses addresses.
func addresses(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		if len(text) > 64 || len(out) == maxAddresses {
			continue
		}
		a, err := netip.ParseAddr(text)
		a = a.Unmap().WithZone("")
		if err == nil && !a.IsUnspecified() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
