package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

func TestPodThatRanForOneSecond(t *testing.T) {
	x := newScene(t)
	p := running(7, "job-1", "10.1.0.7")
	x.create(p)
	x.found("the pod is known", workload.Key{PodUID: podUID(7)}, nil)
	alive := time.Now().UnixNano()
	p.Status.Phase = corev1.PodSucceeded
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed", FinishedAt: metav1.Now()}}
	x.update(p)
	x.remove(p)
	x.event("Pod", "job-1", "Removed")
	x.event("Pod", "job-1", "Completed")

	for _, row := range []struct {
		name string
		key  workload.Key
	}{
		{"container", workload.Key{Container: containerID(7)}},
		{"pod's uid", workload.Key{PodUID: podUID(7)}},
		{"path of a control group", workload.Key{Cgroup: "/kubepods/besteffort/pod" + podUID(7) + "/" + containerID(7)}},
		{"path of the sandbox", workload.Key{Cgroup: "/kubepods.slice/kubepods-pod" + strings.ReplaceAll(podUID(7), "-", "_") + ".slice/cri-containerd-" + containerID(99) + ".scope"}},
		{"address at that time", workload.Key{Addr: netip.MustParseAddr("10.1.0.7"), At: alive}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, ok := x.Find(row.key)
			if !ok || c.Identity.Pod != "job-1" || c.Identity.Namespace != "shop" || c.Identity.ValidTo == 0 {
				t.Errorf("got %+v, %t", c, ok)
			}
		})
	}
	if c, ok := x.Find(workload.Key{Addr: netip.MustParseAddr("10.1.0.7"), At: time.Now().Add(time.Minute).UnixNano()}); ok {
		t.Errorf("a minute later the address is still %s", c.Identity.Pod)
	}
	if c, ok := x.Find(workload.Key{Container: containerID(8), Cgroup: "/system.slice/sshd.service"}); ok {
		t.Errorf("an unrelated group is %s", c.Identity.Pod)
	}
}

func TestAddressUsedTwiceInAMinute(t *testing.T) {
	s, clock := still(t, Options{})
	pods := podStore{s}
	pods.replace(nil)
	addr := netip.MustParseAddr("10.1.0.9")
	life := func(n int, name string, from, to time.Duration) {
		begin := clock.Add(from)
		start := metav1.Time{Time: begin.Truncate(time.Second)}
		p := running(n, name, addr.String())
		p.CreationTimestamp, p.Status.StartTime = start, &start
		p.Status.ContainerStatuses[0].State.Running.StartedAt = start
		was := *clock
		*clock = begin
		pods.put(p)
		*clock = was.Add(to)
		p.Status.Phase = corev1.PodFailed
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, FinishedAt: metav1.Time{Time: clock.Truncate(time.Second)}}}
		pods.put(p)
		pods.remove(p)
		*clock = was
	}
	zero := *clock
	life(1, "first", 0, 10300*time.Millisecond)
	life(2, "second", 10800*time.Millisecond, 30*time.Second)
	for _, row := range []struct {
		after time.Duration
		want  string
	}{
		{-time.Minute, ""},
		{-time.Second, "first"}, // within the uncertainty of whole seconds
		{0, "first"},
		{10200 * time.Millisecond, "first"},
		{10700 * time.Millisecond, "first"}, // the second pod was not created yet
		{10900 * time.Millisecond, "second"},
		{29 * time.Second, "second"},
		{32 * time.Second, "second"},
		{40 * time.Second, ""},
	} {
		c, _ := s.Find(workload.Key{Addr: addr, At: zero.Add(row.after).UnixNano()})
		if c.Identity.Pod != row.want {
			t.Errorf("after %s: %q, want %q", row.after, c.Identity.Pod, row.want)
		}
	}
}

