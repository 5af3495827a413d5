package workload

import (
	"strings"
	"testing"
)

func TestParseCgroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	const uid = "3c9f1b1e-6a5d-4f0e-8a31-0f9b6f0e7d55"
	for _, row := range []struct{ name, path, container, pod string }{
		{"plain driver", "/kubepods/burstable/pod" + uid + "/" + id, id, uid},
		{"guaranteed pod", "/kubepods/pod" + uid, "", uid},
		{"systemd driver of containerd", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/cri-containerd-" + id + ".scope", id, uid},
		{"CRI-O with a group below the container's", "/kubepods.slice/kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/crio-" + id + ".scope/container", id, uid},
		{"static pod", "/kubepods/pod" + id[:32] + "/" + id, id, id[:32]},
		{"colons of containerd", "/system.slice/kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice:cri-containerd:" + id, id, ""},
		{"Docker without Kubernetes", "/system.slice/docker-" + id + ".scope", id, ""},
		{"container in a container", "/docker/" + id + "/docker/" + strings.Repeat("f", 64), id, ""},
		{"node with a cgroup namespace", "/../node2/kubepods/pod" + uid + "/" + id, id, uid},
		{"service", "/system.slice/kubelet.service", "", ""},
		{"UID of the wrong length is refused", "/kubepods/pod" + uid + "0/x", "", ""},
		{"UID with invalid letters is refused", "/kubepods/pod" + strings.Replace(uid, "3", "z", 1), "", ""},
		{"podman is not a pod", "/podman/" + id[:63], "", ""},
		{"root", "/", "", ""},
		{"nothing", "", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if container, pod := ParseCgroup(row.path); container != row.container || pod != row.pod {
				t.Errorf("got container %q and pod %q, want %q and %q", container, pod, row.container, row.pod)
			}
		})
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("/kubepods/burstable/pod3c9f1b1e-6a5d-4f0e-8a31-0f9b6f0e7d55/" + strings.Repeat("a", 64))
	f.Add("/kubepods-pod.slice/crio-.scope")
	f.Fuzz(func(t *testing.T, path string) {
		container, pod := ParseCgroup(path)
		if container != "" && (len(container) != 64 || !isHex(container)) {
			t.Errorf("container %q", container)
		}
		if pod != "" && len(pod) != 36 && len(pod) != 32 {
			t.Errorf("pod %q", pod)
		}
	})
}
