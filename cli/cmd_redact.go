package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/custody"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
)

// deriveFlags are the flags of commands that make a bundle from a bundle.
type deriveFlags struct {
	output, note, seed string
	memory             command.Size
	jobs               int
	anonymous, asJSON  bool
	identities         []age.Identity // that decrypt keys
}

func (f *deriveFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "bundle to make, a name ending in .pcapsule")
	fl.StringVar(&f.seed, "seed", "", "seed file of the bundle's seal (seal --commit); the new bundle can then prove its origin")
	fl.StringVar(&f.note, "note", "", "note for the custody log, one line")
	fl.BoolVar(&f.anonymous, "anonymous", false, "leave user and host out of the custody log")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	jobsFlag(fl, &f.jobs)
	memoryFlag(fl, &f.memory)
}

// options checks the flags and opens the original.
func (f *deriveFlags) options(original string) (b *bundle.Bundle, o derive.Options, err error) {
	if err := newBundle(f.output); err != nil {
		return nil, o, err
	}
	t := tables{exporter.Options{Release: version.Release, Jobs: f.jobs, Custody: madeBy(f.anonymous), Identities: f.identities}}
	t.Memory = limitMemory(f.memory)
	t.Custody.Note, t.Custody.Program = f.note, bundle.ThisProgram
	o.Exporter, o.Memory = t, t.Memory
	o.Event = bundle.Entry{Note: f.note, Tool: strings.TrimSpace("pcapsule " + version.Release)}
	if !f.anonymous {
		o.Event = custody.Entry(o.Event)
	}
	if f.seed != "" {
		if o.Seed, err = seal.ReadSeed(f.seed); err != nil {
			return nil, o, exit.With(fmt.Errorf("reading --seed: %w", err), exit.NotCapture, "pcapsule seal --commit FILE writes one")
		}
	}
	b, err = bundle.Open(original)
	return b, o, err
}

// done reports what was made.
func (f *deriveFlags) done(e *env, r *derive.Report, began time.Time) error {
	for _, w := range r.Warnings {
		e.Warn("%s", w)
	}
	if f.asJSON {
		return e.JSON(r)
	}
	d := &r.Derived
	fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("%s: %s unchanged, %s changed, %s removed, in %.1f s", f.output, plural.Count(d.Packets.Unchanged, "packet", "packets"),
		plural.Thousands(d.Packets.Changed), plural.Thousands(d.Packets.Removed), time.Since(began).Seconds())))
	for _, rule := range slices.Sorted(maps.Keys(d.Rules)) {
		fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("  %s: %s", rule, plural.Count(d.Rules[rule], "packet", "packets"))))
	}
	return nil
}

// deriveError adds what to do next.
func deriveError(err error, output string) error {
	var left *derive.LeftError
	var keys *exporter.KeysError
	switch {
	case errors.As(err, &keys):
		return keysError(err)
	case errors.Is(err, derive.ErrSeed):
		return exit.With(err, exit.NotCapture, "give the file that pcapsule seal --commit wrote for this bundle")
	case errors.Is(err, derive.ErrAddresses):
		return exit.With(err, exit.Usage, "no bundle was made; addresses: pseudonyms needs --seed FILE, and a bundle that was made without a filter")
	case errors.Is(err, derive.ErrChanged):
		return exit.With(err, exit.Verify, "pcapsule verify shows what was changed")
	case errors.Is(err, derive.ErrMemory):
		return exit.With(err, exit.Limit, "no bundle was made; give --memory a larger size, or name fewer values in the policy")
	case errors.As(err, &left):
		return exit.With(err, exit.Other, "no bundle was made; name the value's field in the policy, or cut its connection out")
	}
	return exit.OutputError(err, output)
}

