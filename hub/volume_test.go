package hub

import (
	"testing"

	core "k8s.io/api/core/v1"
)

func TestEndsWithPod(t *testing.T) {
	claim := core.VolumeSource{PersistentVolumeClaim: &core.PersistentVolumeClaimVolumeSource{ClaimName: "x"}}
	empty := core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{}}
	for _, tt := range []struct {
		name, at string
		v        core.VolumeSource
		want     bool
	}{
		{"a claim", "/var/lib/pcapsule-hub", claim, false},
		{"an emptyDir", "/var/lib/pcapsule-hub", empty, true},
		{"an ephemeral volume", "/var/lib/pcapsule-hub", core.VolumeSource{Ephemeral: &core.EphemeralVolumeSource{}}, true},
		{"a claim above", "/var/lib", claim, false},
		{"a claim beside", "/var/lib/pcapsule", claim, true},
		{"a folder of the node", "/var/lib/pcapsule-hub/", core.VolumeSource{HostPath: &core.HostPathVolumeSource{Path: "/x"}}, false},
	} {
		p := &core.Pod{Spec: core.PodSpec{Volumes: []core.Volume{{Name: "tmp", VolumeSource: empty}, {Name: "data", VolumeSource: tt.v}},
			Containers: []core.Container{{VolumeMounts: []core.VolumeMount{{Name: "tmp", MountPath: "/"}, {Name: "data", MountPath: tt.at}}}}}}
		if got := endsWithPod(p, "/var/lib/pcapsule-hub"); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if !endsWithPod(&core.Pod{}, "/x") {
		t.Error("a container's own files are kept")
	}
}
