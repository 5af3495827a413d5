package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/forensics"
)

// deadlineFlag adds --deadline to a command that asks about a case; usually is its default.
func deadlineFlag(c *cobra.Command, usually time.Duration) {
	d := c.Flags().Duration("deadline", usually, "give up after this time; 0: never")
	command.Between(c.Flags(), "deadline", d, 0, command.Longest)
}

// caseWithin opens bundles as one case, as openCase does, and returns the context of a command's questions about it, which
// ends with the deadline. Opening does not count: making a bundle of a large capture takes longer than an answer. end
// ends both.
func (e *env) caseWithin(c *cobra.Command, paths []string) (ctx context.Context, cs *forensics.Case, end func(), err error) {
	d, err := c.Flags().GetDuration("deadline")
	cobra.CheckErr(err)
	if f := c.Flags().Lookup("format"); f != nil && f.Value.String() != "table" && !c.Flags().Changed("deadline") {
		d = forensics.LongTime // all rows
	}
	if cs, err = e.openCase(c.Context(), paths); err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := forensics.WithDeadline(c.Context(), d)
	return ctx, cs, func() { cancel(); cs.Close() }, nil
}