func (e *env) cmdRedact() *cobra.Command {
	var f deriveFlags
	var policy string
	var test bool
	c := &cobra.Command{
		Use:   "redact BUNDLE --policy FILE -o NAME.pcapsule",
		Short: "Make a bundle without the values that a policy names",
		Long: `Make a bundle without the values that a policy names: card numbers, tokens, cookies, named
fields, whole bodies. The packets are changed first, and the tables are made from them again.
The number, order, times and lengths of the packets do not change; keys are removed. The result is
then searched: if one of the values is left in a place and an encoding that docs/format/derived.md
lists, no bundle is made; the page also lists what is not searched. The original is not changed. Seal the result: what you state about it is signed by nobody else.

--test runs the tests inside a policy and needs no bundle. docs/guide/redaction.md describes
policies; samples/policies has examples.`,
		Example: `  pcapsule redact incident.pcapsule --policy samples/policies/cards.yaml -o for-the-vendor.pcapsule
  pcapsule redact --policy my.yaml --test`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if policy == "" {
				return exit.Usagef("missing policy: give --policy FILE; samples/policies has examples")
			}
			p, err := redact.LoadRemoval(policy)
			if err != nil {
				return exit.With(err, exit.Syntax, "docs/guide/redaction.md describes policies")
			}
			if test {
				return e.testPolicy(policy, p)
			}
			if len(args) == 0 {
				return exit.Usagef("missing argument: BUNDLE")
			}
			return e.runRedact(c.Context(), args[0], p, &f)
		},
	}
	f.register(c)
	c.Flags().StringVar(&policy, "policy", "", "YAML file that says what is removed")
	c.Flags().BoolVar(&test, "test", false, "run the tests of the policy")
	return c
}

func (e *env) runRedact(ctx context.Context, original string, p *redact.Removal, f *deriveFlags) error {
	b, o, err := f.options(original)
	if err != nil {
		return err
	}
	began := time.Now()
	r, err := derive.Redact(ctx, b, f.output, derive.Redaction{Policy: removal{p}, Name: p.Name, Text: p.Source()}, o)
	if errors.Is(err, derive.ErrNothing) {
		return exit.With(fmt.Errorf("the policy finds nothing in %s: no bundle was made", original), exit.Other, "pcapsule redact --policy FILE --test shows what a policy finds")
	}
	if err != nil {
		return deriveError(err, f.output)
	}
	return f.done(e, r, began)
}

// testPolicy runs the tests of a policy.
func (e *env) testPolicy(path string, p *redact.Removal) error {
	if len(p.Tests) == 0 {
		return exit.With(fmt.Errorf("%s has no tests", path), exit.Other, "add a list tests: with text and becomes")
	}
	failed := 0
	for i, t := range p.Tests {
		if got := derive.Try(removal{p}, t.Type, t.Header, t.Text); got != t.Becomes {
			failed++
			fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("test %d: %q becomes %q instead of %q", i+1, t.Text, got, t.Becomes)))
		}
	}
	if failed > 0 {
		return exit.With(fmt.Errorf("%s: %d of %d tests failed", path, failed, len(p.Tests)), exit.Other, "change the policy, or the result that the test expects")
	}
	fmt.Fprintln(e.Out, console.Line(plural.Sprintf("%d {test|tests} passed", len(p.Tests))))
	return nil
}

// removal is a policy of package redact as package derive needs it.
type removal struct{ *redact.Removal }

// Search implements derive.Policy.
func (r removal) Search(found func(rule, value, whole string, rest bool)) derive.Search {
	f := r.Finder(found)
	return derive.Search{Row: f.Row, Text: f.Text, Header: f.Header, Payload: f.Payload}
}

// tables makes derived bundles by package exporter.
type tables struct{ exporter.Options }

// Derive implements derive.Exporter.
func (t tables) Derive(ctx context.Context, b *bundle.Bundle, output string, a derive.Additions, accept func(*derive.Draft) error) (*bundle.Manifest, error) {
	o := t.Options
	o.Kube, o.Hosts, o.Alerts, o.Keys, o.EmbedKeys, o.MoveInputs = a.Kube, a.Hosts, a.Alerts, a.Keys, a.EmbedKeys, a.MoveInputs
	return exporter.Derive(ctx, b, output, o, func(d *exporter.Draft) error {
		return accept(&derive.Draft{Manifest: d.Manifest, Sources: d.Sources, Files: d.Files(), Path: d.Path, Add: d.Add})
	})
}

// Trace implements derive.Exporter.
func (t tables) Trace(ctx context.Context, b *bundle.Bundle, keep func(file int32, index int64) bool, each func(derive.Traced) error) error {
	return exporter.Trace(ctx, b, t.Options, keep, func(x exporter.Traced) error { return each(derive.Traced(x)) })
}
