// Package verify is the command verify, which the program and the viewer have: what it prints and decides is the same in
// both.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/custody"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/exporting"
	"github.com/pcapsule/pcapsule/cli/ringcmd"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// env is what the command needs of its program.
type env struct {
	*console.Streams
	again    Again
	verified func(path string) // called if a bundle verifies
}

// Again makes everything in a bundle again from its packets and compares it (exporter.Rederive). It draws progress on bar.
type Again func(ctx context.Context, b *bundle.Bundle, keys []string, identities []age.Identity, bar *console.Progress) (*bundle.Rederived, error)

// Command returns the command verify. It calls verified for a bundle that verifies.
func Command(s *console.Streams, again Again, verified func(path string)) *cobra.Command {
	e := &env{s, again, verified}
	var f flags
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check every file of a bundle against its hashes and signatures",
		Long: `Check that every file of a bundle matches its manifests, that nothing was added, that the
custody log is unbroken, and that its seals are valid. Each line of the output is one verdict: yes, no or not
checked. A seal shows its signer's fingerprint; with --signer, verify fails unless that public key
signed. --authority does the same for the certificate of a time-stamp authority, and --log-key for
the public key of a transparency log. If --signer is a certificate, it must have been valid when the seal
was made; --root says to which certificates it must lead, and --crl gives revocation lists.

For a bundle of a ring, the segments must be those that the ring sealed, and the chain of its records
must be unbroken. An anchor (pcapsule ring anchor) that you give with --anchor must be in the chain.
With --witness and --ring-key, only anchors and records signed by these keys count.

With --rederive everything is rebuilt from the packets in the bundle and compared with its files:
tables row by row, every field of bundle.json, open.sql. What packets cannot prove, such as the
names of imported files, is listed. A bundle that was made with keys needs them again, unless it
contains them.

Of a redacted bundle, verify proves with the commitments of the original's seal which packets are
unchanged, and which bytes of the others. What only the maker of the redaction states is never yes, and
with --signer the redaction needs a seal of its own.

--reveal checks a proof from pcapsule reveal about the original of a derived bundle.`,
		Example: `  pcapsule verify incident.pcapsule
  pcapsule verify incident.pcapsule --signer examiner.pub --authority tsa.pem
  pcapsule verify incident.pcapsule --rederive --json
  pcapsule verify incident.pcapsule --rederive --keys sslkeys.log`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.run(c.Context(), args[0], &f) },
	}
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&f.rederive, "rederive", false, "rebuild everything from the packets and compare")
	f.trust.Register(c.Flags())
	c.Flags().StringArrayVar(&f.trust.Logs, "log-key", nil, "file with the public key of a transparency log, NAME+HASH+KEY; can be repeated")
	c.Flags().StringArrayVar(&f.reveals, "reveal", nil, "proof from pcapsule reveal about the original of a derived bundle; can be repeated")
	c.Flags().StringArrayVar(&f.anchors, "anchor", nil, "file with an anchor (see ring anchor) that must be in a ring of the bundle; can be repeated")
	c.Flags().StringArrayVar(&f.witnesses, "witness", nil, "file with the public key of a witness of rings; can be repeated")
	c.Flags().StringArrayVar(&f.ringKeys, "ring-key", nil, "file with the public key of a recorder, which must have signed the ring; can be repeated")
	f.keys.Register(c.Flags())
	return c
}

// flags are the flags of verify.
type flags struct {
	asJSON, rederive    bool
	trust               custody.TrustFlags
	reveals             []string
	anchors             []string
	witnesses, ringKeys []string
	keys                exporting.Keys
}

// rings reads the anchors and keys that the user trusts.
func (f *flags) rings() (o ring.VerifyOptions, err error) {
	if o.Anchors, err = ringcmd.ReadAnchors(f.anchors); err != nil {
		return o, err
	}
	if o.Witnesses, err = ringcmd.PublicKeys(f.witnesses); err != nil {
		return o, err
	}
	o.Keys, err = ringcmd.PublicKeys(f.ringKeys)
	return o, err
}

// result is the output of verify --json.
type result struct {
	OK bool `json:"ok"`
	*bundle.Report
	Verdicts  []seal.Verdict    `json:"verdicts"`
	Programs  []seal.Program    `json:"programs"` // whose digests are stated
	Rederived *bundle.Rederived `json:"rederived,omitempty"`

	derived []seal.Verdict // on what a derived bundle was made from
	rings   []seal.Verdict // on the rings that a bundle was made from
}

func (e *env) run(ctx context.Context, path string, f *flags) error {
	keys, identities, err := f.keys.Read()
	if err != nil {
		return err
	}
	trust, err := f.trust.Read()
	if err != nil {
		return err
	}
	rings, err := f.rings()
	if err != nil {
		return err
	}
	if len(keys)+len(identities) > 0 && !f.rederive {
		return exit.Usagef("--keys and --identity are for --rederive")
	}
	hashing := e.Progress()
	report, err := bundle.Verify(ctx, path, hashing.Bytes("hashing"))
	hashing.Clear()
	if err != nil {
		return err
	}
	res := result{OK: report.OK(), Report: report, Programs: seal.Programs(report)}
	res.rings = []seal.Verdict{{Check: "ring", State: seal.NotChecked, Detail: filesFirst}}
	var b *bundle.Bundle
	if report.OK() {
		if b, err = bundle.Open(path); err != nil {
			return err
		}
		res.rings = custody.Rings(b, rings)
		if res.derived, err = f.derived(ctx, b, &trust); err != nil {
			return err
		}
	}
	if b != nil && f.rederive {
		if res.Rederived, err = e.rederive(ctx, b, keys, identities); err != nil {
			return err
		}
		res.OK = res.Rederived.OK()
	}
	res.Verdicts = verdicts(ctx, &res, trust)
	for _, v := range res.Verdicts {
		res.OK = res.OK && v.State != seal.No
	}
	if res.OK {
		e.verified(path)
	}
	if f.asJSON {
		if err := e.JSON(res); err != nil {
			return err
		}
	} else {
		e.print(&res)
	}
	return res.failure(path)
}

