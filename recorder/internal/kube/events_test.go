package kube

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// said returns the reported events, one line each.
func said(s *Source) []string {
	changes, _ := s.Take(1 << 20)
	var out []string
	for _, c := range changes {
		if e := c.Event; e != nil {
			out = append(out, e.Kind+" "+e.Name+": "+e.Type+" "+e.Reason+": "+e.Message)
		}
	}
	return out
}

func TestLifecycle(t *testing.T) {
	ended := func(code int32, reason, when string) *corev1.ContainerStateTerminated {
		return &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, FinishedAt: at(when)}
	}
	for _, row := range []struct {
		name   string
		change func(*corev1.Pod)
		want   []string
	}{
		{"nothing", func(*corev1.Pod) {}, nil},
		{"a container is killed for memory and starts again", func(p *corev1.Pod) {
			c := &p.Status.ContainerStatuses[0]
			c.RestartCount, c.ContainerID = 1, "containerd://"+containerID(2)
			c.LastTerminationState.Terminated = ended(137, "OOMKilled", "2026-03-02T09:01:00Z")
			c.State.Running = &corev1.ContainerStateRunning{StartedAt: at("2026-03-02T09:01:02Z")}
		}, []string{"Pod web: Warning OOMKilled: container web ended with exit code 137", "Pod web: Warning Restarted: container web started again, restart 1"}},
		{"a container fails repeatedly", func(p *corev1.Pod) {
			c := &p.Status.ContainerStatuses[0]
			c.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 10s"}}
		}, []string{"Pod web: Warning CrashLoopBackOff: container web waits: back-off 10s"}},
		{"an image is pulled", func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
		}, nil},
		{"a job succeeds", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodSucceeded
			p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: ended(0, "Completed", "2026-03-02T09:01:00Z")}
		}, []string{"Pod web: Normal Completed: container web ended with exit code 0", "Pod web: Normal Succeeded: phase was Running"}},
		{"a pod is evicted", func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "low on memory"
		}, []string{"Pod web: Warning Evicted: low on memory"}},
		{"a pod is to be deleted", func(p *corev1.Pod) {
			when, grace := at("2026-03-02T09:01:30Z"), int64(30)
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &when, &grace
		}, []string{"Pod web: Normal Deleted: deletion requested, grace period 30 s"}},
		{"a probe makes it unready", func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", Message: "containers with unready status: [web]", LastTransitionTime: at("2026-03-02T09:01:00Z")}}
		}, []string{"Pod web: Warning NotReady: pod is not ready: ContainersNotReady containers with unready status: [web]"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, _ := still(t, Options{})
			p := running(1, "web", "10.1.0.1")
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: at("2026-03-02T08:00:00Z")}}
			podStore{s}.replace(append(podList(), p))
			if got := said(s); len(got) != 0 {
				t.Fatalf("the first list was reported as events: %q", got)
			}
			p = p.DeepCopy()
			row.change(p)
			podStore{s}.put(p)
			podStore{s}.put(p.DeepCopy())
			if got := said(s); !slices.Equal(got, row.want) {
				t.Errorf("got %q\nwant %q", got, row.want)
			}
		})
	}
}

