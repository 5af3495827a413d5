// Package pods remembers where the pods of the cluster ran, and what ended them, because the API forgets a pod when it
// is deleted.
//
// It knows only what it has seen: after a restart of the hub, nothing about pods that ended before.
package pods

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/pcapsule/pcapsule/hub/resource"
)

const (
	keep      = 24 * time.Hour // for which pods that have ended are remembered
	maxEnded  = 100_000        // of these; the oldest go
	sweepEach = time.Minute
)

var (
	podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// run is a pod on a node.
type run struct {
	resource.Pod
	node     string
	from, to time.Time // to is zero while it is there
}

// Memory has what is known about pods. It is safe for concurrent use.
type Memory struct {
	client dynamic.Interface
	log    *slog.Logger
	now    func() time.Time

	mu        sync.Mutex
	since     time.Time // it has seen every pod since then; zero: not yet
	served    time.Time // the same of services
	runs      map[types.UID]*run
	tenures   map[types.UID]*tenure
	incidents map[string]Incident // by ID
}

// New makes an empty memory.
func New(client dynamic.Interface, log *slog.Logger) *Memory {
	return &Memory{client: client, log: log, now: time.Now, runs: map[types.UID]*run{}, tenures: map[types.UID]*tenure{}, incidents: map[string]Incident{}}
}

// Run watches pods, services and Deployments until ctx ends.
func (m *Memory) Run(ctx context.Context) error {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(m.client, 0)
	all := factory.ForResource(podResource).Informer()
	served := factory.ForResource(services).Informer()
	rollouts := factory.ForResource(deployments).Informer()
	for _, w := range []struct {
		informer cache.SharedIndexInformer
		see      func(*unstructured.Unstructured)
	}{{all, m.seePod}, {served, m.seeService}, {rollouts, m.seeDeployment}} {
		// The cache keeps only the key of an object; the rest is in this memory.
		if err := w.informer.SetTransform(func(obj any) (any, error) {
			u, ok := obj.(*unstructured.Unstructured)
			if !ok || u.Object["spec"] == nil {
				return obj, nil
			}
			w.see(u)
			short := &unstructured.Unstructured{Object: map[string]any{"apiVersion": u.GetAPIVersion(), "kind": u.GetKind()}}
			short.SetName(u.GetName())
			short.SetNamespace(u.GetNamespace())
			short.SetUID(u.GetUID())
			short.SetResourceVersion(u.GetResourceVersion())
			return short, nil
		}); err != nil {
			return err
		}
	}
	for _, informer := range []cache.SharedIndexInformer{all, served} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			UpdateFunc: func(before, now any) { // deleted and made again under the same name, between two lists
				if a, b := uidOf(before), uidOf(now); a != b {
					m.gone(a)
				}
			},
			DeleteFunc: func(obj any) { m.gone(uidOf(obj)) },
		}); err != nil {
			return err
		}
	}
	began := m.now()
	factory.Start(ctx.Done())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	await := func(x cache.SharedIndexInformer, since *time.Time) { // each for itself: the hub may have no right to one
		waiting.Go(func() {
			if cache.WaitForCacheSync(ctx.Done(), x.HasSynced) {
				m.mu.Lock()
				*since = began
				m.mu.Unlock()
			}
		})
	}
	await(all, &m.since)
	await(served, &m.served)
	t := time.NewTicker(sweepEach)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			factory.Shutdown()
			return nil
		case <-t.C:
			m.sweep()
		}
	}
}

func uidOf(obj any) types.UID {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u.GetUID()
	}
	return ""
}

// seePod learns from a version of a pod.
func (m *Memory) seePod(u *unstructured.Unstructured) {
	var p core.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &p); err != nil {
		m.log.Warn("reading a pod", "namespace", u.GetNamespace(), "pod", u.GetName(), "error", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.Spec.NodeName == "" {
		return
	}
	r := m.runs[p.UID]
	if r == nil {
		r = &run{node: p.Spec.NodeName, from: p.CreationTimestamp.Time}
		m.runs[p.UID] = r
	}
	r.Pod = podOf(&p)
	m.had(p.UID, p.Namespace, p.CreationTimestamp.Time, addressesOf(&p))
	for _, i := range incidentsOf(&p, r.Pod) {
		m.add(i)
	}
}

// ofCronJob is the pod as a pod of a CronJob, which the pods of its Jobs do not name. So too many nodes may be found,
// but none is missed.
func (r *run) ofCronJob() *resource.Pod {
	p := r.Pod
	if i := strings.LastIndexByte(p.Owner, '-'); p.Kind == "Job" && i > 0 {
		p.Kind, p.Owner = "CronJob", p.Owner[:i]
	}
	return &p
}

// gone records that a pod or a service no longer exists.
func (m *Memory) gone(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.runs[uid]; r != nil && r.to.IsZero() {
		r.to = m.now()
	}
	if t := m.tenures[uid]; t != nil && t.to.IsZero() {
		t.to = m.now()
	}
}

// Nodes lists the nodes where accepted pods ran in a time range. It also returns the time from which it knows all pods:
// pods that ended earlier are not known. zero: it knows nothing yet.
func (m *Memory) Nodes(accept func(*resource.Pod) bool, from, to time.Time) (nodes []string, since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]bool{}
	for _, r := range m.runs {
		if !r.from.After(to) && (r.to.IsZero() || !r.to.Before(from)) && (accept(&r.Pod) || accept(r.ofCronJob())) {
			found[r.node] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), m.knownSince()
}

// knownSince is the time from which it knows all pods; zero: it knows nothing yet. The caller holds the lock.
func (m *Memory) knownSince() time.Time {
	if oldest := m.now().Add(-keep); !m.since.IsZero() && m.since.Before(oldest) {
		return oldest
	}
	return m.since
}

// Namespaces lists those of all pods that it remembers, sorted.
func (m *Memory) Namespaces() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]bool{}
	for _, r := range m.runs {
		all[r.Namespace] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// sweep forgets what is old.
func (m *Memory) sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	maps.DeleteFunc(m.incidents, func(_ string, i Incident) bool { return now.Sub(i.At) > Remembered })
	maps.DeleteFunc(m.tenures, func(_ types.UID, t *tenure) bool { return !t.to.IsZero() && now.Sub(t.to) > keep })
	var ended []types.UID
	maps.DeleteFunc(m.runs, func(uid types.UID, r *run) bool {
		if r.to.IsZero() {
			return false
		}
		ended = append(ended, uid)
		return now.Sub(r.to) > keep
	})
	if over := len(ended) - maxEnded; over > 0 { // then it does not know all of a day
		slices.SortFunc(ended, func(a, b types.UID) int { return m.ended(a).Compare(m.ended(b)) })
		m.since = m.ended(ended[over-1])
		for _, uid := range ended[:over] {
			delete(m.runs, uid)
			delete(m.tenures, uid)
		}
	}
}

// ended is when a pod ended; zero if it was forgotten.
func (m *Memory) ended(uid types.UID) time.Time {
	if r := m.runs[uid]; r != nil {
		return r.to
	}
	return time.Time{}
}
