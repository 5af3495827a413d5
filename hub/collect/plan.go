package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const planName = "job.json"

// Plan is the plan of a snapshot's Job: index i bundles the part of Nodes[i]. It never changes, so
// each index always means the same node.
type Plan struct {
	Nodes []string  `json:"nodes"`
	From  ring.Time `json:"from"`
	To    ring.Time `json:"to"`
}

// Write stores the plan of a snapshot that has none.
func (p *Plan) Write(dir string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return whole.CreateDurably(filepath.Join(dir, planName), 0o600, whole.Text(text))
}

// ReadPlan reads the plan of a snapshot, nil if there is none.
func ReadPlan(dir string) (*Plan, error) {
	path := filepath.Join(dir, planName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var p Plan
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	for _, n := range p.Nodes {
		if !resource.NodeName(n) {
			return nil, fmt.Errorf("reading %s: %.80q cannot be the name of a node", path, n)
		}
	}
	return &p, nil
}

// BundleIndex makes the bundle of one index of a snapshot's plan, unless it is there. It needs only the folder.
func (c *Collector) BundleIndex(ctx context.Context, dir string, index int) (resource.Node, error) {
	plan, err := ReadPlan(dir)
	if err != nil {
		return resource.Node{}, err
	}
	if plan == nil {
		return resource.Node{}, fmt.Errorf("%s has no %s: it is not the folder of a snapshot that a Job bundles, or the snapshot was deleted", dir, planName)
	}
	if index < 0 || index >= len(plan.Nodes) {
		return resource.Node{}, fmt.Errorf("index %d is outside 0 to %d, the nodes of %s", index, len(plan.Nodes)-1, planName)
	}
	p := Part{Dir: dir, Node: plan.Nodes[index], From: plan.From, To: plan.To}
	n := resource.Node{Name: p.Node}
	if done, err := c.finished(p, &n); err != nil {
		return n, err
	} else if !done {
		return n, fmt.Errorf("the part of node %s was not received yet", p.Node)
	}
	return c.Bundle(ctx, p, n)
}
