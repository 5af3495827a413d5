package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/command"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/cli/format"
)

func (e *env) cmdShow() *cobra.Command {
	var asJSON bool
	var maxBody string
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
			most, err := command.ParseSize(maxBody)
			if err != nil {
				return exit.With(fmt.Errorf("--max-body: %w", err), exit.Usage, "")
			}
			cs, err := e.openCase(c.Context(), args[:len(args)-1])
			if err != nil {
				return err
			}
			defer cs.Close()
			ctx, cancel := within(c)
			defer cancel()
			x, err := cs.Call(ctx, args[len(args)-1], forensics.CallOptions{MaxBody: int(min(max(most, 1), 1<<30))})
			if err != nil {
				return e.questionError(err)
			}
			if asJSON {
				return format.CallJSON(&e.Streams, x)
			}
			return format.Call(&e.Streams, x)
		},
	}
	e.maskFlag(c)
	e.captureFlags(c)
	deadlineFlag(c, forensics.AnswerTime)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&maxBody, "max-body", "16KiB", "maximum size of each body to show")
	return c
}

func (e *env) cmdFollow() *cobra.Command {
	var maxBytes string
	var raw bool
	c := &cobra.Command{
		Use:   "follow BUNDLE|CAPTURE... CALL",
		Short: "Print what both sides of a call's connection sent",
		Example: `  pcapsule follow incident.pcapsule 4f2a91c07be3
  pcapsule follow incident.pcapsule '#42' --raw > stream.bin`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeCalls,
		RunE: func(c *cobra.Command, args []string) error {
			most, err := command.ParseSize(maxBytes)
			if err != nil {
				return exit.With(fmt.Errorf("--max: %w", err), exit.Usage, "")
			}
			cs, err := e.openCase(c.Context(), args[:len(args)-1])
			if err != nil {
				return err
			}
			defer cs.Close()
			ctx, cancel := within(c)
			defer cancel()
			s, err := cs.Follow(ctx, args[len(args)-1], forensics.FollowOptions{MaxBytes: int(min(max(most, 1), 1<<30))})
			if err != nil {
				return e.questionError(err)
			}
			return format.Conversation(&e.Streams, s, raw)
		},
	}
	e.captureFlags(c)
	deadlineFlag(c, forensics.AnswerTime)
	c.Flags().StringVar(&maxBytes, "max", "1MiB", "maximum size to print")
	c.Flags().BoolVar(&raw, "raw", false, "print the bytes unchanged, both directions in the order of time")
	return c
}
