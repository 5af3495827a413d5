package forensics

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// The columns of tables are those that bundle.json states: opening a case reads no file of a table. A file that does not
// have them is an error of the first query that reads it, and verify reports it.
//
// Table calls has the columns that all calls have, and a part for each protocol, which also has the protocol's own columns.
// Each protocol is a relation of its own, with all columns of its part. A statement that reads calls may name the columns of
// any protocol too, see narrow; it then reads them from the parts that have them, and other calls have nulls.

// rowsOf are the rows of a table. Of table calls they may be those of some protocols.
type rowsOf struct {
	table     string
	protocols []string // nil: all
}

// has reports whether the rows of a protocol are among them.
func (r rowsOf) has(protocol string) bool {
	return r.protocols == nil || slices.Contains(r.protocols, protocol)
}

// callPart is one protocol's part of a bundle's table calls.
type callPart struct {
	protocol string
	files    []string
	columns  []string // all that its files have
}

// callParts are what the bundles say of table calls.
type callParts struct {
	shared []duck.Column            // columns of all calls
	own    map[string][]duck.Column // columns of single protocols, by protocol: those that the case has, and those that this release knows
	parts  [][]callPart             // by bundle, in the order of the files
	empty  [][]string               // by bundle: its files without rows
}

// there lists the protocols of which the case has calls, sorted.
func (p *callParts) there() []string {
	list := []string{}
	for _, parts := range p.parts {
		for _, part := range parts {
			list = append(list, part.protocol)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// among lists the protocols of which the case has calls among some rows.
func (p *callParts) among(r rowsOf) []string {
	return slices.DeleteFunc(p.there(), func(protocol string) bool { return !r.has(protocol) })
}

// MayHave reports whether the case may have calls of one of some protocols. It looks at the files.
func (c *Case) MayHave(protocols ...string) bool {
	return len(c.calls.among(rowsOf{protocols: append([]string{}, protocols...)})) > 0
}

// ofProtocols lists the own columns of protocols, each once.
func (p *callParts) ofProtocols(list []string) (columns []duck.Column) {
	seen := map[string]bool{}
	for _, protocol := range list {
		for _, col := range p.own[protocol] {
			if !seen[col.Name] {
				seen[col.Name] = true
				columns = append(columns, col)
			}
		}
	}
	return columns
}

// all lists the own columns of all protocols, each once.
func (p *callParts) all() []duck.Column { return p.ofProtocols(slices.Sorted(maps.Keys(p.own))) }

// readTables reads what the bundles say of their tables.
func (c *Case) readTables() error {
	p := &callParts{own: map[string][]duck.Column{}, parts: make([][]callPart, len(c.bundles)), empty: make([][]string, len(c.bundles))}
	c.calls, c.stated = p, map[string][]duck.Column{}
	for i, b := range c.bundles {
		for k := range b.Manifest.Tables {
			t := &b.Manifest.Tables[k]
			columns, err := statedColumns(t)
			if err == nil {
				err = c.state(t, columns)
			}
			if err != nil {
				return err
			}
		}
		if err := p.addFiles(i, b); err != nil {
			return err
		}
		for name := range c.stated {
			for _, file := range b.TableParts(name) {
				if err := isWhole(file); err != nil {
					return damagedTable(name, err)
				}
			}
		}
	}
	p.shared = c.stated["calls"]
	for protocol, columns := range p.own {
		p.own[protocol] = without(columns, p.shared)
	}
	stated := slices.Collect(maps.Keys(p.own))
	for _, col := range table.ProtocolColumns() {
		for _, protocol := range strings.Fields(col.Protocol) {
			if !slices.Contains(stated, protocol) {
				p.own[protocol] = append(p.own[protocol], duck.Column{Name: col.Name, Type: col.Kind.String()})
			}
		}
	}
	return nil
}

// isWhole checks the ends of a part. What is between them is found damaged when it is read.
func isWhole(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var head [4]byte
	var tail [8]byte // length of the footer, magic
	if info.Size() < int64(len(head)+len(tail)) {
		return fmt.Errorf("%d bytes are no Parquet file", info.Size())
	}
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return err
	}
	if _, err := f.ReadAt(tail[:], info.Size()-int64(len(tail))); err != nil {
		return err
	}
	if string(head[:]) != "PAR1" || string(tail[4:]) != "PAR1" || int64(binary.LittleEndian.Uint32(tail[:])) > info.Size()-int64(len(head)+len(tail)) {
		return errors.New("it does not begin or end as a Parquet file does")
	}
	return nil
}

// asStated is misstated for one database, until it has found nothing: files of a case do not change.
func (c *Case) asStated(db *duck.DB) func(context.Context) error {
	var whole atomic.Bool
	return func(ctx context.Context) error {
		if whole.Load() {
			return nil
		}
		err := c.misstated(ctx, db)
		whole.Store(err == nil && ctx.Err() == nil)
		return err
	}
}

// misstated finds a file whose columns are not those that bundle.json states, and returns the error about it. db is one whose
// queries wait for nothing of the case.
func (c *Case) misstated(ctx context.Context, db *duck.DB) error {
	for _, b := range c.bundles {
		for k := range b.Manifest.Tables {
			t := &b.Manifest.Tables[k]
			for _, file := range b.TableParts(t.Name) {
				if of, _ := strings.CutPrefix(filepath.Base(filepath.Dir(file)), "protocol="); t.Name == "calls" && of != cmp.Or(t.Protocol, "calls") {
					continue
				}
				i := 0
				err := eachRow(ctx, db, "SELECT column_name, replace(column_type, '\"', '') FROM (DESCRIBE FROM "+parquet([]string{file}, false)+")", func(row []any) error {
					if i++; i > len(t.Columns) || t.Columns[i-1].Name != row[0] || strings.ReplaceAll(t.Columns[i-1].Type, `"`, "") != row[1] {
						return fmt.Errorf("column %d of %s is %v %v, which bundle.json does not state", i, filepath.Base(file), row[0], row[1])
					}
					return nil
				})
				if err == nil && i < len(t.Columns) {
					err = fmt.Errorf("%s has %d columns, bundle.json states %d", filepath.Base(file), i, len(t.Columns))
				}
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return damagedTable(t.Name, err)
				}
			}
		}
	}
	return nil
}

// statedColumns are the columns of a table as bundle.json states them. The types become part of statements.
func statedColumns(t *bundle.Table) (list []duck.Column, err error) {
	for _, col := range t.Columns {
		if _, ok := table.KindOf(col.Type); !ok || col.Name == "" {
			return nil, badTable(t.Name, fmt.Sprintf("bundle.json states the type %.60q of column %.60q", col.Type, col.Name))
		}
		list = append(list, duck.Column{Name: col.Name, Type: col.Type})
	}
	return list, nil
}

func badTable(name, what string) error {
	return &bundle.DamagedError{File: "data/tables/" + name, What: what}
}

// state adds the columns of a table, or of one protocol's part of table calls, to those of the bundles before.
func (c *Case) state(t *bundle.Table, columns []duck.Column) error {
	at := c.stated[t.Name]
	if t.Protocol != "" {
		at = c.calls.own[t.Protocol]
	}
	for _, col := range columns {
		switch i := slices.IndexFunc(at, func(o duck.Column) bool { return o.Name == col.Name }); {
		case i < 0:
			at = append(at, col)
		case at[i].Type != col.Type:
			return badTable(t.Name, fmt.Sprintf("column %s is %s in one bundle and %s in another", col.Name, at[i].Type, col.Type))
		}
	}
	if t.Protocol != "" {
		c.calls.own[t.Protocol] = at
	} else {
		c.stated[t.Name] = at
	}
	return nil
}

// addFiles finds the parts of a bundle's table calls. It looks at the files and not at the manifest, which could hide rows.
func (p *callParts) addFiles(i int, b *bundle.Bundle) error {
	for _, file := range b.TableParts("calls") {
		protocol, ok := strings.CutPrefix(filepath.Base(filepath.Dir(file)), "protocol=")
		if !ok {
			p.empty[i] = append(p.empty[i], file)
			continue
		}
		if n := len(p.parts[i]); n > 0 && p.parts[i][n-1].protocol == protocol {
			p.parts[i][n-1].files = append(p.parts[i][n-1].files, file)
			continue
		}
		at := slices.IndexFunc(b.Manifest.Tables, func(t bundle.Table) bool { return t.Name == "calls" && t.Protocol == protocol })
		if at < 0 {
			return badTable("calls", fmt.Sprintf("bundle.json does not list the part of protocol %.60q", protocol))
		}
		part := callPart{protocol: protocol, files: []string{file}}
		for _, col := range b.Manifest.Tables[at].Columns {
			part.columns = append(part.columns, col.Name)
		}
		p.parts[i] = append(p.parts[i], part)
	}
	return nil
}

// describe lists the columns of a table as the bundles have them.
func (c *Case) describe(name string) []duck.Column {
	if c.several() {
		return append([]duck.Column{{Name: "bundle", Type: "INTEGER"}}, c.stated[name]...)
	}
	return slices.Clone(c.stated[name])
}

// filesOf is SQL for a list of columns and for the files of one bundle that have the rows; from is empty if there are none.
// columns are those to read of table calls; nil means all.
func (c *Case) filesOf(r rowsOf, i int, columns []string, read reader) (list, from string) {
	if r.table != "calls" {
		if files := c.bundles[i].TableParts(r.table); len(files) > 0 {
			from = read(files, false)
		}
		return "*", from
	}
	var files []string
	own, protocols := false, 0
	for _, part := range c.calls.parts[i] {
		if r.has(part.protocol) {
			files = append(files, part.files...)
			protocols++
			own = own || columns == nil || slices.ContainsFunc(columns, func(name string) bool { return !hasColumn(c.calls.shared, name) && slices.Contains(part.columns, name) })
		}
	}
	there := c.columnsThere(r, i)
	if len(files) == 0 {
		files, there = c.calls.empty[i], c.calls.shared
	}
	if len(files) == 0 {
		return "", ""
	}
	var some []string
	for _, col := range there {
		if columns == nil || slices.Contains(columns, col.Name) {
			some = append(some, quote.Ident(col.Name))
		}
	}
	return strings.Join(some, ", "), read(files, own && protocols > 1)
}

// columnsThere are the columns of rows of calls that files of a bundle have.
func (c *Case) columnsThere(r rowsOf, i int) []duck.Column {
	list := slices.Clone(c.calls.shared)
	for _, part := range c.calls.parts[i] {
		if !r.has(part.protocol) {
			continue
		}
		for _, col := range c.calls.own[part.protocol] {
			if slices.Contains(part.columns, col.Name) && !hasColumn(list, col.Name) {
				list = append(list, col)
			}
		}
	}
	return list
}

func nullSQL(col duck.Column) string {
	return "CAST(NULL AS " + col.Type + ") AS " + quote.Ident(col.Name)
}
