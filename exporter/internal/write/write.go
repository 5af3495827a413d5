// Package write is the last stage: it writes rows as the Parquet tables of a bundle.
//
// Rows have the order of the calls, so equal calls give equal files. An unfinished table leaves
// no file under its final name.
package write

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/columnar"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// stagedBytes is how many raw bytes of rows wait for their row groups in all tables together, at the
// default limit: one full group and a half. Readers need time for each group, so few large ones are read faster.
const stagedBytes = columnar.DefaultGroupBytes + columnar.DefaultGroupBytes/2

// Folder is where tables are written, such as an unfinished bundle.
type Folder interface {
	// Path is the absolute path of a file, whose folder is made; empty if the folder is being removed.
	Path(rel string) string
	// Mode is the mode of new files.
	Mode() fs.FileMode
}

// Tables are the Parquet tables of an unfinished bundle.
type Tables struct {
	b      Folder
	protos []*dissect.Protocol
	opts   columnar.Options
	plain  map[string]*columnar.Table
	order  []string
	schema map[string]*table.Schema
	calls  map[string]*columnar.Table // by protocol, created with the first row
	rows   map[string]int64
	known  map[string]*table.Schema // calls/<protocol>
	also   *Tables                  // gets every row too; nil: none
}

// Schemas lists every table with the columns that queries may name: those of calls are those of all protocols.
func Schemas(protocols []*dissect.Protocol) []*table.Schema {
	list := table.All()
	var parts []*table.Schema
	for _, p := range withUnknown(protocols) {
		parts = append(parts, callSchema(p))
	}
	u, err := table.Union(list[0], parts...)
	if err != nil {
		panic(err) // two protocols disagree on a column; a test finds it first
	}
	list[0] = u
	return list
}

// callSchema is the schema of one protocol's part of table calls.
func callSchema(p *dissect.Protocol) *table.Schema {
	return table.SchemaOf("calls/"+p.Name, p.Doc, reflect.ValueOf(p.Row).Elem().Interface())
}

func withUnknown(list []*dissect.Protocol) []*dissect.Protocol {
	return append(append([]*dissect.Protocol(nil), list...), dissect.UnknownProtocols()...)
}

// Open begins the tables of b, with parts of table calls for protocols. release is the
// program's; the limit bounds the rows that wait for their row group.
func Open(b Folder, release string, protocols []*dissect.Protocol, limit memory.Limit) (*Tables, error) {
	t := &Tables{b: b, protos: withUnknown(protocols), opts: columnar.Options{ReleaseName: "pcapsule", ReleaseVersion: release, Mode: b.Mode(), GroupBytes: limit.Scale(columnar.DefaultGroupBytes), Scratch: &columnar.Scratch{StagedBytes: limit.Scale(stagedBytes)}},
		plain: map[string]*columnar.Table{}, schema: map[string]*table.Schema{}, calls: map[string]*columnar.Table{},
		rows: map[string]int64{}, known: map[string]*table.Schema{}}
	for _, p := range t.protos {
		t.known[p.Name] = callSchema(p)
	}
	for _, s := range table.All() {
		t.schema[s.Name] = s
		if s.Name != "calls" {
			t.order = append(t.order, s.Name)
		}
	}
	return t, nil
}

// plainTable is a table other than calls, created with its first row.
func (t *Tables) plainTable(name string) (*columnar.Table, error) {
	if c := t.plain[name]; c != nil {
		return c, nil
	}
	c, err := t.create("data/tables/"+name, t.schema[name])
	if err != nil {
		return nil, err
	}
	t.plain[name] = c
	return c, nil
}

// create creates a table in a folder of the bundle.
func (t *Tables) create(folder string, s *table.Schema) (*columnar.Table, error) {
	part := t.b.Path(folder + "/part-000.parquet")
	if part == "" { // an interrupt removed the bundle
		return nil, fmt.Errorf("creating table %s: %w", s.Name, bundle.ErrAborted)
	}
	return columnar.Create(filepath.Dir(part), s, t.opts)
}

// Append appends rows to a table other than calls.
func Append[T any](t *Tables, name string, rows []T) error {
	return t.each(name, len(rows), func(c *columnar.Table) error { return columnar.Append(c, rows) })
}

// AppendRows appends rows that are not next to each other to a table other than calls.
func AppendRows[T any](t *Tables, name string, rows []*T) error {
	return t.each(name, len(rows), func(c *columnar.Table) error { return columnar.AppendRows(c, rows) })
}

// each gives n rows of a table other than calls to all tables that get them.
func (t *Tables) each(name string, n int, add func(*columnar.Table) error) error {
	for ; t != nil && n > 0; t = t.also {
		c, err := t.plainTable(name)
		if err != nil {
			return err
		}
		if err := add(c); err != nil {
			return err
		}
	}
	return nil
}

// AppendCalls appends rows, given by address, to a protocol's part of table calls.
func (t *Tables) AppendCalls(protocol string, rows []unsafe.Pointer) error {
	for ; t != nil; t = t.also {
		c, err := t.callTable(protocol)
		if err != nil {
			return err
		}
		if err := c.AppendPointers(rows); err != nil {
			return err
		}
	}
	return nil
}

// callTable is the table of one protocol's calls, created with its first row.
func (t *Tables) callTable(protocol string) (*columnar.Table, error) {
	if c := t.calls[protocol]; c != nil {
		return c, nil
	}
	c, err := t.create("data/tables/calls/protocol="+protocol, t.known[protocol])
	if err != nil {
		return nil, err
	}
	t.calls[protocol] = c
	return c, nil
}

// Abort removes the written files.
func (t *Tables) Abort() {
	for _, c := range t.plain {
		c.Abort()
	}
	for _, c := range t.calls {
		c.Abort()
	}
}

// Finish closes every table and lists it in the manifest. Table calls has an empty part with the columns of all calls, which
// are those that a reader of the whole folder sees.
func (t *Tables) Finish(m *bundle.Manifest) error {
	empty, err := t.create("data/tables/calls", t.schema["calls"])
	if err != nil {
		return err
	}
	if err := t.close(m, "calls", "", empty); err != nil {
		return err
	}
	for _, p := range t.protos {
		if c := t.calls[p.Name]; c != nil {
			if err := t.close(m, "calls", p.Name, c); err != nil {
				return err
			}
		}
	}
	for _, name := range t.order {
		c, err := t.plainTable(name)
		if err != nil {
			return err
		}
		if err := t.close(m, name, "", c); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tables) close(m *bundle.Manifest, name, protocol string, c *columnar.Table) error {
	res, err := c.Close()
	if err != nil {
		return fmt.Errorf("writing table %s: %w", name, err)
	}
	mt := bundle.Table{Name: name, Protocol: protocol, Rows: res.Rows, Parts: int64(len(res.Parts))}
	for _, col := range res.Columns {
		var d bundle.Digest
		if _, err := hex.Decode(d[:], []byte(col.SHA256)); err != nil {
			return fmt.Errorf("writing table %s: digest of %s: %w", name, col.Name, err)
		}
		mt.Columns = append(mt.Columns, bundle.Column{Name: col.Name, Type: col.Type, SHA256: d})
	}
	m.Tables = append(m.Tables, mt)
	if protocol != "" {
		if m.Calls == nil {
			m.Calls = map[string]int64{}
		}
		m.Calls[protocol] = res.Rows
	}
	return nil
}
