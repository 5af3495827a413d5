package cli

import (
	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/forensics"
)

func (e *env) cmdShow() *cobra.Command {
	var asJSON bool
	var maxBody command.Size
	c := &cobra.Command{
		Use:   "show BUNDLE|CAPTURE... CALL",
		Short: "Show one call: client and server, request, response, bodies, times, packets",
		Long: `Show one call. CALL is its number (call_no), its call_id, or at least the first 4 digits of its
call_id.`,
		Example: `  pcapsule show incident.pcapsule 42
  pcapsule show incident.pcapsule 4f2a91c07be3 --json | jq .response`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeCalls,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cs, end, err := e.caseWithin(c, args[:len(args)-1])
			if err != nil {
				return err
			}
			defer end()
			x, err := cs.Call(ctx, args[len(args)-1], forensics.CallOptions{MaxBody: int(maxBody)})
			if err != nil {
				return e.questionError(err)
			}
			if asJSON {
				return format.CallJSON(&e.Streams, x)
			}
			err = format.Call(&e.Streams, x)
			e.markRedacted(cs)
			return err
		},
	}
	e.maskFlag(c)
	e.captureFlags(c)
	deadlineFlag(c, forensics.AnswerTime)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.SizeVar(c.Flags(), &maxBody, "max-body", "", 16<<10, 1, 1<<30, "maximum size of each body to show")
	return c
}

// markRedacted says what facts of a redaction are worth.
func (e *env) markRedacted(cs *forensics.Case) {
	if len(cs.Redactions()) > 0 {
		e.Remark("%s", forensics.NotProved)
	}
}

func (e *env) cmdFollow() *cobra.Command {
	var maxBytes command.Size
	var raw bool
	c := &cobra.Command{
		Use:   "follow BUNDLE|CAPTURE... CALL",
		Short: "Print what both sides of a call's connection sent",
		Example: `  pcapsule follow incident.pcapsule 4f2a91c07be3
  pcapsule follow incident.pcapsule '#42' --raw > stream.bin`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeCalls,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cs, end, err := e.caseWithin(c, args[:len(args)-1])
			if err != nil {
				return err
			}
			defer end()
			s, err := cs.Follow(ctx, args[len(args)-1], forensics.FollowOptions{MaxBytes: int(maxBytes)})
			if err != nil {
				return e.questionError(err)
			}
			return format.Conversation(&e.Streams, s, raw)
		},
	}
	e.captureFlags(c)
	deadlineFlag(c, forensics.AnswerTime)
	command.SizeVar(c.Flags(), &maxBytes, "max", "", 1<<20, 1, 1<<30, "maximum size to print")
	c.Flags().BoolVar(&raw, "raw", false, "print the bytes unchanged, both directions in the order of time")
	return c
}
