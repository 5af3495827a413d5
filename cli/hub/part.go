package hub

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	shared "github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/hub"
	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
)

// partCommand is what a pod of a snapshot's Job runs.
func partCommand(env func(string) (string, bool)) *cobra.Command {
	var dir, snapshot, index string
	var memory shared.Size
	c := &cobra.Command{
		Use:   "part",
		Short: "Make the bundle of one node's part of a snapshot, in a pod of its Job",
		Long: `Make the bundle of one node's part of a snapshot, from the files that the hub has collected. An existing
bundle is not changed. This needs only the hub's folder, not the API.

The hub runs it as an Indexed Job of Kubernetes, which sets JOB_COMPLETION_INDEX.

Exit codes: 0 the bundle exists; 1 other; 2 usage; 6 disk; 130 interrupted.`,
		Example: `  pcapsule-hub part --data /var/lib/pcapsule-hub --snapshot 0a1b2c3d-0000-4000-8000-000000000000 --index 0`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if index == "" {
				index, _ = env("JOB_COMPLETION_INDEX")
			}
			k, err := strconv.Atoi(index)
			if err != nil || k < 0 {
				return exit.Usagef("--index %q: must be a whole number; the Job sets it as $JOB_COMPLETION_INDEX", index)
			}
			if !resource.NodeName(snapshot) {
				return exit.Usagef("--snapshot %.80q: must be the UID of a snapshot", snapshot)
			}
			limitHeap(memory)
			x := &maker{memory: int64(memory), turn: make(chan struct{}, 1)}
			n, err := (&collect.Collector{Make: x.make, Count: count, Hub: "pcapsule-hub " + version.Release}).
				BundleIndex(c.Context(), filepath.Join(dir, hub.Snapshots, snapshot), k)
			if err != nil && c.Context().Err() != nil {
				return exit.With(err, exit.Interrupted, "")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), plural.Sprintf("%s: %d {packet|packets}, %d {call|calls}", n.Bundle, n.Packets, n.Calls))
			return err
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&dir, "data", "/var/lib/pcapsule-hub", "folder of the hub")
	fl.StringVar(&snapshot, "snapshot", "", "UID of the snapshot")
	fl.StringVar(&index, "index", "", "which node's part (default: $JOB_COMPLETION_INDEX)")
	shared.SizeVar(fl, &memory, "memory", "", shared.Size(exporter.DefaultMemory), minMemory, shared.Largest, "memory for making the bundle")
	return c
}
