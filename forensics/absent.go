package forensics

import (
	"context"
	"path/filepath"
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
	var some, rest []string // the files of protocols, and others, which give the names of all columns and have no rows
	for _, b := range c.bundles {
		for _, file := range b.TableParts("calls") {
			if strings.HasPrefix(filepath.Base(filepath.Dir(file)), "protocol=") {
				some = append(some, file)
			} else {
				rest = append(rest, file)
			}
		}
	}
	if list := (&fileList{bound: true}); len(rest) > 0 {
		n, err := c.number(ctx, "SELECT count(*) FROM "+list.parquet(rest), list.args)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			some = append(some, rest...)
		}
	}
	present := map[string]bool{"bundle": true}
	for _, col := range table.SchemaOf("calls", "", table.Call{}).Columns {
		present[col.Name] = true
	}
	if list := (&fileList{bound: true}); len(some) > 0 {
		cols, err := c.columnsOf(ctx, "SELECT * FROM "+list.parquet(some), list.args...)
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
// nulls, at their places in p.spread.
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
	by := map[string]duck.Column{}
	for _, col := range p.sel.view.columns {
		by[col.Name] = col
	}
	for _, name := range names {
		p.spread = append(p.spread, by[name])
	}
	return kept, nil
}