func TestEventsOfThisNode(t *testing.T) {
	x := newScene(t, running(1, "web", "10.1.0.1"))
	x.found("the pod is known", workload.Key{PodUID: podUID(1)}, nil)
	post := func(name string, e corev1.Event) {
		e.Namespace, e.Name = "shop", name
		e.CreationTimestamp = at("2026-03-02T09:00:00Z")
		if _, err := x.api.CoreV1().Events("shop").Create(context.Background(), &e, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	object := func(kind, name string, n int) corev1.ObjectReference {
		return corev1.ObjectReference{Kind: kind, Namespace: "shop", Name: name, UID: types.UID(podUID(n))}
	}
	post("other", corev1.Event{InvolvedObject: object("Pod", "far", 2), Reason: "Unhealthy", Source: corev1.EventSource{Component: "kubelet", Host: "node-b"}})
	post("early", corev1.Event{InvolvedObject: object("Pod", "later", 3), Reason: "Scheduled", ReportingController: "default-scheduler", EventTime: metav1.NewMicroTime(time.Now())})
	post("probe", corev1.Event{InvolvedObject: object("Pod", "web", 1), Reason: "Unhealthy", Type: "Warning", Message: "Readiness probe failed: HTTP\x1b[2J 503",
		FirstTimestamp: at("2026-03-02T09:00:01Z"), LastTimestamp: at("2026-03-02T09:00:11Z"), Count: 3, Source: corev1.EventSource{Component: "kubelet", Host: here}})
	post("node", corev1.Event{InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: here}, Reason: "NodeHasDiskPressure", LastTimestamp: at("2026-03-02T09:00:12Z")})
	e := x.event("Pod", "web", "Unhealthy")
	if e.Count != 3 || e.FirstNs != at("2026-03-02T09:00:01Z").UnixNano() || e.TsNs != at("2026-03-02T09:00:11Z").UnixNano() || e.Source != "kubelet" || e.Node != here || strings.Contains(e.Message, "\x1b") {
		t.Errorf("event %+v", e)
	}
	x.event("Node", here, "NodeHasDiskPressure")
	if slices.ContainsFunc(x.events, func(e workload.Event) bool { return e.Name == "later" || e.Name == "far" }) {
		t.Errorf("events of pods of other nodes: %+v", x.events)
	}
	x.create(running(3, "later", "10.1.0.3"))
	x.event("Pod", "later", "Scheduled")
	if slices.ContainsFunc(x.events, func(e workload.Event) bool { return e.Name == "far" }) {
		t.Errorf("events of another node: %+v", x.events)
	}
	line := workload.AppendHappening(nil, &workload.Happening{TsNs: e.TsNs, Kind: workload.KindKubernetes, Exit: -1, Process: workload.Process{UID: -1}, Event: &e})
	if h, ok := workload.ParseHappening(line); !ok || *h.Event != e {
		t.Errorf("as a line it is %s", line)
	}
}

func TestServicesAndEndpoints(t *testing.T) {
	s, clock := still(t, Options{})
	podStore{s}.replace(append(podList(), running(1, "web", "10.1.0.1")))
	db := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "s1"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.5", ClusterIPs: []string{"10.96.0.5", "fd00::5"}}}
	serviceStore{s}.replace(append(podList(), db, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "headless"}, Spec: corev1.ServiceSpec{ClusterIP: "None"}}))
	web := slicesOf("web", 1, here)
	web.Endpoints = []discoveryv1.Endpoint{endpoint(1, "10.1.0.1", here), endpoint(5, "10.2.0.5", "node-b")}
	outside := slicesOf("db", 1, "")
	outside.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.7"}}}
	sliceStore{s}.replace(append(podList(), web, outside))
	s.feeds.listed("endpoints")
	said(s)

	find := func(addr string, after time.Duration) workload.Identity {
		c, _ := s.Find(workload.Key{Addr: netip.MustParseAddr(addr), At: clock.Add(after).UnixNano()})
		return c.Identity
	}
	for _, row := range []struct{ name, addr, kind, who, services string }{
		{"a service", "10.96.0.5", "service", "db", "db"},
		{"its other address", "fd00::5", "service", "db", "db"},
		{"a pod of another node", "10.2.0.5", "pod", "peer-5", "web"},
		{"a pod of this node", "10.1.0.1", "pod", "web", "web"},
		{"an address behind a service that is not a pod's", "192.0.2.7", "host", "db", "db"},
		{"an unused address", "192.0.2.8", "", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if id := find(row.addr, 0); id.Kind != row.kind || id.Name != row.who || strings.Join(id.Services, " ") != row.services {
				t.Errorf("got %+v", id)
			}
		})
	}

	*clock = clock.Add(time.Minute)
	no := false
	now := web.DeepCopy()
	now.Endpoints[0].Conditions.Ready = &no
	now.Endpoints[1] = endpoint(6, "10.2.0.5", "node-b") // another pod with the same address
	sliceStore{s}.put(now)
	if got := said(s); !slices.Equal(got, []string{"Service web: Normal EndpointsChanged: pod peer-1 (10.1.0.1) is not ready"}) {
		t.Errorf("events %q", got)
	}
	if then, after := find("10.2.0.5", -30*time.Second).Name, find("10.2.0.5", time.Second).Name; then != "peer-5" || after != "peer-6" {
		t.Errorf("the address was %q and is %q", then, after)
	}
	sliceStore{s}.remove(now)
	if got := said(s); !slices.Equal(got, []string{"Service web: Normal EndpointsChanged: removed pod peer-1 (10.1.0.1)"}) {
		t.Errorf("events %q", got)
	}
	if c, _ := s.Find(workload.Key{PodUID: podUID(1)}); len(c.Identity.Services) != 0 {
		t.Errorf("still behind %v", c.Identity.Services)
	}
	ports := func(name string, udp bool, list ...int32) *discoveryv1.EndpointSlice {
		x := slicesOf(name, 1, here)
		x.Endpoints = []discoveryv1.Endpoint{endpoint(1, "10.1.0.1", here), endpoint(7, "10.2.0.7", "node-b")}
		for _, n := range list {
			p := discoveryv1.EndpointPort{Port: &n}
			if udp {
				p.Protocol = new(corev1.Protocol)
				*p.Protocol = corev1.ProtocolUDP
			}
			x.Ports = append(x.Ports, p)
		}
		return x
	}
	for _, step := range []struct {
		slice *discoveryv1.EndpointSlice
		want  string
	}{
		{ports("api", false, 8081, 8080), "[api] [{api 8080 6} {api 8081 6}]"},
		{ports("metrics", true, 9090), "[api metrics] [{api 8080 6} {api 8081 6} {metrics 9090 17}]"},
		{ports("api", false, 8082), "[api metrics] [{api 8082 6} {metrics 9090 17}]"},
		{ports("metrics", true), "[api metrics] [{api 8082 6}]"},
	} {
		sliceStore{s}.put(step.slice)
		for _, k := range []workload.Key{{PodUID: podUID(1)}, {Addr: netip.MustParseAddr("10.2.0.7"), At: clock.UnixNano()}} {
			if c, _ := s.Find(k); fmt.Sprint(c.Identity.Services, c.Identity.Fronts) != step.want {
				t.Errorf("got %v %v, want %s", c.Identity.Services, c.Identity.Fronts, step.want)
			}
		}
	}
	sliceStore{s}.remove(ports("api", false, 8082))
	sliceStore{s}.remove(ports("metrics", true))
	said(s)
	serviceStore{s}.remove(db)
	if id := find("10.96.0.5", time.Second); id.Kind != "" {
		t.Errorf("the removed service is %+v", id)
	}
}

