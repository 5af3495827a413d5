package kubectl

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/hub/offer"
)

// keepRecord is how long the hub keeps the Capture of a record whose command was killed.
const keepRecord = "1h"

func (e *env) cmdRecord() *cobra.Command {
	var length time.Duration
	var output string
	var filters selection
	c := &cobra.Command{
		Use:     "record NAMESPACE/[KIND/]NAME --for 1m -o FILE",
		Aliases: []string{"capture_traffic"},
		Short:   "Record a pod or a workload, starting now",
		Long: `Record a pod, or the pods of a workload, starting now, and make a bundle of their
connections. The recorders are already running on the nodes: the command creates a Capture resource,
fetches its bundles, and deletes it. For earlier packets, make a snapshot with --workload.`,
		Example: `  kubectl pcapsule record shop/payment-7d4b9 --for 1m -o payment.pcapsule
  kubectl pcapsule record shop/Deployment/payment --for 5m --kfl 'http && failed' -o payment`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			parts := strings.Split(args[0], "/")
			switch {
			case len(parts) < 2 || len(parts) > 3 || !offer.Plain(parts[0]) || !offer.Plain(strings.ToLower(parts[1])) || !offer.Plain(parts[len(parts)-1]):
				return exit.Usagef("%q is not a pod or workload: use NAMESPACE/NAME or NAMESPACE/KIND/NAME", args[0])
			case output == "":
				return exit.Usagef("missing output: give -o FILE.pcapsule, or -o FOLDER")
			}
			if err := exit.NewOutput(output); err != nil {
				return err
			}
			filters.Workloads = args
			return e.record(c.Context(), request{Duration: length.String(), Select: filters, RetainFor: keepRecord}, length, output)
		},
	}
	c.Flags().DurationVar(&length, "for", time.Minute, "how long")
	command.Between(c.Flags(), "for", &length, time.Second, 24*time.Hour)
	filters.filters(c.Flags())
	c.Flags().StringVarP(&output, "output", "o", "", "bundle to make, a name ending in .pcapsule; another name is a folder with a bundle for each node")
	return c
}

// record makes a Capture, gets its bundles, and deletes it.
func (e *env) record(ctx context.Context, r request, length time.Duration, output string) error {
	s, err := e.create(ctx, "Capture", "", "record-", r)
	if err != nil {
		return err
	}
	name := s.Metadata.Name
	defer func() { // also when the command was interrupted
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if _, err := e.output(ctx, nil, "delete", captures, name, "--wait=false"); err != nil {
			e.Warn("Capture %s was not deleted; it expires after %s: %v", name, keepRecord, err)
		}
	}()
	e.Note("recording %s for %s", r.Select.Workloads[0], length)
	if s, err = e.await(ctx, captures, name, length+15*time.Minute); err != nil {
		return err
	}
	if !strings.HasSuffix(output, offer.Extension) {
		return e.fetch(ctx, s.Status.Snapshot, output)
	}
	dir, err := os.MkdirTemp(filepath.Dir(output), ".pcapsule-record-")
	if err != nil {
		return exit.OutputError(err, output)
	}
	defer os.RemoveAll(dir)
	bundles := filepath.Join(dir, "bundles")
	if err := e.quietly().fetch(ctx, s.Status.Snapshot, bundles); err != nil {
		return err
	}
	if err := e.recorded(ctx, s.Status.Snapshot); err != nil {
		return err
	}
	list, err := filepath.Glob(filepath.Join(bundles, "*"+offer.Extension))
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return exit.With(fmt.Errorf("%s had no packets that match: no bundle was made", r.Select.Workloads[0]), exit.Other, "")
	case len(list) > 1:
		return exit.With(fmt.Errorf("%s runs on several nodes, and each has a bundle", r.Select.Workloads[0]), exit.Usage, "give -o a folder, a name that does not end in "+offer.Extension)
	}
	if err := os.Rename(list[0], output); err != nil {
		return exit.OutputError(err, output)
	}
	fmt.Fprintln(e.Out, output)
	return nil
}

// recorded returns an error if a node of a snapshot recorded nothing.
func (e *env) recorded(ctx context.Context, name string) error {
	var s snapshot
	if err := e.get(ctx, &s, snapshots, name); err != nil {
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
	return nil
}
