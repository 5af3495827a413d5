package ringcmd

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

func (p program) verify() *cobra.Command {
	var asJSON, quick bool
	var keys, witnesses, anchors []string
	c := &cobra.Command{
		Use:   "verify RING",
		Short: "Check a ring's chain of records, signatures, hashes and counts",
		Long: `Check that no record was changed, removed or inserted, that the signatures are valid, that every
sealed segment and side file exists and matches its hash, and that a record accounts for every missing
segment. Without --key, signatures are checked with the key that the ring itself names. Records after
the last anchor exist only in this ring: someone with the node's key could have rewritten them.`,
		Example: p.example(`  PROGRAM ring verify /var/lib/pcapsule/ring --key node.pub --witness hub.pub
  PROGRAM ring verify /var/lib/pcapsule/ring --quick --json`),
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			opt := ring.VerifyOptions{SkipHashes: quick}
			var err error
			if opt.Keys, err = PublicKeys(keys); err != nil {
				return err
			}
			if opt.Witnesses, err = PublicKeys(witnesses); err != nil {
				return err
			}
			if opt.Anchors, err = ReadAnchors(anchors); err != nil {
				return err
			}
			return runVerify(c.OutOrStdout(), args[0], opt, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&quick, "quick", false, "check only records and names; do not read the segments")
	c.Flags().StringArrayVar(&keys, "key", nil, "file with the node's public key; can be repeated")
	c.Flags().StringArrayVar(&witnesses, "witness", nil, "file with the public key of a witness; can be repeated")
	c.Flags().StringArrayVar(&anchors, "anchor", nil, "file with an anchor (see ring anchor) that must be in the chain; can be repeated")
	return c
}

// ReadAnchors reads files with anchors.
func ReadAnchors(files []string) (list []ring.Anchor, err error) {
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		var a ring.Anchor
		err = json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&a)
		f.Close()
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		if errors.As(err, &syntax) || errors.As(err, &kind) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it is not an anchor of a ring, which is JSON")
		}
		if err != nil {
			return nil, exit.With(fmt.Errorf("reading anchor %s: %w", path, err), exit.NotCapture, "pcapsule ring anchor makes one")
		}
		list = append(list, a)
	}
	return list, nil
}

// PublicKeys reads files with public keys of rings and witnesses.
func PublicKeys(files []string) (list []ed25519.PublicKey, err error) {
	for _, f := range files {
		key, err := signingkey.ReadPublic(f)
		if err != nil {
			return nil, exit.With(err, exit.NotCapture, "a key is a PEM file, or the text after public_key in seals.jsonl")
		}
		list = append(list, key)
	}
	return list, nil
}

// verified is the output of ring verify --json.
type verified struct {
	OK bool `json:"ok"`
	*ring.Report
}

func runVerify(out io.Writer, dir string, opt ring.VerifyOptions, asJSON bool) error {
	r, err := ring.Verify(dir, opt)
	if err != nil {
		return err
	}
	if asJSON {
		if err := console.JSON(out, verified{r.OK(), r}); err != nil {
			return err
		}
	} else {
		printReport(out, r)
	}
	return problems(dir, r)
}

// problems returns the error of a ring that fails verification.
func problems(dir string, r *ring.Report) error {
	if !r.OK() {
		return exit.With(fmt.Errorf("%s: %s", dir, plural.Count(int64(len(r.Problems)+r.More), "problem", "problems")), exit.Verify,
			"the ring was changed, or its disk is damaged; compare it with an anchor or a snapshot")
	}
	return nil
}

func printReport(out io.Writer, r *ring.Report) {
	printProblems(out, r)
	hashed, unread := "hashes match", ""
	if !r.Hashed {
		hashed, unread = "not read", ", not read"
	}
	fmt.Fprintf(out, "ring %s: %s, %s of them signed\n", console.Printable(r.Ring, 64), plural.Count(r.Records, "record", "records"), plural.Thousands(r.Signed))
	fmt.Fprintf(out, "%s, %s, %s; %s deleted by retention\n", plural.Count(int64(r.Segments), "segment", "segments"), console.ByteSize(r.Bytes), hashed, plural.Thousands(r.Deleted))
	fmt.Fprintf(out, "%s as sealed%s\n", plural.Count(int64(r.SideFiles), "side file", "side files"), unread)
	switch {
	case r.Anchored < 0:
		fmt.Fprintln(out, "not anchored: no witness has seen the chain")
	default:
		printAnchored(out, r)
	}
	if r.Signed > 0 && !r.KeysTrusted {
		fmt.Fprintln(out, "signed by the key that the ring names; give --key to check whose it is")
	}
	if p := r.Pin; p != nil {
		fmt.Fprintf(out, "part of a ring: %s to %s\n", p.From, p.To)
	}
	list := func(what string, names []string) {
		for _, n := range names {
			fmt.Fprintf(out, "%s: %s\n", what, console.Printable(n, 200))
		}
	}
	list("still open", r.Open)
	list("recovered after a crash", r.Recovered)
	list("side files not sealed", r.SidesOpen)
	list("side files sealed after a crash", r.SidesRecovered)
	if n := len(r.SidesUncovered); n > 0 {
		fmt.Fprintf(out, "side files not covered: those of %s that an earlier release sealed\n", plural.Count(int64(n), "segment", "segments"))
	}
	list("counters do not add up", r.Unbalanced)
	list("note", r.Notes)
	for _, h := range r.Holes {
		fmt.Fprintf(out, "coverage gap: %s\n", GapText(h))
	}
}
