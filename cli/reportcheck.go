package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/custody"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/forensics"
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

// reportCheckFlags are the flags of report verify.
type reportCheckFlags struct {
	asJSON  bool
	recheck string
	trust   custody.TrustFlags
}

func (e *env) cmdReportVerify() *cobra.Command {
	var f reportCheckFlags
	c := &cobra.Command{
		Use:   "verify FILE BUNDLE...",
		Short: "Check every figure of a report against its bundles",
		Long: `Check a report against the bundles that it was made from. The report is built again with the
options in the file. Every value is compared, and what a reader of the file sees is compared with
the values. Differences are named, and the exit code is then 8. A masked report needs the same
--mask. Bundles must be given in the order in which the report names them.

For a report about a collection, give the collection file: all bundles are read again, and the log up to the
entry that the report states. If FILE` + signedSuffix + ` or FILE.ROLE` + signedSuffix + ` exists (pcapsule report sign), the
signatures are checked too, every file of the bundles is hashed, and their seals are listed. With --signer the command fails unless that key
signed the report. Results of a second tool are checked again only with --recheck tshark.`,
		Example: `  pcapsule report verify outage.html incident.pcapsule
  pcapsule report verify outage.html incident.pcapsule --signer examiner.pub
  pcapsule report verify outage.csv node-a.pcapsule node-b.pcapsule --json`,
		Args:              command.CheckArgs(cobra.MinimumNArgs(2)),
		ValidArgsFunction: command.CompleteBundles,
		RunE:              func(c *cobra.Command, args []string) error { return e.runReportVerify(c, args, &f) },
	}
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	c.Flags().StringArrayVar(&f.trust.Signers, "signer", nil, "public key that must have signed the report: PEM, OpenSSH or certificate; can be repeated")
	recheckFlag(c, &f.recheck)
	deadlineFlag(c, forensics.LongTime)
	e.maskFlag(c)
	e.listFlags(c)
	return c
}

// checkedReport is a report that was checked.
type checkedReport struct {
	report  *value.Report
	file    []byte
	check   *report.Check
	bundles []*bundle.Report // results of verifications; nil: not all were verified
}

// listsOf are the flags for the lists of indicators and GeoIP files with which a report was made.
func listsOf(r *value.Report) string {
	var list []string
	for _, f := range r.Basis.Indicators {
		list = append(list, fmt.Sprintf("--indicators %s (SHA-256 %s)", f.Name, f.SHA256))
	}
	for _, f := range r.Basis.GeoIP {
		list = append(list, fmt.Sprintf("--geoip %s (SHA-256 %s)", f.Name, f.SHA256))
	}
	return cmp.Or(strings.Join(list, ", "), "neither --indicators nor --geoip")
}

// checkReport checks the report in a file against bundles. If every is true, all bundles are verified.
func (e *env) checkReport(c *cobra.Command, args []string, recheck string, every bool) (*checkedReport, error) {
	form, file, err := readReport(args[0])
	if err != nil {
		return nil, err
	}
	r, err := form.Read(file)
	if err != nil {
		return nil, exit.With(fmt.Errorf("%s: %w", args[0], err), exit.Verify, "")
	}
	if r.Basis.Collection != nil {
		return e.checkCollection(c.Context(), args, form, file, r)
	}
	if r.Basis.Mask != "" && e.mask == "" {
		e.mask = maskDefault
	}
	o := reportOptions()
	if o.Recheck, err = recheckWith(recheck); err != nil {
		return nil, err
	}
	paths := args[1:]
	stated := func(i int) bool { return i < len(r.Basis.Bundles) && r.Basis.Bundles[i].Checked }
	out := &checkedReport{report: r, file: file}
	out.bundles, err = checkBundles(c, paths, func(i int) bool { return every || stated(i) })
	if err != nil {
		return nil, err
	}
	o.Checks = slices.Clone(out.bundles)
	for i := range o.Checks {
		if !stated(i) {
			o.Checks[i] = nil // the report says that it was not verified
		}
	}
	ctx, cs, end, err := e.caseWithin(c, paths)
	if err != nil {
		return nil, err
	}
	defer end()
	e.maskReport(cs, o)
	if o.MaskID != r.Basis.Mask {
		return nil, exit.Usagef("the report is masked by the policy with SHA-256 %s: give this policy with --mask=POLICY.yaml", cmp.Or(r.Basis.Mask, "none"))
	}
	if indicators, geoip := report.ListsOf(cs); !slices.Equal(r.Basis.Indicators, indicators) || !slices.Equal(r.Basis.GeoIP, geoip) {
		return nil, exit.Usagef("the report was made with other lists: give %s", listsOf(r))
	}
	if out.check, err = report.Verify(ctx, form, file, cs, *o); err != nil {
		return nil, e.reportError(err)
	}
	return out, nil
}

func (e *env) runReportVerify(c *cobra.Command, args []string, f *reportCheckFlags) error {
	trust, err := f.trust.Read()
	if err != nil {
		return err
	}
	envelopes, err := readSignatures(args[0])
	if err != nil {
		return err
	}
	signed := len(envelopes) > 0 || len(trust.Signers) > 0
	k, err := e.checkReport(c, args, f.recheck, signed)
	if err != nil {
		return err
	}
	var verdicts []seal.Verdict
	if signed {
		verdicts = k.signatures(c.Context(), args, envelopes, trust)
	}
	if f.asJSON {
		err := e.JSON(struct {
			*report.Check
			Signatures []seal.Verdict `json:"signatures,omitempty"`
		}{k.check, verdicts})
		if err != nil {
			return err
		}
	} else {
		printVerified(e.Out, args[0], k.check)
		for _, v := range verdicts {
			custody.PrintVerdict(e.Out, v)
		}
	}
	if n := len(k.check.Differences); n > 0 {
		return differs(args[0])
	}
	for _, v := range verdicts {
		if v.State == seal.No {
			return exit.With(fmt.Errorf("%s: %s: %s", args[0], v.Check, v.Detail), exit.Verify, "ask the person who signed the report")
		}
	}
	return nil
}

// differs is the error of a report that does not match its bundles.
func differs(path string) error {
	return exit.With(fmt.Errorf("%s does not match its bundles", path), exit.Verify, "ask its author for the original, or make the report again with pcapsule report")
}

func printVerified(w io.Writer, path string, k *report.Check) {
	if len(k.Differences) == 0 {
		fmt.Fprintln(w, path+plural.Sprintf(" is intact: %d {statement|statements}, %d {table|tables}, %d {figure|figures} and %d {citation|citations} match the bundles", k.Statements, k.Tables, k.Figures, k.Citations))
	}
	for _, d := range k.Differences {
		fmt.Fprintln(w, d)
	}
	for _, n := range k.Notes {
		fmt.Fprintln(w, console.Line("note: "+n))
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
