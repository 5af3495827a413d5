// Package tables reads rows of a bundle's tables without a database. It does not trust the files: a part in another form than
// ours is an error, and lengths are checked before memory is allocated.
package tables

import (
	"errors"
	"io"
	"path"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Table is parts with the same columns: a whole table, or the calls of one protocol.
type Table struct {
	Columns []Column
	paths   []string
}

// Column is a column with its kind.
type Column struct {
	Name string
	Kind table.Kind
}

// Of lists what a bundle has of a table, one for each folder.
func Of(b *bundle.Bundle, name string) ([]Table, error) {
	of, folders := map[string][]string{}, []string(nil)
	for _, p := range b.TableParts(name) {
		dir := path.Dir(p)
		if of[dir] == nil {
			folders = append(folders, dir)
		}
		of[dir] = append(of[dir], p)
	}
	var list []Table
	for _, dir := range folders {
		t := Table{paths: of[dir]}
		rows, err := parts.ReadRows(t.paths, func(name string, kind table.Kind) bool {
			t.Columns = append(t.Columns, Column{name, kind})
			return false
		})
		if err != nil {
			return nil, damaged(name, err)
		}
		rows.Close()
		list = append(list, t)
	}
	return list, nil
}

// Has reports whether the table has a column.
func (t *Table) Has(name string) bool {
	return slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Name == name })
}

// Each calls f with the values of some columns of every row, in the order of the table's columns. A value is nil, bool, int32, int64,
// string (escaped as docs/format/parts.md says), []byte, []string, []int64, table.ID, table.Hash, table.Cites, []table.Header or []table.Pair; row is valid until f returns.
func (t *Table) Each(columns []string, f func(row []any) error) error {
	rows, err := parts.ReadRows(t.paths, func(name string, _ table.Kind) bool { return slices.Contains(columns, name) })
	if err != nil {
		return damaged("", err)
	}
	defer rows.Close()
	rows.AsStored = true
	var row []any
	for {
		if row, err = rows.Next(row); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return damaged("", err)
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

func damaged(name string, err error) error {
	return &bundle.DamagedError{File: path.Join("data/tables", name), What: err.Error(), Err: err}
}
