package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/report"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// maxReport is the largest file that report verify and report diff read.
const maxReport = 256 << 20

type reportFlags struct {
	output, title, template, accept, kfl, recheck string
	allow                                         []string
	json, verify, attest                          bool
	window                                        window
}

func (e *env) cmdReport() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report BUNDLE|CAPTURE... -o FILE.html|.pdf|.xlsx",
		Short: "Write a report about a bundle: an incident, security, access, egress, personal data, TLS",
		Long: `Write a report about one or more bundles. The template decides which sections it has: overview,
incident, security, access, accesses, card-accesses, egress, pii, tls, vendor, architecture,
performance, or a YAML file of your own. The ending of the output's name is its format: ` + endings() + `.

The first page says what happened, to whom, since when, how certain that is, and what was not
recorded. Every statement, figure and table cites the calls, packets and queries behind it, and the figures are
the same as those of pcapsule ask. The same bundles and flags always give the same bytes.
pcapsule report verify FILE BUNDLE checks a report against its bundle, and pcapsule report sign
FILE BUNDLE signs it.

With --recheck tshark, the packets of every cited call are also read with tshark, which must be
installed, and the report says which facts it confirms and which differ.`,
		Example: `  pcapsule report incident.pcapsule -o overview.html
  pcapsule report incident.pcapsule --template incident --from 15m -o incident.html
  pcapsule report node-a.pcapsule node-b.pcapsule --verify --title "Checkout outage" -o outage.html
  pcapsule report incident.pcapsule --template access --kfl 'dst.name == "auth"' -o access.xlsx
  pcapsule report incident.pcapsule --template egress --allow '*.example.net' --allow 'outside->shop' -o egress.html
  pcapsule report incident.pcapsule --mask -o for-the-vendor.html
  pcapsule report incident.pcapsule --template incident --recheck tshark -o incident.html
  pcapsule report incident.pcapsule --json | jq -r .statements[].text`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: command.CompleteBundles,
		RunE:              func(c *cobra.Command, args []string) error { return e.runReport(c, args, &f) },
	}
	c.Flags().StringVarP(&f.output, "output", "o", "", "file to write; - is standard output, as HTML or with --json")
	c.Flags().StringVar(&f.template, "template", "overview", "template: "+strings.Join(templates.Names(), ", ")+", or FILE.yaml")
	c.Flags().StringVar(&f.title, "title", "", "title of the report (default: the names of the bundles)")
	c.Flags().StringVar(&f.kfl, "kfl", "", "only calls that match this KFL filter")
	c.Flags().StringVar(&f.accept, "accept", "", "YAML file with findings that were accepted, and the reasons")
	c.Flags().StringArrayVar(&f.allow, "allow", nil, "allowed outside address, prefix or domain, or pair of namespaces, such as 203.0.113.0/24, *.example.org, shop->payments or outside->shop; others are findings; can be repeated")
	c.Flags().BoolVar(&f.attest, "attest", false, "state in the report that the capture points see all traffic in scope and lost nothing unreported; controls can then be supported")
	c.Flags().BoolVar(&f.json, "json", false, "write the report as JSON; to standard output without -o")
	f.window.flags(c)
	e.maskFlag(c)
	e.listFlags(c)
	e.captureFlags(c)
	deadlineFlag(c, forensics.LongTime)
	c.Flags().BoolVar(&f.verify, "verify", false, "verify every file of the bundles first, and state the result in the report")
	recheckFlag(c, &f.recheck)
	cobra.CheckErr(c.RegisterFlagCompletionFunc("template", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return templates.Names(), cobra.ShellCompDirectiveDefault
	}))
	c.AddCommand(e.cmdReportVerify(), e.cmdReportSign(), e.cmdReportDiff())
	return c
}

// endings lists the endings of names of reports.
func endings() string {
	var list []string
	for _, f := range render.Forms() {
		list = append(list, "."+f.Name)
	}
	return strings.Join(list, ", ")
}

func (e *env) runReport(c *cobra.Command, paths []string, f *reportFlags) error {
	form, err := f.form()
	if err != nil {
		return err
	}
	if f.output != "-" {
		if err := exit.NewOutput(f.output); err != nil {
			return err
		}
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	given := paths
	paths, err = e.bundles(c.Context(), given)
	if err != nil {
		return err
	}
	if o.Title == "" && !slices.Equal(paths, given) {
		o.Title = titleOf(given)
	}
	if f.verify {
		if o.Checks, err = checkBundles(c, paths, nil); err != nil {
			return err
		}
	}
	ctx, cs, end, err := e.caseWithin(c, paths)
	if err != nil {
		return err
	}
	defer end()
	e.maskReport(cs, o)
	r, err := report.Build(ctx, cs, *o)
	if err != nil {
		return e.reportError(err)
	}
	for _, s := range r.Statements {
		if s.ID == value.Unmatched {
			e.Remark("%s", s.Text)
		}
	}
	write := func(w io.Writer) error { return form.Write(w, r) }
	if f.output == "-" {
		return write(e.Exact())
	}
	return created(f.output, outputMode(cs), write)
}

// titleOf names captures and folders as a person knows them; their bundles have other names.
func titleOf(paths []string) string {
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(filepath.Clean(p)))
	}
	if len(names) > 4 {
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return value.And(names)
}