func TestAPIFailsAndRecovers(t *testing.T) {
	stays, goes := running(1, "stays", "10.1.0.1"), running(2, "goes", "10.1.0.2")
	x := newScene(t, stays, goes)
	x.found("both are known", workload.Key{PodUID: podUID(2)}, nil)
	before := time.Now()
	x.off()
	x.until("the feed of pods is stale", func() bool {
		return slices.ContainsFunc(x.State().Feeds, func(f Feed) bool { return f.Name == "pods" && !f.Stale.IsZero() && f.Err != "" })
	})
	for _, f := range x.State().Feeds {
		if !f.Stale.IsZero() && f.Stale.Before(before) {
			t.Errorf("%s is stale since %s, before the API failed at %s", f.Name, f.Stale, before)
		}
	}
	if c, ok := x.Find(workload.Key{Container: containerID(1)}); !ok || c.Identity.Pod != "stays" {
		t.Errorf("without an API the pod is %q", c.Identity.Pod)
	}
	x.mu.Lock()
	if len(x.errs) == 0 || !strings.Contains(x.errs[0].Error(), "watching ") {
		t.Errorf("errors %v", x.errs)
	}
	reported := len(x.errs)
	x.mu.Unlock()
	if reported > 7 {
		t.Errorf("%d errors reported, want one for each feed", reported)
	}

	// Meanwhile one pod is removed, and another is added with its address.
	tracker := x.api.Tracker()
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	if err := tracker.Delete(pods, "shop", "goes"); err != nil {
		t.Fatal(err)
	}
	if err := tracker.Create(pods, running(3, "came", "10.1.0.2"), "shop"); err != nil {
		t.Fatal(err)
	}
	x.on()
	x.found("the new one is known", workload.Key{PodUID: podUID(3)}, nil)
	x.event("Pod", "goes", "Removed")
	x.watching()
	x.until("nothing is stale", func() bool {
		return !slices.ContainsFunc(x.State().Feeds, func(f Feed) bool { return !f.Stale.IsZero() })
	})
	x.until("each feed is reported to work again", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.backs > 0 && x.backs == len(x.errs)
	})
	if c, _ := x.Find(workload.Key{Addr: netip.MustParseAddr("10.1.0.2")}); c.Identity.Pod != "came" {
		t.Errorf("the address is %q, want came", c.Identity.Pod)
	}
	if c, _ := x.Find(workload.Key{Container: containerID(2)}); c.Identity.Pod != "goes" || c.Identity.ValidTo == 0 {
		t.Errorf("the container of the removed pod is %+v", c.Identity)
	}
}

