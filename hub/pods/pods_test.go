package pods

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"

	"github.com/pcapsule/pcapsule/hub/resource"
)

var begin = time.Now().UTC().Truncate(time.Second)

// world is an API with a memory that watches it.
type world struct {
	t   *testing.T
	api *fake.FakeDynamicClient
	m   *Memory
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{t: t, api: fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{podResource: "PodList", services: "ServiceList", deployments: "DeploymentList"})}
	for _, o := range objects {
		w.put(o)
	}
	w.m = New(w.api, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); w.m.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	w.await("the list", func() bool {
		_, since := w.nodes(resource.Selection{Namespaces: []string{"shop"}}, 0, 0)
		return !since.IsZero()
	})
	return w
}

func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waiting for %s", what)
		}
	}
}

// put creates an object, or writes its new version.
func (w *world) put(o runtime.Object) {
	w.t.Helper()
	kind, name := podResource, "Pod"
	if _, ok := o.(*apps.Deployment); ok {
		kind, name = deployments, "Deployment"
	}
	if _, ok := o.(*core.Service); ok {
		kind, name = services, "Service"
	}
	x, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		w.t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: x}
	u.SetAPIVersion(kind.GroupVersion().String())
	u.SetKind(name)
	of := w.api.Resource(kind).Namespace(u.GetNamespace())
	if _, err = of.Create(w.t.Context(), u, v1.CreateOptions{}); err != nil {
		_, err = of.Update(w.t.Context(), u, v1.UpdateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// nodes are those where selected pods ran, in a time relative to the begin.
func (w *world) nodes(s resource.Selection, from, to time.Duration) (string, time.Time) {
	list, since := w.m.Nodes(s.Accepts(), begin.Add(from), begin.Add(to))
	return strings.Join(list, " "), since
}

func pod(namespace, name, node string, owner ...string) *core.Pod {
	p := &core.Pod{ObjectMeta: v1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name), CreationTimestamp: v1.NewTime(begin)}, Spec: core.PodSpec{NodeName: node}}
	if len(owner) > 0 {
		yes := true
		p.OwnerReferences = []v1.OwnerReference{{Kind: owner[0], Name: owner[1], Controller: &yes}}
	}
	if len(owner) > 2 {
		p.Labels = map[string]string{"pod-template-hash": owner[2]}
	}
	return p
}

