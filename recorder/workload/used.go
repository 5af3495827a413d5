package workload

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
)

// The two kinds of object that exist only in a reduced dump.
const (
	ownGroup = "pcapsule.dev"
	ownDump  = "Dump" // which lists were complete, and when
	ownHost  = "Host" // a line of a hosts file
)

// targetsPerSlice keeps a written slice far below the size limits of an object.
const targetsPerSlice = 500

// WriteUsed writes the parts of dumps and hosts files that the index keeps: a List of
// Kubernetes objects with one item on each line, in a fixed order. AddKube reads it into an
// index that gives the same answers. Names from captures and recorders' statements are not
// included, because they are read from the captures again.
func (x *Index) WriteUsed(w io.Writer) error {
	out := &usedWriter{w: bufio.NewWriterSize(w, 64<<10)}
	out.w.WriteString("{\"apiVersion\":\"v1\",\"kind\":\"List\",\"metadata\":{},\"items\":[")
	x.writeLists(out)
	for _, n := range sorted(x.nodes, func(n *node) *common { return &n.common }) {
		o := wireOf(&n.common, "v1", "Node")
		o.Spec = &wireSpec{PodCIDRs: prefixTexts(n.cidrs)}
		out.object(o)
	}
	for _, c := range sorted(x.cidrs, func(c *cidrs) *common { return &c.common }) {
		o := wireOf(&c.common, "networking.k8s.io/v1", "ServiceCIDR")
		o.Spec = &wireSpec{CIDRs: prefixTexts(c.prefixes)}
		out.object(o)
	}
	for _, w := range sorted(x.owners, func(w *owner) *common { return &w.common }) {
		group := "apps/v1"
		if w.kind == "Job" {
			group = "batch/v1"
		}
		o := wireOf(&w.common, group, w.kind)
		o.Metadata.Owners = wireOwners(w.owner)
		out.object(o)
	}
	for _, s := range sorted(x.services, func(s *service) *common { return &s.common }) {
		out.object(s.wire())
	}
	for _, b := range sorted(x.backends, func(b *backends) *common { return &b.common }) {
		b.write(out)
	}
	for _, p := range sorted(x.pods, podCommon) {
		out.object(p.wire())
	}
	for _, p := range sorted(x.policies, func(p *netpolicy) *common { return &p.common }) {
		out.object(p.wire())
	}
	for _, s := range sorted(x.spaces, func(c *common) *common { return c }) {
		out.object(wireOf(s, "v1", "Namespace"))
	}
	for _, e := range sorted(x.events, func(e *event) *common { return &e.common }) {
		out.object(e.wire())
	}
	x.writeHosts(out)
	out.w.WriteString("\n]}\n")
	if out.err != nil {
		return out.err
	}
	return out.w.Flush()
}

type usedWriter struct {
	w     *bufio.Writer
	items int
	err   error
}

func (u *usedWriter) object(o *wireObject) {
	text, err := json.Marshal(o)
	if err != nil {
		u.err = errors.Join(u.err, err)
		return
	}
	if u.items++; u.items > 1 {
		u.w.WriteByte(',')
	}
	u.w.WriteByte('\n')
	u.w.Write(text)
}

func (x *Index) writeLists(out *usedWriter) {
	lists := make([]list, 0, len(x.lists))
	for l := range x.lists {
		lists = append(lists, l)
	}
	slices.SortFunc(lists, func(a, b list) int {
		return cmp.Or(cmp.Compare(a.seen, b.seen), cmp.Compare(a.source, b.source), cmp.Compare(a.of, b.of))
	})
	for _, l := range lists {
		out.object(&wireObject{
			APIVersion: ownGroup + "/v1", Kind: ownDump, Metadata: wireMeta{Name: l.source},
			Own: &wireOwn{Source: l.source, Lists: []wireList{{l.of, formatTime(l.seen)}}},
		})
	}
}

