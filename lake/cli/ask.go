package cli

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/lake"
)

// selection reads the flags that select rows.
func (e *env) selection(ctx context.Context, l *lake.Lake) (s lake.Selection, err error) {
	s = lake.Selection{Protocols: e.Protocols, Clusters: e.Clusters}
	if s.Since, err = at("since", e.Since); err != nil {
		return s, err
	}
	if s.Until, err = at("until", e.Until); err != nil {
		return s, err
	}
	s.Bundles, err = named(ctx, l, e.Selected)
	return s, err
}

// at reads the time of a flag.
func at(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		return t, exit.Usagef("--%s %q is not a time such as 2026-01-31 or 2026-01-31T12:00:00Z", flag, text)
	}
	return t, nil
}

// named returns the bundle_ids of bundles.
func named(ctx context.Context, l *lake.Lake, words []string) (ids []string, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	list, err := l.Bundles(ctx)
	if err != nil {
		return nil, err
	}
	for _, word := range words {
		found, err := lake.ByName(list, word)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found[0].ID)
	}
	return ids, nil
}

func (e *env) files(ctx context.Context, l *lake.Lake, table string) error {
	which, err := e.selection(ctx, l)
	if err != nil {
		return err
	}
	list, total, err := l.Files(ctx, table, which)
	if err != nil {
		return err
	}
	if e.AsJSON {
		return console.JSON(e.Out, append([]lake.File{}, list...))
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
}

func (e *env) bundles(ctx context.Context, l *lake.Lake) error {
	which, err := e.selection(ctx, l)
	if err != nil {
		return err
	}
	list, err := l.Selected(ctx, which)
	if err != nil {
		return err
	}
	return e.show(list)
}

func (e *env) expire(ctx context.Context, l *lake.Lake, args []string) error {
	before, err := at("before", e.Before)
	if err != nil {
		return err
	}
	ids, err := named(ctx, l, args)
	if err != nil {
		return err
	}
	gone, kept, err := l.Expire(ctx, time.Now(), func(b lake.Bundle) bool {
		return slices.Contains(ids, b.ID) || !before.IsZero() && !b.Last.IsZero() && b.Last.Before(before)
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

func (e *env) remove(ctx context.Context, l *lake.Lake, namespace string) error {
	by := e.By
	if account, err := user.Current(); by == "" && err == nil {
		by = account.Username
	}
	done, kept, err := l.RemoveNamespace(ctx, namespace, by, e.Reason, time.Now())
	if e.AsJSON && err == nil && len(kept) == 0 {
		return console.JSON(e.Out, append([]lake.Removal{}, done...))
	}
	for _, r := range done {
		fmt.Fprintf(e.Out, "%s: %s removed, %s changed\n", r.Bundle[:min(12, len(r.Bundle))], plural.Count(r.Rows, "row", "rows"), plural.Count(int64(len(r.Files)), "file", "files"))
	}
	for _, k := range kept {
		fmt.Fprintf(e.Out, "%s: %s\n", console.Line(k.Bundle.Name), console.Line(k.Err.Error()))
	}
	switch {
	case err == nil && len(kept) > 0:
		return exit.With(errors.New(plural.Sprintf("%d {bundle|bundles} must be kept; nothing was removed", int64(len(kept)))), exit.Refused, "")
	case err == nil && len(done) == 0:
		fmt.Fprintf(e.Out, "no row of namespace %s\n", console.Line(namespace))
	}
	return err
}

func (e *env) check(ctx context.Context, l *lake.Lake) error {
	list, err := l.Check(ctx, lake.Options{Repair: e.Repair, Deep: e.Deep, Orphans: e.Orphans})
	if err != nil {
		return err
	}
	return e.problems(list)
}

func (e *env) problems(list []lake.Problem) error {
	if e.AsJSON {
		if err := console.JSON(e.Out, list); err != nil {
			return err
		}
	}
	open := 0
	for _, p := range list {
		if p.Fixed == "" {
			open++
		}
		if e.AsJSON {
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
	if !e.AsJSON && len(list) == 0 {
		fmt.Fprintln(e.Out, "every file of every bundle is listed")
	}
	return nil
}