func TestTenThousandPods(t *testing.T) {
	s, _ := still(t, Options{})
	heap := func() int64 {
		goruntime.GC()
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	const n = 10_000
	done, longest := make(chan struct{}), make(chan time.Duration)
	go func() { // a recorder looks up containers meanwhile
		var most time.Duration
		for {
			select {
			case <-done:
				longest <- most
				return
			default:
				start := time.Now()
				s.Find(workload.Key{Container: containerID(5)})
				most = max(most, time.Since(start))
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	func() {
		all := make([]runtime.Object, 0, n)
		for i := range n {
			all = append(all, running(i, fmt.Sprintf("web-7d4b9c6f5d-%05d", i), fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255)))
		}
		podStore{s}.replace(all)
		var slices []runtime.Object
		for i := range 100 {
			one := slicesOf("svc", i, "node-b")
			for j := range 100 {
				k := 20_000 + i*100 + j
				one.Endpoints = append(one.Endpoints, endpoint(k, fmt.Sprintf("11.0.%d.%d", i, j), "node-b"))
			}
			slices = append(slices, one)
		}
		sliceStore{s}.replace(slices)
		s.feeds.listed("endpoints")
	}()
	for {
		changes, lost := s.Take(1000)
		if lost != 0 {
			t.Errorf("%d changes were lost", lost)
		}
		if len(changes) == 0 {
			break
		}
	}
	used := heap() - before
	close(done)
	wait := <-longest
	t.Logf("the longest lookup took %s", wait)
	if wait > time.Second {
		t.Errorf("a lookup took %s", wait)
	}
	t.Logf("10,000 pods of this node and 10,000 peers: %d KiB", used>>10)
	if used > 48<<20 {
		t.Errorf("%d bytes, want at most 48 MiB", used)
	}
	if st := s.State(); st.Pods != n || st.Peers != n || st.Limited != 0 {
		t.Errorf("state %+v", st)
	}
	for _, i := range []int{0, 77, n - 1} {
		if c, ok := s.Find(workload.Key{Container: containerID(i)}); !ok || c.Identity.PodUID != podUID(i) {
			t.Errorf("container %d is %+v", i, c.Identity)
		}
	}
	if c, ok := s.Find(workload.Key{Addr: netip.MustParseAddr("11.0.5.7")}); !ok || c.Identity.Pod != "peer-20507" || !slices.Equal(c.Identity.Services, []string{"svc"}) {
		t.Errorf("peer is %+v", c.Identity)
	}
	start := time.Now()
	for i := range n {
		s.Find(workload.Key{Cgroup: "/kubepods/burstable/pod" + podUID(i) + "/" + containerID(i)})
	}
	if each := time.Since(start) / n; each > 200*time.Microsecond {
		t.Errorf("a lookup takes %s", each)
	}
	// All are removed, and then forgotten.
	podStore{s}.replace(nil)
	sliceStore{s}.replace(nil)
	s.mu.Lock()
	s.forget(s.now() + 1)
	s.mu.Unlock()
	if len(s.pods)+len(s.ids)+len(s.spans)+len(s.peers)+len(s.served)+len(s.gone) != 0 {
		t.Errorf("after all were removed there are %d pods, %d ids, %d addresses, %d peers, %d served, %d gone", len(s.pods), len(s.ids), len(s.spans), len(s.peers), len(s.served), len(s.gone))
	}
}

func TestMorePodsThanAreKept(t *testing.T) {
	s, _ := still(t, Options{})
	for i := range maxPods + 10 {
		podStore{s}.put(running(i, "p", ""))
	}
	if st := s.State(); st.Pods != maxPods || st.Limited != 10 || st.Lost == 0 || st.Waiting != maxChanges {
		t.Errorf("state %+v", st)
	}
	_, lost := s.Take(1)
	if _, again := s.Take(1); lost == 0 || again != 0 {
		t.Errorf("lost %d, then %d", lost, again)
	}
}

func slicesOf(service string, n int, _ string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("%s-%05d", service, n), Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
}

func endpoint(n int, addr, node string) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{addr}, NodeName: &node, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: fmt.Sprintf("peer-%d", n), UID: types.UID(podUID(n))}}
}

func TestHostileNamesAndLabels(t *testing.T) {
	s, _ := still(t, Options{Labels: []string{"*"}})
	p := running(1, "web\x1b[2Jpod\u202e\n"+strings.Repeat("x", 5000), "10.1.0.1")
	p.Namespace = "a\x00b"
	p.Labels = map[string]string{"k\x07ey": "va\x1b]0;lue\xff", "long": strings.Repeat("é", 5000)}
	for i := range 1000 {
		p.Labels[fmt.Sprintf("z%d", i)] = "v"
	}
	p.Spec.Containers[0].Image = strings.Repeat("i", 1<<16)
	p.Status.PodIPs = []corev1.PodIP{{IP: "::ffff:10.1.0.2"}, {IP: "fe80::1%eth0"}, {IP: "no address"}, {IP: strings.Repeat("1", 1<<16)}, {IP: "0.0.0.0"}}
	for i := range 1000 {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: fmt.Sprint("c", i), ContainerID: containerID(100 + i), RestartCount: -5,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "\x1b[31m", Message: strings.Repeat("m", 1<<20), FinishedAt: metav1.Now()}}})
	}
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "\x9b", UID: "u", Controller: new(bool)}}
	podStore{s}.put(p)
	c, ok := s.Find(workload.Key{PodUID: podUID(1)})
	if !ok {
		t.Fatal("the pod is not known")
	}
	id := c.Identity
	for _, text := range []string{id.Pod, id.Namespace, id.Labels[0].Name, id.Labels[0].Value, id.Image} {
		if len(text) > maxText || strings.ContainsAny(text, "\x00\x07\x1b\n\u202e\u009b") || !utf8.ValidString(text) {
			t.Errorf("text %q", text)
		}
	}
	if len(id.Labels) != maxLabels {
		t.Errorf("%d labels, want %d", len(id.Labels), maxLabels)
	}
	if !slices.Equal(c.Addresses, []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fe80::1")}) {
		t.Errorf("addresses %v", c.Addresses)
	}
	if text := workload.FormatInterfaceComment(workload.InterfaceComment{Ring: "r", Identity: id, Addresses: c.Addresses}); len(text) > 8<<10 {
		t.Errorf("comment of %d bytes", len(text))
	}
	changes, _ := s.Take(1 << 20)
	for _, x := range changes {
		if x.Event != nil && (len(x.Event.Message) > maxMessage || strings.Contains(x.Event.Reason, "\x1b")) {
			t.Errorf("event %q %.40q of %d bytes", x.Event.Reason, x.Event.Message, len(x.Event.Message))
		}
	}
	if len(s.ids) > maxIDs {
		t.Errorf("%d ids of one pod, want at most %d", len(s.ids), maxIDs)
	}
}

