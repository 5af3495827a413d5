package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/lake"
)

// selection has the flags that select rows.
type selection struct {
	lake.Selection
	since, until string
}

func (s *selection) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.since, "since", "", "rows from this time on, such as 2026-01-31 or 2026-01-31T12:00:00Z")
	f.StringVar(&s.until, "until", "", "rows before this time")
	f.StringSliceVar(&s.Protocols, "protocol", nil, "rows of these protocols")
	f.StringSliceVar(&s.Clusters, "cluster", nil, "rows of these clusters")
	f.StringSliceVar(&s.Bundles, "bundle", nil, "rows of these bundles: names, or bundle_ids")
}

// read reads the flags.
func (s *selection) read(c *cobra.Command, l *lake.Lake) (lake.Selection, error) {
	out := s.Selection
	for _, x := range []struct {
		flag, text string
		to         *time.Time
	}{{"since", s.since, &out.Since}, {"until", s.until, &out.Until}} {
		if x.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, x.text)
		if err != nil {
			t, err = time.Parse(time.DateOnly, x.text)
		}
		if err != nil {
			return out, exit.Usagef("--%s %q is not a time such as 2026-01-31 or 2026-01-31T12:00:00Z", x.flag, x.text)
		}
		*x.to = t
	}
	if len(s.Bundles) == 0 {
		return out, nil
	}
	list, err := l.Bundles(c.Context())
	if err != nil {
		return out, err
	}
	out.Bundles = nil
	for _, word := range s.Bundles {
		found, err := lake.ByName(list, word)
		if err != nil {
			return out, err
		}
		out.Bundles = append(out.Bundles, found[0].ID)
	}
	return out, nil
}

func (e *env) files() *cobra.Command {
	s := selection{}
	c := &cobra.Command{
		Use:     "files TABLE",
		Short:   "List a table's files that may have selected rows",
		Example: "  pcapsule lake files calls --protocol redis --since 2026-01-31",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.open(c, func(l *lake.Lake) error {
				which, err := s.read(c, l)
				if err != nil {
					return err
				}
				list, total, err := l.Files(c.Context(), args[0], which)
				if err != nil {
					return err
				}
				if e.asJSON {
					if list == nil {
						list = []lake.File{}
					}
					return console.JSON(e.Out, list)
				}
				w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
				for _, f := range list {
					fmt.Fprintf(w, "%s\t%s\t%s\n", console.Line(f.Path), plural.Count(f.Rows, "row", "rows"), console.ByteSize(f.Bytes))
				}
				if err := w.Flush(); err != nil {
					return err
				}
				fmt.Fprintf(e.Err, "%d of %s\n", len(list), plural.Count(int64(total), "file", "files"))
				return nil
			})
		},
	}
	s.flags(c)
	return c
}

func (e *env) bundles() *cobra.Command {
	s := selection{}
	c := &cobra.Command{
		Use:     "bundles",
		Short:   "List the bundles that may have selected calls",
		Example: "  pcapsule lake bundles --protocol redis --since 2026-01-31",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.open(c, func(l *lake.Lake) error {
				which, err := s.read(c, l)
				if err != nil {
					return err
				}
				list, err := l.Selected(c.Context(), which)
				if err != nil {
					return err
				}
				return e.show(list)
			})
		},
	}
	s.flags(c)
	return c
}

func (e *env) expire() *cobra.Command {
	before := ""
	c := &cobra.Command{
		Use:   "expire [BUNDLE...]",
		Short: "Take bundles out of the lake",
		Long: `Take bundles out of the lake: those that are named, or those that ended before a time. A bundle with a legal
hold in its custody log, or with a retention date in the future, stays, and the command ends with exit code
10. The bundles in their stores are not touched.`,
		Example: `  pcapsule lake expire incident
  pcapsule lake expire --before 2026-01-31`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if (before == "") == (len(args) == 0) {
				return exit.Usagef("name bundles, or give --before with a time")
			}
			return e.open(c, func(l *lake.Lake) error { return e.runExpire(c, l, before, args) })
		},
	}
	c.Flags().StringVar(&before, "before", "", "those whose last packet is before this time")
	return c
}

func (e *env) runExpire(c *cobra.Command, l *lake.Lake, before string, args []string) error {
	until, err := (&selection{until: before}).read(c, l)
	if err != nil {
		return err
	}
	list, err := l.Bundles(c.Context())
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, word := range args {
		found, err := lake.ByName(list, word)
		if err != nil {
			return err
		}
		named[found[0].ID] = true
	}
	gone, kept, err := l.Expire(c.Context(), time.Now(), func(b lake.Bundle) bool {
		return named[b.ID] || before != "" && !b.Last.IsZero() && b.Last.Before(until.Until)
	})
	for _, b := range gone {
		fmt.Fprintf(e.Out, "%s: taken out\n", console.Line(b.Name))
	}
	for _, k := range kept {
		fmt.Fprintf(e.Out, "%s: stays: %s\n", console.Line(k.Bundle.Name), console.Line(k.Err.Error()))
	}
	if err == nil && len(kept) > 0 {
		err = exit.With(errors.New(plural.Sprintf("%d {bundle|bundles} may not be taken out", int64(len(kept)))), exit.Refused, "")
	}
	return err
}

func (e *env) check() *cobra.Command {
	o := lake.Options{}
	c := &cobra.Command{
		Use:   "check",
		Short: "Compare the lake with the bundles in their stores",
		Long: `Compare what the tables list with the bundles in their stores. --repair registers bundles anew whose files are
not all listed, takes out files of bundles that the lake does not have, and deletes metadata that no table names.
The bundles in their stores are not touched.`,
		Example: "  pcapsule lake check --deep",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.open(c, func(l *lake.Lake) error {
				list, err := l.Check(c.Context(), o)
				if err != nil {
					return err
				}
				return e.problems(list)
			})
		},
	}
	c.Flags().BoolVar(&o.Repair, "repair", false, "repair what can be repaired")
	c.Flags().BoolVar(&o.Deep, "deep", false, "read each file and compare it with its hash")
	c.Flags().DurationVar(&o.Orphans, "orphans", 24*time.Hour, "age of metadata that no table names; a running writer has younger ones")
	return c
}

func (e *env) problems(list []lake.Problem) error {
	if e.asJSON {
		if err := console.JSON(e.Out, list); err != nil {
			return err
		}
	}
	open := 0
	for _, p := range list {
		if p.Fixed == "" {
			open++
		}
		if e.asJSON {
			continue
		}
		at := p.Table
		if p.Bundle != "" {
			at = p.Bundle[:min(12, len(p.Bundle))] + " " + at
		}
		done := ""
		if p.Fixed != "" {
			done = ": " + p.Fixed
		}
		fmt.Fprintf(e.Out, "%s: %s%s\n", console.Line(at), console.Line(p.What), done)
	}
	if open > 0 {
		return exit.With(errors.New(plural.Sprintf("%d {problem|problems}", int64(open))), exit.Verify, "pcapsule lake check --repair repairs what can be repaired")
	}
	if !e.asJSON && len(list) == 0 {
		fmt.Fprintln(e.Out, "every file of every bundle is listed")
	}
	return nil
}
