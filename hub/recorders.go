package hub

import (
	"context"
	"errors"

	"github.com/pcapsule/pcapsule/recorder/pins"
)

// recorders lists the nodes that have a recorder, with a way to ask it for its configuration.
func (f *finder) recorders(ctx context.Context) (map[string]func(context.Context) (*pins.Config, error), error) {
	list, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]func(context.Context) (*pins.Config, error){}
	for node, p := range list {
		if all[node] = f.client(p).Config; !p.runs {
			all[node] = func(context.Context) (*pins.Config, error) { return nil, errors.New("the recorder does not run") }
		}
	}
	return all, nil
}
