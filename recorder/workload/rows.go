package workload

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// EachWorkload lists the known pods, services, nodes, namespaces and network policies, by kind,
// namespace, name, start, UID and sighting. Dumps with other labels of a namespace, or another spec
// of a policy, give several rows of it. It makes one row after the other, because a cluster has many pods.
func (x *Index) EachWorkload() iter.Seq[Workload] {
	v := x.current()
	others := slices.SortedFunc(slices.Values(v.others), compareWorkloads)
	order := make([]int32, len(v.objects))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		x, y := &v.objects[a], &v.objects[b]
		return cmp.Or(cmp.Compare(x.kind, y.kind), cmp.Compare(x.c.namespace, y.c.namespace), cmp.Compare(x.c.name, y.c.name),
			cmp.Compare(x.from, y.from), cmp.Compare(x.c.uid, y.c.uid), cmp.Compare(x.c.seen, y.c.seen), slices.CompareFunc(x.c.labels, y.c.labels, compareLabels))
	})
	return func(yield func(Workload) bool) {
		others := others
		for _, i := range order {
			w := v.row(&v.objects[i])
			for len(others) > 0 && compareWorkloads(others[0], w) < 0 {
				if !yield(others[0]) {
					return
				}
				others = others[1:]
			}
			if !yield(w) {
				return
			}
		}
		for _, w := range others {
			if !yield(w) {
				return
			}
		}
	}
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