func TestNodeAndPodsOnItsNetwork(t *testing.T) {
	s, _ := still(t, Options{})
	nodeStore{s}.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: here, UID: "n"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "172.30.0.1"}, {Type: corev1.NodeHostName, Address: here}}}})
	nodeStore{s}.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-b", UID: "m"}})
	p := running(1, "proxy", "172.30.0.1")
	p.Spec.HostNetwork = true
	podStore{s}.put(p)
	for _, row := range []struct {
		name      string
		key       workload.Key
		kind, who string
	}{
		{"the node", workload.Key{Addr: netip.MustParseAddr("172.30.0.1")}, "node", here},
		{"the only pod with that port", workload.Key{Addr: netip.MustParseAddr("172.30.0.1"), Port: 8080, Proto: 6}, "pod", "proxy"},
		{"another port", workload.Key{Addr: netip.MustParseAddr("172.30.0.1"), Port: 22, Proto: 6}, "node", here},
		{"another protocol", workload.Key{Addr: netip.MustParseAddr("172.30.0.1"), Port: 8080, Proto: 17}, "node", here},
	} {
		if c, ok := s.Find(row.key); !ok || c.Identity.Kind != row.kind || c.Identity.Name != row.who {
			t.Errorf("%s: got %+v", row.name, c.Identity)
		}
	}
}

