package workload

import (
	"cmp"
	"net/netip"
	"slices"
)

// converter turns decoded objects into the model, shares equal texts, and records the
// newest time it found and how many values a limit cut.
type converter struct {
	x      *Index
	newest int64
	cut    int64
	cost   int64 // of the current object
}

// name cleans a name and shares it with equal ones.
func (c *converter) name(s string) string { return c.text(s, maxName) }

func (c *converter) text(s string, limit int) string {
	if s == "" {
		return ""
	}
	out, cut := clean(s, limit)
	if cut {
		c.cut++
	}
	if shared, ok := c.x.texts[out]; ok {
		return shared
	}
	size := int64(len(out)) + 96
	if limit == maxName && c.x.kept+size <= maxKept {
		// A shared text outlives the object that introduced it, so its cost is added at once.
		c.x.texts[out] = out
		c.x.kept += size
		return out
	}
	c.cost += size
	return out
}

// time parses a time stamp that is earlier than the dump.
func (c *converter) time(s string) int64 {
	t := parseTime(s)
	c.newest = max(c.newest, t)
	return t
}

// limited cuts a list at its limit and counts the cut.
func limited[T any](c *converter, list []T, limit int) []T {
	if len(list) > limit {
		c.cut++
		return list[:limit]
	}
	return list
}

func (c *converter) common(m *wireMeta) common {
	c.cost = fixedCost
	labels, cut := labelsOf(m.Labels)
	c.cut += cut
	for i := range labels {
		labels[i] = Label{c.name(labels[i].Name), c.name(labels[i].Value)}
		c.cost += 32
	}
	return common{
		namespace: c.name(m.Namespace), name: c.name(m.Name), uid: c.name(m.UID),
		created: c.time(m.Created), deleted: parseTime(m.Deleted), labels: labels,
	}
}

// addrs parses addresses; other texts ("None", a host name) are ignored.
func (c *converter) addrs(texts []string) []seenAddr {
	var out []seenAddr
	for _, s := range texts {
		if a, ok := parseAddr(s); ok {
			out = append(out, seenAddr{addr: a})
		}
	}
	if len(out) > maxAddresses {
		c.cut++
	}
	out = mergeAddrs(out, nil)
	c.cost += int64(len(out)) * 48
	return out
}

// parseAddr parses an address without its zone; an IPv4-mapped one becomes IPv4. The
// unspecified address is refused.
func parseAddr(s string) (netip.Addr, bool) {
	if len(s) > 64 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, false
	}
	a = a.Unmap().WithZone("")
	return a, !a.IsUnspecified()
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if len(s) > 64 {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	// A range of all addresses would make every address part of the cluster.
	if err != nil || p.Bits() == 0 || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

func (c *converter) prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range limited(c, texts, maxAddresses) {
		if p, ok := parsePrefix(s); ok {
			out = append(out, p)
			c.cost += 48
		}
	}
	slices.SortFunc(out, comparePrefix)
	return slices.Compact(out)
}

func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// port makes a key of a port and a protocol name; without a name it means TCP.
func port(n int64, protocol string) (portKey, bool) {
	if n <= 0 || n > 65535 {
		return portKey{}, false
	}
	switch protocol {
	case "", "TCP":
		return portKey{uint16(n), 6}, true
	case "UDP":
		return portKey{uint16(n), 17}, true
	case "SCTP":
		return portKey{uint16(n), 132}, true
	}
	return portKey{}, false
}

func protocolName(p uint8) string {
	switch p {
	case 17:
		return "UDP"
	case 132:
		return "SCTP"
	}
	return "TCP"
}

// controller is the owner that controls an object, or its first owner.
func (c *converter) controller(owners []wireOwner, namespace string) ref {
	var first *wireOwner
	for i := range owners {
		if first == nil || owners[i].Controller && !first.Controller {
			first = &owners[i]
		}
	}
	if first == nil {
		return ref{}
	}
	return ref{c.name(first.Kind), namespace, c.name(first.Name), c.name(first.UID)}
}

