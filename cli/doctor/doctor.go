// Package doctor is the command doctor of pcapsule and pcapsule-recorder: it checks what a
// machine can record, and from which programs TLS keys can be read. It records nothing.
package doctor

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder"
)

type flags struct {
	json, keys bool
	layouts    string
}

// Command is doctor for a program. layouts returns the folder where that program keeps the layouts
// of TLS libraries, "" if it has none; it is called only if needed. questions checks the
// confinement of the worker process; nil if the program answers no questions.
func Command(program string, layouts func() string, questions func() []recorder.Check) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "doctor [--keys [PROCESS...]]",
		Short: "Check what this machine can record, and what to change",
		Long: `Check everything that recording needs: the kernel, its type information (BTF), control groups,
capabilities, each kernel hook, uprobes and the clock. Each hook is attached briefly. Nothing is
recorded. The exit code is 1 if recording does not work.

  ok        works
  degraded  recording works, but with less information
  missing   recording does not work until this is changed

With --keys, list the processes that use a TLS library, or only those that PROCESS names by
number or program: the library and its build, whether and how --keys and --plaintext can read it,
and what is missing. This only reads files. It also lists the library layouts that earlier
recordings learned.`,
		Example: strings.ReplaceAll(`  PROGRAM doctor
  PROGRAM doctor --json
  PROGRAM doctor --keys
  PROGRAM doctor --keys nginx 4711`, "PROGRAM", program),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 0 && !f.keys:
				return exit.Usagef("doctor %s: PROCESS needs --keys", strings.Join(args, " "))
			case c.Flags().Changed("layouts") && !f.keys:
				return exit.Usagef("--layouts needs --keys")
			case f.keys:
				if f.layouts == "" {
					f.layouts = layouts()
				}
				return inspect(c.OutOrStdout(), &f, args)
			}
			r := report{Checks: recorder.Doctor()}
			if questions != nil {
				r.Questions = questions()
			}
			return r.print(c.OutOrStdout(), program, f.json)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.json, "json", false, "print JSON")
	fl.BoolVar(&f.keys, "keys", false, "list processes whose TLS keys can be read")
	fl.StringVar(&f.layouts, "layouts", "", "with --keys: folder with the learned layouts of TLS libraries (default: where this program's recordings keep them)")
	return c
}

// report is the output of doctor --json.
type report struct {
	Works    bool             `json:"works"`
	Degraded int              `json:"degraded"` // partial checks
	Missing  int              `json:"missing"`  // bad checks
	Checks   []recorder.Check `json:"checks"`

	Questions []recorder.Check `json:"questions,omitempty"` // what confines them; recording does not need it
}

func (r *report) print(out io.Writer, program string, asJSON bool) error {
	r.Works = recorder.Works(r.Checks)
	for _, c := range r.Checks {
		switch c.State {
		case recorder.Partial:
			r.Degraded++
		case recorder.Bad:
			r.Missing++
		}
	}
	if asJSON {
		if err := console.JSON(out, r); err != nil {
			return fmt.Errorf("writing checks: %w", err)
		}
	} else {
		printRows(out, append(rows(r.Checks), rows(r.Questions)...))
		fmt.Fprintln(out)
		printRows(out, []row{{detail: r.summary()}})
		if r.Works {
			printRows(out, []row{{detail: program + " doctor --keys lists the programs whose TLS keys can be read."}})
		}
	}
	if !r.Works {
		return exit.With(errors.New("recording does not work on this machine"), exit.Other,
			"change what is missing, then run "+program+" doctor again")
	}
	return nil
}

func (r *report) summary() string {
	degraded := ""
	if r.Degraded > 0 {
		degraded = plural.Count(int64(r.Degraded), "degradation", "degradations")
	}
	switch {
	case r.Works && degraded != "":
		return "Recording works on this machine, with " + degraded + "."
	case r.Works:
		return "Recording works on this machine."
	}
	text := "Recording does not work on this machine: " + plural.Count(int64(r.Missing), "requirement is", "requirements are") + " missing"
	if degraded != "" {
		text += ", with " + degraded
	}
	return text + "."
}

// rows lists the checks for people. The dozens of hooks that work are one row per purpose.
func rows(checks []recorder.Check) (list []row) {
	marks := map[recorder.State]string{recorder.Good: "ok", recorder.Partial: "degraded", recorder.Bad: "missing"}
	at, number := map[string]int{}, map[string]int64{}
	for _, c := range checks {
		purpose, is := strings.CutPrefix(c.Detail, "for ")
		if !is || c.State != recorder.Good || !strings.HasPrefix(c.Name, "hook ") {
			list = append(list, row{marks[c.State], c.Name, c.Detail, c.Change})
			continue
		}
		if number[purpose]++; number[purpose] == 1 {
			at[purpose] = len(list)
			list = append(list, row{mark: "ok", name: "hooks for " + purpose})
		}
		list[at[purpose]].detail = plural.Thousands(number[purpose]) + " attached"
	}
	return list
}