func (x *Index) writeHosts(out *usedWriter) {
	addrs := make([]netip.Addr, 0, len(x.names))
	for a := range x.names {
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, a := range addrs {
		names := slices.Clone(x.names[a])
		slices.SortFunc(names, compareHostNames)
		for _, n := range names {
			if n.how == "hosts" {
				out.object(&wireObject{
					APIVersion: ownGroup + "/v1", Kind: ownHost, Metadata: wireMeta{Name: n.name},
					Own: &wireOwn{Source: n.source, Were: []wireWas{{Address: a.String()}}},
				})
			}
		}
	}
}

// listed are the kinds for which a list can be complete.
var listed = []string{"pod", "service", "node", "networkpolicy"}

// readOwn reads the two kinds that writeLists and writeHosts write.
func (in *intake) readOwn(u *unit, o *wireObject) {
	if o.Own == nil {
		in.stats.Malformed++
		return
	}
	u.owned = true
	source := cleanName(o.Own.Source)
	for _, l := range limited(&in.c, o.Own.Lists, maxAddresses) {
		if slices.Contains(listed, l.Of) && len(in.x.lists) < maxTargets {
			in.x.lists[list{l.Of, parseTime(l.Seen), source}] = struct{}{}
		}
	}
	if o.Kind == ownHost {
		for _, w := range limited(&in.c, o.Own.Were, maxAddresses) {
			if a, ok := parseAddr(w.Address); ok && !in.x.addName(a, o.Metadata.Name, source, "hosts") {
				in.stats.Limited++
				return
			}
		}
	}
	in.stats.Kept++
}

// wireOf writes the fields that all kinds share.
func wireOf(c *common, apiVersion, kind string) *wireObject {
	o := &wireObject{
		APIVersion: apiVersion, Kind: kind,
		Metadata: wireMeta{
			Namespace: c.namespace, Name: c.name, UID: c.uid,
			Created: formatTime(c.created), Deleted: formatTime(c.deleted),
		},
		Own: &wireOwn{Source: c.source, Seen: formatTime(c.seen), Other: formatTime(c.other)},
	}
	if len(c.labels) > 0 {
		o.Metadata.Labels = map[string]string{}
		for _, l := range c.labels {
			o.Metadata.Labels[l.Name] = l.Value
		}
	}
	for _, a := range c.addrs {
		o.Own.Were = append(o.Own.Were, wireWas{a.addr.String(), formatTime(a.seen)})
	}
	return o
}

func wireOwners(r ref) []wireOwner {
	if r.kind == "" && r.name == "" && r.uid == "" {
		return nil
	}
	return []wireOwner{{Kind: r.kind, Name: r.name, UID: r.uid, Controller: true}}
}

func prefixTexts(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

func (s *service) wire() *wireObject {
	o := wireOf(&s.common, "v1", "Service")
	o.Spec = &wireSpec{}
	for _, p := range s.ports {
		o.Spec.Ports = append(o.Spec.Ports, wirePort{Port: int64(p.port), TargetPort: &wireTarget{int64(p.target), p.name}, Protocol: protocolName(p.proto)})
	}
	for _, p := range s.nodePorts {
		o.Spec.Ports = append(o.Spec.Ports, wirePort{NodePort: int64(p.port), Protocol: protocolName(p.proto)})
	}
	if len(s.selector) > 0 {
		o.Spec.Selector = selector{}
		for _, l := range s.selector {
			o.Spec.Selector[l.Name] = l.Value
		}
	}
	return o
}

func (b *backends) write(out *usedWriter) {
	targets := make([]ref, 0, len(b.targets))
	for t := range b.targets {
		targets = append(targets, t)
	}
	slices.SortFunc(targets, func(x, y ref) int {
		return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.uid, y.uid))
	})
	plain := make([]netip.Addr, 0, len(b.plain))
	for a := range b.plain {
		plain = append(plain, a)
	}
	slices.SortFunc(plain, netip.Addr.Compare)
	type backend struct {
		wireEndpoint
		ports []portKey
	}
	var all []backend
	for _, t := range targets {
		all = append(all, backend{wireEndpoint{Target: &wireRef{Kind: "Pod", Namespace: t.namespace, Name: t.name, UID: t.uid}}, b.targets[t]})
	}
	for _, a := range plain {
		all = append(all, backend{wireEndpoint{Addresses: []string{a.String()}}, b.plain[a]})
	}
	slices.SortStableFunc(all, func(x, y backend) int { return slices.CompareFunc(x.ports, y.ports, portKey.compare) })
	for n := 0; n == 0 || len(all) > 0; n++ {
		o := wireOf(&b.common, "discovery.k8s.io/v1", "EndpointSlice")
		o.Metadata.Name += "-" + strconv.Itoa(n)
		o.Metadata.Labels = map[string]string{"kubernetes.io/service-name": b.name}
		var ports []portKey
		for len(all) > 0 && len(o.Endpoints) < targetsPerSlice && (len(o.Endpoints) == 0 || slices.Equal(all[0].ports, ports)) {
			ports = all[0].ports
			o.Endpoints, all = append(o.Endpoints, all[0].wireEndpoint), all[1:]
		}
		for _, p := range ports {
			o.Ports = append(o.Ports, wirePort{Port: int64(p.port), Protocol: protocolName(p.proto)})
		}
		out.object(o)
	}
}