func (c *converter) pod(o *wireObject) *pod {
	p := &pod{common: c.common(&o.Metadata), grace: o.Metadata.Grace}
	p.owner = c.controller(o.Metadata.Owners, p.namespace)
	if s := o.Spec; s != nil {
		p.node, p.hostNetwork = c.name(s.NodeName), s.HostNetwork
		for _, w := range limited(c, s.Containers, maxContained) {
			p.containers = append(p.containers, c.container(&w, false))
		}
		for _, w := range limited(c, s.Init, maxContained) {
			p.containers = append(p.containers, c.container(&w, true))
		}
	}
	if s := o.Status; s != nil {
		p.addrs = c.addrs(append(ips(s.PodIPs), s.PodIP))
		for _, a := range c.addrs(append(ips(s.HostIPs), s.HostIP)) {
			p.hostAddrs = append(p.hostAddrs, a.addr)
		}
		p.phase, p.reason = c.name(s.Phase), c.name(s.Reason)
		p.message = c.text(s.Message, maxMessage)
		p.started = c.time(s.StartTime)
		for _, cond := range s.Conditions {
			p.condition = max(p.condition, c.time(cond.Changed))
		}
		c.statuses(p, s.Containers, false)
		c.statuses(p, s.Init, true)
	}
	if o.Own != nil {
		p.past = mergePast(p.past, c.past(o.Own.Past))
	}
	return p
}

func (c *converter) container(w *wireContainer, init bool) container {
	out := container{name: c.name(w.Name), image: c.name(w.Image), init: init, sidecar: init && w.RestartPolicy == "Always"}
	for _, wp := range limited(c, w.Ports, maxContained) {
		key, ok := port(wp.ContainerPort, wp.Protocol)
		if !ok {
			continue
		}
		host, _ := port(wp.HostPort, wp.Protocol)
		out.ports = append(out.ports, containerPort{key, host.port, c.name(wp.Name)})
	}
	c.cost += 64 + 24*int64(len(out.ports))
	return out
}

func (c *converter) statuses(p *pod, list []wireCStatus, init bool) {
	for _, w := range limited(c, list, maxContained) {
		s := containerStatus{name: c.name(w.Name), init: init, restarts: max(w.Restarts, 0)}
		if w.State != nil && w.State.Running != nil {
			s.running = c.time(w.State.Running.Started)
		}
		if w.State != nil && w.State.Terminated != nil {
			t := c.termination(w.State.Terminated, s.name)
			s.ended = &t
			p.past = append(p.past, t)
		}
		if w.Last != nil && w.Last.Terminated != nil {
			p.past = append(p.past, c.termination(w.Last.Terminated, s.name))
		}
		p.statuses = append(p.statuses, s)
		c.cost += 64
	}
	p.past = mergePast(p.past, nil)
}

func (c *converter) termination(w *wireTerminated, container string) termination {
	c.cost += 96
	return termination{
		container: container, reason: c.name(w.Reason), message: c.text(w.Message, maxMessage),
		exit: w.ExitCode, signal: w.Signal, started: c.time(w.Started), finished: c.time(w.Finished),
	}
}

func (c *converter) past(list []wireTerminated) []termination {
	var out []termination
	for i := range limited(c, list, maxPast) {
		out = append(out, c.termination(&list[i], c.name(list[i].Container)))
	}
	return out
}

func ips(list []wireIP) []string {
	out := make([]string, 0, len(list)+1)
	for _, ip := range list {
		out = append(out, ip.IP)
	}
	return out
}

func (c *converter) service(o *wireObject) *service {
	s := &service{common: c.common(&o.Metadata)}
	var texts []string
	if w := o.Spec; w != nil && w.Type != "ExternalName" { // which is a name in DNS: no packet reaches it, whatever else is in it
		texts = append(append(append(texts, w.ClusterIPs...), w.ClusterIP, w.LoadBalIP), w.ExternalIPs...)
		for _, wp := range w.Ports {
			if key, ok := port(wp.Port, wp.Protocol); ok && len(s.ports) < maxPorts {
				s.ports = append(s.ports, c.servicePort(key, wp.TargetPort))
			}
			if key, ok := port(wp.NodePort, wp.Protocol); ok && len(s.nodePorts) < maxPorts {
				s.nodePorts = append(s.nodePorts, key)
			}
		}
		c.cost += 32*int64(len(s.ports)) + 8*int64(len(s.nodePorts))
		if len(w.Ports) > maxPorts {
			c.cut++
		}
		labels, cut := labelsOf(w.Selector)
		c.cut += cut
		for _, l := range labels {
			s.selector = append(s.selector, Label{c.name(l.Name), c.name(l.Value)})
		}
	}
	if o.Status != nil && o.Status.LoadBalancer != nil {
		texts = append(texts, ips(o.Status.LoadBalancer.Ingress)...)
	}
	s.addrs = c.addrs(texts)
	slices.SortStableFunc(s.ports, func(a, b servicePort) int { return a.compare(b.portKey) })
	slices.SortFunc(s.nodePorts, portKey.compare)
	return s
}

