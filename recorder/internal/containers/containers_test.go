//go:build linux

package containers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

const (
	idA = "7d6ad449ae76b3166d44ccb50db26fca776353225381820a16dbad3dbbe5861b"
	idB = "134b58ab2e0cfd7432a9db818b1b4ec52fdc747333f0ba2c9342860dc2ea7c50"
)

// machine is a file system with a Source on it.
type machine struct {
	t    *testing.T
	root string
	s    *Source
	errs chan error
}

func newMachine(t *testing.T) *machine {
	// Socket paths have at most 107 bytes.
	root, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	return &machine{t: t, root: root, errs: make(chan error, 100)}
}

func (m *machine) put(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) run(o Options) {
	o.Root = m.root
	o.OnError = func(err error) { m.errs <- err }
	m.s = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.s.Run(ctx); close(done) }()
	m.t.Cleanup(func() { cancel(); <-done })
}

// ask waits until a control group is known.
func (m *machine) ask(cgroup string) workload.InterfaceComment {
	m.t.Helper()
	for range 2000 {
		if c, ok := m.s.Find(workload.Key{Cgroup: cgroup}); ok {
			return c
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.t.Fatalf("%s did not become known", cgroup)
	return workload.InterfaceComment{}
}

// Shortened from real files of the runtimes.
const (
	criConfig = `{"ociVersion":"1.2.0","process":{"env":["PASSWORD=hunter2"],"args":["nginx"]},"root":{"path":"rootfs"},"annotations":{
		"io.kubernetes.cri.container-name":"nginx","io.kubernetes.cri.container-type":"container","io.kubernetes.cri.image-name":"docker.io/library/nginx:latest",
		"io.kubernetes.cri.sandbox-id":"cb07c78e242382171ac035d9b888454f71bb393e788f7feaa7ee13d4ead5cb34","io.kubernetes.cri.sandbox-name":"web-1",
		"io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-uid":"25fae09f-aef9-4b5a-950f-80ea16cf5e1e"},"linux":{}}`
	criSandbox = `{"annotations":{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-id":"` + idA + `",
		"io.kubernetes.cri.sandbox-name":"web-1","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.podsandbox.image-name":"registry.k8s.io/pause:3.10"}}`
	crioConfig = `{"annotations":{"io.container.manager":"cri-o","io.kubernetes.container.name":"segfaulter","io.kubernetes.cri-o.ContainerType":"container",
		"io.kubernetes.cri-o.ContainerName":"k8s_segfaulter_segfaulter_default_aaaa2b4a-f398-41c0-928b-049e1cc4ec40_0","io.kubernetes.cri-o.ImageName":"quay.io/x/segfaulter:1",
		"io.kubernetes.pod.name":"segfaulter-0","io.kubernetes.pod.namespace":"default","io.kubernetes.pod.uid":"aaaa2b4a-f398-41c0-928b-049e1cc4ec40"}}`
	nerdctlConfig = `{"annotations":{"nerdctl/name":"db","nerdctl/namespace":"default","com.docker.compose.project":"shop","com.docker.compose.service":"db"}}`
	mobyBundle    = `{"ociVersion":"1.2.0","hostname":"7d6ad449ae76","annotations":{}}`
	dockerFile    = `{"StreamConfig":{},"State":{"Running":true,"Pid":4711},"ID":"` + idA + `","Created":"2026-03-02T09:00:00.1Z","Managed":false,
		"Config":{"Hostname":"7d6ad449ae76","Env":["PASSWORD=hunter2"],"Image":"nginx:1.27","Labels":{"com.docker.compose.project":"shop",
		"com.docker.compose.service":"web","traefik.http.middlewares.auth.basicauth.users":"joe:secret"}},"Image":"sha256:60adc2e1","Name":"/shop-web-1","Driver":"overlay2"}`
	dockerAnswer = `{"Id":"` + idA + `","Created":"2026-03-02T09:00:00.1Z","State":{"Status":"running"},"Image":"sha256:60adc2e1","Name":"/shop-web-1",
		"Config":{"Image":"nginx:1.27","Labels":{"com.docker.swarm.service.name":"shop_web"}}}`
	podmanList = `[{"id":"` + idB + `","names":["cache"],"image":"9c6f","layer":"51aa","metadata":"{\"image-name\":\"docker.io/library/redis:7\",\"image-id\":\"9c6f\",\"name\":\"cache\",\"created-at\":1772442000}","created":"2026-03-02T09:00:00.1Z","flags":{"MountLabel":"","ProcessLabel":""}}]`
	crioList   = `[{"id":"` + idB + `","names":["k8s_app_web-2_shop_25fae09f-aef9-4b5a-950f-80ea16cf5e1e_0"],"image":"9c6f","layer":"51aa","metadata":"{\"pod-name\":\"k8s_web-2_shop_25fae09f-aef9-4b5a-950f-80ea16cf5e1e_0\",\"pod-id\":\"00\",\"image-name\":\"quay.io/x/app:2\",\"name\":\"k8s_app_web-2_shop_25fae09f-aef9-4b5a-950f-80ea16cf5e1e_0\",\"metadata-name\":\"app\",\"created-at\":1772442000}"}]`
)

// TestNames finds containers in the files of each runtime.
func TestNames(t *testing.T) {
	const task = "/run/containerd/io.containerd.runtime.v2.task/"
	for _, c := range []struct {
		name, file, text, cgroup string
		want                     workload.Identity
		how                      string
	}{
		{"containerd in Kubernetes", task + "k8s.io/" + idA + "/config.json", criConfig,
			"/kubepods.slice/kubepods-pod25fae09f_aef9_4b5a_950f_80ea16cf5e1e.slice/cri-containerd-" + idA + ".scope",
			workload.Identity{Pod: "web-1", Namespace: "shop", PodUID: "25fae09f-aef9-4b5a-950f-80ea16cf5e1e", Container: "nginx", Image: "docker.io/library/nginx:latest"}, "containerd"},
		{"containerd's sandbox", task + "k8s.io/" + idA + "/config.json", criSandbox, "/kubepods/besteffort/x/" + idA,
			workload.Identity{Pod: "web-1", Namespace: "shop", Container: "POD", Image: "registry.k8s.io/pause:3.10"}, "containerd"},
		{"k3s", "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" + idA + "/config.json", criConfig, "/kubepods/" + idA,
			workload.Identity{Pod: "web-1", Namespace: "shop", PodUID: "25fae09f-aef9-4b5a-950f-80ea16cf5e1e", Container: "nginx", Image: "docker.io/library/nginx:latest"}, "containerd"},
		{"nerdctl", task + "default/" + idB + "/config.json", nerdctlConfig, "/system.slice/nerdctl-" + idB + ".scope",
			workload.Identity{Container: "db", Workload: "shop", WorkloadKind: "compose",
				Labels: []workload.Label{{Name: "com.docker.compose.project", Value: "shop"}, {Name: "com.docker.compose.service", Value: "db"}}}, "nerdctl"},
		{"Docker", "/var/lib/docker/containers/" + idA + "/config.v2.json", dockerFile, "/system.slice/docker-" + idA + ".scope",
			workload.Identity{Container: "shop-web-1", Image: "nginx:1.27", Workload: "shop", WorkloadKind: "compose",
				Labels: []workload.Label{{Name: "com.docker.compose.project", Value: "shop"}, {Name: "com.docker.compose.service", Value: "web"}}}, "docker"},
		{"Docker with the kubelet", "/var/lib/docker/containers/" + idA + "/config.v2.json",
			`{"ID":"` + idA + `","Name":"/k8s_web_web-7d_shop_25fae09f-aef9-4b5a-950f-80ea16cf5e1e_3","Config":{"Image":"sha256:11"}}`, "/kubepods/" + idA,
			workload.Identity{Container: "web", Pod: "web-7d", Namespace: "shop", PodUID: "25fae09f-aef9-4b5a-950f-80ea16cf5e1e", Image: "sha256:11"}, "docker"},
		{"Podman", "/var/lib/containers/storage/overlay-containers/containers.json", podmanList, "/machine.slice/libpod-" + idB + ".scope/container",
			workload.Identity{Container: "cache", Image: "docker.io/library/redis:7"}, "podman"},
		{"Podman with --rm", "/var/lib/containers/storage/overlay-containers/volatile-containers.json", podmanList, "/machine.slice/libpod-" + idB + ".scope",
			workload.Identity{Container: "cache", Image: "docker.io/library/redis:7"}, "podman"},
		{"CRI-O's list", "/var/lib/containers/storage/overlay-containers/volatile-containers.json", crioList, "/kubepods.slice/crio-" + idB + ".scope",
			workload.Identity{Container: "app", Pod: "web-2", Namespace: "shop", PodUID: "25fae09f-aef9-4b5a-950f-80ea16cf5e1e", Image: "quay.io/x/app:2"}, "cri-o"},
		{"CRI-O's container", "/run/containers/storage/overlay-containers/" + idB + "/userdata/config.json", crioConfig, "/kubepods.slice/crio-" + idB + ".scope",
			workload.Identity{Container: "segfaulter", Pod: "segfaulter-0", Namespace: "default", PodUID: "aaaa2b4a-f398-41c0-928b-049e1cc4ec40", Image: "quay.io/x/segfaulter:1"}, "cri-o"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.put(task+"moby/"+idA+"/config.json", mobyBundle) // Docker's bundles have no names
			m.put(c.file, c.text)
			m.run(Options{})
			got := m.ask(c.cgroup)
			got.Identity.HowKnown = ""
			if got.How != c.how || !reflect.DeepEqual(got.Identity, c.want) {
				t.Errorf("how %s, want %s\n got %+v\nwant %+v", got.How, c.how, got.Identity, c.want)
			}
			changes, lost := m.s.Take(10)
			id, _ := workload.ParseCgroup(c.cgroup)
			if len(changes) != 1 || changes[0].Container != id || lost != 0 {
				t.Errorf("changes %+v, %d lost", changes, lost)
			}
			if st := m.s.State(); st.Named != 1 || st.Nameless != 0 || st.Runtimes[c.how] != 1 {
				t.Errorf("state %+v", st)
			}
		})
	}
}

// TestNamesFromPaths finds names in the path of the control group, without a runtime.
func TestNamesFromPaths(t *testing.T) {
	for _, c := range []struct{ path, how, container, kind, owner string }{
		{"/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn", "web", "", ""},
		{`/machine.slice/machine-my\x2dbox.scope`, "systemd-machined", "my-box", "", ""},
		{`/machine.slice/machine-qemu\x2d3\x2dbuild\x2dvm.scope/libvirt/emulator`, "libvirt", "build-vm", "", ""},
		{"/lxc.payload.mail/system.slice/postfix.service", "lxc", "mail", "", ""},
		{"/lxc/101/ns", "lxc", "101", "", ""},
		{"/system.slice/nginx.service", "cgroup", "", "systemd", "nginx.service"},
		{`/system.slice/system-postgresql.slice/postgresql@15\x2dmain.service`, "cgroup", "", "systemd", "postgresql@15-main.service"},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox.scope", "cgroup", "", "systemd", "app-firefox.scope"},
		{"/user.slice/user-1000.slice/session-3.scope", "cgroup", "", "systemd", "session-3.scope"},
		{"/", "", "", "", ""},
		{"/kubepods/burstable", "", "", "", ""},
		{"/system.slice", "", "", "", ""},
		{`/a\x`, "", "", "", ""},
		{`/machine.slice/machine-\x1b[2J.scope`, "systemd-machined", "[2J", "", ""},
	} {
		s := New(Options{Root: t.TempDir()})
		got, ok := s.Find(workload.Key{Cgroup: c.path})
		if ok != (c.how != "") || got.How != c.how || got.Identity.Container != c.container || got.Identity.WorkloadKind != c.kind || got.Identity.Workload != c.owner {
			t.Errorf("%s: %v %+v", c.path, ok, got)
		}
	}
}

// serve responds like a daemon's API.
func (m *machine) serve(path string, h http.HandlerFunc) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { server.Serve(l); close(done) }()
	m.t.Cleanup(func() { server.Close(); <-done })
}

