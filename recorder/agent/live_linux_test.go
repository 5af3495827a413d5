package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

const sendEnv = "PCAPSULE_AGENT_TEST_SEND"

// TestMain runs as a pod's process if an environment variable says so.
func TestMain(m *testing.M) {
	if page := os.Getenv(talkEnv); page != "" {
		talkTLS(page)
	}
	if to := os.Getenv(sendEnv); to != "" {
		c, err := net.Dial("udp", to)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for range 5 {
			if _, err := c.Write([]byte("from a pod")); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// apiServer responds like an API with one pod.
type apiServer struct {
	*httptest.Server
	gone  chan struct{} // closed when the server stops
	end   sync.Once
	mu    sync.Mutex
	pod   *corev1.Pod
	watch []chan []byte
}

// stop stops the server. Watches end first: a client reconnects faster than a server closes,
// and the server waits for all connections.
func (x *apiServer) stop() {
	x.end.Do(func() {
		close(x.gone)
		x.CloseClientConnections()
		x.Close()
	})
}

func serveAPI(t *testing.T) *apiServer {
	x := &apiServer{gone: make(chan struct{})}
	x.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		kind := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if r.URL.Query().Get("watch") != "" {
			w.(http.Flusher).Flush()
			news := make(chan []byte, 10)
			if kind == "pods" {
				x.mu.Lock()
				x.watch = append(x.watch, news)
				x.mu.Unlock()
			}
			for {
				select {
				case <-r.Context().Done():
					return
				case <-x.gone:
					return
				case line := <-news:
					_, _ = w.Write(line)
					w.(http.Flusher).Flush()
				}
			}
		}
		names := map[string][2]string{"pods": {"v1", "PodList"}, "nodes": {"v1", "NodeList"}, "services": {"v1", "ServiceList"}, "events": {"v1", "EventList"}, "endpointslices": {"discovery.k8s.io/v1", "EndpointSliceList"}}
		name, ok := names[kind]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: 404})
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		items := []any{}
		if kind == "pods" && x.pod != nil {
			items = append(items, x.pod)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": name[0], "kind": name[1], "metadata": map[string]string{"resourceVersion": "7"}, "items": items})
	}))
	t.Cleanup(x.stop)
	return x
}

func (x *apiServer) add(p *corev1.Pod) {
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	p.ResourceVersion = "8"
	line, _ := json.Marshal(map[string]any{"type": "ADDED", "object": p})
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pod = p
	for _, c := range x.watch {
		c <- append(line, '\n')
	}
}

// groupRoot returns the mount point of control groups version 2.
func groupRoot() string {
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir
		}
	}
	return ""
}

func podOf(n int, name string) (*corev1.Pod, string) {
	uid, id := fmt.Sprintf("00000000-0000-4000-8000-%012x", n), fmt.Sprintf("%064x", n)
	start := metav1.Now()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(uid), Labels: map[string]string{"app": "web", "password": "hunter2"}},
		Spec:       corev1.PodSpec{NodeName: "node-a", Containers: []corev1.Container{{Name: "web", Image: "registry.example/web:1.4"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &start, PodIP: "10.9.0.1",
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", ContainerID: "containerd://" + id, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: start}}}}},
	}, filepath.Join("kubepods", "pod"+uid, id)
}

// runPod sends packets from a control group.
func runPod(t *testing.T, group string) {
	t.Helper()
	to, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	sendFrom(t, group, to.LocalAddr().String())
}

// sendFrom sends packets from a control group to an address.
func sendFrom(t *testing.T, group, to string) {
	t.Helper()
	if err := os.MkdirAll(group, 0o755); err != nil {
		t.Skip("needs a control group: ", err)
	}
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), sendEnv+"="+to)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("sending: %v: %s", err, out)
	}
}

