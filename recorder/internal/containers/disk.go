//go:build linux

package containers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

const (
	maxConfig     = 4 << 20  // bytes of a container's configuration
	maxStore      = 16 << 20 // bytes of a container list
	maxStored     = 65536    // containers in a list
	maxNamespaces = 64       // of containerd
	maxPasswd     = 1 << 20  // bytes of /etc/passwd
)

// finder is a place where containers can be looked up. It returns neither facts nor an error if
// the container is unknown there, or if the place does not exist.
type finder interface {
	name() string
	find(ctx context.Context, id string, paths []string) (*facts, error)
}

func finders(o *Options) []finder {
	at := func(path string) string { return filepath.Join(o.Root, path) }
	list := []finder{
		&bundles{dirs: []string{at("/run/containerd/io.containerd.runtime.v2.task"), at("/run/k3s/containerd/io.containerd.runtime.v2.task"),
			at("/run/k0s/containerd/io.containerd.runtime.v2.task"), at("/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task"),
			at("/run/containerd/io.containerd.runtime.v1.linux")}},
		&docker{root: o.Root},
		&storage{root: o.Root, lists: map[string]*storeList{}},
	}
	for _, s := range [...]struct{ name, path string }{{"docker", "/var/run/docker.sock"}, {"podman", "/run/podman/podman.sock"}} {
		list = append(list, newSocket(s.name, at(s.path), o))
	}
	return list
}

// readFile reads a regular file of at most limit bytes. It does not follow a link at the end
// of the path, and does not wait for the other end of a pipe.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("reading %s: not a regular file", path)
	case info.Size() > limit:
		return nil, fmt.Errorf("reading %s: it has %d bytes, and the limit is %d", path, info.Size(), limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// absent reports whether an error means that a file does not exist, which is normal.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// bundles are the folders of containerd's tasks, NAMESPACE/ID/config.json, in the format of
// the Open Container Initiative's runtime specification.
type bundles struct{ dirs []string }

func (*bundles) name() string { return "containerd" }

func (b *bundles) find(_ context.Context, id string, _ []string) (*facts, error) {
	for _, dir := range b.dirs {
		spaces, err := namesIn(dir, maxNamespaces)
		if err != nil && !absent(err) {
			return nil, fmt.Errorf("naming containers: %w", err)
		}
		for _, space := range spaces {
			text, err := readFile(filepath.Join(dir, space, id, "config.json"), maxConfig)
			if absent(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("naming containers: %w", err)
			}
			if f := fromSpec(text); f != nil {
				return f, nil
			}
		}
	}
	return nil, nil
}

func namesIn(dir string, limit int) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if err == io.EOF {
		err = nil
	}
	return names, err
}

