package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/collection"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/value"
)

const oscalSuffix = ".oscal.json"

func (e *env) cmdCollectionReport() *cobra.Command {
	var f collectionFlags
	var output string
	var board bool
	c := &cobra.Command{
		Use:   "report FILE -o REPORT.html|.pdf|.xlsx|.oscal.json",
		Short: "Write a report about the period: coverage, controls, exceptions, acceptances",
		Long: `Write a report about the period of a collection: which days of which nodes were recorded, each bundle with its
seal, the population in numbers, the verdict of every control in each week or day and what changed, exceptions
with their acceptances, samples, and lines to sign. --board writes one page.

The ending decides the format: those of pcapsule report, and .oscal.json for OSCAL assessment results.
pcapsule report verify REPORT FILE reads all bundles again and compares, and pcapsule report sign REPORT
FILE --role ROLE signs.`,
		Example: `  pcapsule collection report payments.yaml --at 2026-11-02 -o payments.html
  pcapsule collection report payments.yaml --board -o board.pdf
  pcapsule collection report payments.yaml -o payments.oscal.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			write, err := collectionForm(output, board)
			if err != nil {
				return err
			}
			if err := exit.NewOutput(output); err != nil {
				return err
			}
			_, s, err := e.readCollection(c.Context(), args[0], &f)
			if err != nil {
				return err
			}
			err = whole.Create(output, 0o644, func(w io.Writer) error { return write(w, s) })
			if errors.Is(err, collection.ErrNoControls) {
				return exit.With(err, exit.Other, "pcapsule collection status says what was recorded")
			}
			if err != nil {
				return exit.OutputError(err, output)
			}
			if n := s.Population.Unread; n > 0 {
				e.Warn("%d of %d bundles could not be read; the report lists them with the reason", n, len(s.Bundles))
			}
			fmt.Fprintln(e.Out, console.Line(output))
			return nil
		},
	}
	f.register(c)
	c.Flags().StringVarP(&output, "output", "o", "", "file to write")
	c.Flags().BoolVar(&board, "board", false, "one page for a board: what is known, open exceptions, lines to sign")
	cobra.CheckErr(c.MarkFlagRequired("output"))
	return c
}

// collectionForm is the form of a report by the ending of its name.
func collectionForm(output string, board bool) (func(io.Writer, *collection.State) error, error) {
	if strings.HasSuffix(strings.ToLower(output), oscalSuffix) {
		if board {
			return nil, exit.Usagef("--board is a page for people: give an output such as board.pdf")
		}
		return func(w io.Writer, s *collection.State) error { return s.OSCAL(w, version.Release) }, nil
	}
	form, err := render.FormOf(output)
	if err != nil {
		return nil, exit.Usagef("-o %s: %v, or %s", output, err, oscalSuffix)
	}
	name := collection.FullReport
	if board {
		name = collection.BoardReport
	}
	return func(w io.Writer, s *collection.State) error { return form.Write(w, s.Report(name, version.Release)) }, nil
}

// sampleForm is the form of a sample by the ending of its name.
func sampleForm(output string) (func(io.Writer, *collection.State, *collection.Sample) error, error) {
	form, err := render.FormOf(output)
	switch {
	case err != nil:
		return nil, exit.Usagef("-o %s: %v", output, err)
	case form.Name == "csv":
		return func(w io.Writer, _ *collection.State, d *collection.Sample) error { return d.WriteCSV(w) }, nil
	case form.Name == "json":
		return func(w io.Writer, _ *collection.State, d *collection.Sample) error { return console.JSON(w, d) }, nil
	}
	return func(w io.Writer, s *collection.State, d *collection.Sample) error {
		return form.Write(w, s.Book(d, version.Release))
	}, nil
}

// reportAgain makes a report about a collection again from its bundles, with what the report states of its inputs. different says
// why it cannot be the same.
func reportAgain(ctx context.Context, path string, r *value.Report, access collection.Access) (again *value.Report, different string, err error) {
	f, err := loadCollection(path)
	if err != nil {
		return nil, "", err
	}
	b := r.Basis
	if string(f.Text) != b.Template {
		return nil, "the collection file is not the one of the report, whose text is in the data of the report", nil
	}
	at, err := collection.Day(b.Collection.At)
	if err != nil {
		return nil, "the day of the report " + err.Error(), nil
	}
	o := collection.Options{Access: access, At: at, Release: version.Release, Fresh: true, Only: []string{}, Entries: b.Collection.Entries, Analyzers: findings.Analyzers()}
	for _, s := range b.Bundles {
		o.Only = append(o.Only, s.TagManifest)
	}
	s, err := collection.Read(ctx, f, o)
	if err != nil {
		return nil, "", collectionError(err)
	}
	if b.Name != collection.SampleBook {
		if b.Name != collection.BoardReport {
			b.Name = collection.FullReport
		}
		return s.Report(b.Name, b.Release), "", nil
	}
	if b.Collection.Size < 1 || b.Collection.Size > collection.MaxSample || collection.CheckSeed(b.Collection.Seed) != nil {
		return nil, "the seed or the size of the sample is not valid", nil
	}
	d, err := s.Draw(ctx, o, collection.Wanted{Size: b.Collection.Size, Seed: b.Collection.Seed, KFL: b.KFL})
	if err != nil {
		return nil, "", err
	}
	return s.Book(d, b.Release), "", nil
}
