package workload

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// Workloads returns the known pods, services, nodes, namespaces and network policies, by kind,
// namespace, name, start, UID and sighting. Dumps with other labels of a namespace, or another spec
// of a policy, give several rows of it.
func (x *Index) Workloads() []Workload {
	v := x.current()
	rows := slices.Clone(v.others)
	for i := range v.objects {
		rows = append(rows, v.row(&v.objects[i]))
	}
	slices.SortFunc(rows, compareWorkloads)
	return rows
}

// Named lists the addresses that Kubernetes dumps name, and those that hosts files name.
func (x *Index) Named() (kube, hosts []netip.Addr) {
	for addr, h := range x.current().addrs {
		if len(h.pods)+len(h.hostPods)+len(h.services)+len(h.ports)+len(h.nodes)+len(h.plain) > 0 {
			kube = append(kube, addr)
		}
	}
	for addr, names := range x.names {
		if slices.ContainsFunc(names, func(n hostName) bool { return n.how == "hosts" }) {
			hosts = append(hosts, addr)
		}
	}
	return kube, hosts
}

func (v *view) row(o *object) Workload {
	id, c := &v.ids[o.who], o.c
	w := Workload{
		Kind: o.kind, Namespace: c.namespace, Name: c.name, UID: c.uid, ValidFrom: o.from, ValidTo: o.to,
		Owner: id.Workload, OwnerKind: id.WorkloadKind, OwnerDerived: id.OwnerDerived,
		Labels: c.labels, Ports: o.ports, Source: c.source, Seen: c.seen,
	}
	if c.other != 0 {
		w.Since = c.seen
	}
	if o.kind == "pod" {
		w.Node, w.Services = id.Node, id.Services
	}
	for _, a := range c.addrs {
		w.Addresses = append(w.Addresses, a.addr.String())
	}
	sort.Strings(w.Addresses)
	return w
}

// row returns the row of an object without addresses.
func (c *common) row(kind string, end int64) Workload {
	return Workload{Kind: kind, Namespace: c.namespace, Name: c.name, UID: c.uid, ValidFrom: c.created, ValidTo: end, Labels: c.labels, Source: c.source, Seen: c.seen}
}

func compareWorkloads(a, b Workload) int {
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.ValidFrom, b.ValidFrom), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Seen, b.Seen), cmp.Compare(a.Spec, b.Spec),
		slices.CompareFunc(a.Labels, b.Labels, compareLabels),
	)
}

func compareLabels(a, b Label) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
}
