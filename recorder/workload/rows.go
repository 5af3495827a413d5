package workload

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
)

// Workloads returns the known pods, services, nodes and network policies, by kind, namespace, name,
// start and UID.
func (x *Index) Workloads() []Workload {
	v := x.current()
	rows := make([]Workload, 0, len(v.objects))
	for i := range v.objects {
		rows = append(rows, v.row(&v.objects[i]))
	}
	for _, p := range x.policies {
		rows = append(rows, p.row())
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
		Labels: c.labels, Ports: o.ports, Source: c.source,
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

func compareWorkloads(a, b Workload) int {
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.ValidFrom, b.ValidFrom), cmp.Compare(a.UID, b.UID),
	)
}