func TestLabelsByAllowList(t *testing.T) {
	for _, row := range []struct {
		name, rules string
		want        string
	}{
		{"a name", "app", "app=web"},
		{"all with a prefix", "example.com/*", "example.com/a=1 example.com/b=2"},
		{"everything", "*", "app=web example.com/a=1 example.com/b=2 password=hunter2"},
		{"a prefix without a star is a name", "example.com/", ""},
		{"none", "-", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, _ := still(t, Options{Labels: strings.Split(row.rules, ",")})
			var got []string
			for _, l := range s.allowed(map[string]string{"app": "web", "example.com/a": "1", "example.com/b": "2", "password": "hunter2"}) {
				got = append(got, l.Name+"="+l.Value)
			}
			if strings.Join(got, " ") != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	yes := true
	by := func(kind, name, uid string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{Kind: kind, Name: name, UID: types.UID(uid), Controller: &yes}}
	}
	set := func(name, uid, rev string) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(uid), Annotations: map[string]string{revision: rev}, OwnerReferences: by("Deployment", "shop-web", "d")}}
	}
	first := set("odd", "rs1", "1")
	x := newScene(t, first, set("web-2", "rs2", "2"), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "nightly-1", UID: "j1", OwnerReferences: by("CronJob", "nightly", "cj")}})
	run := fmt.Sprintf("nightly-%d", time.Now().Unix()/60)
	for i, row := range []struct {
		name, kind, controller, uid, hash string
		wantKind, want                    string
		derived                           bool
	}{
		{"a Deployment through its replica set", "ReplicaSet", "odd", "rs1", "h", "Deployment", "shop-web", false},
		{"a CronJob through its job", "Job", "nightly-1", "j1", "", "CronJob", "nightly", false},
		{"a CronJob whose job was deleted", "Job", run, "j2", "", "CronJob", "nightly", true},
		{"a deleted job whose name ends with another number", "Job", "import-10000000", "j3", "", "Job", "import-10000000", false},
		{"a StatefulSet", "StatefulSet", "db", "ss", "", "StatefulSet", "db", false},
		{"a deleted replica set", "ReplicaSet", "api-5d8", "rs9", "5d8", "Deployment", "api", true},
		{"a deleted replica set without a hash in its name", "ReplicaSet", "api", "rs8", "", "ReplicaSet", "api", false},
		{"a replica set with the same name and another UID", "ReplicaSet", "odd", "rs0", "", "ReplicaSet", "odd", false},
		{"a static pod has none", "Node", here, "n", "", "", "", false},
	} {
		p := running(10+i, fmt.Sprintf("p%d", i), fmt.Sprintf("10.1.1.%d", i))
		p.OwnerReferences = by(row.kind, row.controller, row.uid)
		p.Labels["pod-template-hash"] = row.hash
		x.create(p)
		x.found(row.name, workload.Key{PodUID: podUID(10 + i)}, func(c workload.InterfaceComment) bool {
			return c.Identity.Workload == row.want && c.Identity.WorkloadKind == row.wantKind && c.Identity.OwnerDerived == row.derived
		})
	}

	roll := func(n int, set, uid string) {
		p := running(n, fmt.Sprintf("r%d", n), fmt.Sprintf("10.1.2.%d", n))
		p.OwnerReferences = by("ReplicaSet", set, uid)
		x.create(p)
	}
	roll(30, "web-2", "rs2")
	if e := x.event("Deployment", "shop-web", "Rolled"); !strings.Contains(e.Message, "revision 2, replica set web-2, after revision 1, replica set odd, web registry.example/web:1.4") {
		t.Errorf("rolled: %s", e.Message)
	}
	x.events = nil
	first.Annotations[revision] = "3" // as in a rollback
	if _, err := x.api.AppsV1().ReplicaSets("shop").Update(context.Background(), first, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	roll(31, "odd", "rs1")
	if e := x.event("Deployment", "shop-web", "Rolled"); !strings.Contains(e.Message, "revision 3, replica set odd, after revision 2") {
		t.Errorf("rolled back: %s", e.Message)
	}
}

