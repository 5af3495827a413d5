package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/collection"
	"github.com/pcapsule/pcapsule/forensics/control"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
)

func (e *env) cmdCollection() *cobra.Command {
	c := &cobra.Command{
		Use:   "collection",
		Short: "Evidence over weeks: what a set of bundles shows about a period, for an auditor",
		Long: `Evidence over weeks. A collection is a YAML file that names bundles (folders, patterns, stores, a lake) and
a period. The commands say which days each node recorded and what is missing, judge controls in every
week or day and say what changed, record who accepted an exception, and draw samples that anyone can repeat.

A bundle is read once: what was found is kept beside the file. docs/guide/collections.md has an example.`,
		Example: `  pcapsule collection status payments.yaml
  pcapsule collection report payments.yaml -o payments.html`,
	}
	for _, sub := range []*cobra.Command{e.cmdCollectionStatus(), e.cmdCollectionReport(), e.cmdCollectionSample(), e.cmdCollectionAccept()} {
		sub.Args = command.CheckArgs(sub.Args)
		c.AddCommand(sub)
	}
	return c
}

// collectionFlags has the flags of commands that read a collection.
type collectionFlags struct {
	at    string
	fresh bool
}

func (f *collectionFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.at, "at", "", "day on which acceptances are judged, and from which on days are not over, such as 2026-11-02 (default: today)")
	c.Flags().BoolVar(&f.fresh, "fresh", false, "read all bundles again, instead of what was kept of them")
}

// collectionOptions reads the flags.
func (e *env) collectionOptions(ctx context.Context, f *collectionFlags) (o collection.Options, err error) {
	o = collection.Options{At: time.Now().UTC(), Release: version.Release, Fresh: f.fresh, Entries: -1, Analyzers: findings.Analyzers()}
	if f.at != "" {
		if o.At, err = collection.Day(f.at); err != nil {
			return o, exit.Usagef("--at: %v", err)
		}
	}
	o.Note, o.Access = e.Note, e.collected(ctx)
	return o, nil
}

// readCollection reads a collection.
func (e *env) readCollection(ctx context.Context, path string, f *collectionFlags) (*collection.File, *collection.State, error) {
	file, err := loadCollection(path)
	if err != nil {
		return nil, nil, err
	}
	o, err := e.collectionOptions(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	s, err := collection.Read(ctx, file, o)
	return file, s, collectionError(err)
}

// loadCollection reads a collection file.
func loadCollection(path string) (*collection.File, error) {
	f, err := collection.Load(path)
	return f, collectionError(err)
}

// collectionError gives the errors of a collection their exit codes.
func collectionError(err error) error {
	var mistake *collection.FileError
	if errors.As(err, &mistake) {
		return exit.With(err, exit.Syntax, "docs/format/collection.md describes the file")
	}
	return err
}

func (e *env) cmdCollectionStatus() *cobra.Command {
	var f collectionFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "status FILE",
		Short: "Say what a collection shows: days, bundles, controls, acceptances",
		Long: `Say which days of the period each node recorded and what is missing, whether each bundle verifies, what the
controls' verdicts are in each week or day and what changed, and which acceptances have expired.

Verdicts are those of pcapsule ask controls: evidence, contradicted, not examined, outside what traffic
shows. A bundle that cannot be read is listed with the reason.`,
		Example: `  pcapsule collection status payments.yaml
  pcapsule collection status payments.yaml --at 2026-11-02 --json | jq .changes`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			_, s, err := e.readCollection(c.Context(), args[0], &f)
			if err != nil {
				return err
			}
			if asJSON {
				return e.JSON(s)
			}
			return e.printCollection(s)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// printCollection prints the status for people.
func (e *env) printCollection(s *collection.State) error {
	var b bytes.Buffer
	line := func(format string, args ...any) {
		_ = console.Row(&b, "", console.Line(plural.Sprintf(format, args...)))
	}
	item := func(format string, args ...any) {
		_ = console.Row(&b, "  ", console.Line(plural.Sprintf(format, args...)))
	}
	line("%s: %s to %s, by %s, on %s", s.Title, s.From, s.To, s.Every, s.At)
	p := s.Population
	line("%d {bundle|bundles}, %d {packet|packets}, %d {call|calls}", p.Bundles, p.Packets, p.Calls)
	for _, x := range s.Bundles {
		item("%s: %s", x.Name, x.Words())
	}
	line("recorded:")
	for _, x := range s.Coverage() {
		item("%s", x)
	}
	line("controls:")
	for _, x := range s.Parts {
		counts := map[control.Verdict]int64{}
		for _, c := range x.Controls {
			counts[c.Verdict]++
		}
		item("%s: %d contradicted, evidence for a part of %d, %d not examined, %d outside what traffic shows", x.Name(), counts[control.Contradicted], counts[control.Evidence], counts[control.NotExamined], counts[control.Outside])
	}
	line("changes: %d", int64(len(s.Changes)))
	for _, x := range s.Changes {
		item("%s  %s: %s, before %s", x.From, x.Control, verdictText(x.After), verdictText(x.Before))
	}
	line("exceptions: %d", int64(len(s.Exceptions)))
	for _, x := range s.Exceptions {
		item("%s  %s  %s (%s)", x.ID, x.Severity, x.What, x.Words())
	}
	for _, a := range s.Accepted {
		if a.State != collection.InForce && a.State != collection.Replaced || a.Overdue {
			line("acceptance %d of %s: %s", a.Seq, a.ID, a.Words())
		}
	}
	_, err := e.Out.Write(b.Bytes())
	return err
}

func verdictText(v control.Verdict) string { return strings.ReplaceAll(string(v), "_", " ") }
