package kube

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const peerPods = "pods of other nodes"

// peerPodStore keeps the pods of other nodes. Unlike endpoints, they include pods that are behind no service, such as
// clients, and have labels and owners.
type peerPodStore struct{ s *Source }

func (t peerPodStore) put(obj runtime.Object) { with(t.s, obj, t.s.peerPod) }

func (t peerPodStore) remove(obj runtime.Object) { with(t.s, obj, t.s.peerPodEnds) }

func (t peerPodStore) replace(all []runtime.Object) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[string]struct{}, len(all))
	for _, obj := range all {
		if p, ok := obj.(*corev1.Pod); ok {
			there[string(p.UID)] = struct{}{}
		}
	}
	for _, e := range s.peers {
		if _, ok := there[e.uid]; !ok && e.watched && e.gone == 0 {
			s.end(e, s.now())
		}
	}
	for i, obj := range all {
		if p, ok := obj.(*corev1.Pod); ok {
			s.peerPod(p)
		}
		s.yield(i)
	}
}

// peerPod updates a pod of another node. Those on their node's network have its addresses, so their packets cannot be
// told from those of the node.
func (s *Source) peerPod(p *corev1.Pod) {
	uid := string(p.UID)
	if p.Spec.NodeName == "" || p.Spec.NodeName == s.o.Node || p.Spec.HostNetwork || uid == "" || len(uid) > maxName {
		return
	}
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		s.peerPodEnds(p)
		return
	}
	e := s.peers[peerKey{uid: uid}]
	if e == nil || !e.watched || e.gone != 0 {
		from := began(p)
		if s.feeds.synced(peerPods) {
			from = max(from, s.now()) // it has no address before it is first reported; see address
		}
		t := target{uid: uid, name: cleanName(p.Name), node: cleanName(p.Spec.NodeName)}
		if e = s.peer(name{cleanName(p.Namespace), t.name}, &t, from); e == nil {
			return
		}
		e.watched = true
	}
	e.labels, e.hash = s.allowed(p.Labels), cleanName(p.Labels["pod-template-hash"])
	e.controller = controllerOf(p.OwnerReferences, p.Namespace)
	e.owner = guess(e)
	s.holdAll(e, podAddresses(p))
}

// peerPodEnds records that a pod of another node has ended.
func (s *Source) peerPodEnds(p *corev1.Pod) {
	if e := s.peers[peerKey{uid: string(p.UID)}]; e != nil && e.watched {
		s.end(e, ended(p))
	}
}