// rederive makes everything from the packets again and compares it.
func (e *env) rederive(ctx context.Context, b *bundle.Bundle, keys []string, identities []age.Identity) (*bundle.Rederived, error) {
	bar := e.Progress()
	defer bar.Clear()
	r, err := e.again(ctx, b, keys, identities, bar)
	if errors.Is(err, bundle.ErrNeedsKeys) {
		return nil, exit.With(err, exit.Verify, "no file was changed; to rebuild the tables give --keys FILE")
	}
	return r, err
}

// derived checks the statements of a derived bundle about its original, and what --reveal shows of it.
func (f *flags) derived(ctx context.Context, b *bundle.Bundle, trust *seal.Trust) ([]seal.Verdict, error) {
	if b.Manifest.Derived == nil {
		if len(f.reveals) > 0 {
			return nil, exit.Usagef("--reveal is for a derived bundle, and %s is not one", b.Dir)
		}
		return nil, nil
	}
	trust.Committed, trust.Redacted = map[string]bool{}, b.Manifest.Derived.Kind == bundle.Redacted
	return derive.Verify(ctx, b, *trust, f.reveals...), nil
}

// failure is the error of a bundle that does not verify.
func (r *result) failure(path string) error {
	if r.OK {
		return nil
	}
	if err := r.Report.Err(); err != nil {
		return exit.With(err, exit.Verify, "the bundle was changed after it was made; ask for the original")
	}
	if d := r.Rederived; d != nil && !d.OK() {
		return exit.With(fmt.Errorf("%s: the bundle differs from its packets: %s", path, d.Differences[0]), exit.Verify, r.reason())
	}
	for _, v := range r.Verdicts {
		if v.State == seal.No {
			return exit.With(fmt.Errorf("%s: %s: %s", path, v.Check, v.Detail), exit.Verify, "ask the person who sealed the bundle")
		}
	}
	return nil
}

// reason says why a bundle may differ from its packets. Only the program that made it reads and names them in the same
// way, and two builds of one release may be two programs.
func (r *result) reason() string {
	d, made, this := r.Rederived, r.Report.Program(), bundle.ThisProgram()
	switch {
	case d.Release != d.By:
		return "release " + d.Release + " made it and this is " + d.By + ", which may decode packets and name services differently: verify with the release that made it"
	case made == nil || this == nil || *made != *this:
		return "another build of release " + d.Release + " made it, which may decode packets and name services differently; if the program that made it finds differences too, the bundle was changed"
	}
	return "the bundle was changed after it was made; ask for the original"
}

// filesFirst is why nothing is checked that needs the files of an intact bundle.
const filesFirst = "the files must match their hashes first"

// verdicts lists the properties of the bundle and whether each is true.
func verdicts(ctx context.Context, r *result, trust seal.Trust) []seal.Verdict {
	list := slices.Concat(custody.Verdicts(ctx, r.Report, trust), r.rings, seal.Stated(r.Content), []seal.Verdict{seal.StatedPrograms(r.Programs)}, r.derived)
	switch d := r.Rederived; {
	case !r.OK && d == nil:
		return append(list, seal.Verdict{Check: "tables", State: seal.NotChecked, Detail: filesFirst})
	case d == nil:
		return append(list, seal.Verdict{Check: "tables", State: seal.NotChecked, Detail: "--rederive compares them with the packets"})
	case d.OK():
		return append(list, seal.Verdict{Check: "tables", State: seal.Yes, Detail: plural.Sprintf("%d {column|columns} of %d {table matches|tables match} the packets; %d {file is|files are} identical", d.Columns, d.Tables, d.Files)})
	default:
		return append(list, seal.Verdict{Check: "tables", State: seal.No, Detail: d.Differences[0].String()})
	}
}

func (e *env) print(r *result) {
	for _, p := range r.Problems {
		fmt.Fprintln(e.Out, console.Line(p.String()))
	}
	if r.More > 0 {
		fmt.Fprintln(e.Out, plural.Sprintf("… and %d {more problem|more problems}", r.More))
	}
	if d := r.Rederived; d != nil {
		for _, diff := range d.Differences {
			fmt.Fprintln(e.Out, console.Line(diff.String()))
		}
		if d.More > 0 {
			fmt.Fprintln(e.Out, plural.Sprintf("… and %d {more difference|more differences}", d.More))
		}
	}
	for _, v := range r.Verdicts {
		custody.PrintVerdict(e.Out, v)
	}
	if d := r.Rederived; d != nil && len(d.Unproven) > 0 {
		fmt.Fprintln(e.Out, console.Line("packets cannot prove: "+strings.Join(d.Unproven, ", ")))
	}
	fmt.Fprintf(e.Out, "tagmanifest sha256 %s\n", r.TagManifest)
}
