package ringcmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

type anchorFlags struct {
	key, name, output        string
	keys, witnesses, against []string
}

func (p program) anchor() *cobra.Command {
	var f anchorFlags
	c := &cobra.Command{
		Use:   "anchor RING (--key WITNESS -o FILE | --check FILE)",
		Short: "Countersign the end of a ring's chain, or check a countersignature",
		Long: `Sign the last record of a ring with the key of a witness, and keep the signature in a file away
from the node. If the chain is cut or rewritten later, ring verify --anchor FILE fails and names the
missing segments. The chain is checked first, and is not signed if the check fails. Only seals.jsonl
is read, so a copy of it on another machine is enough.

Use a key that is not on the node. If the key file does not exist, it is created with mode 0600; the
public key is in the anchor. With --check the chain is compared with earlier anchors.`,
		Example: p.example(`  PROGRAM ring anchor /mnt/node/ring --key witness.key --name hub -o monday.anchor
  PROGRAM ring anchor /mnt/node/ring --check monday.anchor --witness witness.pub
  PROGRAM ring verify /mnt/node/ring --anchor monday.anchor`),
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			opt, err := f.options()
			if err != nil {
				return err
			}
			if len(opt.Anchors) > 0 {
				return checkAnchors(c.OutOrStdout(), args[0], opt)
			}
			return f.make(c.OutOrStdout(), args[0], opt)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.key, "key", "", "file with the witness's private key; created if it does not exist")
	fl.StringVar(&f.name, "name", "", "name of the witness (default: the name of this machine)")
	fl.StringVarP(&f.output, "output", "o", "", "new file for the anchor (JSON)")
	fl.StringArrayVar(&f.against, "check", nil, "file with an anchor that must be in the chain; can be repeated")
	fl.StringArrayVar(&f.witnesses, "witness", nil, "with --check: file with the public key of a witness; can be repeated")
	fl.StringArrayVar(&f.keys, "node-key", nil, "file with the node's public key, which must have signed the chain; can be repeated")
	return c
}

func (f *anchorFlags) options() (opt ring.VerifyOptions, err error) {
	switch {
	case len(f.against) > 0 && (f.key != "" || f.output != ""):
		return opt, exit.Usagef("--check excludes --key and -o: check an anchor, or make one")
	case len(f.against) == 0 && (f.key == "" || f.output == ""):
		return opt, exit.Usagef("give --key WITNESS and -o FILE to make an anchor, or --check FILE")
	case len(f.against) == 0 && len(f.witnesses) > 0:
		return opt, exit.Usagef("--witness needs --check")
	}
	if opt.Keys, err = PublicKeys(f.keys); err != nil {
		return opt, err
	}
	if opt.Witnesses, err = PublicKeys(f.witnesses); err != nil {
		return opt, err
	}
	opt.Anchors, err = ReadAnchors(f.against)
	return opt, err
}

func (f *anchorFlags) make(out io.Writer, dir string, opt ring.VerifyOptions) error {
	if err := exit.Outside(f.output, f.key); err != nil {
		return err
	}
	if inFolder(f.output, dir) || inFolder(f.key, dir) {
		return exit.Usagef("key and anchor must not be in the ring: keep them away from the node")
	}
	if f.name == "" {
		var err error
		if f.name, err = os.Hostname(); err != nil {
			return exit.Usagef("finding the name of this machine: %v; give --name", err)
		}
	}
	a, r, err := ring.MakeAnchor(dir, opt, f.name)
	if errors.Is(err, ring.ErrBroken) {
		printProblems(out, r)
		return problems(dir, r)
	}
	if err != nil {
		return err
	}
	key, err := signingkey.Load(f.key) // it is created only for a chain that gets an anchor
	if err != nil {
		return err
	}
	a = a.Sign(key)
	var text bytes.Buffer
	if err := console.JSON(&text, a); err != nil {
		return err
	}
	err = whole.CreateDurably(f.output, 0o644, whole.Text(text.Bytes()))
	if errors.Is(err, fs.ErrExist) {
		return exit.With(fmt.Errorf("%s exists", f.output), exit.Exists, "choose another file with -o; an anchor is never replaced")
	}
	if err != nil {
		return exit.OutputError(err, f.output)
	}
	fmt.Fprintf(out, "%s: record %d of ring %s, signed by %s with key %s\n", f.output, a.Of, console.Printable(a.Ring, 64),
		console.Printable(a.Witness, 100), ring.Fingerprint(key))
	return nil
}

// inFolder reports whether a file is, or would be, directly in a folder.
func inFolder(path, dir string) bool {
	parent, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false
	}
	folder, err := os.Stat(dir)
	return err == nil && os.SameFile(parent, folder)
}

func checkAnchors(out io.Writer, dir string, opt ring.VerifyOptions) error {
	r, _, err := ring.CheckChain(dir, opt)
	if err != nil {
		return err
	}
	printProblems(out, r)
	if r.Anchored >= 0 {
		printAnchored(out, r)
	}
	return problems(dir, r)
}

func printProblems(out io.Writer, r *ring.Report) {
	for _, p := range r.Problems {
		fmt.Fprintf(out, "WRONG %s\n", console.Printable(p.String(), 600))
	}
}

func printAnchored(out io.Writer, r *ring.Report) {
	trust := ""
	if !r.AnchorsTrusted {
		trust = " (key not checked; give --witness)"
	}
	fmt.Fprintf(out, "anchored up to record %d by %s at %s%s; %s after it\n", r.Anchored, console.Printable(r.AnchoredBy, 100), r.AnchoredAt, trust,
		plural.Count(r.Records-1-r.Anchored, "record", "records"))
}
