package kube

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// configHash is the UID that the kubelet gave a static pod, which is in the paths of its
// control groups; the UID in the API is that of the mirror pod.
const configHash = "kubernetes.io/config.hash"

// podStore keeps the pods of this node.
type podStore struct{ s *Source }

func (t podStore) put(obj runtime.Object) {
	with(t.s, obj, func(p *corev1.Pod) { t.s.pod(p, true) })
}

func (t podStore) remove(obj runtime.Object) {
	s := t.s
	with(s, obj, func(p *corev1.Pod) {
		if e := s.pods[string(p.UID)]; e != nil && e.gone == 0 {
			s.pod(p, true) // its last state
			s.podEnds(e, ended(p))
		}
	})
}

func (t podStore) replace(all []runtime.Object) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[string]struct{}, len(all))
	// Removed pods release their addresses before other pods are added with them.
	for _, obj := range all {
		if p, ok := obj.(*corev1.Pod); ok {
			there[string(p.UID)] = struct{}{}
		}
	}
	for uid, e := range s.pods {
		if _, ok := there[e.uid]; !ok && uid == e.uid && e.gone == 0 {
			s.podEnds(e, 0)
		}
	}
	for i, obj := range all {
		if p, ok := obj.(*corev1.Pod); ok {
			s.pod(p, s.isSynced)
		}
		s.yield(i)
	}
	s.isSynced = true
}

// podEnds records that a pod was removed; to is the time of its end, 0 if unknown.
func (s *Source) podEnds(e *entry, to int64) {
	s.end(e, to)
	s.reportEvent(s.podEvent(e, s.now(), "Removed", "Normal", "pod was removed"))
	s.changed(e)
}

// pod updates a pod. It reports events for changes, but not for the pods of the first
// list.
func (s *Source) pod(p *corev1.Pod, events bool) {
	uid := string(p.UID)
	if p.Spec.NodeName != s.o.Node || uid == "" || len(uid) > maxName {
		return
	}
	e := s.pods[uid]
	if e == nil {
		if e = s.newPod(p, events); e == nil {
			return
		}
	} else if e.gone != 0 {
		s.gone = slices.DeleteFunc(s.gone, func(x *entry) bool { return x == e })
		e.gone, e.to = 0, 0
	}
	before, ids := s.comment(e, "", ""), slices.Clone(e.ids)
	isNew := e.name == ""
	s.describe(e, p)
	s.address(e, p)
	now := statusOf(p)
	if events {
		s.lifecycle(e, p, &e.status, &now)
	}
	e.status = now
	e.deleting = p.DeletionTimestamp != nil
	s.owners.resolve(e, isNew)
	if isNew || !slices.Equal(ids, e.ids) || !reflect.DeepEqual(before, s.comment(e, "", "")) {
		s.changed(e)
	}
	s.early.release(s, e)
}

func (s *Source) newPod(p *corev1.Pod, live bool) *entry {
	uid := string(p.UID)
	for len(s.pods) >= maxPods && len(s.gone) > 0 {
		s.drop(s.gone[0])
		s.gone = slices.Delete(s.gone, 0, 1)
	}
	if len(s.pods) >= maxPods {
		s.limited++
		return nil
	}
	e := &entry{kind: isPod, own: true, uid: uid, node: s.o.Node, controller: controllerOf(p.OwnerReferences, p.Namespace)}
	if live {
		e.seen = s.now()
	}
	s.pods[uid] = e
	if hash := p.Annotations[configHash]; hash != "" && hash != uid && len(hash) <= maxName && s.pods[hash] == nil {
		e.path = hash
		s.pods[hash] = e
	}
	s.owners.hold(e)
	return e
}

// controllerOf returns the controller of an object.
func controllerOf(owners []metav1.OwnerReference, namespace string) ref {
	for _, o := range owners {
		if o.Controller != nil && *o.Controller {
			return ref{cleanName(o.Kind), cleanName(namespace), cleanName(o.Name), cleanName(string(o.UID))}
		}
	}
	return ref{}
}

// describe updates everything of a pod except its addresses.
func (s *Source) describe(e *entry, p *corev1.Pod) {
	e.namespace, e.name = cleanName(p.Namespace), cleanName(p.Name)
	e.labels, e.hash = s.allowed(p.Labels), cleanName(p.Labels["pod-template-hash"])
	e.hostNet = p.Spec.HostNetwork
	e.from = began(p)
	e.containers = s.containersOf(p)
	for _, list := range [...][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range min(len(list), maxContainers) {
			c := &list[i]
			if t := c.LastTerminationState.Terminated; t != nil {
				s.contains(e, t.ContainerID, c.Name)
			}
			s.contains(e, c.ContainerID, c.Name)
		}
	}
}

