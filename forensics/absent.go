package forensics

import (
	"context"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// Table calls has the columns of all protocols, and a bundle has calls of few. DuckDB needs memory and
// time for each column of each operator, even if all of its values are null. So a query in Go does not
// ask for the columns of protocols that no bundle has; the rows get their nulls here.

// absentColumns returns the columns of calls that no bundle has a value of: those of protocols without
// a file. It looks at the files and not at the manifest, which could hide values.
func (c *Case) absentColumns(ctx context.Context) (map[string]bool, error) {
	if known := c.absent.Load(); known != nil {
		return *known, nil
	}
	var some, rest []string
	for _, b := range c.bundles {
		for _, file := range b.TableParts("calls") {
			if strings.Contains(file, "/protocol=") {
				some = append(some, file)
			} else {
				rest = append(rest, file)
			}
		}
	}
	present := map[string]bool{"bundle": true}
	for _, col := range table.All()[0].Columns {
		present[col.Name] = true
	}
	for _, files := range [][]string{some, rest} {
		if len(files) == 0 {
			continue
		}
		list := &fileList{bound: true}
		source := "SELECT * FROM " + list.parquet(files)
		if slices.Equal(files, rest) { // they give the names of all columns, and no rows
			n, err := c.number(ctx, "SELECT count(*) FROM ("+source+")", list.args)
			if err != nil {
				return nil, err
			}
			if n == 0 {
				continue
			}
		}
		cols, err := c.columnsOf(ctx, source, list.args...)
		if err != nil {
			return nil, err
		}
		for _, col := range cols {
			present[col.Name] = true
		}
	}
	absent := map[string]bool{}
	for _, col := range c.views["calls"].raw {
		if !present[col.Name] {
			absent[col.Name] = true
		}
	}
	c.absent.Store(&absent)
	return absent, nil
}

// leaveOut removes from the columns of a query of calls those without a value. Rows get them back as
// nulls, in the place of p.spread.
func (c *Case) leaveOut(ctx context.Context, p *plan, names []string) ([]string, error) {
	if p.sel.view.name != "calls" {
		return names, nil
	}
	absent, err := c.absentColumns(ctx)
	if err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return absent[name] })
	if len(kept) == len(names) || len(kept) == 0 {
		return names, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(p.sel.view.columns, func(col duck.Column) bool { return col.Name == name })
		p.spread = append(p.spread, p.sel.view.columns[i])
	}
	return kept, nil
}
