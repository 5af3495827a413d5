package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/recorder"
)

func (e *env) cmdDoctor() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can record, and what to change",
		Long: `Try everything that pcapsule record needs, for a moment and without recording anything: the
kernel, its description of types, control groups, rights, each place in the kernel that programs
are attached to, and the clock. Exits with 1 where recording does not work.`,
		Example: `  pcapsule doctor
  pcapsule doctor --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return e.runDoctor(asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "for machines")
	return c
}

func (e *env) runDoctor(asJSON bool) error {
	checks := recorder.Doctor()
	works := recorder.Works(checks)
	if asJSON {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(struct {
			Works  bool             `json:"works"`
			Checks []recorder.Check `json:"checks"`
		}{works, checks}); err != nil {
			return fmt.Errorf("writing checks: %w", err)
		}
	} else {
		for _, c := range checks {
			mark := map[recorder.State]string{recorder.Good: "ok   ", recorder.Partial: "less ", recorder.Bad: "no   "}[c.State]
			fmt.Fprintf(e.out, "%s%s: %s\n", mark, lines(c.Name), lines(c.Detail))
			if c.Change != "" {
				fmt.Fprintf(e.out, "     → %s\n", lines(c.Change))
			}
		}
	}
	if !works {
		return codedError{errors.New("recording does not work here"), exitOther, ""}
	}
	return nil
}