// TestSockets requests names from daemons if there are no files.
func TestSockets(t *testing.T) {
	for _, c := range []struct{ name, path string }{{"docker", "/var/run/docker.sock"}, {"podman", "/run/podman/podman.sock"}} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.serve(c.path, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/containers/"+idA+"/json" {
					http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
					return
				}
				fmt.Fprint(w, dockerAnswer)
			})
			m.run(Options{})
			if _, ok := m.s.Find(workload.Key{Cgroup: "/docker/" + idB}); ok {
				t.Error("an unknown container was found")
			}
			got := m.ask("/docker/" + idA)
			if got.How != c.name || got.Identity.Container != "shop-web-1" || got.Identity.Image != "nginx:1.27" || got.Identity.Workload != "shop_web" || got.Identity.WorkloadKind != "swarm" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestHostile covers malicious runtimes and users: they must not affect other containers.
func TestHostile(t *testing.T) {
	m := newMachine(t)
	var asked atomic.Int64
	m.serve("/var/run/docker.sock", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusOK)
		for range 8 << 20 / 1024 { // beyond the limit
			if _, err := w.Write([]byte(strings.Repeat("a", 1024))); err != nil {
				return
			}
		}
	})
	long := strings.Repeat("x", 5000)
	m.put("/run/containerd/io.containerd.runtime.v2.task/k8s.io/"+idA+"/config.json",
		`{"annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"a\u001b[31m\u202eb`+long+`","io.kubernetes.cri.image-name":"`+long+`","io.kubernetes.cri.sandbox-name":"p\nq"}}`)
	m.put("/etc/passwd", "joe:x:1000:1000::/home/joe:/bin/sh\nodd:line\n")
	pipe := filepath.Join(m.root, "/home/joe/.local/share/containers/storage/overlay-containers/containers.json")
	if err := os.MkdirAll(filepath.Dir(pipe), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil { // would block a reader forever
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(pipe), "volatile-containers.json")
	m.put("/secret.json", podmanList)
	if err := os.Symlink(filepath.Join(m.root, "/secret.json"), link); err != nil {
		t.Fatal(err)
	}
	m.run(Options{Away: time.Hour, pauses: []time.Duration{time.Millisecond, time.Millisecond}})
	if _, ok := m.s.Find(workload.Key{Cgroup: "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + idB + ".scope"}); ok {
		t.Error("a name was read from a pipe")
	}
	got := m.ask("/kubepods/" + idA).Identity
	if len(got.Container) > maxName || len(got.Image) > maxText || strings.ContainsAny(got.Container+got.Pod, "\x1b\u202e\n") || !strings.HasPrefix(got.Container, "a") {
		t.Errorf("names %q %q %q", got.Container, got.Image, got.Pod)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		m.s.mu.Lock()
		gaveUp := m.s.known[idB].tries == len(m.s.o.pauses) && len(m.s.later) == 0 && !m.s.busy
		m.s.mu.Unlock()
		if gaveUp || time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, ok := m.s.Find(workload.Key{Container: idB}); ok {
		t.Error("a link was followed")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("a daemon with an invalid response was asked %d times, want once", n)
	}
	if len(m.errs) < 2 {
		t.Errorf("%d errors reported, want those of the socket and of the lists", len(m.errs))
	}
}

// TestSilentDaemon checks that a daemon that does not respond does not delay anything else.
func TestSilentDaemon(t *testing.T) {
	m := newMachine(t)
	release := make(chan struct{})
	m.serve("/var/run/docker.sock", func(w http.ResponseWriter, r *http.Request) { <-release })
	defer close(release)
	m.put("/var/lib/containers/storage/overlay-containers/containers.json", podmanList)
	m.run(Options{Timeout: 50 * time.Millisecond, Away: time.Hour})
	m.s.Find(workload.Key{Cgroup: "/docker/" + idA})
	if got := m.ask("/machine.slice/libpod-" + idB + ".scope"); got.Identity.Container != "cache" {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	m.s.Prime(ctx, []string{"/docker/" + strings.Repeat("ab", 32)})
	if ctx.Err() != nil {
		t.Error("a daemon that does not respond delayed the start")
	}
}

// TestLate finds a container whose runtime writes its file after the control group exists,
// and one that is recreated with another ID.
func TestLate(t *testing.T) {
	m := newMachine(t)
	m.run(Options{})
	cgroup := "/system.slice/docker-" + idA + ".scope"
	if _, ok := m.s.Find(workload.Key{Cgroup: cgroup}); ok {
		t.Fatal("known before it was written")
	}
	m.put("/var/lib/docker/containers/"+idA+"/config.v2.json", dockerFile)
	if got := m.ask(cgroup); got.Identity.Container != "shop-web-1" {
		t.Errorf("%+v", got)
	}
	m.put("/var/lib/docker/containers/"+idB+"/config.v2.json", strings.ReplaceAll(strings.ReplaceAll(dockerFile, idA, idB), "1.27", "1.28"))
	if got := m.ask("/system.slice/docker-" + idB + ".scope"); got.Identity.Image != "nginx:1.28" {
		t.Errorf("%+v", got)
	}
}

// TestBounds looks up more containers than are kept.
func TestBounds(t *testing.T) {
	s := New(Options{Root: t.TempDir()})
	for i := range maxKnown + 100 {
		s.Find(workload.Key{Container: fmt.Sprintf("%064x", i)})
	}
	if len(s.known) > maxKnown || len(s.order) > maxKnown || len(s.queue) > maxQueue {
		t.Errorf("%d known, %d in order, %d queued", len(s.known), len(s.order), len(s.queue))
	}
}

// FuzzFormats reads arbitrary bytes as files of runtimes: names must be clean or absent.
func FuzzFormats(f *testing.F) {
	for _, s := range []string{criConfig, criSandbox, crioConfig, nerdctlConfig, mobyBundle, podmanList, crioList, `[{"id":1}]`, `{"annotations":[]}`, "", `/lxc/\x2d`, "null"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(x *facts) {
			if x == nil {
				return
			}
			x.clean()
			text := workload.FormatInterfaceComment(x.comment(idA, ""))
			if len(text) > 8<<10 || strings.ContainsAny(text, "\n\x1b\x00") {
				t.Errorf("comment %q", text)
			}
		}
		check(fromSpec(b))
		by, err := readStore(b)
		if err != nil && by != nil {
			t.Error("both an error and a list")
		}
		for _, x := range by {
			check(&x)
		}
		x, _ := fromPath(string(b))
		check(x)
		k := facts{name: string(b)}
		k.kubeName()
		check(&k)
	})
}
