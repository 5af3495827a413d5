package viewer

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics/reader"
)

// read returns the command read, which answers questions about a bundle: those in the arguments, or, in a tab without any, those
// that the page asks until it ends the program.
func read(s *console.Streams) *cobra.Command {
	var state string
	c := &cobra.Command{
		Use: "read BUNDLE [ADDRESS...]", Short: "Answer questions about a bundle, as addresses of the REST paths", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			bar := s.Progress()
			bar.Draw(true, 0, 0, func() string { return "reading tables" })
			r, err := reader.Open(args[0], filepath.Base(args[0]))
			bar.Clear()
			if err != nil {
				return err
			}
			r.State = state
			if len(args) == 1 {
				return serve(c.Context(), r)
			}
			for _, address := range args[1:] {
				a := r.Ask(c.Context(), address, nil)
				if _, err := s.Out.Write(a.Body); err != nil {
					return err
				}
				if a.Status != ok {
					return exit.Usagef("%s: status %d", address, a.Status)
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&state, "state", "not_verified", "what a check of the files said: not_verified, verified or broken")
	return c
}

const ok = 200 // of HTTP

// asker answers questions one after the other.
type asker interface {
	Ask(ctx context.Context, address string, body []byte) reader.Answer
}
