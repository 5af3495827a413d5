package hub

import (
	"context"
	"errors"
	"fmt"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/recorder/pins"
)

// recorders lists the nodes that have a recorder, with a way to ask it for its configuration.
func (f *finder) recorders(ctx context.Context) (map[string]func(context.Context) (*pins.Config, error), error) {
	all := map[string]func(context.Context) (*pins.Config, error){}
	o := meta.ListOptions{LabelSelector: recorderLabel, Limit: 500}
	for {
		list, err := f.hub.core.Pods(f.hub.Namespace).List(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("listing recorders: %w", err)
		}
		for i := range list.Items {
			p := &list.Items[i]
			node := p.Spec.NodeName
			switch {
			case node == "" || p.DeletionTimestamp != nil:
			case p.Status.Phase == core.PodRunning && p.Status.PodIP != "":
				all[node] = f.client(p).Config
			case all[node] == nil:
				all[node] = func(context.Context) (*pins.Config, error) { return nil, errors.New("the recorder does not run") }
			}
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return all, nil
		}
	}
}