func (p *pod) wire() *wireObject {
	o := wireOf(&p.common, "v1", "Pod")
	o.Metadata.Grace = p.grace
	o.Metadata.Owners = wireOwners(p.owner)
	o.Spec = &wireSpec{NodeName: p.node, HostNetwork: p.hostNetwork}
	for _, c := range p.containers {
		w := wireContainer{Name: c.name, Image: c.image}
		if c.sidecar {
			w.RestartPolicy = "Always"
		}
		for _, cp := range c.ports {
			w.Ports = append(w.Ports, wirePort{
				Name: cp.name, ContainerPort: int64(cp.port), HostPort: int64(cp.host), Protocol: protocolName(cp.proto),
			})
		}
		if c.init {
			o.Spec.Init = append(o.Spec.Init, w)
		} else {
			o.Spec.Containers = append(o.Spec.Containers, w)
		}
	}
	o.Status = &wireStatus{Phase: p.phase, Reason: p.reason, Message: p.message, StartTime: formatTime(p.started)}
	for _, a := range p.hostAddrs {
		o.Status.HostIPs = append(o.Status.HostIPs, wireIP{a.String()})
	}
	if p.condition != 0 {
		o.Status.Conditions = []wireCondition{{Changed: formatTime(p.condition)}}
	}
	for _, s := range p.statuses {
		w := wireCStatus{Name: s.name, Restarts: s.restarts}
		if s.running != 0 {
			w.State = &wireState{Running: &wireRunning{formatTime(s.running)}}
		}
		if s.ended != nil {
			w.State = &wireState{Terminated: s.ended.wire()}
		}
		if s.init {
			o.Status.Init = append(o.Status.Init, w)
		} else {
			o.Status.Containers = append(o.Status.Containers, w)
		}
	}
	for i := range p.past {
		t := p.past[i].wire()
		t.Container = p.past[i].container
		o.Own.Past = append(o.Own.Past, *t)
	}
	return o
}

func (t *termination) wire() *wireTerminated {
	return &wireTerminated{
		Reason: t.reason, Message: t.message, ExitCode: t.exit, Signal: t.signal,
		Started: formatTime(t.started), Finished: formatTime(t.finished),
	}
}

func (e *event) wire() *wireObject {
	o := wireOf(&e.common, "v1", "Event")
	o.InvolvedObject = &wireRef{Kind: e.object.kind, Namespace: e.object.namespace, Name: e.object.name, UID: e.object.uid}
	o.Type, o.Reason, o.Message, o.Count = e.kind, e.reason, e.message, e.count
	o.FirstTimestamp, o.LastTimestamp = formatTime(e.first), formatTime(e.last)
	o.Source = &wireSource{Component: e.reporter, Host: e.reporterNode}
	return o
}
