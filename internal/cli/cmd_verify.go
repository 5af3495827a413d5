package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/cli/cache"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
)

func (e *env) cmdVerify() *cobra.Command {
	var asJSON, rederive bool
	var keys keyFlags
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check every file of a bundle against its hashes",
		Long: `Check every file of a bundle against its manifests, that nothing was added, and that the
custody log's chain holds. With --rederive everything is made again from the packets in the
bundle and compared with its files: tables row by row, every field of bundle.json, open.sql.
What packets cannot prove, such as the names of imported files, is listed. A bundle that was
made with keys needs them again, unless it holds them itself.`,
		Example: `  pcapsule verify incident.pcapsule
  pcapsule verify incident.pcapsule --rederive --json
  pcapsule verify incident.pcapsule --rederive --keys sslkeys.log`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runVerify(c, args[0], asJSON, rederive, &keys) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&rederive, "rederive", false, "make everything again from the packets and compare")
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
	if report.OK() {
		cache.MarkVerified(path)
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
			err = fmt.Errorf("%s: the bundle is not what its packets give: %s", path, res.Rederived.Differences[0])
		}
		hint := "the bundle was changed after it was made; ask for the original"
		if d := res.Rederived; d != nil && d.Release != d.By {
			hint = "release " + d.Release + " made it and this is " + d.By + ", which may read packets otherwise: verify with the release that made it"
		}
		return exit.With(err, exit.Verify, hint)
	}
	return nil
}

func (e *env) printVerify(r *verifyResult) {
	for _, p := range r.Problems {
		fmt.Fprintln(e.out, console.Line(p.String()))
	}
	if r.More > 0 {
		fmt.Fprintln(e.out, plural.Sprintf("… and %d {more problem|more problems}", r.More))
	}
	if !r.Report.OK() {
		return
	}
	fmt.Fprintf(e.out, "%s, %s: every hash is as the manifests say\n", plural.Count(int64(r.Files), "file", "files"), byteSize(r.Bytes))
	fmt.Fprintf(e.out, "tagmanifest sha256 %s\n", r.TagManifest)
	fmt.Fprintf(e.out, "custody: %s, chain whole\n", plural.Count(int64(len(r.Custody)), "entry", "entries"))
	if d := r.Rederived; d != nil {
		for _, diff := range d.Differences {
			fmt.Fprintln(e.out, console.Line(diff.String()))
		}
		if d.More > 0 {
			fmt.Fprintln(e.out, plural.Sprintf("… and %d {more difference|more differences}", d.More))
		}
		if d.OK() {
			fmt.Fprintln(e.out, plural.Sprintf("rederived: %d {column|columns} of %d {table is|tables are} what the packets give; %d {file agrees|files agree} to the byte", d.Columns, d.Tables, d.Files))
		}
		if len(d.Unproven) > 0 {
			fmt.Fprintln(e.out, console.Line("packets cannot prove: "+strings.Join(d.Unproven, ", ")))
		}
	}
}
