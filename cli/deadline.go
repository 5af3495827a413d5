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

// within returns the context of a command's questions, which ends with its deadline. Opening the case
// comes first: making a bundle of a large capture takes longer than an answer.
func within(c *cobra.Command) (context.Context, context.CancelFunc) {
	d, err := c.Flags().GetDuration("deadline")
	cobra.CheckErr(err)
	if f := c.Flags().Lookup("format"); f != nil && f.Value.String() != "table" && !c.Flags().Changed("deadline") {
		d = forensics.LongTime // all rows
	}
	return forensics.WithDeadline(c.Context(), d)
}