func TestStaticPod(t *testing.T) {
	s, _ := still(t, Options{})
	p := running(1, "etcd-node-a", "10.0.0.1")
	hash := strings.Repeat("ab", 16)
	p.Annotations = map[string]string{configHash: hash}
	p.Spec.HostNetwork = true
	podStore{s}.put(p)
	c, ok := s.Find(workload.Key{Cgroup: "/kubepods/burstable/pod" + hash + "/" + containerID(55)})
	if !ok || c.Identity.Pod != "etcd-node-a" || c.Identity.Container != containerID(55)[:12] || !c.HostNetwork {
		t.Errorf("got %+v, %t", c, ok)
	}
	changes, _ := s.Take(10)
	if !slices.ContainsFunc(changes, func(x Change) bool { return x.PodUID == hash }) {
		t.Errorf("no change has the UID in the control groups: %+v", changes)
	}
	podStore{s}.remove(p)
	s.mu.Lock()
	s.forget(s.now() + 1)
	s.mu.Unlock()
	if len(s.pods) != 0 {
		t.Errorf("%d pods are remembered", len(s.pods))
	}
}

// TestOddPods adds a pod with each of its fields in turn missing, empty or out of range. It is
// not a fuzz target because instrumenting client-go takes minutes, and client-go parses the bytes.
func TestOddPods(t *testing.T) {
	p := running(1, "web", "10.1.0.1")
	when, grace := metav1.Now(), int64(30)
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &when, &grace
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: when}}
	p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, FinishedAt: when}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, odd := range []any{nil, "", "\x1b]0;\u202e", -1, 1 << 40, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", []any{}, []any{map[string]any{}, nil}, map[string]any{}} {
		for n := 0; ; n++ {
			var v any
			if err := json.Unmarshal(text, &v); err != nil {
				t.Fatal(err)
			}
			left := n
			if !spoil(v, &left, odd) {
				break
			}
			spoilt, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var p corev1.Pod
			if json.Unmarshal(spoilt, &p) != nil {
				continue // client-go rejects it
			}
			p.Spec.NodeName = here
			tried++
			oddPod(t, &p)
		}
	}
	if tried < 100 {
		t.Errorf("%d pods, want more", tried)
	}
}

// spoil sets the n-th value within v. It returns false if there are fewer.
func spoil(v any, n *int, to any) bool {
	set := func(x any, put func(any)) bool {
		if *n == 0 {
			put(to)
			return true
		}
		*n--
		return spoil(x, n, to)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if set(v[k], func(x any) { v[k] = x }) {
				return true
			}
		}
	case []any:
		for i := range v {
			if set(v[i], func(x any) { v[i] = x }) {
				return true
			}
		}
	}
	return false
}

func oddPod(t *testing.T, p *corev1.Pod) {
	t.Helper()
	s, _ := still(t, Options{})
	podStore{s}.put(p)
	podStore{s}.put(p)
	c, ok := s.Find(workload.Key{PodUID: string(p.UID)})
	if ok != (p.UID != "" && len(p.UID) <= maxName) {
		t.Errorf("uid %q is known: %t", p.UID, ok)
	}
	if len(c.Identity.Pod) > maxName || len(c.Addresses) > maxAddresses || strings.Contains(c.Identity.Pod, "\x1b") {
		t.Errorf("answer %+v", c)
	}
	podStore{s}.remove(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(s.now() + 1)
	if len(s.pods)+len(s.ids)+len(s.spans) != 0 {
		t.Errorf("removed pods are still there: %d pods, %d ids, %d addresses", len(s.pods), len(s.ids), len(s.spans))
	}
}
