package cli

import (
	"errors"
	"fmt"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/lake"
)

func (e *env) remove() *cobra.Command {
	by, reason := "", ""
	c := &cobra.Command{
		Use:   "remove NAMESPACE",
		Short: "Remove the rows of a Kubernetes namespace from all tables",
		Long: `Remove the rows of a Kubernetes namespace from all tables: its endpoints and objects, and everything on
connections that have one of its endpoints. Files with such rows are written anew, as files of the lake. If a
legal hold or a retention date keeps one of the bundles, nothing is removed, and the command ends with exit
code 10. Table removals records who removed what, when and why. The bundles in their stores are not touched:
they still have the packets.`,
		Example: "  pcapsule lake remove payments --reason 'request 4711'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return exit.Usagef("--reason is missing: say why the rows are removed")
			}
			if account, err := user.Current(); by == "" && err == nil {
				by = account.Username
			}
			return e.open(c, func(l *lake.Lake) error { return e.runRemove(c, l, args[0], by, reason) })
		},
	}
	c.Flags().StringVar(&by, "by", "", "who removes them (default: this account)")
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return c
}

func (e *env) runRemove(c *cobra.Command, l *lake.Lake, namespace, by, reason string) error {
	done, kept, err := l.RemoveNamespace(c.Context(), namespace, by, reason, time.Now())
	if e.asJSON && err == nil && len(kept) == 0 {
		return console.JSON(e.Out, append([]lake.Removal{}, done...))
	}
	for _, r := range done {
		fmt.Fprintf(e.Out, "%s: %s removed, %s changed\n", r.Bundle[:min(12, len(r.Bundle))], plural.Count(r.Rows, "row", "rows"), plural.Count(int64(len(r.Files)), "file", "files"))
	}
	for _, k := range kept {
		fmt.Fprintf(e.Out, "%s: %s\n", console.Line(k.Bundle.Name), console.Line(k.Err.Error()))
	}
	switch {
	case err == nil && len(kept) > 0:
		return exit.With(errors.New(plural.Sprintf("%d {bundle|bundles} must be kept; nothing was removed", int64(len(kept)))), exit.Refused, "")
	case err == nil && len(done) == 0:
		fmt.Fprintf(e.Out, "no row of namespace %s\n", console.Line(namespace))
	}
	return err
}
