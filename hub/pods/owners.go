package pods

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pcapsule/pcapsule/hub/offer"
)

// reportedLate is how long after a pod's first packets the API may report its address: the kubelet says it with the
// status of the pod's sandbox.
const reportedLate = 10 * time.Second

// tenure is the time for which a pod or a service had addresses.
type tenure struct {
	namespace string
	addrs     []netip.Addr // all that it ever had
	from, to  time.Time    // to is zero while it is there
}

// had records the addresses of a pod or a service. The caller holds the lock.
func (m *Memory) had(uid types.UID, namespace string, from time.Time, texts []string) {
	t := m.tenures[uid]
	if t == nil {
		t = &tenure{namespace: namespace, from: from}
		m.tenures[uid] = t
	}
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil && !slices.Contains(t.addrs, a.Unmap()) {
			t.addrs = append(t.addrs, a.Unmap())
		}
	}
}

// addressesOf are those of a pod itself: one in the network of its node has none.
func addressesOf(p *core.Pod) (list []string) {
	if p.Spec.HostNetwork {
		return nil
	}
	for _, x := range p.Status.PodIPs {
		list = append(list, x.IP)
	}
	return append(list, p.Status.PodIP)
}

// seeService learns from a version of a service.
func (m *Memory) seeService(u *unstructured.Unstructured) {
	var s core.Service
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s); err != nil {
		m.log.Warn("reading a service", "namespace", u.GetNamespace(), "service", u.GetName(), "error", err)
		return
	}
	list := slices.Concat([]string{s.Spec.ClusterIP}, s.Spec.ClusterIPs, s.Spec.ExternalIPs)
	for i := range s.Status.LoadBalancer.Ingress {
		list = append(list, s.Status.LoadBalancer.Ingress[i].IP)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.had(s.UID, s.Namespace, s.CreationTimestamp.Time, list)
}

// Owners are the namespaces of the addresses that pods and services had in a time range. They are complete until a
// moment ago if everything since the begin of the range was seen.
func (m *Memory) Owners(from, to time.Time) *offer.Owners {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := &offer.Owners{Had: []offer.Owner{}}
	if since := m.knownSince(); !since.IsZero() && !m.served.IsZero() && !since.After(from) && !m.served.After(from) {
		o.Until = m.now().Add(-reportedLate).UnixNano()
	}
	for _, t := range m.tenures {
		if t.from.After(to) || !t.to.IsZero() && t.to.Before(from) {
			continue
		}
		for _, a := range t.addrs {
			o.Had = append(o.Had, offer.Owner{Addr: a, Namespace: t.namespace})
		}
	}
	slices.SortFunc(o.Had, func(a, b offer.Owner) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Namespace, b.Namespace))
	})
	o.Had = slices.Compact(o.Had)
	return o
}
