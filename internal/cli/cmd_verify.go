package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/version"
)

func (e *env) cmdVerify() *cobra.Command {
	var asJSON, rederive bool
	var keys keyFlags
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check every file of a bundle against its hashes",
		Long: `Check every file of a bundle against its manifests, that nothing was added, and that the chain
of the custody log is unbroken. With --rederive, make the tables again from the packets in the
bundle and compare them with its row digests, which are the same in all releases. A bundle that
was made with keys needs the keys again, unless it contains them.`,
		Example: `  pcapsule verify incident.pcapsule
  pcapsule verify incident.pcapsule --rederive --json
  pcapsule verify incident.pcapsule --rederive --keys sslkeys.log`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runVerify(c, args[0], asJSON, rederive, &keys) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&rederive, "rederive", false, "make the tables again from the packets and compare")
	keys.register(c.Flags())
	return c
}

// verifyResult is what verify --json prints.
type verifyResult struct {
	OK bool `json:"ok"`
	*bundle.Report
	Rederived *exporter.Rederived `json:"rederived,omitempty"`
}

func (e *env) runVerify(c *cobra.Command, path string, asJSON, rederive bool, keys *keyFlags) error {
	o := exporter.Options{Release: version.Release}
	if err := keys.apply(&o); err != nil {
		return err
	}
	if len(o.Keys)+len(o.Identities) > 0 && !rederive {
		return exit.Usagef("--keys and --identity are for --rederive")
	}
	hashing := newProgress(e)
	report, err := bundle.Verify(c.Context(), path, hashing.bytes("hashing"))
	hashing.clear()
	if err != nil {
		return err
	}
	res := verifyResult{OK: report.OK(), Report: report}
	if report.OK() && rederive {
		b, err := bundle.Open(path)
		if err != nil {
			return err
		}
		bar := newProgress(e)
		o.Progress = bar.update
		res.Rederived, err = exporter.Rederive(c.Context(), b, o)
		bar.clear()
		if errors.Is(err, exporter.ErrNeedsKeys) {
			return exit.With(err, exit.Verify, "every file is as it was; to make the tables again give --keys FILE")
		}
		if err != nil {
			return err
		}
		res.OK = res.Rederived.OK()
	}
	if asJSON {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(res); err != nil {
			return err
		}
	} else {
		e.printVerify(&res)
	}
	if !res.OK {
		err := report.Err()
		if err == nil {
			err = errors.New(path + ": the tables are not what the packets give")
		}
		return exit.With(err, exit.Verify, "the bundle was changed after it was made; ask for the original")
	}
	return nil
}

func (e *env) printVerify(r *verifyResult) {
	for _, p := range r.Problems {
		fmt.Fprintf(e.out, "%s\n", p)
	}
	if r.More > 0 {
		fmt.Fprintf(e.out, "… and %d more problems\n", r.More)
	}
	if !r.Report.OK() {
		return
	}
	fmt.Fprintf(e.out, "%d files, %s: every hash is as the manifests say\n", r.Files, byteSize(r.Bytes))
	fmt.Fprintf(e.out, "tagmanifest sha256 %s\n", r.TagManifest)
	fmt.Fprintf(e.out, "custody: %d entries, chain whole\n", len(r.Custody))
	if d := r.Rederived; d != nil {
		for _, diff := range d.Differences {
			fmt.Fprintf(e.out, "table %s, column %s: %s\n", diff.Table, diff.Column, diff.What)
		}
		if d.OK() {
			fmt.Fprintf(e.out, "rederived: %d columns of %d tables are what the packets give\n", d.Columns, d.Tables)
		}
	}
}