// form is the format of the output.
func (f *reportFlags) form() (render.Form, error) {
	name := f.output
	switch {
	case f.output == "" && !f.json:
		return render.Form{}, exit.Usagef("missing output: give -o FILE.html")
	case f.output == "":
		f.output = "-"
	}
	if f.json {
		name = "-.json"
	} else if f.output == "-" {
		name = "-.html"
	}
	form, err := render.FormOf(name)
	if err != nil {
		return form, exit.Usagef("-o %s: %v", f.output, err)
	}
	return form, nil
}

// options reads the files that the flags name.
func (f *reportFlags) options() (*report.Options, error) {
	o := reportOptions()
	var err error
	if o.Recheck, err = recheckWith(f.recheck); err != nil {
		return nil, err
	}
	o.Name, o.Title, o.KFL, o.From, o.To = f.template, f.title, f.kfl, f.window.from, f.window.to
	if strings.HasSuffix(f.template, ".yaml") || strings.HasSuffix(f.template, ".yml") {
		text, err := os.ReadFile(f.template)
		if err != nil {
			return nil, fmt.Errorf("reading a template: %w", err)
		}
		o.Name, o.Template = filepath.Base(f.template), string(text)
	} else if !slices.Contains(templates.Names(), f.template) {
		_, err := templates.Builtin(f.template)
		return nil, exit.With(err, exit.Usage, "")
	}
	if _, err := finding.ParseAllow(f.allow); err != nil {
		return nil, flagError(err)
	}
	o.Allow, o.Attest = f.allow, f.attest
	if f.accept != "" {
		text, err := os.ReadFile(f.accept)
		if err == nil {
			_, err = finding.ParseAccept(text)
		}
		if err != nil {
			return nil, exit.With(fmt.Errorf("accepted findings in %s: %w", f.accept, err), exit.Syntax, "docs/guide/findings.md describes the list")
		}
		o.Accept = string(text)
	}
	return o, nil
}

// reportOptions are the options of every report.
func reportOptions() *report.Options {
	o := &report.Options{Questions: findings.Questions(), Frameworks: control.Frameworks(), Release: version.Release}
	for _, a := range findings.Analyzers() {
		o.Analyzers = append(o.Analyzers, a.Name)
	}
	return o
}

// maskReport masks secrets in a report if the command has --mask.
func (e *env) maskReport(cs *forensics.Case, o *report.Options) {
	if e.known == nil {
		return
	}
	sum := sha256.Sum256(cs.Policy().Source())
	o.MaskID, o.Mask = hex.EncodeToString(sum[:]), e.known.Mask
}

// reportError gives the error of a report its exit code.
func (e *env) reportError(err error) error {
	var bad *templates.Error
	if errors.As(err, &bad) {
		return exit.With(err, exit.Syntax, "docs/guide/reports.md describes templates")
	}
	if usage := flagError(err); usage != err {
		return usage
	}
	return e.questionError(err)
}

// checkBundles verifies bundles: all of them, or those that want selects.
func checkBundles(c *cobra.Command, paths []string, want func(i int) bool) ([]*bundle.Report, error) {
	checks := make([]*bundle.Report, len(paths))
	for i, p := range paths {
		if want != nil && !want(i) {
			continue
		}
		check, err := bundle.Verify(c.Context(), p, nil)
		if err != nil {
			return nil, err
		}
		if !check.OK() {
			return nil, exit.With(check.Err(), exit.Verify, "pcapsule verify lists every problem; ask for the original")
		}
		checks[i] = check
	}
	return checks, nil
}

// outputMode is the mode of files that a command writes about a case: readable only by the
// owner if packets of a bundle were decrypted with keys.
func outputMode(cs *forensics.Case) fs.FileMode {
	for _, b := range cs.Bundles() {
		if b.Manifest.Decrypted() {
			return 0o600
		}
	}
	return 0o644
}

// created writes a new file, and explains an error.
func created(path string, mode fs.FileMode, write func(io.Writer) error) error {
	err := whole.Create(path, mode, write)
	if errors.Is(err, fs.ErrExist) {
		return exit.With(fmt.Errorf("output %s exists", path), exit.Exists, "")
	}
	return exit.OutputError(err, path)
}
