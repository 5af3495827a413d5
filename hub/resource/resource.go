// Package resource is the custom resource Snapshot as Go values: the request and its result.
// deploy/kustomize/base/snapshots.yaml has its schema.
package resource

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Names in the API.
const (
	Group     = "pcapsule.dev"
	Version   = "v1beta1"
	Kind      = "Snapshot"
	Finalizer = "pcapsule.dev/collected-files"
)

// Snapshots is the resource.
var Snapshots = schema.GroupVersionResource{Group: Group, Version: Version, Resource: "snapshots"}

// Snapshot is a window of the rings of several nodes.
type Snapshot struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            Spec   `json:"spec"`
	Status          Status `json:"status,omitzero"`
}

// Spec is a person's request. Last, From and To, or Around define the window.
type Spec struct {
	Last      *meta.Duration `json:"last,omitempty"`      // before the snapshot was created
	From      string         `json:"from,omitempty"`      // RFC 3339
	To        string         `json:"to,omitempty"`        // RFC 3339; may be in the future
	Around    string         `json:"around,omitempty"`    // RFC 3339: the time of an event
	Before    *meta.Duration `json:"before,omitempty"`    // with Around; default a minute
	After     *meta.Duration `json:"after,omitempty"`     // with Around; default a minute
	Nodes     []string       `json:"nodes,omitempty"`     // empty: all, or those where selected pods ran
	Select    Selection      `json:"select,omitzero"`     // pods and connections
	Patience  *meta.Duration `json:"patience,omitempty"`  // how long to try to reach a node; default 5 minutes
	RetainFor *meta.Duration `json:"retainFor,omitempty"` // after that time the snapshot is deleted; default: never
	LegalHold string         `json:"legalHold,omitempty"` // who ordered it: the snapshot is not deleted while it is set
}

// Phases, in order.
const (
	Pending    = "Pending"
	Collecting = "Collecting"
	Bundling   = "Bundling"
	Ready      = "Ready"  // there are bundles
	Failed     = "Failed" // there is none, and will be none; as a state of a node: see below
	Lost       = "Lost"   // there were bundles, and the hub's disk has none of them
)

// Conditions.
const (
	Accepted = "Accepted" // the request can be served
	Complete = "Complete" // every node's part is there, from the begin of the window on
	Done     = "Ready"    // the bundles can be fetched
	Selected = "Selected" // the hub knows where the selected pods ran
	Durable  = "Durable"  // the bundles survive the hub's pod
	Held     = "Held"     // it was to be deleted, but is on legal hold
)

// Status is its state.
type Status struct {
	Phase       string           `json:"phase,omitempty"`
	From        string           `json:"from,omitempty"` // the window, which no longer changes
	To          string           `json:"to,omitempty"`
	Nodes       []Node           `json:"nodes,omitempty"`
	Collected   string           `json:"collected,omitempty"` // nodes with a part, of all: 2/3
	Packets     int64            `json:"packets,omitempty"`   // in the window, of all nodes
	Calls       int64            `json:"calls,omitempty"`
	Bytes       int64            `json:"bytes,omitempty"` // of the collected files
	CompletedAt *meta.Time       `json:"completedAt,omitempty"`
	Conditions  []meta.Condition `json:"conditions,omitempty"`
}

// States of a node's part. A part that arrived but could not be bundled is Failed: there is a bundle that states this,
// and the hub keeps the part.
const (
	Waiting   = "Waiting"   // not reached yet
	Receiving = "Receiving" // pinned
	Received  = "Received"
	Bundled   = "Bundled"
	Missing   = "Missing" // there is a bundle that states the coverage gap
)

// Node is one node's part.
type Node struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Reason   string `json:"reason,omitempty"` // as in table coverage: not_scheduled, missing
	Message  string `json:"message,omitempty"`
	Bundle   string `json:"bundle,omitempty"`
	Segments int64  `json:"segments,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`    // of the files on the node
	Received int64  `json:"received,omitempty"` // of these
	Packets  int64  `json:"packets,omitempty"`  // in the window
	Calls    int64  `json:"calls,omitempty"`
	Gaps     int64  `json:"gaps,omitempty"` // coverage gaps in the window
	// RecordedFrom is when the recording of the node begins, or what of it is left, if that is later than the window.
	RecordedFrom string `json:"recordedFrom,omitempty"`
}

// Finished reports whether this is final.
func (n *Node) Finished() bool { return n.State == Bundled || n.Gone() }

// Gone reports whether the node's bundle states a gap instead of its part, or of some of it.
func (n *Node) Gone() bool { return n.State == Missing || n.State == Failed }

// Find returns the status of a node, nil if there is none.
func (s *Status) Find(node string) *Node {
	for i := range s.Nodes {
		if s.Nodes[i].Name == node {
			return &s.Nodes[i]
		}
	}
	return nil
}

// Finished reports whether this is final.
func (s *Status) Finished() bool { return s.Phase == Ready || s.Phase == Failed || s.Phase == Lost }

// Limits of messages about nodes. A node can say anything, and the API refuses an object of more than 1.5 MiB.
const (
	maxMessage = 500       // bytes of one
	maxTexts   = 300 << 10 // of all in a status
)

// Clip shortens a message about one of several nodes so that all of them fit into a status.
func Clip(message string, nodes int) string {
	return clip.Text(strings.ToValidUTF8(message, "\uFFFD"), min(maxMessage, maxTexts/max(nodes, 1)))
}

