package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/live"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/pods"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/rounds"
	"github.com/pcapsule/pcapsule/hub/served"
)

// Copies is the folder with the copies of rings that are followed, in that of the hub.
const Copies = "live"

// statusEvery is how often the status of the LiveConfig is checked.
const statusEvery = 10 * time.Second

// follower follows the rings that the LiveConfig chooses.
func (h *hub) follower(f *finder, known *pods.Memory) *live.Follower {
	return live.New(live.Options{Dir: filepath.Join(h.Dir, Copies), Find: f.find, Bytes: h.LiveBytes, Log: h.Log, Owners: known.Owners,
		Wanted: func(ctx context.Context) ([]live.Choice, error) {
			l, err := h.liveConfig(ctx)
			if err != nil || l == nil || l.Check() != nil {
				return nil, err
			}
			names := l.Spec.Nodes
			if len(names) == 0 {
				all, err := f.recorders(ctx)
				if err != nil {
					return nil, err
				}
				names = slices.Sorted(maps.Keys(all))
			}
			var chosen []live.Choice
			for _, name := range names[:min(len(names), resource.MaxLiveNodes)] {
				chosen = append(chosen, live.Choice{Name: name, Rows: l.Spec.RowsOf(name)})
			}
			return chosen, nil
		}})
}

// liveConfig reads the LiveConfig, nil if there is none.
func (h *hub) liveConfig(ctx context.Context) (*resource.LiveConfig, error) {
	u, err := h.objects.Resource(resource.LiveConfigs).Namespace(h.Namespace).Get(ctx, resource.LiveName, v1.GetOptions{})
	if apierrors.IsNotFound(err) { // or the cluster does not have the resource
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the LiveConfig: %w", err)
	}
	return resource.LiveFromObject(u)
}

// sayLive keeps the status of the LiveConfig until ctx ends.
func (h *hub) sayLive(ctx context.Context, f *live.Follower) error {
	rounds.Every(ctx, statusEvery, h.Log, "keeping the status of the LiveConfig; trying again", func(ctx context.Context) error { return h.updateLive(ctx, f.Status()) })
	return nil
}

// updateLive writes the status if it has changed.
func (h *hub) updateLive(ctx context.Context, now *offer.Live) error {
	u, err := h.objects.Resource(resource.LiveConfigs).Namespace(h.Namespace).Get(ctx, resource.LiveName, v1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := resource.LiveFromObject(u)
	if err != nil {
		return err
	}
	return served.Status(ctx, h.objects, resource.LiveConfigs, u, l.Status, liveStatus(l, now))
}

// liveStatus is the status of a LiveConfig.
func liveStatus(l *resource.LiveConfig, now *offer.Live) resource.LiveStatus {
	s := resource.LiveStatus{ObservedGeneration: l.Generation, Conditions: slices.Clone(l.Status.Conditions)}
	c := v1.Condition{Type: "Following", Status: v1.ConditionTrue, Reason: "Everywhere", Message: "the rings of all chosen nodes are followed", ObservedGeneration: l.Generation}
	following := 0
	for _, n := range now.Nodes {
		s.Nodes = append(s.Nodes, resource.LiveNode{Name: n.Name, State: n.State, Message: n.Message})
		if n.State == offer.Following {
			following++
		} else if c.Status == v1.ConditionTrue {
			c.Status, c.Reason, c.Message = v1.ConditionFalse, n.State, fmt.Sprintf("node %s: %s", n.Name, n.Message)
		}
	}
	s.Following = fmt.Sprintf("%d/%d", following, len(now.Nodes))
	switch err := l.Check(); {
	case errors.Is(err, resource.ErrLive):
		c.Status, c.Reason, c.Message = v1.ConditionFalse, "Invalid", err.Error()
	case len(now.Nodes) == 0:
		c.Status, c.Reason, c.Message = v1.ConditionUnknown, "NoRecorder", "no recorder runs, or the hub has just begun"
	}
	meta.SetStatusCondition(&s.Conditions, c)
	return s
}
