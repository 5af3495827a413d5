package resource

import (
	"fmt"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Captures is the resource Capture.
var Captures = schema.GroupVersionResource{Group: Group, Version: Version, Resource: "captures"}

// CaptureLabel names the Capture of a snapshot.
const CaptureLabel = "pcapsule.dev/capture"

// Capture records some pods from its creation on. Recorders record anyway, so it is a snapshot that begins now.
type Capture struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            CaptureSpec   `json:"spec"`
	Status          CaptureStatus `json:"status,omitzero"`
}

// CaptureSpec is a person's request.
type CaptureSpec struct {
	Duration  *meta.Duration `json:"duration,omitempty"` // default a minute
	Select    Selection      `json:"select"`
	Nodes     []string       `json:"nodes,omitempty"`
	Patience  *meta.Duration `json:"patience,omitempty"`
	RetainFor *meta.Duration `json:"retainFor,omitempty"`
}

// CaptureStatus is that of its snapshot.
type CaptureStatus struct {
	Phase      string           `json:"phase,omitempty"` // Recording, then those of a snapshot
	Snapshot   string           `json:"snapshot,omitempty"`
	Until      string           `json:"until,omitempty"`     // RFC 3339
	Collected  string           `json:"collected,omitempty"` // nodes with a part, of all: 2/3
	Packets    int64            `json:"packets,omitempty"`
	Calls      int64            `json:"calls,omitempty"`
	Conditions []meta.Condition `json:"conditions,omitempty"`
}

// Recording is the phase of a Capture whose time has not passed.
const Recording = "Recording"

// Limits of a Capture.
const (
	maxCapture      = 24 * time.Hour
	maxCaptureName  = 200 // bytes, to which capture- is added
	defaultDuration = time.Minute
)

// CaptureFromObject reads a Capture of the API.
func CaptureFromObject(u *unstructured.Unstructured) (*Capture, error) {
	var c Capture
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &c); err != nil {
		return nil, fmt.Errorf("reading Capture %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	return &c, nil
}

// length is the time for which it records.
func (c *Capture) length() time.Duration {
	if c.Spec.Duration == nil {
		return defaultDuration
	}
	return c.Spec.Duration.Duration
}

// Check returns an error that wraps ErrSpec if it cannot be served.
func (c *Capture) Check() error {
	switch d := c.length(); {
	case len(c.Name) > maxCaptureName:
		return invalid("the name has %d bytes, the limit is %d", len(c.Name), maxCaptureName)
	case d < time.Second || d > maxCapture:
		return invalid("duration is %s: must be 1s to %s", d, maxCapture)
	case !c.Spec.Select.ofPods():
		return invalid("select names no pods: give namespaces, workloads or labels")
	}
	return c.Snapshot().checkAll()
}

// Snapshot returns the snapshot of the Capture, whose window begins at its creation (in whole seconds, as the API
// states it).
func (c *Capture) Snapshot() *Snapshot {
	from := c.CreationTimestamp.UTC()
	return &Snapshot{
		ObjectMeta: meta.ObjectMeta{Namespace: c.Namespace, Name: "capture-" + c.Name, Labels: map[string]string{CaptureLabel: string(c.UID)}, CreationTimestamp: c.CreationTimestamp},
		Spec: Spec{From: from.Format(time.RFC3339), To: from.Add(c.length()).Format(time.RFC3339Nano), Nodes: c.Spec.Nodes, Select: c.Spec.Select,
			Patience: c.Spec.Patience, RetainFor: c.Spec.RetainFor},
	}
}