// servicePort parses a port's target. Without a target, pods listen on the same number.
func (c *converter) servicePort(key portKey, t *wireTarget) servicePort {
	switch {
	case t != nil && t.name != "":
		return servicePort{portKey: key, name: c.name(t.name)}
	case t != nil && t.number > 0 && t.number <= 65535:
		return servicePort{portKey: key, target: uint16(t.number)}
	}
	return servicePort{portKey: key, target: key.port}
}

func (k portKey) compare(o portKey) int {
	return cmp.Or(cmp.Compare(k.port, o.port), cmp.Compare(k.proto, o.proto))
}

func (c *converter) node(o *wireObject) *node {
	n := &node{common: c.common(&o.Metadata)}
	if o.Spec != nil {
		n.cidrs = c.prefixes(append(slices.Clone(o.Spec.PodCIDRs), o.Spec.PodCIDR)...)
	}
	if s := o.Status; s != nil {
		var texts []string
		for _, a := range s.Addresses {
			texts = append(texts, a.Address)
		}
		n.addrs = c.addrs(texts)
		for _, cond := range s.Conditions {
			c.time(cond.Changed)
			c.time(cond.Heartbeat)
		}
	}
	return n
}

func (c *converter) owner(o *wireObject) *owner {
	w := &owner{common: c.common(&o.Metadata), kind: o.Kind}
	w.labels = nil
	w.owner = c.controller(o.Metadata.Owners, w.namespace)
	if o.Status != nil {
		for _, cond := range o.Status.Conditions {
			c.time(cond.Changed)
		}
	}
	return w
}

// backends converts an EndpointSlice or an Endpoints object.
func (c *converter) backends(o *wireObject) *backends {
	b := &backends{common: c.common(&o.Metadata), targets: map[ref][]portKey{}, plain: map[netip.Addr][]portKey{}}
	if o.Kind == "EndpointSlice" {
		b.name = c.name(o.Metadata.Labels["kubernetes.io/service-name"])
	}
	b.labels, b.uid = nil, ""
	ports := c.targetPorts(o.Ports)
	for _, e := range o.Endpoints {
		c.backend(b, ports, e.Target, e.Addresses...)
	}
	for _, s := range o.Subsets {
		ports := c.targetPorts(s.Ports)
		for _, a := range s.Addresses {
			c.backend(b, ports, a.Target, a.IP)
		}
		for _, a := range s.NotReady {
			c.backend(b, ports, a.Target, a.IP)
		}
	}
	return b
}

// targetPorts are the ports of a slice, sorted.
func (c *converter) targetPorts(list []wirePort) (ports []portKey) {
	for _, w := range limited(c, list, maxPorts) {
		if key, ok := port(w.Port, w.Protocol); ok {
			ports = append(ports, key)
			c.cost += 8
		}
	}
	return unite(nil, ports)
}

// unite merges two lists of ports, sorted.
func unite(a, b []portKey) []portKey {
	if slices.Equal(a, b) {
		return a
	}
	all := slices.Concat(a, b)
	slices.SortFunc(all, portKey.compare)
	all = slices.Compact(all)
	return all[:min(len(all), maxPorts)]
}

func (c *converter) backend(b *backends, ports []portKey, target *wireRef, addrs ...string) {
	if len(b.targets)+len(b.plain) >= maxTargets {
		c.cut++
		return
	}
	if target != nil && (target.Kind == "Pod" || target.Kind == "") && (target.Name != "" || target.UID != "") {
		t := ref{"Pod", b.namespace, c.name(target.Name), c.name(target.UID)}
		b.targets[t] = unite(b.targets[t], ports)
		c.cost += 96
		return
	}
	if target != nil && target.Kind == "Node" {
		return // it has its own object
	}
	for _, s := range limited(c, addrs, maxAddresses) {
		if a, ok := parseAddr(s); ok {
			b.plain[a] = unite(b.plain[a], ports)
			c.cost += 64
		}
	}
}