// TestPodsOfOtherNodes: with PodPeers, pods of other nodes have a name, labels and an owner, whether or not they are
// behind a service, for as long as they have their address.
func TestPodsOfOtherNodes(t *testing.T) {
	s, clock := still(t, Options{Peers: PodPeers})
	elsewhere := func(n int, name, ip string) *corev1.Pod {
		p := running(n, name, ip)
		p.Spec.NodeName, p.CreationTimestamp = "node-b", metav1.Time{Time: *clock}
		p.Status.StartTime = &p.CreationTimestamp
		return p
	}
	old := elsewhere(1, "old", "10.2.0.1")
	rs := true
	old.Labels["pod-template-hash"] = "5d8f"
	old.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "cart-5d8f", Controller: &rs}}
	host := elsewhere(2, "host", "172.30.0.2")
	host.Spec.HostNetwork = true
	mine := running(3, "mine", "10.1.0.3")
	peers := store{peerPodStore{s}, s, peerPods}
	if err := peers.Replace([]any{old, host, mine}, ""); err != nil {
		t.Fatal(err)
	}
	find := func(addr string, at time.Time) workload.Identity {
		c, _ := s.Find(workload.Key{Addr: netip.MustParseAddr(addr), At: at.UnixNano()})
		return c.Identity
	}
	zero := *clock
	id := find("10.2.0.1", zero.Add(time.Second))
	if id.Pod != "old" || id.Node != "node-b" || id.Workload != "cart" || id.WorkloadKind != "Deployment" || !id.OwnerDerived || len(id.Labels) != 1 || id.Labels[0].Value != "web" {
		t.Errorf("%+v", id)
	}
	for _, addr := range []string{"172.30.0.2", "10.1.0.3"} {
		if id := find(addr, zero); id.Kind != "" {
			t.Errorf("%s is %+v", addr, id)
		}
	}

	// A service has it for a while, and a pod without an address comes.
	slice := slicesOf("cart", 1, "node-b")
	slice.Endpoints = []discoveryv1.Endpoint{endpoint(1, "10.2.0.1", "node-b")}
	sliceStore{s}.put(slice)
	if id := find("10.2.0.1", zero); len(id.Services) != 1 || id.Pod != "old" {
		t.Errorf("behind a service: %+v", id)
	}
	*clock = zero.Add(10 * time.Second)
	sliceStore{s}.remove(slice)
	next := elsewhere(4, "next", "")
	next.Status.PodIPs = nil
	peers.Add(next)
	*clock = zero.Add(20 * time.Second)
	old.Status.Phase = corev1.PodSucceeded
	old.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Time{Time: clock.Add(-5 * time.Second)}}}
	peers.Update(old)
	next.Status.PodIP = "10.2.0.1"
	peers.Update(next)
	*clock = zero.Add(60 * time.Second)
	if err := peers.Replace(nil, ""); err != nil { // it was deleted while the API did not answer
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]string{0: "old", 9 * time.Second: "old", 13 * time.Second: "old", 17 * time.Second: "next", 50 * time.Second: "next", 70 * time.Second: ""} {
		if got := find("10.2.0.1", zero.Add(after)).Pod; got != want {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
	if s.forget(clock.Add(time.Minute).UnixNano()); len(s.peers)+len(s.spans)+len(s.served) != 0 {
		t.Errorf("left: %v %v %v", s.peers, s.spans, s.served)
	}
}
