package pods

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// Remembered is how long incidents are remembered.
const Remembered = time.Hour

// maxIncidents limits those that are remembered at once; further ones are not noticed.
const maxIncidents = 10_000

// Incident is something that happened to a workload.
type Incident struct {
	ID   string // the same for the same incident
	Kind string // one of package resource
	At   time.Time
	Pod  resource.Pod
	Text string
}

// Incidents lists the incidents of the last hour, the oldest first.
func (m *Memory) Incidents() []Incident {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Incident
	for _, i := range m.incidents {
		if m.now().Sub(i.At) <= Remembered {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b Incident) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// add remembers an incident. The caller holds the lock.
func (m *Memory) add(i Incident) {
	if _, known := m.incidents[i.ID]; known || len(m.incidents) >= maxIncidents || m.now().Sub(i.At) > Remembered {
		return
	}
	m.incidents[i.ID] = i
}

// ID is the same for the same parts.
func ID(parts ...any) string {
	sum := sha256.Sum256([]byte(fmt.Sprintln(parts...)))
	return hex.EncodeToString(sum[:8])
}

// podOf is a pod with its topmost owner, as far as the pod states it: the name of a Deployment is that of its
// ReplicaSet without the hash.
func podOf(p *core.Pod) resource.Pod {
	x := resource.Pod{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, AnyService: true}
	if o := meta.GetControllerOfNoCopy(p); o != nil {
		x.Kind, x.Owner = o.Kind, o.Name
		if hash := p.Labels[apps.DefaultDeploymentUniqueLabelKey]; o.Kind == "ReplicaSet" && hash != "" {
			if name, ok := strings.CutSuffix(o.Name, "-"+hash); ok {
				x.Kind, x.Owner = "Deployment", name
			}
		}
	}
	return x
}

// incidentsOf lists the abnormal ends of a pod's containers: by the kernel because of memory, with an exit code other
// than 0, or followed by a restart. A pod that is being deleted has none.
func incidentsOf(p *core.Pod, x resource.Pod) (list []Incident) {
	if p.DeletionTimestamp != nil {
		return nil
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		for _, s := range []struct {
			ended     *core.ContainerStateTerminated
			restarted bool
		}{{c.LastTerminationState.Terminated, true}, {c.State.Terminated, false}} {
			t := s.ended
			if t == nil || t.ExitCode == 0 && !s.restarted || t.FinishedAt.IsZero() {
				continue
			}
			i := Incident{ID: ID(p.UID, c.Name, t.FinishedAt.Unix(), t.ExitCode), Kind: resource.Crash, At: t.FinishedAt.Time, Pod: x,
				Text: fmt.Sprintf("container %s of pod %s/%s ended with exit code %d", c.Name, p.Namespace, p.Name, t.ExitCode)}
			if t.Reason == "OOMKilled" {
				i.Kind, i.Text = resource.OOMKilled, fmt.Sprintf("container %s of pod %s/%s was killed: out of memory", c.Name, p.Namespace, p.Name)
			}
			list = append(list, i)
		}
	}
	return list
}

// seeDeployment learns from a version of a Deployment.
func (m *Memory) seeDeployment(u *unstructured.Unstructured) {
	var d apps.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &d); err != nil {
		m.log.Warn("reading a Deployment", "namespace", u.GetNamespace(), "deployment", u.GetName(), "error", err)
		return
	}
	for _, c := range d.Status.Conditions {
		if c.Type != apps.DeploymentProgressing || c.Status != core.ConditionFalse || c.Reason != "ProgressDeadlineExceeded" {
			continue
		}
		m.mu.Lock()
		m.add(Incident{ID: ID(d.UID, c.LastTransitionTime.Unix()), Kind: resource.FailedRollout, At: c.LastTransitionTime.Time,
			Pod:  resource.Pod{Namespace: d.Namespace, Kind: "Deployment", Owner: d.Name, Labels: d.Spec.Template.Labels},
			Text: fmt.Sprintf("the rollout of Deployment %s/%s exceeded its deadline", d.Namespace, d.Name)})
		m.mu.Unlock()
	}
}
