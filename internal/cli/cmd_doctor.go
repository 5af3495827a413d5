package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/recorder"
)

type doctorFlags struct {
	json, keys bool
	layouts    string
}

func (e *env) cmdDoctor() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor [--keys [PROCESS...]]",
		Short: "Say what this machine can record, and what to change",
		Long: `Try everything that pcapsule record needs, for a moment and without recording anything: the
kernel, its description of types, control groups, rights, each place in the kernel that programs
are attached to, uprobes, and the clock. Exits with 1 where recording does not work.

--keys tells of each process that has a TLS library, or of those named by number or program:
which library and build it is, whether pcapsule record --keys and --plaintext can read it and how,
and what it would take. It reads files only. It also lists what earlier recordings have learned
of builds of libraries.`,
		Example: `  pcapsule doctor
  pcapsule doctor --json
  pcapsule doctor --keys
  pcapsule doctor --keys nginx 4711`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && !f.keys {
				return usagef("doctor takes processes with --keys only")
			}
			return e.runDoctor(&f, args)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.json, "json", false, "for machines")
	fl.BoolVar(&f.keys, "keys", false, "tell of programs whose TLS keys can be read")
	fl.StringVar(&f.layouts, "layouts", "", "with --keys: folder of what was learned (default: that of pcapsule record)")
	return c
}

func (e *env) runDoctor(f *doctorFlags, args []string) error {
	if f.keys {
		return e.runDoctorKeys(f, args)
	}
	asJSON := f.json
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

func (e *env) runDoctorKeys(f *doctorFlags, args []string) error {
	r, err := tlsOf(args, f.layouts)
	if err != nil {
		return err
	}
	if !f.json {
		e.printTLS(r)
		return nil
	}
	enc := json.NewEncoder(e.out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("writing what was found: %w", err)
	}
	return nil
}
