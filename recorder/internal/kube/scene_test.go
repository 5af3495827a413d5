package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

const here = "node-a"

// scene is a Source that watches an API that can be switched off.
type scene struct {
	*Source
	t   *testing.T
	api *fake.Clientset

	mu      sync.Mutex
	down    bool
	watches map[string]int
	open    []watch.Interface
	errs    []error
	backs   int
	events  []workload.Event
	changes []Change
}

var errDown = errors.New("connection refused")

func newScene(t *testing.T, objects ...runtime.Object) *scene {
	x := &scene{t: t, api: fake.NewClientset(objects...), watches: map[string]int{}}
	x.api.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.down, nil, errDown
	})
	x.api.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.down {
			return true, nil, errDown
		}
		w, err := x.api.Tracker().Watch(a.GetResource(), a.GetNamespace())
		x.watches[a.GetResource().Resource]++
		x.open = append(x.open, w)
		return true, w, err
	})
	o := Options{Node: here, Labels: strings.Split(DefaultLabels, ","), backoff: time.Millisecond, OnError: func(err error) {
		x.mu.Lock()
		x.errs = append(x.errs, err)
		x.mu.Unlock()
	}, OnBack: func(string, time.Time) {
		x.mu.Lock()
		x.backs++
		x.mu.Unlock()
	}}
	x.Source = New(API{x.api.CoreV1(), x.api.AppsV1(), x.api.BatchV1(), x.api.DiscoveryV1()}, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { x.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	x.watching()
	return x
}

// watching waits until everything is watched.
func (x *scene) watching() {
	x.t.Helper()
	x.until("everything is watched", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.watches["pods"] > 0 && x.watches["services"] > 0 && x.watches["endpointslices"] > 0 && x.watches["nodes"] > 0 && x.watches["events"] > 1
	})
}

// off switches the API off, on switches it on again.
func (x *scene) off() {
	x.mu.Lock()
	x.down, x.watches = true, map[string]int{}
	open := x.open
	x.open = nil
	x.mu.Unlock()
	for _, w := range open {
		w.Stop()
	}
}

func (x *scene) on() {
	x.mu.Lock()
	x.down = false
	x.mu.Unlock()
}

func (x *scene) until(what string, f func() bool) {
	x.t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("timeout waiting until %s", what)
		}
	}
}

// collect collects the reported changes and events.
func (x *scene) collect() {
	changes, _ := x.Take(1 << 20)
	for _, c := range changes {
		if c.Event != nil {
			x.events = append(x.events, *c.Event)
		} else {
			x.changes = append(x.changes, c)
		}
	}
}

// event waits for an event about an object.
func (x *scene) event(kind, object, reason string) workload.Event {
	x.t.Helper()
	var found workload.Event
	x.until(fmt.Sprintf("%s %s has event %s", kind, object, reason), func() bool {
		x.collect()
		for _, e := range x.events {
			if e.Kind == kind && e.Name == object && e.Reason == reason {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// found waits until a key is found with a matching result.
func (x *scene) found(what string, k workload.Key, fits func(workload.InterfaceComment) bool) workload.InterfaceComment {
	x.t.Helper()
	var c workload.InterfaceComment
	x.until(what, func() bool {
		var ok bool
		c, ok = x.Find(k)
		return ok && (fits == nil || fits(c))
	})
	return c
}

// containerID returns a container ID in the 64 digits that runtimes use.
func containerID(n int) string { return fmt.Sprintf("%064x", n+1) }

// podUID returns a pod's UID.
func podUID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

func at(s string) metav1.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return metav1.Time{Time: t}
}

// running returns a pod with one running container.
func running(n int, name, ip string) *corev1.Pod {
	start := metav1.Time{Time: time.Now().Truncate(time.Second)}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(podUID(n)), CreationTimestamp: start, Labels: map[string]string{"app": "web", "secret": "no"}},
		Spec: corev1.PodSpec{NodeName: here, Containers: []corev1.Container{{Name: "web", Image: "registry.example/web:1.4",
			Ports: []corev1.ContainerPort{{ContainerPort: 8080}}, Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &start,
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", ContainerID: "containerd://" + containerID(n), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: start}}}}},
	}
}

func (x *scene) create(p *corev1.Pod) {
	x.t.Helper()
	if _, err := x.api.CoreV1().Pods(p.Namespace).Create(context.Background(), p, metav1.CreateOptions{}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *scene) update(p *corev1.Pod) {
	x.t.Helper()
	if _, err := x.api.CoreV1().Pods(p.Namespace).Update(context.Background(), p, metav1.UpdateOptions{}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *scene) remove(p *corev1.Pod) {
	x.t.Helper()
	if err := x.api.CoreV1().Pods(p.Namespace).Delete(context.Background(), p.Name, metav1.DeleteOptions{}); err != nil {
		x.t.Fatal(err)
	}
}

// still returns a Source without an API, with a stopped clock.
func still(t *testing.T, o Options) (s *Source, clock *time.Time) {
	now := time.Now().Truncate(time.Second).Add(time.Second)
	o.Node, o.now = here, func() time.Time { return now }
	if o.Labels == nil {
		o.Labels = strings.Split(DefaultLabels, ",")
	}
	return New(API{}, o), &now
}

func podList() []runtime.Object { return nil }