// Settle sets the totals and shortens messages, so that the API accepts the status.
func (s *Status) Settle() {
	s.Packets, s.Calls, s.Bytes = 0, 0, 0
	done := 0
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Message = Clip(n.Message, len(s.Nodes))
		s.Packets, s.Calls, s.Bytes = s.Packets+n.Packets, s.Calls+n.Calls, s.Bytes+n.Received
		if n.State == Bundled || n.State == Received {
			done++
		}
	}
	s.Collected = fmt.Sprintf("%d/%d", done, len(s.Nodes))
}

// Limits of a request.
const (
	maxLast     = 31 * 24 * time.Hour
	maxAhead    = 24 * time.Hour
	maxNodes    = 5000
	defaultWait = 5 * time.Minute
	defaultSide = time.Minute // of an event
	maxWait     = 24 * time.Hour
)

// ErrSpec means that a request cannot be served.
var ErrSpec = errors.New("invalid snapshot")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSpec}, args...)...)
}

var nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// NodeName reports whether a name can be that of a node, and so also of a file.
func NodeName(s string) bool { return nodeName.MatchString(s) && !strings.Contains(s, "..") }

// Window returns the window, or an error that wraps ErrSpec. The status has it after the first time.
func (s *Snapshot) Window() (from, to ring.Time, err error) {
	created := s.CreationTimestamp.Time
	spec := &s.Spec
	switch {
	case s.Status.From != "":
		return read(s.Status.From, s.Status.To)
	case spec.Last != nil && (spec.From != "" || spec.To != "" || spec.Around != "") || spec.Around != "" && (spec.From != "" || spec.To != ""):
		return 0, 0, invalid("give one of last, from and to, or around")
	case spec.Around == "" && (spec.Before != nil || spec.After != nil):
		return 0, 0, invalid("before and after need around")
	case spec.Last != nil:
		if spec.Last.Duration <= 0 || spec.Last.Duration > maxLast {
			return 0, 0, invalid("last is %s: must be more than 0 and at most %s", spec.Last.Duration, maxLast)
		}
		// The API's time has whole seconds; the second in which the request came belongs to it.
		to := created.Add(time.Second)
		return ring.Time(to.Add(-spec.Last.Duration).UnixNano()), ring.Time(to.UnixNano()), nil
	case spec.Around != "":
		from, to, err = spec.around()
	case spec.From == "" || spec.To == "":
		return 0, 0, invalid("it has no window: give last, from and to, or around")
	default:
		from, to, err = read(spec.From, spec.To)
	}
	if err != nil {
		return 0, 0, err
	}
	switch {
	case from <= 0 || to < from:
		return 0, 0, invalid("the window from %s to %s ends before it begins", from, to)
	case int64(to) > created.Add(maxAhead).UnixNano():
		return 0, 0, invalid("to %s is more than %s in the future", to, maxAhead)
	}
	return from, to, nil
}

// around is the window about an event.
func (s *Spec) around() (from, to ring.Time, err error) {
	lengths := [2]time.Duration{defaultSide, defaultSide}
	for i, d := range []*meta.Duration{s.Before, s.After} {
		if d == nil {
			continue
		}
		if lengths[i] = d.Duration; d.Duration < 0 || d.Duration > maxLast {
			return 0, 0, invalid("%s is %s: must be from 0 to %s", []string{"before", "after"}[i], d.Duration, maxLast)
		}
	}
	event, _, err := read(s.Around, s.Around)
	return event - ring.Time(lengths[0]), event + ring.Time(lengths[1]), err
}

func read(from, to string) (a, b ring.Time, err error) {
	for i, text := range []string{from, to} {
		at := []*ring.Time{&a, &b}[i]
		if err := at.UnmarshalJSON([]byte(`"` + text + `"`)); err != nil {
			return 0, 0, invalid("%s: %v", []string{"from or around", "to"}[i], err)
		}
	}
	return a, b, nil
}

// Check returns an error that wraps ErrSpec if the rest of the request cannot be served.
func (s *Snapshot) Check() error {
	if len(s.Spec.Nodes) > maxNodes {
		return invalid("%d nodes, the limit is %d", len(s.Spec.Nodes), maxNodes)
	}
	for _, n := range s.Spec.Nodes {
		if !NodeName(n) {
			return invalid("%.80q cannot be the name of a node", n)
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(s.Spec.Nodes)))) != len(s.Spec.Nodes) {
		return invalid("a node is listed twice")
	}
	if p := s.Spec.Patience; p != nil && (p.Duration < 0 || p.Duration > maxWait) {
		return invalid("patience is %s: must be 0 to %s", p.Duration, maxWait)
	}
	if r := s.Spec.RetainFor; r != nil && r.Duration <= 0 {
		return invalid("retainFor is %s: must be more than 0", r.Duration)
	}
	return s.Spec.Select.Check()
}

// Patience is how long to try to reach a node.
func (s *Snapshot) Patience() time.Duration {
	if s.Spec.Patience == nil {
		return defaultWait
	}
	return s.Spec.Patience.Duration
}

// FromObject reads a snapshot of the API.
func FromObject(u *unstructured.Unstructured) (*Snapshot, error) {
	var s Snapshot
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s); err != nil {
		return nil, fmt.Errorf("reading snapshot %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	return &s, nil
}

// Object writes a snapshot for the API.
func (s *Snapshot) Object() (*unstructured.Unstructured, error) {
	s.APIVersion, s.TypeMeta.Kind = Group+"/"+Version, Kind
	o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err != nil {
		return nil, fmt.Errorf("writing snapshot %s/%s: %w", s.Namespace, s.Name, err)
	}
	return &unstructured.Unstructured{Object: o}, nil
}
