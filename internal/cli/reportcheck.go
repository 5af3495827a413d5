package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/internal/cli/command"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/value"
)

// readReport reads a report in a file.
func readReport(path string) (form render.Form, file []byte, err error) {
	form, err = render.FormOf(path)
	if err != nil {
		return form, nil, exit.With(fmt.Errorf("%s: %w", path, err), exit.Usage, "")
	}
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxReport {
		err = fmt.Errorf("%s has %d bytes; at most %d are read", path, info.Size(), maxReport)
	}
	if err == nil {
		file, err = os.ReadFile(path)
	}
	if err != nil {
		return form, nil, exit.With(err, exit.NotCapture, "")
	}
	return form, file, nil
}

func (e *env) cmdReportVerify() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify FILE BUNDLE...",
		Short: "Check every figure of a report against its bundles",
		Long: `Check a report against the bundles that it was made from. The report is built again with the
options in the file. Every value is compared, and what a reader of the file sees is compared with
the values. Differences are named, and the exit code is then 8. A masked report needs the same
--mask. Bundles must be given in the order in which the report names them.`,
		Example: `  pcapsule report verify outage.html incident.pcapsule
  pcapsule report verify outage.csv node-a.pcapsule node-b.pcapsule --json`,
		Args:              command.CheckArgs(cobra.MinimumNArgs(2)),
		ValidArgsFunction: command.CompleteBundles,
		RunE:              func(c *cobra.Command, args []string) error { return e.runReportVerify(c, args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	e.maskFlag(c)
	return c
}

func (e *env) runReportVerify(c *cobra.Command, args []string, asJSON bool) error {
	form, file, err := readReport(args[0])
	if err != nil {
		return err
	}
	r, err := form.Read(file)
	if err != nil {
		return exit.With(fmt.Errorf("%s: %w", args[0], err), exit.Verify, "")
	}
	if r.Basis.Mask != "" && e.mask == "" {
		e.mask = maskDefault
	}
	o := reportOptions()
	paths := args[1:]
	checked := func(i int) bool { return i < len(r.Basis.Bundles) && r.Basis.Bundles[i].Checked }
	if o.Checks, err = checkBundles(c, paths, checked); err != nil {
		return err
	}
	cs, err := e.openCase(c.Context(), paths)
	if err != nil {
		return err
	}
	defer cs.Close()
	e.maskReport(cs, o)
	if o.MaskID != r.Basis.Mask {
		return exit.Usagef("the report is masked by the policy with SHA-256 %s: give this policy with --mask=POLICY.yaml", or(r.Basis.Mask, "none"))
	}
	check, err := report.Verify(c.Context(), form, file, cs, *o)
	if err != nil {
		return e.reportError(err)
	}
	if asJSON {
		if err := e.JSON(check); err != nil {
			return err
		}
	} else {
		printVerified(e.Out, args[0], check)
	}
	if n := len(check.Differences); n > 0 {
		return exit.With(fmt.Errorf("%s is not what its bundles give", args[0]), exit.Verify, "ask its author for the original, or make the report again with pcapsule report")
	}
	return nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func printVerified(w io.Writer, path string, k *report.Check) {
	if len(k.Differences) == 0 {
		fmt.Fprintln(w, path+plural.Sprintf(" is intact: %d {statement|statements}, %d {table|tables}, %d {figure|figures} and %d {citation|citations} are those of the bundles", k.Statements, k.Tables, k.Figures, k.Citations))
		return
	}
	for _, d := range k.Differences {
		fmt.Fprintln(w, d)
	}
}

func (e *env) cmdReportDiff() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare the findings of two reports: new, fixed, accepted, unchanged",
		Long: `Compare the findings of two reports. Findings are the same if they have the same id: the analyzer,
both ends and what was found. A finding that is only in the old report is listed as fixed; a note
says if losses in the new recording could hide it.`,
		Example: `  pcapsule report diff monday.json friday.json`,
		Args:    command.CheckArgs(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := diffReports(args[0], args[1])
			if err != nil {
				return err
			}
			if asJSON {
				return e.JSON(d)
			}
			return printDiff(e.Out, d)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func diffReports(old, now string) (*report.Diff, error) {
	a, err := readFindings(old)
	if err != nil {
		return nil, err
	}
	b, err := readFindings(now)
	if err != nil {
		return nil, err
	}
	return report.Compare(a, b), nil
}

func readFindings(path string) (*value.Report, error) {
	form, file, err := readReport(path)
	if err != nil {
		return nil, err
	}
	r, err := form.Read(file)
	if err != nil {
		return nil, exit.With(fmt.Errorf("%s: %w", path, err), exit.NotCapture, "")
	}
	return r, nil
}

func printDiff(w io.Writer, d *report.Diff) error {
	var b bytes.Buffer
	for _, part := range []struct {
		name string
		list []value.Finding
	}{{"new", d.New}, {"fixed", d.Fixed}, {"accepted", d.Accepted}, {"unchanged", d.Unchanged}} {
		fmt.Fprintf(&b, "%s: %d\n", part.name, len(part.list))
		for _, f := range part.list {
			fmt.Fprintf(&b, "  %-6s  %s  %s\n", f.Severity, f.ID, f.What)
			if f.Accepted != "" {
				fmt.Fprintf(&b, "          accepted: %s\n", f.Accepted)
			}
		}
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := w.Write(b.Bytes())
	return err
}
