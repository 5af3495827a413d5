package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/internal/whole"
)

func (e *env) cmdCheck() *cobra.Command {
	var asJSON bool
	var junit, sarif string
	var limit int
	c := &cobra.Command{
		Use:   "check BUNDLE|CAPTURE... RULES.yaml",
		Short: "Check traffic against rules: statuses, headers, schemas, latency, retries, database calls",
		Long: `Check the calls in bundles against a file of rules, by hand or in a CI pipeline. A rule selects
calls with a KFL filter and states what must be true of them; docs/guide/check.md describes every
key. A rule without matching calls fails, unless it has min_calls: 0. If a rule of level error
fails, the exit code is 8, and calls that violate it are listed with their packets.`,
		Example: `  pcapsule check run.pcapsule rules.yaml
  pcapsule check run.pcapsule rules.yaml --junit check.xml --sarif check.sarif`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			file := args[len(args)-1]
			if limit < 1 {
				return exit.Usagef("--limit %d: must be at least 1", limit)
			}
			if err := cmp.Or(exit.Outside(junit, sarif), exit.InFolder(junit), exit.InFolder(sarif)); err != nil {
				return err
			}
			if info, err := os.Stat(file); err == nil && info.IsDir() {
				return exit.Usagef("%s is a folder: the last argument is the file of rules", file)
			}
			rules, err := check.Load(file)
			if err != nil {
				return exit.With(err, exit.Syntax, "docs/guide/check.md describes the format of rules")
			}
			ctx, cs, end, err := e.caseWithin(c, args[:len(args)-1])
			if err != nil {
				return err
			}
			defer end()
			r, err := check.Run(ctx, cs, rules, all.Analyzers())
			if err != nil {
				return e.questionError(err)
			}
			for _, f := range []struct {
				path  string
				write func(io.Writer) error
			}{
				{junit, func(w io.Writer) error { return r.WriteJUnit(w, file) }},
				{sarif, func(w io.Writer) error { return r.WriteSARIF(w, version.Release, file) }},
			} {
				if err := e.writeReport(f.path, outputMode(cs), e.masked(f.write)); err != nil {
					return err
				}
			}
			if asJSON {
				err = e.printAnswer(r, true)
			} else {
				err = e.masked(func(w io.Writer) error { return printCheck(w, r, limit) })(e.Out)
			}
			if err == nil && r.Failed > 0 {
				err = exit.With(errors.New(plural.Sprintf("%d of %s failed", r.Failed, plural.Count(int64(len(r.Results)), "rule", "rules"))), exit.Verify, "pcapsule show BUNDLE CALL shows a call that violates a rule; pcapsule packets writes its packets")
			}
			return err
		},
	}
	e.maskFlag(c)
	e.indicatorFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	e.captureFlags(c)
	deadlineFlag(c, forensics.LongTime)
	c.Flags().IntVar(&limit, "limit", 5, "violations of a rule to print; JSON, JUnit and SARIF have up to 50")
	command.Between(c.Flags(), "limit", &limit, 0, command.Most)
	c.Flags().StringVar(&junit, "junit", "", "also write JUnit XML to this file; - for standard output")
	c.Flags().StringVar(&sarif, "sarif", "", "also write SARIF 2.1.0 to this file; - for standard output")
	return c
}

// writeReport writes a file for a pipeline. It replaces the file of the previous run.
func (e *env) writeReport(path string, mode fs.FileMode, write func(io.Writer) error) error {
	switch path {
	case "":
		return nil
	case "-":
		return write(e.Exact())
	}
	return exit.OutputError(whole.Replace(path, mode, write), path)
}

// printCheck prints the outcome of each rule, with its first violations up to a limit.
func printCheck(w io.Writer, r *check.Report, limit int) error {
	for _, o := range r.Results {
		word := map[check.Status]string{check.Pass: "ok", check.Fail: "FAIL", check.NotRecorded: "NOT RECORDED", check.Errored: "ERROR"}[o.Status]
		if o.Status != check.Pass && o.Level == "warning" {
			word = "warning"
		}
		what := fmt.Sprintf("%s (%s)", console.Printable(o.Title(), 250), plural.Count(o.Calls, "call", "calls"))
		if len(o.Measured) > 0 {
			what += ": " + strings.Join(o.Measured, ", ")
		}
		_ = console.Row(w, fmt.Sprintf("%-6s ", word), what) // a broken pipe ends the command
		for _, b := range o.Broken[:min(limit, len(o.Broken))] {
			_ = console.Row(w, "       ", fmt.Sprintf("expected %s, got %s", console.Printable(b.Expected, 300), console.Printable(b.Got, 300)))
			if x := b.Call; x != nil {
				_ = console.Row(w, "         ", fmt.Sprintf("%s  %s -> %s  %s  call %s  %s", x.Time, console.Printable(x.Src, 60), console.Printable(x.Dst, 60), console.Printable(x.Summary, 80), x.CallID[:12], x.Packets))
			}
		}
		if kept := int64(len(o.Broken)); kept+o.More > int64(limit) {
			text := fmt.Sprintf("%d of %s listed", min(int64(limit), kept), plural.Count(kept+o.More, "violation", "violations"))
			if kept > int64(limit) {
				text += fmt.Sprintf("; --limit %d lists %d", kept, kept)
			}
			_ = console.Row(w, "       ", text)
		}
	}
	_, err := fmt.Fprintln(w, plural.Sprintf("%d {rule|rules} passed, %d failed, %d {warning|warnings}; recorded: %s", r.Passed, r.Failed, r.Warned, r.Coverage.Recorded()))
	return err
}