// newScope makes a control group for one test. The test is skipped if that is impossible.
func newScope(t *testing.T) string {
	t.Helper()
	root := groupRoot()
	if root == "" {
		t.Skip("needs a control group: none of version 2 is mounted")
	}
	scope := filepath.Join(root, fmt.Sprintf("pcapsule-agent-%d-%s", os.Getpid(), t.Name()))
	if err := os.Mkdir(scope, 0o755); err != nil {
		t.Skip("needs a control group: ", err)
	}
	t.Cleanup(func() {
		for range 100 {
			for range 4 { // deepest first
				_ = filepath.WalkDir(scope, func(path string, d fs.DirEntry, _ error) error {
					if d != nil && d.IsDir() {
						_ = os.Remove(path)
					}
					return nil
				})
			}
			if _, err := os.Stat(scope); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return scope
}

// TestPacketsCarryTheirPod records real packets of control groups with the kubelet's names:
// of a pod that is known, of one that the API reports after its packets, and of the first
// again after the API has ended.
func TestPacketsCarryTheirPod(t *testing.T) {
	scope := newScope(t)
	api := serveAPI(t)
	known, knownGroup := podOf(1, "known")
	late, lateGroup := podOf(2, "late")
	api.add(known)

	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan struct{})
	stats := make(chan recorder.Stats, 1)
	o := Options{Cluster: &rest.Config{Host: api.URL}, Labels: strings.Split(DefaultLabels, ",")}
	o.Record = recorder.Options{Node: "node-a", Cgroup: scope, Ring: &ring.Options{Dir: dir}, Program: "test", Every: 20 * time.Millisecond,
		OnStart: func(recorder.Started) { close(started) },
		OnStats: func(s recorder.Stats) {
			select {
			case <-stats:
			default:
			}
			stats <- s
		}}
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, o)
		ended <- err
	}()
	select {
	case <-started:
	case err := <-ended:
		var right *recorder.PrivilegeError
		if errors.As(err, &right) || errors.Is(err, recorder.ErrCgroup) {
			t.Skip("needs CAP_BPF: ", err)
		}
		t.Fatal(err)
	}
	delivered := func(n uint64) {
		t.Helper()
		for end := time.After(20 * time.Second); ; {
			select {
			case s := <-stats:
				if s.Delivered >= n {
					return
				}
			case <-end:
				t.Fatalf("fewer than %d packets were delivered", n)
			}
		}
	}
	runPod(t, filepath.Join(scope, knownGroup))
	runPod(t, filepath.Join(scope, lateGroup))
	delivered(10)
	api.add(late)
	// The API reports the pod while nothing is sent.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ownersContain(t, dir, `"pod":"late"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the late pod was not written within 30 s")
		}
	}
	api.stop()
	runPod(t, filepath.Join(scope, knownGroup))
	runPod(t, filepath.Join(scope, lateGroup))
	delivered(20)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	packets, lines, events := readBack(t, dir)
	if n := packets["node-a/shop/known"]; n < 10 {
		t.Errorf("%d packets of the known pod, want 10; %v", n, packets)
	}
	if n := packets["node-a/shop/late"]; n < 5 {
		t.Errorf("%d packets of the pod that was reported late, want 5 after that; %v", n, packets)
	}
	if !strings.Contains(lines, `"pod":"late"`) || !strings.Contains(lines, `"container":"web"`) {
		t.Errorf("the late information is not in the owners file: %s", lines)
	}
	if strings.Contains(lines, "hunter2") {
		t.Error("a label that was not allowed is in the owners file")
	}
	if !strings.Contains(events, `"kind":"k8s"`) || !strings.Contains(events, `"name":"late"`) {
		t.Errorf("the new pod is not in the events file: %s", events)
	}
}

// ownersContain reports whether an owners file contains a text.
func ownersContain(t *testing.T, dir, text string) bool {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.owners.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), text) {
			return true
		}
	}
	return false
}

// readBack counts a ring's packets by the names of their interfaces.
func readBack(t *testing.T, dir string) (packets map[string]int, owners, events string) {
	t.Helper()
	segments, err := ring.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	packets = map[string]int{}
	for _, s := range segments {
		f, err := os.Open(s.Path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := pcapng.NewReader(f, pcapng.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b pcapng.Batch
		for r.Next(&b) == nil {
			for i := range b.Packets {
				x := b.Interfaces[b.Packets[i].Interface]
				packets[x.Name]++
				if c, ok := workload.ParseInterfaceComment(strings.Join(x.Comments, "")); ok {
					for _, l := range c.Identity.Labels {
						if l.Name != "app" {
							t.Errorf("label %s was not allowed", l.Name)
						}
					}
				}
			}
		}
		f.Close()
		for _, side := range s.Side {
			text, err := os.ReadFile(filepath.Join(dir, side))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(side, ".events") {
				events += string(text)
			} else {
				owners += string(text)
			}
		}
	}
	return packets, owners, events
}
