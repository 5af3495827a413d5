package kubectl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/internal/cli/command"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
)

// keepRecord is how long the hub keeps the snapshot of a record whose command was killed.
const keepRecord = "1h"

func (e *env) cmdRecord() *cobra.Command {
	var length time.Duration
	var output string
	c := &cobra.Command{
		Use:   "record NAMESPACE/POD --for 1m -o FILE",
		Short: "Record a pod from now on",
		Long: `Record a pod from now on: make a bundle of the packets of its connections. The recorder of its node is running
already; the command makes a snapshot of that node, keeps the packets of the pod, and deletes the snapshot. For
packets from before now, make a snapshot and use pcapsule cut.`,
		Example: "  kubectl pcapsule record shop/payment-7d4b9 --for 1m -o payment.pcapsule",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			namespace, pod, ok := strings.Cut(args[0], "/")
			switch {
			case !ok || !offer.Plain(namespace) || !offer.Plain(pod):
				return exit.Usagef("%q is not a pod: use NAMESPACE/POD", args[0])
			case length < time.Second || length > 24*time.Hour:
				return exit.Usagef("--for %s: must be 1s to 24h", length)
			case output == "":
				return exit.Usagef("missing output: give -o FILE.pcapsule")
			}
			if err := exit.NewOutput(output); err != nil {
				return err
			}
			return e.record(c.Context(), namespace, pod, length, output)
		},
	}
	c.Flags().DurationVar(&length, "for", time.Minute, "how long")
	command.Between(c.Flags(), "for", &length, time.Second, command.Longest)
	c.Flags().StringVarP(&output, "output", "o", "", "bundle to make, a name ending in .pcapsule")
	return c
}

func (e *env) record(ctx context.Context, namespace, pod string, length time.Duration, output string) error {
	node, err := e.nodeOf(ctx, namespace, pod)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	stamp := func(t time.Time) string { return t.Format(time.RFC3339Nano) }
	s, err := e.create(ctx, "", "record-", request{From: stamp(now), To: stamp(now.Add(length)), Nodes: []string{node}, RetainFor: keepRecord})
	if err != nil {
		return err
	}
	name := s.Metadata.Name
	defer func() { // also when the command was interrupted
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if _, err := e.output(ctx, nil, "delete", resource, name, "--wait=false"); err != nil {
			e.Warn("snapshot %s is left, for %s: %v", name, keepRecord, err)
		}
	}()
	e.Note("recording %s/%s on node %s for %s", namespace, pod, node, length)
	if s, err = e.await(ctx, name, length+15*time.Minute); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pcapsule-record-")
	if err != nil {
		return exit.OutputError(err, os.TempDir())
	}
	defer os.RemoveAll(dir)
	bundles := filepath.Join(dir, "bundles")
	if err := e.quietly().fetch(ctx, name, bundles); err != nil {
		return err
	}
	for _, n := range s.Status.Nodes {
		switch n.State {
		case "Failed":
			return fmt.Errorf("node %s: %s", n.Name, n.Message)
		case "Missing":
			return fmt.Errorf("node %s recorded nothing (%s): %s", n.Name, n.Reason, n.Message)
		}
	}
	list, err := bundlesIn(bundles)
	if err != nil {
		return err
	}
	return e.pcapsule(ctx, "", "cut", list[0], "--workload", namespace+"/"+pod, "-o", output)
}

// nodeOf finds the node of a pod.
func (e *env) nodeOf(ctx context.Context, namespace, pod string) (string, error) {
	there := *e
	there.namespace = namespace
	text, err := there.output(ctx, nil, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
	if err != nil {
		return "", err
	}
	node := strings.TrimSpace(string(text))
	if node == "" {
		return "", exit.With(errors.New("pod "+namespace+"/"+pod+" is on no node yet"), exit.Other, "wait until it is scheduled")
	}
	return node, nil
}
