package forensics

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// Table calls has the columns of all protocols, and a bundle has calls of few. DuckDB needs memory and
// time for each column of each operator, even if all of its values are null. So the views have only the
// columns of the parts with rows. A statement that names another column gets it as a null, see narrow;
// KFL compiles it as absent.

// callParts are the parts of table calls: those with rows, of each bundle, and the columns of the
// others.
type callParts struct {
	rows  [][]string    // a bundle without calls has none
	empty [][]string    // the parts without rows, which have all columns
	all   []duck.Column // columns of all protocols, and perhaps others
}

// splitCalls finds the parts of table calls that have rows. It looks at the files and not at the
// manifest, which could hide rows.
func (c *Case) splitCalls(ctx context.Context) error {
	p := &callParts{rows: make([][]string, len(c.bundles)), empty: make([][]string, len(c.bundles))}
	var rest []string
	for i, b := range c.bundles {
		for _, file := range b.TableParts("calls") {
			if strings.HasPrefix(filepath.Base(filepath.Dir(file)), "protocol=") {
				p.rows[i] = append(p.rows[i], file)
			} else {
				p.empty[i] = append(p.empty[i], file)
			}
		}
		rest = append(rest, p.empty[i]...)
	}
	c.calls = p
	for _, col := range table.ProtocolColumns() {
		p.all = append(p.all, duck.Column{Name: col.Name, Type: col.Kind.String()})
	}
	if len(rest) == 0 {
		return nil
	}
	list := &fileList{bound: true}
	from := " FROM " + list.parquet(rest)
	columns, err := c.schemaOf(ctx, "SELECT *"+from, list.args...)
	if err != nil {
		return damagedTable("calls", err)
	}
	// A bundle of a later release may have other columns.
	p.all = append(columns, slices.DeleteFunc(p.all, func(col duck.Column) bool { return hasColumn(columns, col.Name) })...)
	rows, err := c.db.Query(ctx, "SELECT 1"+from+" LIMIT 1", list.args...)
	if err != nil {
		return damagedTable("calls", err)
	}
	defer rows.Close()
	if rows.Next() { // no bundle of ours
		for i, b := range c.bundles {
			p.rows[i] = b.TableParts("calls")
		}
	}
	return rows.Err()
}

// schemaOf finds the columns of SQL without running it, because running takes a buffer of 32 KiB for each
// column.
func (c *Case) schemaOf(ctx context.Context, sql string, args ...any) (list []duck.Column, err error) {
	rows, err := c.db.Query(ctx, "SELECT column_name, column_type FROM (DESCRIBE "+sql+")", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		list = append(list, duck.Column{Name: rows.Text(0), Type: rows.Text(1)})
	}
	return list, rows.Err()
}

// filesOf returns the files of a bundle's table to read, and their columns to read, nil for all.
func (c *Case) filesOf(name string, i int) (files, columns []string) {
	switch {
	case name != "calls":
		return c.bundles[i].TableParts(name), nil
	case len(c.calls.rows[i]) > 0:
		return c.calls.rows[i], nil
	}
	for _, col := range table.SchemaOf("calls", "", table.Call{}).Columns {
		columns = append(columns, col.Name)
	}
	return c.calls.empty[i], columns
}

// nulls returns the columns among names that exist but have no value in the case.
func (v *view) nulls(names []string) (list []duck.Column) {
	for _, col := range v.absent {
		if slices.Contains(names, col.Name) {
			list = append(list, col)
		}
	}
	return list
}

func nullSQL(col duck.Column) string {
	return "CAST(NULL AS " + col.Type + ") AS " + quote.Ident(col.Name)
}

// full is the same database with views of calls that have all columns.
type full struct {
	sync.Once
	db *duck.DB
}

// withAbsent returns a database in which a statement can name all columns of calls, however it names
// the table. The views of narrow, with only the columns that a statement needs, are faster, but do not apply
// to a name such as main.calls.
func (c *Case) withAbsent(db *duck.DB, f *duck.Facts) *duck.DB {
	v := c.views["calls"]
	if v == nil || c.kept != nil || c.schema() != maskedSchema || len(v.nulls(f.Columns)) == 0 {
		return db
	}
	c.full.Do(func() {
		var views []duck.View
		for _, name := range []string{"calls_raw", "calls"} {
			sql := "CREATE TEMP VIEW temp.main." + name + " AS SELECT *"
			for _, col := range v.absent {
				sql += ", " + nullSQL(col)
			}
			views = append(views, duck.View{Name: name, SQL: sql + " FROM " + maskedSchema + "." + name})
		}
		c.full.db = c.db.With(views)
	})
	return db.Like(c.full.db)
}