// TestWherePodsRan: also those that are gone, and only at the times at which they were there.
func TestWherePodsRan(t *testing.T) {
	w := newWorld(t, pod("shop", "web-1", "a", "ReplicaSet", "web-5d9", "5d9"), pod("shop", "report-1", "b", "Job", "report-29381"), pod("payments", "vault-0", "c", "StatefulSet", "vault"), pod("shop", "unscheduled", ""))
	w.put(pod("shop", "web-2", "d", "ReplicaSet", "web-5d9", "5d9"))
	w.await("web-2", func() bool {
		n, _ := w.nodes(resource.Selection{Workloads: []string{"shop/web-2"}}, 0, 0)
		return n == "d"
	})
	for _, tt := range []struct{ workload, want string }{
		{"shop/web", "a d"}, {"shop/Deployment/web", "a d"}, {"shop/ReplicaSet/web-5d9", ""}, {"payments/web", ""}, {"payments/StatefulSet/vault", "c"},
		{"shop/CronJob/report", "b"}, {"shop/Job/report-29381", "b"}, {"shop/unscheduled", ""},
	} {
		if got, _ := w.nodes(resource.Selection{Workloads: []string{tt.workload}}, 0, 0); got != tt.want {
			t.Errorf("%s ran on %q, want %q", tt.workload, got, tt.want)
		}
	}
	web := resource.Selection{Workloads: []string{"shop/web"}}
	if got, _ := w.nodes(web, -time.Hour, -time.Second); got != "" {
		t.Errorf("before they were created: %q", got)
	}
	if err := w.api.Resource(podResource).Namespace("shop").Delete(t.Context(), "web-1", v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await("the deletion", func() bool { n, _ := w.nodes(web, time.Hour, time.Hour); return n == "d" })
	if got, _ := w.nodes(web, 0, time.Hour); got != "a d" {
		t.Errorf("after web-1 was deleted: %q", got)
	}
	w.m.now = func() time.Time { return begin.Add(25 * time.Hour) }
	w.m.sweep()
	if got, since := w.nodes(web, 0, time.Hour); got != "d" || !since.Equal(begin.Add(time.Hour)) {
		t.Errorf("a day later: %q, known since %s", got, since)
	}
}

// TestUnknownBeforeTheList: until the first list has come, nothing is known.
func TestNamespacesOfPods(t *testing.T) {
	w := newWorld(t)
	for i, namespace := range []string{"shop", "payments", "shop"} {
		w.put(&core.Pod{ObjectMeta: v1.ObjectMeta{Name: "x", Namespace: namespace, UID: types.UID(fmt.Sprint(i))}, Spec: core.PodSpec{NodeName: "node-a"}})
	}
	w.await("the pods", func() bool { return slices.Equal(w.m.Namespaces(), []string{"payments", "shop"}) })
}

func TestUnknownBeforeTheList(t *testing.T) {
	m := New(fake.NewSimpleDynamicClient(runtime.NewScheme()), slog.New(slog.DiscardHandler))
	if list, since := m.Nodes((&resource.Selection{Namespaces: []string{"shop"}}).Accepts(), begin, begin); len(list) > 0 || !since.IsZero() {
		t.Errorf("%v since %s", list, since)
	}
}

// ended is the state of a container.
func ended(reason string, code int32, ago time.Duration) core.ContainerState {
	return core.ContainerState{Terminated: &core.ContainerStateTerminated{Reason: reason, ExitCode: code, FinishedAt: v1.NewTime(begin.Add(-ago))}}
}

func TestIncidents(t *testing.T) {
	with := func(name string, s core.ContainerStatus, change ...func(*core.Pod)) *core.Pod {
		p := pod("shop", name, "a", "ReplicaSet", "web-5d9", "5d9")
		s.Name = "app"
		p.Status.ContainerStatuses = []core.ContainerStatus{s}
		for _, c := range change {
			c(p)
		}
		return p
	}
	rollout := func(name, reason string) *apps.Deployment {
		return &apps.Deployment{ObjectMeta: v1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)}, Status: apps.DeploymentStatus{Conditions: []apps.DeploymentCondition{
			{Type: apps.DeploymentProgressing, Status: core.ConditionFalse, Reason: reason, LastTransitionTime: v1.NewTime(begin)}}}}
	}
	w := newWorld(t,
		with("failed", core.ContainerStatus{State: ended("Error", 1, time.Minute)}),
		with("done", core.ContainerStatus{State: ended("Completed", 0, time.Minute)}),
		with("restarted", core.ContainerStatus{LastTerminationState: ended("Completed", 0, time.Minute)}),
		with("hungry", core.ContainerStatus{LastTerminationState: ended("OOMKilled", 137, time.Minute)}),
		with("hungry-first", core.ContainerStatus{}, func(p *core.Pod) {
			p.Status.InitContainerStatuses = []core.ContainerStatus{{Name: "init", State: ended("OOMKilled", 137, time.Minute)}}
		}),
		with("long-ago", core.ContainerStatus{LastTerminationState: ended("OOMKilled", 137, 2*time.Hour)}),
		with("deleted", core.ContainerStatus{State: ended("Error", 143, time.Minute)}, func(p *core.Pod) { now := v1.NewTime(begin); p.DeletionTimestamp = &now }),
		with("running", core.ContainerStatus{}),
		rollout("stuck", "ProgressDeadlineExceeded"), rollout("paused", "DeploymentPaused"))
	var got []string
	want := []string{"Crash shop/Deployment/web container app of pod shop/failed ended with exit code 1", "Crash shop/Deployment/web container app of pod shop/restarted ended with exit code 0",
		"FailedRollout shop/Deployment/stuck the rollout of Deployment shop/stuck exceeded its deadline", "OOMKilled shop/Deployment/web container app of pod shop/hungry was killed: out of memory",
		"OOMKilled shop/Deployment/web container init of pod shop/hungry-first was killed: out of memory"}
	list := func() []string {
		got = nil
		for _, i := range w.m.Incidents() {
			got = append(got, i.Kind+" "+i.Pod.Workload()+" "+i.Text)
		}
		slices.Sort(got)
		return got
	}
	w.await("the Deployments", func() bool { return len(list()) >= len(want) })
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	w.put(with("failed", core.ContainerStatus{RestartCount: 1, LastTerminationState: ended("Error", 1, time.Minute)})) // the same end, after the restart
	w.put(with("failed", core.ContainerStatus{RestartCount: 2, LastTerminationState: ended("Error", 1, time.Second)}))
	w.await("the next crash", func() bool { return len(list()) > len(want) })
	if len(got) != len(want)+1 {
		t.Errorf("%q", got)
	}
}

// TestOwners: the addresses of pods and services in a time range, also of those that are gone, and until when they are all.
func TestOwners(t *testing.T) {
	web, agent := pod("shop", "web-1", "a"), pod("kube-system", "agent-1", "a")
	web.Status.PodIPs = []core.PodIP{{IP: "10.1.0.1"}, {IP: "fd00::1"}}
	agent.Spec.HostNetwork, agent.Status.PodIP = true, "192.0.2.10" // its node's
	front := &core.Service{ObjectMeta: v1.ObjectMeta{Namespace: "payments", Name: "vault", UID: "uid-vault", CreationTimestamp: v1.NewTime(begin)}, Spec: core.ServiceSpec{ClusterIP: "10.96.0.9", ClusterIPs: []string{"10.96.0.9"}}}
	w := newWorld(t, web, agent, front, pod("shop", "pending-1", "b"))
	says := func(from, to time.Duration) (text string, until int64) {
		o := w.m.Owners(begin.Add(from), begin.Add(to))
		for _, x := range o.Had {
			text += x.Addr.String() + " " + x.Namespace + "; "
		}
		return text, o.Until
	}
	const all = "10.1.0.1 shop; 10.96.0.9 payments; fd00::1 shop; "
	w.await("the services", func() bool { text, _ := says(0, time.Hour); return text == all })
	if text, until := says(-time.Hour, 0); text != all || until != 0 {
		t.Errorf("from before it began to watch: %q until %d", text, until)
	}
	now := time.Now().Add(time.Hour)
	w.m.mu.Lock()
	w.m.now = func() time.Time { return now }
	w.m.mu.Unlock()
	w.await("both lists", func() bool {
		o := w.m.Owners(now, now)
		return o.Until == now.Add(-reportedLate).UnixNano()
	})
	if err := w.api.Resource(podResource).Namespace("shop").Delete(t.Context(), "web-1", v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await("the deletion", func() bool { return len(w.m.Owners(now.Add(time.Minute), now.Add(time.Hour)).Had) == 1 })
	if o := w.m.Owners(now, now); len(o.Had) != 3 {
		t.Errorf("of the time when the pod was there: %+v", o.Had)
	}
}
