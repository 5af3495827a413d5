package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/custody"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/collection"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/kfl"
)

func (e *env) cmdCollectionAccept() *cobra.Command {
	var a collection.Acceptance
	var by string
	c := &cobra.Command{
		Use:   "accept FILE ID --owner NAME --reason TEXT --until DAY",
		Short: "Accept a finding, or the exceptions of a control, until a day",
		Long: `Add an acceptance to the log of a collection: of a finding (its id), or of all exceptions of a control. Each
entry of the log has the hash of the one before, so that a changed or removed entry is noticed; keep the
printed log_head elsewhere.

An accepted exception still contradicts its control; reports show who accepted it and why. After --until,
and if the exception is seen after that day, the acceptance has expired. A later entry for the same id
replaces an earlier one.`,
		Example: `  pcapsule collection accept payments.yaml deprecated-protocol/f33a422af7bd --owner "O. Owner" --reason "terminal is replaced" --due 2026-10-20 --until 2026-10-25`,
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := loadCollection(args[0])
			if err != nil {
				return err
			}
			a.ID = args[1]
			if err := a.Check(); err != nil {
				return exit.Usagef("%v", err)
			}
			entry, head, err := collection.Accept(f, a, custody.Entry(bundle.Entry{User: by}))
			if err != nil {
				return collectionError(exit.OutputError(err, f.Beside(".log.jsonl")))
			}
			fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("entry %d: %s accepted until %s, owner %s", entry.Seq, a.ID, a.Until, a.Owner)))
			fmt.Fprintf(e.Out, "log_head %s\n", head)
			return nil
		},
	}
	c.Flags().StringVar(&a.Owner, "owner", "", "who answers for it")
	c.Flags().StringVar(&a.Reason, "reason", "", "why it is accepted")
	c.Flags().StringVar(&a.Until, "until", "", "last day, UTC, on which it is accepted, such as 2026-12-31")
	c.Flags().StringVar(&a.Due, "due", "", "day by which it shall be remedied")
	c.Flags().StringVar(&by, "user", "", "who adds the entry (default: the name of the account)")
	for _, name := range []string{"owner", "reason", "until"} {
		cobra.CheckErr(c.MarkFlagRequired(name))
	}
	return c
}

// sampleFlags has the flags of sample.
type sampleFlags struct {
	collectionFlags
	collection.Wanted
	output, population, by string
}

func (e *env) cmdCollectionSample() *cobra.Command {
	var f sampleFlags
	c := &cobra.Command{
		Use:   "sample FILE -o SAMPLE.csv",
		Short: "Draw a sample of calls that anyone can repeat",
		Long: `Draw a sample from the calls of the period. The sample has the calls with the lowest SHA-256 of seed, line
feed, call_id, so everybody with the same bundles and seed gets the same calls. --population writes all
call_ids, from which the sample can be repeated without pcapsule (docs/format/collection.md).

Every draw is an entry of the collection's log, with its seed and the hash of the population. The seed
should come from the auditor. Without --seed, a random one is printed.`,
		Example: `  pcapsule collection sample payments.yaml --size 25 --seed "audit 2026-Q4" -o sample.csv --population population.txt
  pcapsule collection sample payments.yaml --size 5 --kfl 'http && status_code >= 500' -o failed.xlsx`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runCollectionSample(c, args[0], &f) },
	}
	f.register(c)
	c.Flags().IntVar(&f.Size, "size", 25, "number of calls")
	command.Between(c.Flags(), "size", &f.Size, 1, collection.MaxSample)
	c.Flags().StringVar(&f.Seed, "seed", "", "text that decides which calls are drawn (default: a random one)")
	c.Flags().StringVar(&f.KFL, "kfl", "", "only calls that match this KFL filter")
	c.Flags().StringVarP(&f.output, "output", "o", "", "file to write: .csv, .json, or a form of reports, such as .xlsx")
	c.Flags().StringVar(&f.population, "population", "", "write the call_id of every call of the population to this output")
	c.Flags().StringVar(&f.by, "user", "", "who draws (default: the name of the account)")
	cobra.CheckErr(c.MarkFlagRequired("output"))
	return c
}

func (e *env) runCollectionSample(c *cobra.Command, path string, f *sampleFlags) error {
	for _, out := range []string{f.output, f.population} {
		if out != "" {
			if err := exit.NewOutput(out); err != nil {
				return err
			}
		}
	}
	if f.Seed == "" {
		f.Seed = strings.ToLower(rand.Text())
	}
	if err := collection.CheckSeed(f.Seed); err != nil {
		return exit.Usagef("--seed: %v", err)
	}
	write, err := sampleForm(f.output)
	if err != nil {
		return err
	}
	if _, err := kfl.Compile(f.KFL, kfl.Env{}); err != nil && f.KFL != "" {
		return exit.With(fmt.Errorf("--kfl: %w", err), exit.Syntax, "docs/kfl.md describes KFL")
	}
	file, err := loadCollection(path)
	if err != nil {
		return err
	}
	o, err := e.collectionOptions(c.Context(), &f.collectionFlags)
	if err != nil {
		return err
	}
	s, err := collection.Read(c.Context(), file, o)
	if err != nil {
		return collectionError(err)
	}
	var d *collection.Sample
	draw := func(w io.Writer) error {
		f.Population = w
		d, err = s.Draw(c.Context(), o, f.Wanted)
		return err
	}
	if f.population != "" {
		err = whole.Create(f.population, 0o644, draw)
	} else {
		err = draw(io.Discard)
	}
	if err != nil {
		return exit.OutputError(err, f.population)
	}
	if d.Population == 0 {
		return exit.With(errors.New("the population is empty: no call of the period matches"), exit.Other, "pcapsule collection status says what was recorded")
	}
	if err := whole.Create(f.output, 0o600, func(w io.Writer) error { return write(w, s, d) }); err != nil {
		return exit.OutputError(err, f.output)
	}
	head, err := s.Record(d, custody.Entry(bundle.Entry{User: f.by}))
	if err != nil {
		return err
	}
	fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("%s: %s of a population of %s", f.output, plural.Count(int64(len(d.Items)), "call", "calls"), plural.Thousands(d.Population))))
	fmt.Fprintf(e.Out, "seed %s\npopulation_sha256 %s\nlog_head %s\n", d.Seed, d.SHA256, head)
	if d.Unread > 0 {
		e.Warn("%s", plural.Sprintf("%d {bundle|bundles} could not be read and {is|are} not in the population", d.Unread))
	}
	return nil
}
