// Package rollout keeps the status of the resource RecorderConfig: which recorders have applied it, and why others have
// not. Recorders watch the resource but cannot write it, so the hub queries them by mutual TLS.
package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/rounds"
	"github.com/pcapsule/pcapsule/hub/served"
	"github.com/pcapsule/pcapsule/recorder/pins"
)

// Resource is RecorderConfig in the API.
var Resource = schema.GroupVersionResource{Group: "pcapsule.dev", Version: "v1beta1", Resource: "recorderconfigs"}

// Applied is the condition.
const Applied = "Applied"

// States of a node.
const (
	applied     = "Applied"
	rejected    = "Rejected" // another version is in force
	waiting     = "Waiting"  // it has not seen this version yet
	unreachable = "Unreachable"
)

const (
	every    = 5 * time.Second // while a node has not applied it
	rest     = 12              // rounds between two questions afterwards
	parallel = 16
	patience = 10 * time.Second // for one node
	maxNodes = 5000
	maxNamed = 5 // nodes in a message
)

// Status of a RecorderConfig.
type Status struct {
	ObservedGeneration int64          `json:"observedGeneration,omitempty"`
	Applied            string         `json:"applied,omitempty"` // of all recorders: 2/3
	Nodes              []Node         `json:"nodes,omitempty"`
	Conditions         []v1.Condition `json:"conditions,omitempty"`
}

// Node is its state at one recorder.
type Node struct {
	Name       string `json:"name"`
	State      string `json:"state"`
	Generation int64  `json:"generation,omitempty"` // in force
	Message    string `json:"message,omitempty"`
}

// Answer is a recorder's answer, or the reason why there is none.
type Answer struct {
	Config *pins.Config
	Err    error
}

// Options of Run.
type Options struct {
	Client    dynamic.Interface
	Namespace string
	// Recorders lists the nodes that have a recorder, with a way to ask it.
	Recorders func(ctx context.Context) (map[string]func(ctx context.Context) (*pins.Config, error), error)
	Every     time.Duration // 0 means 5 s
	Log       *slog.Logger
}

// Run keeps the status up to date until ctx ends.
func Run(ctx context.Context, o Options) error {
	if o.Every == 0 {
		o.Every = every
	}
	settled := map[string]int{} // rounds until the next question, by UID and generation
	rounds.Every(ctx, o.Every, o.Log, "keeping the status of RecorderConfigs; trying again", func(ctx context.Context) error { return o.round(ctx, settled) })
	return nil
}

func (o *Options) round(ctx context.Context, settled map[string]int) error {
	list, err := served.List(ctx, o.Client, Resource, "")
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for i := range list {
		u := &list[i]
		id := fmt.Sprintf("%s %d", u.GetUID(), u.GetGeneration())
		if here[id] = true; settled[id] > 0 {
			settled[id]--
			continue
		}
		var answers map[string]Answer
		if u.GetNamespace() == o.Namespace {
			if answers, err = o.ask(ctx); err != nil {
				return err
			}
		}
		done, err := o.update(ctx, u, answers)
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
		if done && err == nil {
			settled[id] = rest
		}
	}
	maps.DeleteFunc(settled, func(id string, _ int) bool { return !here[id] })
	return nil
}

// ask asks all recorders.
func (o *Options) ask(ctx context.Context) (map[string]Answer, error) {
	recorders, err := o.Recorders(ctx)
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, parallel)
	answers := map[string]Answer{}
	for node, question := range recorders {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			c, err := question(ctx)
			mu.Lock()
			defer mu.Unlock()
			answers[node] = Answer{c, err}
		})
	}
	all.Wait()
	return answers, ctx.Err()
}

// update writes the status if it has changed. done reports whether every node has applied this version.
func (o *Options) update(ctx context.Context, u *unstructured.Unstructured, answers map[string]Answer) (done bool, err error) {
	var old Status
	if text, err := json.Marshal(u.Object["status"]); err != nil || json.Unmarshal(text, &old) != nil {
		old = Status{} // what is there is not of this release
	}
	s := old
	s.Conditions = slices.Clone(old.Conditions)
	if u.GetNamespace() == o.Namespace {
		done = s.set(string(u.GetUID()), u.GetGeneration(), answers)
	} else {
		s = Status{ObservedGeneration: u.GetGeneration(), Conditions: s.Conditions}
		s.condition(v1.ConditionFalse, "WrongNamespace", fmt.Sprintf("recorders apply the one in namespace %s", o.Namespace))
		done = true
	}
	if equality.Semantic.DeepEqual(old, s) {
		return done, nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return false, err
	}
	var status map[string]any
	if err := json.Unmarshal(text, &status); err != nil {
		return false, err
	}
	before := served.Conditions(u)
	u.Object["status"] = status
	if _, err = o.Client.Resource(Resource).Namespace(u.GetNamespace()).UpdateStatus(ctx, u, v1.UpdateOptions{}); err == nil {
		served.Announce(ctx, o.Client, u, before)
	}
	return done, err
}

// set sets the status from the recorders' answers about the version with a UID and generation. It reports whether all
// have applied it.
func (s *Status) set(uid string, generation int64, answers map[string]Answer) (done bool) {
	s.ObservedGeneration, s.Nodes = generation, nil
	by := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		n := answers[name].node(name, uid, generation)
		n.Message = resource.Clip(n.Message, len(answers))
		text := name
		if n.Message != "" {
			text += ": " + n.Message
		}
		by[n.State] = append(by[n.State], text)
		if len(s.Nodes) < maxNodes {
			s.Nodes = append(s.Nodes, n)
		}
	}
	s.Applied = fmt.Sprintf("%d/%d", len(by[applied]), len(answers))
	switch {
	case len(answers) == 0:
		s.condition(v1.ConditionUnknown, "NoRecorder", "no recorder runs")
	case len(by[rejected]) > 0:
		s.condition(v1.ConditionFalse, rejected, named(by[rejected]))
	case len(by[unreachable]) > 0:
		s.condition(v1.ConditionFalse, unreachable, named(by[unreachable]))
	case len(by[waiting]) > 0:
		s.condition(v1.ConditionFalse, waiting, named(by[waiting]))
	default:
		s.condition(v1.ConditionTrue, "Everywhere", "every recorder applies it")
		return true
	}
	return false
}

func (s *Status) condition(status v1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.Conditions, v1.Condition{Type: Applied, Status: status, Reason: reason, Message: message, ObservedGeneration: s.ObservedGeneration})
}

// named lists the first nodes, and says how many more there are.
func named(list []string) string {
	text := strings.Join(list[:min(maxNamed, len(list))], "; ")
	if more := len(list) - maxNamed; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// node is the state of a node that answered.
func (a Answer) node(name, uid string, generation int64) Node {
	n := Node{Name: name}
	switch c := a.Config; {
	case a.Err != nil:
		n.State, n.Message = unreachable, a.Err.Error()
	case c.AppliedUID == uid && c.Applied == generation:
		n.State, n.Generation = applied, generation
	case c.UID == uid && c.Generation == generation && c.Problem != "":
		n.State, n.Message = rejected, c.Problem
	default:
		n.State = waiting
	}
	if c := a.Config; a.Err == nil && c.AppliedUID == uid {
		n.Generation = c.Applied
	}
	return n
}