// fromSpec reads the annotations that Kubernetes runtimes and nerdctl write into a container's
// specification. It returns nil if there are none, as for Docker.
func fromSpec(text []byte) *facts {
	var spec struct {
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal(text, &spec) != nil {
		return nil
	}
	a := spec.Annotations
	cri := func(key string) string { return a["io.kubernetes.cri."+key] }
	crio := func(key string) string { return a["io.kubernetes.cri-o."+key] }
	var f *facts
	switch {
	case cri("container-type") != "":
		f = &facts{runtime: "containerd", name: cri("container-name"), image: cri("image-name"), namespace: cri("sandbox-namespace"),
			pod: cri("sandbox-name"), podUID: cri("sandbox-uid")}
		if cri("container-type") == "sandbox" {
			f.name, f.image = sandboxName, cri("podsandbox.image-name")
		}
	case crio("ContainerType") != "":
		f = &facts{runtime: "cri-o", name: a["io.kubernetes.container.name"], image: crio("ImageName"),
			namespace: or(a["io.kubernetes.pod.namespace"], crio("Namespace")), pod: or(a["io.kubernetes.pod.name"], crio("KubeName")), podUID: a["io.kubernetes.pod.uid"]}
		if crio("ContainerType") == "sandbox" {
			f.name = sandboxName
		}
	case a["nerdctl/name"] != "":
		f = &facts{runtime: "nerdctl", name: a["nerdctl/name"]}
	default:
		return nil
	}
	f.labelled(a)
	return f
}

// sandboxName is the runtimes' name for the container that keeps a pod's network.
const sandboxName = "POD"

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// labelled keeps the labels that say what a container belongs to. Others may contain private
// data.
func (f *facts) labelled(labels map[string]string) {
	for _, l := range [...]struct{ label, kind string }{
		{"com.docker.compose.project", "compose"}, {"io.podman.compose.project", "compose"}, {"com.docker.swarm.service.name", "swarm"},
	} {
		if v := labels[l.label]; v != "" {
			f.owner, f.kind = v, l.kind
			f.labels = append(f.labels, workload.Label{Name: l.label, Value: v})
			break
		}
	}
	if v := labels["com.docker.compose.service"]; v != "" {
		f.labels = append(f.labels, workload.Label{Name: "com.docker.compose.service", Value: v})
	}
}

// dockerConfig is the used part of config.v2.json, and of the API's response about a
// container.
type dockerConfig struct {
	ID     string `json:"ID"`
	Name   string
	Config *struct {
		Image  string
		Labels map[string]string
	}
}

func (c *dockerConfig) facts(runtime, id string) *facts {
	if !strings.EqualFold(c.ID, id) || c.Name == "" {
		return nil
	}
	f := &facts{runtime: runtime, name: strings.TrimPrefix(c.Name, "/")}
	if c.Config != nil {
		l := c.Config.Labels
		f.image = c.Config.Image
		f.labelled(l)
		if pod := l["io.kubernetes.pod.name"]; pod != "" {
			f.pod, f.namespace, f.podUID = pod, l["io.kubernetes.pod.namespace"], l["io.kubernetes.pod.uid"]
			f.name = or(l["io.kubernetes.container.name"], f.name)
		}
	}
	f.kubeName()
	return f
}

// kubeName parses k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT, the kubelet's name for a container
// in all runtimes except containerd. None of the parts can contain an underscore.
func (f *facts) kubeName() {
	p := strings.Split(f.name, "_")
	if len(p) == 6 && p[0] == "k8s" {
		f.name, f.pod, f.namespace, f.podUID = p[1], p[2], p[3], p[4]
	}
}

// docker reads Docker's files: containers/ID/config.v2.json.
type docker struct{ root string }

func (*docker) name() string { return "docker" }

func (d *docker) find(_ context.Context, id string, paths []string) (*facts, error) {
	dirs := []string{filepath.Join(d.root, "/var/lib/docker")}
	if home := homeOf(d.root, userOf(paths)); home != "" {
		dirs = append(dirs, filepath.Join(d.root, home, ".local/share/docker"))
	}
	for _, dir := range dirs {
		text, err := readFile(filepath.Join(dir, "containers", id, "config.v2.json"), maxConfig)
		if absent(err) || errors.Is(err, fs.ErrPermission) { // its socket may work
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("naming containers: %w", err)
		}
		var c dockerConfig
		if err := json.Unmarshal(text, &c); err != nil {
			return nil, nil // it is being written
		}
		return c.facts("docker", id), nil
	}
	return nil, nil
}

// storage reads the container lists of Podman and CRI-O.
type storage struct {
	root  string
	lists map[string]*storeList
}

// storeList is a list at the time when it was read.
type storeList struct {
	at   time.Time
	size int64
	by   map[string]facts
}

func (*storage) name() string { return "podman" }

func (s *storage) find(_ context.Context, id string, paths []string) (*facts, error) {
	dirs := []string{"/var/lib/containers/storage", "/run/containers/storage"}
	if uid := userOf(paths); uid != "" {
		dirs = append(dirs, "/run/user/"+uid+"/containers")
		if home := homeOf(s.root, uid); home != "" {
			dirs = append(dirs, filepath.Join(home, ".local/share/containers/storage"))
		}
	}
	var failed error
	for _, dir := range dirs {
		for _, driver := range [...]string{"overlay", "vfs", "btrfs", "zfs"} {
			base := filepath.Join(s.root, dir, driver+"-containers")
			if text, err := readFile(filepath.Join(base, id, "userdata", "config.json"), maxConfig); err == nil {
				if f := fromSpec(text); f != nil {
					return f, nil
				}
			}
			for _, name := range [...]string{"containers.json", "volatile-containers.json"} {
				f, err := s.listed(filepath.Join(base, name), id)
				if f != nil {
					return f, nil
				}
				if err != nil && !absent(err) {
					failed = fmt.Errorf("naming containers: %w", err)
				}
			}
		}
	}
	return nil, failed
}

// listed looks up a container in a list, which is read again if it has changed.
func (s *storage) listed(path, id string) (*facts, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	l := s.lists[path]
	if l == nil || !l.at.Equal(info.ModTime()) || l.size != info.Size() {
		text, err := readFile(path, maxStore)
		if err != nil {
			return nil, err
		}
		by, err := readStore(text)
		if err != nil {
			return nil, nil // it is being written
		}
		l = &storeList{info.ModTime(), info.Size(), by}
		if len(s.lists) >= 64 {
			clear(s.lists)
		}
		s.lists[path] = l
	}
	if f, ok := l.by[id]; ok {
		return &f, nil
	}
	return nil, nil
}

// readStore parses containers.json.
func readStore(text []byte) (map[string]facts, error) {
	var list []struct {
		ID       string   `json:"id"`
		Names    []string `json:"names"`
		Metadata string   `json:"metadata"` // JSON in a string
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	by := map[string]facts{}
	for i := range list {
		c := &list[i]
		if i == maxStored {
			break
		}
		var m struct {
			Name      string `json:"name"`
			Image     string `json:"image-name"`
			Pod       string `json:"pod-name"`
			Namespace string `json:"namespace"`
			UID       string `json:"uid"`
		}
		_ = json.Unmarshal([]byte(c.Metadata), &m) // the names are also outside the metadata
		f := facts{runtime: "podman", name: m.Name, image: m.Image}
		if f.name == "" && len(c.Names) > 0 {
			f.name = c.Names[0]
		}
		if m.Pod != "" {
			f.runtime = "cri-o"
		}
		f.kubeName()
		if f.podUID == "" {
			f.podUID = m.UID
		}
		f.namespace = or(f.namespace, m.Namespace)
		if f.name != "" {
			by[c.ID] = f
		}
	}
	return by, nil
}

// homeOf returns a user's home from /etc/passwd; other user directories might make us wait
// for a server.
func homeOf(root, uid string) string {
	if uid == "" {
		return ""
	}
	text, err := readFile(filepath.Join(root, "/etc/passwd"), maxPasswd)
	if err != nil {
		return ""
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		if f := strings.Split(lines.Text(), ":"); len(f) == 7 && f[2] == uid && filepath.IsAbs(f[5]) {
			return filepath.Clean(f[5])
		}
	}
	return ""
}
