package recorder

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/exit"
	node "github.com/pcapsule/pcapsule/recorder"
)

// unpinCommand ends what a recorder left in the kernel.
func unpinCommand() *cobra.Command {
	dir := node.DefaultPin
	c := &cobra.Command{
		Use:   "unpin",
		Short: "Remove what a stopped recorder left in the kernel",
		Long: `Detach the programs that a stopped recorder left in the kernel for the next one, and free their
buffers. Packets that wait there are lost. Run it on a node after the recorder was uninstalled.`,
		Example: `  pcapsule-recorder unpin`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			removed, err := node.Unpin(dir)
			switch {
			case errors.Is(err, node.ErrPinned):
				return exit.With(err, exit.Exists, "stop the recorder first")
			case err != nil:
				return err
			case removed:
				fmt.Fprintf(c.OutOrStdout(), "removed %s: no program of a recorder is left there\n", dir)
			case c.Flags().Changed("pin") && !node.CanPin(dir):
				return exit.With(fmt.Errorf("--pin %s: no recorder can have pinned anything there, because it is not in a BPF file system", dir), exit.Usage, "give the --pin of the recorder (default "+node.DefaultPin+")")
			default:
				fmt.Fprintf(c.OutOrStdout(), "nothing is pinned in %s\n", dir)
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "pin", dir, "folder that the recorder was given")
	return c
}
