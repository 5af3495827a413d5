package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

func (e *env) cmdFindings() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "findings [BUNDLE|CAPTURE...]",
		Short: "List the analyzers, and how much each could examine in a bundle",
		Long: `List the analyzers of list-findings with their techniques of MITRE ATT&CK and with what each
needs to see. With a bundle, count how much of that it has: an analyzer that had nothing to
examine found nothing, which proves nothing.`,
		Example: `  pcapsule findings
  pcapsule findings incident.pcapsule
  pcapsule findings incident.pcapsule --json`,
		ValidArgsFunction: command.CompleteBundles,
		RunE:              func(c *cobra.Command, args []string) error { return e.runFindings(c, args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	e.captureFlags(c)
	deadlineFlag(c, forensics.AnswerTime)
	return c
}

// findingsResult is the output of findings --json.
type findingsResult struct {
	Analyzers []finding.Described `json:"analyzers"`
	Notes     []string            `json:"notes"` // what could not be read
}

func (e *env) runFindings(c *cobra.Command, args []string, asJSON bool) error {
	out := findingsResult{Analyzers: finding.Describe(all.Analyzers()), Notes: []string{}}
	if len(args) > 0 {
		ctx, cs, end, err := e.caseWithin(c, args)
		if err != nil {
			return err
		}
		defer end()
		if err := out.examine(ctx, cs); err != nil {
			return e.questionError(err)
		}
	}
	if asJSON {
		return e.JSON(out)
	}
	e.tableOf(out.Analyzers, len(args) > 0)
	for _, n := range out.Notes {
		_ = console.Row(e.Err, "", n)
	}
	return nil
}

// examine counts what the analyzers could examine in a case.
func (r *findingsResult) examine(ctx context.Context, cs *forensics.Case) (err error) {
	if r.Analyzers, err = finding.Examine(ctx, cs, all.Analyzers()); err != nil {
		return err
	}
	asked, err := ask.Scope{}.Read(ctx, cs)
	if err != nil {
		return err
	}
	frame, err := asked.Frame(ctx, cs)
	r.Notes = append(r.Notes, frame.Notes...)
	return err
}

// tableOf prints analyzers for people.
func (e *env) tableOf(list []finding.Described, counted bool) {
	name, techniques := len("FINDING"), len("TECHNIQUES")
	for _, a := range list {
		name, techniques = max(name, len(a.Finding)), max(techniques, len(strings.Join(a.Techniques, " ")))
	}
	row := func(finding, number, of, examines string) {
		if counted {
			number = fmt.Sprintf("%9s  ", number)
		} else {
			number = ""
		}
		_ = console.Row(e.Out, fmt.Sprintf("%-*s  %s%-*s  ", name, finding, number, techniques, of), examines)
	}
	row("FINDING", "EXAMINED", "TECHNIQUES", "EXAMINES")
	for _, a := range list {
		number := "-"
		if a.Examined != nil {
			number = fmt.Sprint(*a.Examined)
		}
		row(a.Finding, number, cmp.Or(strings.Join(a.Techniques, " "), "-"), cmp.Or(a.Examines, "the recording itself"))
	}
}
