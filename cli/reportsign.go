package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/custody"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/collection"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/report"
	"github.com/pcapsule/pcapsule/report/recheck"
)

// signedSuffix is the suffix that the name of a report's signatures adds to the report's name.
const signedSuffix = ".dsse.json"

// maxSignatures is the largest file with signatures that is read, in bytes.
const maxSignatures = 1 << 20

func (e *env) cmdReportSign() *cobra.Command {
	var f custody.Signing
	var role string
	c := &cobra.Command{
		Use:   "sign FILE BUNDLE... --key KEY",
		Short: "Check a report against its bundles, then sign it together with them",
		Long: `Check a report as pcapsule report verify does, check every file of its bundles, and sign the report. The
signature is in the new file FILE` + signedSuffix + `: an in-toto statement about the report and the
tagmanifest of each bundle, which is also what pcapsule seal signs. A report that differs from its
bundles is not signed. Public tools can verify the signature; docs/format/seal.md shows how.

With --role, the signature states the role, and its file is FILE.ROLE` + signedSuffix + `: several people sign one after
another. For a report about a collection, give the collection file instead of bundles.`,
		Example: `  pcapsule report sign incident.html incident.pcapsule --key examiner.pem --name "E. Examiner"
  pcapsule report sign payments.html payments.yaml --role auditor --key auditor.pem --name "A. Auditor"`,
		Args: command.CheckArgs(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, args []string) error { return e.runReportSign(c, args, &f, role) },
	}
	f.Register(c.Flags())
	c.Flags().StringVar(&role, "role", "", "role of the signature, such as auditor")
	deadlineFlag(c, forensics.LongTime)
	e.maskFlag(c)
	e.listFlags(c)
	return c
}

func (e *env) runReportSign(c *cobra.Command, args []string, f *custody.Signing, role string) error {
	if err := f.NeedKey(); err != nil {
		return err
	}
	output := args[0] + signedSuffix
	if role != "" {
		if err := collection.CheckRole(role); err != nil {
			return exit.Usagef("--role: %v", err)
		}
		output = args[0] + "." + role + signedSuffix
	}
	if err := exit.NewOutput(output); err != nil {
		return err
	}
	k, err := e.checkReport(c, args, "", true)
	if err != nil {
		return err
	}
	if len(k.check.Differences) > 0 {
		printVerified(e.Out, args[0], k.check)
		return differs(args[0])
	}
	signers, done, err := f.Signers()
	if err != nil {
		return err
	}
	defer done()
	record := seal.ReportRecord{SignedAt: bundle.Time(time.Now().UnixNano()), Role: role, SignedWith: custody.ThisProgram(), Title: k.report.Title, Kind: k.report.Kind, Release: k.report.Basis.Release}
	envelope, err := seal.SignReport(c.Context(), k.subjects(args), record, signers)
	if errors.Is(err, seal.ErrSameKey) {
		return exit.Usagef("%v", err)
	}
	if err != nil {
		return err
	}
	if err := created(output, 0o644, whole.Text(envelope)); err != nil {
		return err
	}
	fmt.Fprintln(e.Out, console.Line(output))
	for i := range signers {
		text := "signed by " + signers[i].Party.String()
		if role != "" {
			text += " as " + role
		}
		fmt.Fprintln(e.Out, console.Line(text))
	}
	return nil
}

// subjects are what a signature of the report is about: its file and its bundles.
func (k *checkedReport) subjects(args []string) []seal.Subject {
	var names []string
	var sums []bundle.Digest
	if k.report.Basis.Collection != nil {
		for _, b := range k.report.Basis.Bundles { // which were compared
			var d bundle.Digest
			_ = d.UnmarshalText([]byte(b.TagManifest))
			names, sums = append(names, b.Name), append(sums, d)
		}
	}
	for i, b := range k.bundles {
		names, sums = append(names, filepath.Base(filepath.Clean(args[1+i]))), append(sums, b.TagManifest)
	}
	return seal.ReportSubjects(filepath.Base(args[0]), sha256.Sum256(k.file), names, sums)
}

// signatures checks the signatures of the report, and lists those of its bundles.
func (k *checkedReport) signatures(ctx context.Context, args []string, envelopes []seal.ReportEnvelope, trust seal.Trust) []seal.Verdict {
	list := []seal.Verdict{{Check: "signature", State: seal.No, Detail: "the report is not signed: " + args[0] + signedSuffix + " does not exist"}}
	if len(envelopes) > 0 {
		list = seal.CheckReport(ctx, envelopes, k.subjects(args), trust)
	}
	for i, b := range k.bundles {
		for _, v := range seal.Check(ctx, b, seal.Trust{}) {
			v.Place = filepath.Join(filepath.Base(filepath.Clean(args[1+i])), v.Place)
			list = append(list, v)
		}
	}
	return list
}

// maxSigned is how many files with signatures of one report are read.
const maxSigned = 50

// readSignatures reads the signatures of a report: those without a role, then those of roles.
func readSignatures(path string) (list []seal.ReportEnvelope, err error) {
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	for _, f := range files {
		role, ok := strings.CutPrefix(f.Name(), base)
		if role, of := strings.CutSuffix(role, signedSuffix); !ok || !of || role != "" && collection.CheckRole(strings.TrimPrefix(role, ".")) != nil {
			continue
		}
		if len(list) == maxSigned {
			return nil, fmt.Errorf("%s has more than %d files with signatures", path, maxSigned)
		}
		text, err := readSmall(filepath.Join(filepath.Dir(path), f.Name()))
		if err != nil {
			return nil, err
		}
		list = append(list, seal.ReportEnvelope{Place: f.Name(), Text: text})
	}
	return list, nil
}

// readSmall reads a file of at most maxSignatures bytes.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSignatures+1))
	if err == nil && len(data) > maxSignatures {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSignatures)
	}
	return data, err
}

// recheckFlag adds --recheck.
func recheckFlag(c *cobra.Command, tool *string) {
	c.Flags().StringVar(tool, "recheck", "", "repeat the cited facts with a second tool, which must be installed: "+recheck.Tool)
	cobra.CheckErr(c.RegisterFlagCompletionFunc("recheck", cobra.FixedCompletions([]string{recheck.Tool}, cobra.ShellCompDirectiveNoFileComp)))
}

// recheckWith returns the function that asks a second tool, or nil if none is wanted.
func recheckWith(tool string) (report.Rechecker, error) {
	switch tool {
	case "":
		return nil, nil
	case recheck.Tool:
	default:
		return nil, exit.Usagef("--recheck %s: must be %s", tool, recheck.Tool)
	}
	if err := recheck.Installed(); err != nil {
		return nil, exit.With(err, exit.Usage, "install tshark, which is a part of Wireshark, or leave out --recheck")
	}
	return recheck.Observe, nil
}
