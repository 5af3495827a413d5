package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/kfl"
)

// openCase opens bundles as one case, and makes a bundle of captures first. It says where a
// ZIP was unpacked to.
func (e *env) openCase(ctx context.Context, paths []string) (*forensics.Case, error) {
	if err := distinct(paths); err != nil {
		return nil, err
	}
	paths, err := e.bundles(ctx, paths)
	if err != nil {
		return nil, err
	}
	o := forensics.Options{MaskSecrets: e.mask != ""}
	if o.MaskSecrets && e.mask != maskDefault {
		if o.Policy, err = redact.Load(e.mask); err != nil {
			return nil, exit.With(err, exit.Usage, "docs/guide/redaction.md has the form of a policy")
		}
	}
	c, err := forensics.Open(ctx, paths, o)
	if err != nil {
		return nil, err
	}
	if o.MaskSecrets {
		if e.known, err = c.Known(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	finding.Bind(c, findings.Analyzers())
	for _, b := range c.Bundles() {
		if b.Unpacked {
			e.note("%s was unpacked to %s", b.Path, b.Dir)
		}
		if b.State == bundle.Broken {
			e.warn("%s did not pass its last verification", b.Path)
		}
	}
	return c, nil
}

// maskDefault is --mask without a policy.
const maskDefault = "default"

// maskFlag adds --mask to a command that shows what is in a case.
func (e *env) maskFlag(c *cobra.Command) {
	c.Flags().StringVar(&e.mask, "mask", "", "mask secrets, as servers do; --mask=POLICY.yaml sets what (docs/guide/redaction.md)")
	c.Flags().Lookup("mask").NoOptDefVal = maskDefault
}

// masked writes what write does without the values that are secret elsewhere in the case,
// which questions that compare secrets may quote.
func (e *env) masked(write func(io.Writer) error) func(io.Writer) error {
	if e.known == nil {
		return write
	}
	return func(w io.Writer) error {
		var buf strings.Builder
		if err := write(&buf); err != nil {
			return err
		}
		_, err := io.WriteString(w, e.known.Mask(buf.String()))
		return err
	}
}

// distinct refuses a bundle that is given twice, whose calls would count twice.
func distinct(paths []string) error {
	var seen []os.FileInfo
	for i, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			info = nil // opening it says why
		}
		for j, other := range seen {
			if info != nil && other != nil && os.SameFile(info, other) {
				return exit.Usagef("%s and %s are the same bundle", paths[j], paths[i])
			}
		}
		seen = append(seen, info)
	}
	return nil
}

// completeBundles offers bundles in the current folder.
func completeBundles(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	list, err := os.ReadDir(".")
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	for _, f := range list {
		if n := f.Name(); strings.HasSuffix(n, ".pcapsule") || strings.HasSuffix(n, ".pcapsule.zip") {
			names = append(names, n)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// isBundlePath reports whether an argument names a bundle rather than a condition.
func isBundlePath(arg string) bool {
	arg = strings.TrimRight(arg, "/")
	return strings.HasSuffix(arg, ".pcapsule") || strings.HasSuffix(arg, ".pcapsule.zip")
}

// window are the flags --from and --to of a question.
type window struct{ from, to string }

func (w *window) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.from, "from", "", "only from this time on, such as 2026-01-31T14:15:00Z, 14:15:00, or 5m before the end")
	c.Flags().StringVar(&w.to, "to", "", "only up to this time, in the same forms")
}

// times reads the flags; 0 is no bound.
func (w *window) times(c *forensics.Case) (from, to int64, err error) {
	if from, err = ask.ReadTime(c, "from", w.from, 0); err == nil {
		to, err = ask.ReadTime(c, "to", w.to, 0)
	}
	if err != nil {
		return 0, 0, wrongFlag(err)
	}
	if to != 0 && from > to {
		return 0, 0, exit.Usagef("--from %s is after --to %s", w.from, w.to)
	}
	return from, to, nil
}

// wrongFlag is an error of a question as one of the flag that the question's field is.
func wrongFlag(err error) error {
	var wrong *ask.InputError
	switch {
	case !errors.As(err, &wrong):
		return err
	case wrong.Field != "":
		return exit.Usagef("--%s: %s", dashed(wrong.Field), wrong.What)
	}
	return exit.With(err, exit.Usage, "")
}

// asked gives errors of a question their exit codes and shows the place in its text.
func (e *env) asked(err error) error {
	var bad *kfl.Error
	var sql *forensics.SyntaxError
	var refused *forensics.RefusedError
	var several *forensics.AmbiguousError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad) && bad.Limit:
		return exit.With(pretty(err, bad), exit.Limit, "ask for less at once; docs/kfl.md has the limits")
	case errors.As(err, &bad) && bad.Hint != "": // one next step is enough
		return exit.With(pretty(err, bad), exit.Syntax, "")
	case errors.As(err, &bad):
		return exit.With(pretty(err, bad), exit.Syntax, "docs/kfl.md has the language; pcapsule schema calls has the columns")
	case errors.As(err, &sql):
		return exit.With(err, exit.Syntax, "pcapsule schema lists tables and columns")
	case errors.As(err, &refused), errors.Is(err, forensics.ErrRefused):
		return exit.With(err, exit.Refused, "a bundle is evidence: only single queries that read its own tables are run")
	case errors.Is(err, forensics.ErrCursor):
		return exit.With(err, exit.Usage, "a cursor goes with the same bundles, question and flags that gave it")
	case errors.Is(err, forensics.ErrDeadline):
		return exit.With(err, exit.Limit, "narrow the question, or allow more with --deadline")
	case errors.Is(err, forensics.ErrMemory):
		return exit.With(err, exit.Limit, "ask for fewer columns or rows")
	case errors.Is(err, forensics.ErrCrashed):
		return exit.With(err, exit.Limit, "the bundle is unharmed; write the question differently")
	case errors.Is(err, forensics.ErrNotFound):
		return exit.With(err, exit.Other, "pcapsule query BUNDLE KFL lists calls with their numbers (call_no)")
	case errors.As(err, &several):
		return exit.With(err, exit.Usage, "")
	case errors.Is(err, forensics.ErrUsage), errors.Is(err, forensics.ErrCursor):
		return contradiction(err)
	}
	return err
}

// pretty is an error with the KFL that it is about. What the error says before, such as the
// rule that has the KFL, stays before it.
func pretty(err error, bad *kfl.Error) error {
	before, _ := strings.CutSuffix(err.Error(), bad.Error())
	return errors.New(before + bad.Pretty())
}

// contradiction is a question that cannot be asked; the message says why, its kind is
// in the exit code.
func contradiction(err error) error {
	why := errors.New(strings.TrimSuffix(err.Error(), ": "+forensics.ErrUsage.Error()))
	if strings.Contains(why.Error(), "no column") || strings.Contains(why.Error(), "no table") {
		return exit.With(why, exit.Usage, "pcapsule schema lists tables and columns")
	}
	return exit.With(why, exit.Usage, "")
}
