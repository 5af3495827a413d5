package kube

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// serviceStore keeps the addresses of all services.
type serviceStore struct{ s *Source }

func (t serviceStore) put(obj runtime.Object) { with(t.s, obj, t.s.service) }

func (t serviceStore) remove(obj runtime.Object) {
	with(t.s, obj, func(v *corev1.Service) { t.s.endService(name{v.Namespace, v.Name}) })
}

func (t serviceStore) replace(all []runtime.Object) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	there := map[name]struct{}{}
	for _, obj := range all {
		if v, ok := obj.(*corev1.Service); ok {
			there[name{v.Namespace, v.Name}] = struct{}{}
		}
	}
	for k := range s.services {
		if _, ok := there[k]; !ok {
			s.endService(k)
		}
	}
	for i, obj := range all {
		if v, ok := obj.(*corev1.Service); ok {
			s.service(v)
		}
		s.yield(i)
	}
}

// sliceStore keeps the backends of services.
type sliceStore struct{ s *Source }

func (t sliceStore) put(obj runtime.Object) {
	with(t.s, obj, func(v *discoveryv1.EndpointSlice) { t.s.slice(name{v.Namespace, v.Name}, t.s.sliceOf(v), true) })
}

func (t sliceStore) remove(obj runtime.Object) {
	with(t.s, obj, func(v *discoveryv1.EndpointSlice) { t.s.slice(name{v.Namespace, v.Name}, nil, true) })
}

func (t sliceStore) replace(all []runtime.Object) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	events := len(s.slices) > 0
	there := map[name]struct{}{}
	for i, obj := range all {
		if v, ok := obj.(*discoveryv1.EndpointSlice); ok {
			k := name{v.Namespace, v.Name}
			there[k] = struct{}{}
			s.slice(k, s.sliceOf(v), events)
		}
		s.yield(i)
	}
	for k := range s.slices {
		if _, ok := there[k]; !ok {
			s.slice(k, nil, events)
		}
	}
}

// nodeStore keeps this node's object.
type nodeStore struct{ s *Source }

func (t nodeStore) put(obj runtime.Object) {
	v, ok := obj.(*corev1.Node)
	if !ok || v.Name != t.s.o.Node {
		return
	}
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node == nil || s.node.uid != string(v.UID) {
		if s.node != nil {
			s.end(s.node, s.now())
		}
		s.node = &entry{kind: isNode, uid: string(v.UID), name: cleanName(v.Name), node: cleanName(v.Name)}
		s.node.from = ns(v.CreationTimestamp.Time)
	}
	s.node.labels = s.allowed(v.Labels)
	var texts []string
	for i := range v.Status.Addresses {
		texts = append(texts, v.Status.Addresses[i].Address)
	}
	s.move(s.node, addresses(texts...))
}

func (t nodeStore) remove(obj runtime.Object) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := obj.(*corev1.Node); ok && s.node != nil && s.node.uid == string(v.UID) {
		s.end(s.node, s.now())
		s.node = nil
	}
}

func (t nodeStore) replace(all []runtime.Object) {
	for _, obj := range all {
		t.put(obj)
	}
}
