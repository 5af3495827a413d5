package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/report"
)

type reportFlags struct {
	output, title string
	json, verify  bool
}

func (e *env) cmdReport() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report BUNDLE|CAPTURE... -o FILE.html",
		Short: "Write a one-page report about a bundle",
		Long: `Write one HTML page about a bundle: traffic over time, protocols, who calls whom, what is slow,
what fails, what was lost. Every figure and table states its query and cites the calls and packets
behind it. The page needs no network and no scripts, and can be printed. The same bundle always
produces the same page.`,
		Example: `  pcapsule report incident.pcapsule -o overview.html
  pcapsule report node-a.pcapsule node-b.pcapsule --verify --title "Checkout outage" -o outage.html
  pcapsule report incident.pcapsule --mask -o for-the-vendor.html
  pcapsule report incident.pcapsule --json | jq -r .summary[]`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeBundles,
		RunE:              func(c *cobra.Command, args []string) error { return e.runReport(c, args, &f) },
	}
	c.Flags().StringVarP(&f.output, "output", "o", "", "file to write; - is standard output")
	c.Flags().StringVar(&f.title, "title", "", "title of the page (default: the names of the bundles)")
	c.Flags().BoolVar(&f.json, "json", false, "write the report as JSON; to standard output without -o")
	e.maskFlag(c)
	e.captureFlags(c)
	c.Flags().BoolVar(&f.verify, "verify", false, "verify every file of the bundles first, and state the result on the page")
	return c
}

func (e *env) runReport(c *cobra.Command, paths []string, f *reportFlags) error {
	if f.output == "" {
		if !f.json {
			return exit.Usagef("missing output: give -o FILE.html")
		}
		f.output = "-"
	}
	if f.output != "-" {
		if err := exit.NewOutput(f.output); err != nil {
			return err
		}
	}
	paths, err := e.bundles(c.Context(), paths)
	if err != nil {
		return err
	}
	o := report.Options{Title: f.title, Release: version.Release}
	for _, p := range paths {
		if !f.verify {
			break
		}
		check, err := bundle.Verify(c.Context(), p, nil)
		if err != nil {
			return err
		}
		if !check.OK() {
			return exit.With(check.Err(), exit.Verify, "pcapsule verify lists every problem; ask for the original")
		}
		o.Checks = append(o.Checks, check)
	}
	cs, err := e.openCase(c.Context(), paths)
	if err != nil {
		return err
	}
	defer cs.Close()
	r, err := report.Build(c.Context(), cs, o)
	if err != nil {
		return e.questionError(err)
	}
	write := func(w io.Writer) error { return report.RenderHTML(w, r) }
	if f.json {
		write = func(w io.Writer) error { return encode(w, r, true) }
	}
	write = e.masked(write)
	if f.output == "-" {
		return write(e.exact())
	}
	return exit.OutputError(writeWhole(f.output, outputMode(cs), write), f.output)
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

// writeWhole writes a new file under a hidden name and renames it when it is complete, so
// that a command that fails leaves nothing behind.
func writeWhole(path string, mode fs.FileMode, write func(io.Writer) error) (err error) {
	t, err := os.CreateTemp(filepath.Dir(path), ".pcapsule-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.Close()
			os.Remove(t.Name())
		}
	}()
	if err := write(t); err != nil {
		return err
	}
	if err := t.Chmod(mode); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	// Unlike rename, link does not replace a file that was created in the meantime.
	switch err := os.Link(t.Name(), path); {
	case err == nil:
		os.Remove(t.Name())
		return nil
	case errors.Is(err, fs.ErrExist):
		os.Remove(t.Name())
		return exit.With(fmt.Errorf("output %s exists", path), exit.Exists, "")
	}
	return os.Rename(t.Name(), path) // a file system without links
}