func (s *Source) containersOf(p *corev1.Pod) []container {
	var out []container
	add := func(name, image string, ports []corev1.ContainerPort) {
		if len(out) >= maxContainers {
			return
		}
		c := container{name: cleanName(name), image: clean(image, maxText)}
		for _, q := range ports[:min(len(ports), maxPorts)] {
			if q.ContainerPort > 0 && q.ContainerPort <= 0xFFFF {
				c.ports = append(c.ports, port{uint16(q.ContainerPort), protocol(q.Protocol)})
			}
		}
		out = append(out, c)
	}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		add(c.Name, c.Image, c.Ports)
	}
	for i := range p.Spec.InitContainers {
		// Other init containers have ended when the pod's own containers start.
		if c := &p.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c.Name, c.Image, c.Ports)
		}
	}
	return out
}

func protocol(p corev1.Protocol) uint8 {
	switch p {
	case corev1.ProtocolUDP:
		return 17
	case corev1.ProtocolSCTP:
		return 132
	}
	return 6
}

// contains adds the ID of one of a pod's containers, in the form runtime://id.
func (s *Source) contains(e *entry, id, name string) {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		id = bare
	}
	if id == "" || len(id) > 128 || slices.Contains(e.ids, id) {
		return
	}
	if len(e.ids) >= maxIDs {
		delete(s.ids, e.ids[0])
		e.ids = slices.Delete(e.ids, 0, 1)
	}
	e.ids = append(e.ids, id)
	s.ids[id] = contained{e, cleanName(name)}
}

// address updates the pod's addresses, and when it released them.
func (s *Source) address(e *entry, p *corev1.Pod) {
	now := podAddresses(p)
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		e.to = ended(p)
	}
	if e.hostNet {
		e.addrs = now
		s.hostNet[e] = struct{}{}
		return
	}
	if len(now) == 0 {
		now = e.addrs // a pod that ends first loses them in its status
	}
	lost := slices.DeleteFunc(slices.Clone(e.addrs), func(a netip.Addr) bool { return slices.Contains(now, a) })
	s.release(e, s.now(), lost...)
	for _, a := range now {
		// A pod gets its address after its creation, so not before it was first reported. That is
		// more exact than its own times, which are whole seconds.
		if e.to == 0 || !slices.Contains(e.had, a) {
			s.hold(a, e, max(e.from, e.seen))
		}
	}
	e.addrs = now
	if e.to != 0 {
		s.release(e, e.to, e.addrs...)
	}
}

func podAddresses(p *corev1.Pod) []netip.Addr {
	texts := []string{p.Status.PodIP}
	for i := range p.Status.PodIPs[:min(len(p.Status.PodIPs), maxAddresses)] {
		texts = append(texts, p.Status.PodIPs[i].IP)
	}
	return addresses(texts...)
}

// began returns when a pod was started, or else created; 0 if unknown.
func began(p *corev1.Pod) int64 {
	if t := p.Status.StartTime; t != nil && ns(t.Time) != 0 {
		return ns(t.Time)
	}
	return ns(p.CreationTimestamp.Time)
}

// ended returns when a pod released its addresses, 0 if unknown. The API's times are cut to
// seconds, so an address is owned until the second is over.
func ended(p *corev1.Pod) int64 {
	finished, condition := int64(0), int64(0)
	all := len(p.Status.ContainerStatuses) > 0
	for i := range p.Status.ContainerStatuses {
		if t := p.Status.ContainerStatuses[i].State.Terminated; t != nil && ns(t.FinishedAt.Time) != 0 {
			finished = max(finished, ns(t.FinishedAt.Time))
		} else {
			all = false
		}
	}
	for i := range p.Status.Conditions {
		condition = max(condition, ns(p.Status.Conditions[i].LastTransitionTime.Time))
	}
	over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	switch {
	case all && (over || p.DeletionTimestamp != nil):
		return secondsEnd(finished)
	case over:
		return secondsEnd(condition)
	}
	return 0
}

// ns returns a time in nanoseconds since 1970, 0 if it is out of range.
func ns(t time.Time) int64 {
	if y := t.Year(); y < 1970 || y > 2261 {
		return 0
	}
	return t.UnixNano()
}

func secondsEnd(ns int64) int64 {
	if ns != 0 && ns%1e9 == 0 {
		return ns + 1e9
	}
	return ns
}
