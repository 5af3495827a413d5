package resource

import (
	"errors"
	"fmt"
	"slices"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// LiveConfigs is the resource that selects the nodes that the hub follows.
var LiveConfigs = schema.GroupVersionResource{Group: Group, Version: Version, Resource: "liveconfigs"}

// LiveName is the name of the only LiveConfig that the hub serves.
const LiveName = "default"

// LiveConfig selects the nodes whose traffic the hub follows while it is recorded.
type LiveConfig struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            LiveSpec   `json:"spec"`
	Status          LiveStatus `json:"status,omitzero"`
}

// LiveSpec is a person's request.
type LiveSpec struct {
	Nodes []string `json:"nodes,omitempty"` // empty: all that have a recorder
	Rows  []string `json:"rows,omitempty"`  // those of them that dissect themselves and send rows only; *: all
}

// AllNodes in Rows means all nodes.
const AllNodes = "*"

// RowsOf reports whether a node sends rows only.
func (s *LiveSpec) RowsOf(node string) bool {
	return slices.Contains(s.Rows, node) || slices.Contains(s.Rows, AllNodes)
}

// LiveStatus is how far the hub follows.
type LiveStatus struct {
	ObservedGeneration int64            `json:"observedGeneration,omitempty"`
	Following          string           `json:"following,omitempty"` // nodes, of all: 2/3
	Nodes              []LiveNode       `json:"nodes,omitempty"`
	Conditions         []meta.Condition `json:"conditions,omitempty"`
}

// LiveNode is a node that is followed.
type LiveNode struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
}

// MaxLiveNodes limits how many rings a hub follows.
const MaxLiveNodes = 256

// ErrLive means that a LiveConfig cannot be served.
var ErrLive = errors.New("invalid LiveConfig")

// LiveFromObject reads a LiveConfig of the API.
func LiveFromObject(u *unstructured.Unstructured) (*LiveConfig, error) {
	var l LiveConfig
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &l); err != nil {
		return nil, fmt.Errorf("reading LiveConfig %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	return &l, nil
}

// Check returns an error that wraps ErrLive if it cannot be served.
func (l *LiveConfig) Check() error {
	for _, n := range l.Spec.Nodes {
		if !NodeName(n) {
			return fmt.Errorf("%w: %.80q cannot be the name of a node", ErrLive, n)
		}
	}
	for _, n := range l.Spec.Rows {
		if n != AllNodes && !NodeName(n) {
			return fmt.Errorf("%w: rows: %.80q cannot be the name of a node", ErrLive, n)
		}
	}
	return nil
}
