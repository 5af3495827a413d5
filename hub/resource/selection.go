package resource

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/recorder/filter"
)

// Selection restricts a snapshot to some pods and connections. An empty member selects everything.
type Selection struct {
	Namespaces []string `json:"namespaces,omitempty"`
	Workloads  []string `json:"workloads,omitempty"` // NAMESPACE/NAME of pods or of their owner, or NAMESPACE/KIND/NAME, also of a Service
	Labels     string   `json:"labels,omitempty"`    // of pods, as for kubectl --selector
	Filter     string   `json:"filter,omitempty"`    // connections with a packet that matches, in tcpdump's syntax
	KFL        string   `json:"kfl,omitempty"`       // connections with a call that matches
}

// Pod is what a selection of pods is about.
type Pod struct {
	Namespace, Name string
	Kind, Owner     string // of its topmost owner
	Labels          map[string]string
	Services        []string // in front of it
	AnyService      bool     // these are unknown, so it may be any
}

// Workload names the owner of a pod, or the pod if it has none, as in Selection.Workloads.
func (p *Pod) Workload() string {
	if p.Owner == "" {
		return p.Namespace + "/Pod/" + p.Name
	}
	return p.Namespace + "/" + p.Kind + "/" + p.Owner
}

// names select the pod, as in Selection.Workloads. The name of a Service may also be that of a workload or a pod without
// one: calls name them in the same way.
func (p *Pod) names() []string {
	if p.Kind == service {
		return []string{p.Workload(), p.Namespace + "/" + p.Owner}
	}
	return []string{p.Workload()}
}

// ErrFilter means that a filter is invalid. Its text has the position.
var ErrFilter = fmt.Errorf("%w: invalid filter", ErrSpec)

// service is the kind by which workloads are selected that are pods behind a Service.
const service = "Service"

// Limits of a selection.
const (
	maxSelected = 100
	maxText     = 4096 // bytes of a filter
)

// linkTypes are those for which a filter is checked: Ethernet, and Linux cooked packets, which recorders write.
var linkTypes = []uint16{1, 276}

// Empty reports whether it selects everything.
func (s *Selection) Empty() bool { return !s.Cuts() && s.KFL == "" }

// Cuts reports whether the hub leaves something out of bundles. A filter in KFL is applied by readers.
func (s *Selection) Cuts() bool { return s.ofPods() || s.Filter != "" }

// ofPods reports whether it selects pods.
func (s *Selection) ofPods() bool {
	return len(s.Namespaces) > 0 || len(s.Workloads) > 0 || s.Labels != ""
}

// Check returns an error that wraps ErrSpec, and ErrFilter if a filter is the problem.
func (s *Selection) Check() error {
	if len(s.Namespaces) > maxSelected || len(s.Workloads) > maxSelected {
		return invalid("more than %d namespaces or workloads are selected", maxSelected)
	}
	for _, n := range s.Namespaces {
		if !NodeName(n) {
			return invalid("%.80q cannot be the name of a namespace", n)
		}
	}
	for _, w := range s.Workloads {
		parts := strings.Split(w, "/")
		if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
			return invalid("workload %.80q: use NAMESPACE/NAME or NAMESPACE/KIND/NAME", w)
		}
	}
	if _, err := labels.Parse(s.Labels); err != nil {
		return fmt.Errorf("%w: labels: %v", ErrFilter, err)
	}
	if len(s.Filter) > maxText || len(s.KFL) > maxText {
		return fmt.Errorf("%w: it has more than %d bytes", ErrFilter, maxText)
	}
	if _, err := kfl.Compile(s.KFL, kfl.Env{}); err != nil {
		return fmt.Errorf("%w: kfl: %v", ErrFilter, err)
	}
	var first error
	for _, link := range linkTypes {
		_, err := filter.Compile(s.Filter, link, 0)
		if err == nil {
			return nil
		}
		first = errors.Join(first, err)
	}
	text, _, _ := strings.Cut(first.Error(), "\n")
	return fmt.Errorf("%w: filter: %s", ErrFilter, text)
}

// Accepts returns a function that reports whether a pod is selected; nil selects all ends, also those that are not
// pods. The selection is one that Check accepts.
func (s *Selection) Accepts() func(*Pod) bool {
	if !s.ofPods() {
		return nil
	}
	selector, err := labels.Parse(s.Labels)
	if err != nil {
		selector = labels.Nothing()
	}
	return func(p *Pod) bool {
		return (len(s.Namespaces) == 0 || slices.Contains(s.Namespaces, p.Namespace)) && selector.Matches(labels.Set(p.Labels)) &&
			(len(s.Workloads) == 0 || slices.ContainsFunc(s.Workloads, func(w string) bool { return named(w, p) }))
	}
}

// named reports whether a text names a pod or its owner.
func named(w string, p *Pod) bool {
	parts := strings.Split(w, "/")
	name, kind := parts[len(parts)-1], ""
	if len(parts) == 3 {
		kind = parts[1]
	}
	if parts[0] != p.Namespace {
		return false
	}
	if strings.EqualFold(kind, service) {
		return p.AnyService || slices.Contains(p.Services, name)
	}
	return name == p.Name && (kind == "" || strings.EqualFold(kind, "Pod")) || name == p.Owner && p.Owner != "" && (kind == "" || strings.EqualFold(kind, p.Kind))
}

// Text describes what bundles are cut to, as people said it; empty: they are whole.
func (s *Selection) Text() string {
	if s.Filter == "" {
		return s.OfPods()
	}
	return strings.TrimPrefix(s.OfPods()+"; packets that match "+s.Filter, "; ")
}

// OfPods describes the pods, as people said it; empty: all.
func (s *Selection) OfPods() string {
	var list []string
	if len(s.Namespaces) > 0 {
		list = append(list, "namespaces "+strings.Join(s.Namespaces, ", "))
	}
	if len(s.Workloads) > 0 {
		list = append(list, "workloads "+strings.Join(s.Workloads, ", "))
	}
	if s.Labels != "" {
		list = append(list, "labels "+s.Labels)
	}
	return strings.Join(list, "; ")
}
