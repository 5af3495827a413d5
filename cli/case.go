package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/stores"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/geoip"
	"github.com/pcapsule/pcapsule/forensics/indicator"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/store"
)

// splitFilter separates a KFL filter, the last argument, from the bundles and captures before it. An argument that
// names a file, a bundle or the address of one is no filter.
func splitFilter(args []string) (paths []string, filter string, err error) {
	last := args[len(args)-1]
	if len(args) == 1 {
		return args, "", nil
	}
	if !isPath(last) {
		return args[:len(args)-1], last, nil
	}
	if _, err := kfl.Compile(args[0], kfl.Env{}); err == nil && !isPath(args[0]) {
		return nil, "", exit.With(fmt.Errorf("%s is a filter, which is the last argument", args[0]), exit.Usage, "give the bundle first: "+last+" '"+args[0]+"'")
	}
	if _, err := kfl.Compile(last, kfl.Env{}); err == nil {
		return nil, "", exit.Usagef("%s is a filter, but also a file or folder here: write (%[1]s) for the filter, or ./%[1]s", last)
	}
	return args, "", nil
}

// isPath reports whether an argument names a file, a folder, a bundle or the address of one.
func isPath(arg string) bool {
	_, err := os.Stat(arg)
	return err == nil || command.IsBundlePath(arg) || store.IsAddress(arg)
}

// openCase opens bundles as one case. It makes a bundle of captures first, and reports the
// folder into which a ZIP was unpacked.
func (e *env) openCase(ctx context.Context, paths []string) (*forensics.Case, error) {
	if err := command.Distinct(paths); err != nil {
		return nil, err
	}
	paths, err := e.bundles(ctx, paths)
	if err != nil {
		return nil, err
	}
	o := forensics.Options{MaskSecrets: e.mask != "", Open: func(path string, o bundle.OpenOptions) (*bundle.Bundle, error) {
		if store.IsAddress(path) {
			b, held, err := stores.Open(ctx, path, &e.Streams)
			if held != nil {
				e.held = append(e.held, held)
			}
			return b, err
		}
		return bundle.OpenWith(path, o)
	}}
	if o.Indicators, o.GeoIP, err = readLists(e.indicators, e.geoip); err != nil {
		return nil, err
	}
	if o.MaskSecrets && e.mask != maskDefault {
		if o.Policy, err = redact.Load(e.mask); err != nil {
			return nil, exit.With(err, exit.Syntax, "docs/guide/redaction.md describes the format of a policy")
		}
	}
	c, err := forensics.Open(ctx, paths, o)
	if err != nil {
		return nil, e.questionError(err) // opening asks questions too
	}
	if o.MaskSecrets {
		if e.known, err = c.Known(ctx); err != nil {
			return nil, e.questionError(errors.Join(err, c.Close()))
		}
	}
	finding.Bind(c, findings.Analyzers())
	for _, b := range c.Bundles() {
		if b.Unpacked {
			e.Note("%s was unpacked to %s", b.Path, b.Dir)
		}
		if b.State == bundle.Broken {
			e.Warn("%s did not pass its last verification", b.Path)
		}
	}
	return c, nil
}

// maskDefault is the value of --mask without a policy.
const maskDefault = "default"

// maskFlag adds --mask to a command that shows the content of a case.
func (e *env) maskFlag(c *cobra.Command) {
	c.Flags().StringVar(&e.mask, "mask", "", "mask secrets, as servers do; --mask=POLICY.yaml says which (docs/guide/redaction.md)")
	c.Flags().Lookup("mask").NoOptDefVal = maskDefault
}

// listFlags adds --indicators and --geoip to a command that asks questions.
func (e *env) listFlags(c *cobra.Command) {
	e.indicatorFlag(c)
	c.Flags().StringArrayVar(&e.geoip, "geoip", nil, "GeoIP file (.mmdb) that names countries and network operators of outside addresses; can be repeated")
}

// indicatorFlag adds --indicators to a command that can refer to findings.
func (e *env) indicatorFlag(c *cobra.Command) {
	c.Flags().StringArrayVar(&e.indicators, "indicators", nil, "file of indicators of compromise that traffic is compared with: a list, CSV, STIX 2.1 or MISP JSON; can be repeated")
}

// readLists reads files of indicators and GeoIP files. What is not given is nil.
func readLists(indicators, places []string) (set *indicator.Set, geo *geoip.Set, err error) {
	if len(indicators) > 0 {
		set, err = indicator.Read(indicators)
	}
	if err == nil && len(places) > 0 {
		geo, err = geoip.Read(places)
	}
	var bad *indicator.Error
	var other *geoip.Error
	if errors.As(err, &bad) || errors.As(err, &other) {
		return nil, nil, exit.With(err, exit.Syntax, "docs/guide/indicators.md describes the files")
	}
	return set, geo, err
}

