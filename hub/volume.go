package hub

import (
	"context"
	"path"
	"strings"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// temporary reports whether the hub's folder is lost with its pod. A hub that runs in no pod keeps it.
func (h *hub) temporary(ctx context.Context) bool {
	pod, err := h.core.Pods(h.Namespace).Get(ctx, h.Identity, meta.GetOptions{})
	if err != nil {
		return false
	}
	return endsWithPod(pod, h.Dir)
}

// endsWithPod reports whether a folder is lost with a pod: it is in the container's own files, or in a volume that the
// pod alone has.
func endsWithPod(pod *core.Pod, dir string) bool {
	deepest, volume := "", ""
	for _, c := range pod.Spec.Containers {
		for _, m := range c.VolumeMounts {
			if at := path.Clean(m.MountPath); (dir == at || strings.HasPrefix(dir, strings.TrimSuffix(at, "/")+"/")) && len(at) > len(deepest) {
				deepest, volume = at, m.Name
			}
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == volume {
			return v.EmptyDir != nil || v.Ephemeral != nil
		}
	}
	return true
}