// masked wraps write and masks the case's secret values in its output: answers to questions
// that compare secrets may quote them.
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

// window holds the flags --from and --to of a question.
type window struct{ from, to string }

func (w *window) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.from, "from", "", "only from this time on, such as 2026-01-31T14:15:00Z, 14:15:00, or 5m (before the end)")
	c.Flags().StringVar(&w.to, "to", "", "only up to this time, in the same forms")
}

// times returns the bounds in ns since 1970 UTC; 0 means no bound.
func (w *window) times(c *forensics.Case) (from, to int64, err error) {
	if from, err = ask.ReadTime(c, "from", w.from); err == nil {
		to, err = ask.ReadTime(c, "to", w.to)
	}
	if err != nil {
		return 0, 0, flagError(err)
	}
	if to != 0 && from > to {
		return 0, 0, exit.Usagef("--from %s is after --to %s", w.from, w.to)
	}
	return from, to, nil
}

// flagError turns the error of a question's field into that of the flag for this field.
func flagError(err error) error {
	var input *ask.InputError
	switch {
	case !errors.As(err, &input):
		return err
	case input.Field != "":
		return exit.Usagef("--%s: %s", dashed(input.Field), input.What)
	}
	return exit.With(errors.New(withFlags(input)), exit.Usage, "")
}

// withFlags is the problem of several fields with the flags of these fields.
func withFlags(input *ask.InputError) string {
	what := input.What
	for _, f := range input.Fields {
		what = regexp.MustCompile(`\b`+f+`\b`).ReplaceAllLiteralString(what, "--"+dashed(f))
	}
	return what
}

// questionError gives the error of a question its exit code, and shows its place in the KFL.
func (e *env) questionError(err error) error {
	var bad *kfl.Error
	var sql *forensics.SyntaxError
	var refused *forensics.RefusedError
	var several *forensics.AmbiguousError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad) && bad.Limit:
		return exit.With(pretty(err, bad), exit.Limit, "simplify the filter; docs/kfl.md lists the limits")
	case errors.As(err, &bad) && bad.Hint != "": // pretty includes the hint
		return exit.With(pretty(err, bad), exit.Syntax, "")
	case errors.As(err, &bad):
		return exit.With(pretty(err, bad), exit.Syntax, "docs/kfl.md describes KFL; pcapsule schema calls lists the columns")
	case errors.As(err, &sql):
		return exit.With(err, exit.Syntax, "pcapsule schema lists tables and columns")
	case errors.As(err, &refused), errors.Is(err, forensics.ErrRefused):
		return exit.With(err, exit.Refused, "a bundle is evidence: only a single query that reads the bundle's own tables is allowed")
	case errors.Is(err, forensics.ErrNoCursor):
		return exit.With(err, exit.Usage, "copy the whole cursor from the end of the answer before, or leave --cursor out")
	case errors.Is(err, forensics.ErrCursor):
		return exit.With(err, exit.Usage, "use a cursor with the same bundles, question and flags that returned it")
	case errors.Is(err, forensics.ErrDeadline), errors.Is(err, context.DeadlineExceeded):
		return exit.With(late(err), exit.Limit, "narrow the question, or raise --deadline")
	case errors.Is(err, forensics.ErrMemory):
		return exit.With(err, exit.Limit, "ask for fewer columns or rows")
	case errors.Is(err, forensics.ErrCrashed):
		return exit.With(err, exit.Limit, "the bundle is not damaged; try again, or rephrase the question")
	case errors.Is(err, forensics.ErrNotFound):
		return exit.With(err, exit.Other, "pcapsule query BUNDLE KFL lists calls with their numbers (call_no)")
	case errors.As(err, &several):
		return exit.With(err, exit.Usage, "")
	case errors.Is(err, forensics.ErrUsage), errors.Is(err, forensics.ErrCursor):
		return contradiction(err)
	}
	return err
}

// late returns the error of a question that reached its deadline, in whatever it was doing.
func late(err error) error {
	if errors.Is(err, forensics.ErrDeadline) {
		return err
	}
	return fmt.Errorf("%w: the question exceeded its deadline", forensics.ErrDeadline)
}

// pretty returns err with the KFL in question and a mark at the mistake. Text before the
// KFL's error, such as the name of a rule, stays in front.
func pretty(err error, bad *kfl.Error) error {
	before, _ := strings.CutSuffix(err.Error(), bad.Error())
	return errors.New(before + bad.Pretty())
}

// contradiction returns the error of an impossible question.
func contradiction(err error) error {
	hint := ""
	if strings.Contains(err.Error(), "no column") || strings.Contains(err.Error(), "no table") {
		hint = "pcapsule schema lists tables and columns"
	}
	return exit.With(err, exit.Usage, hint)
}
