package write

import (
	"maps"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/columnar"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Part is a file of a table.
type Part struct {
	Table    string          `json:"table"`
	Protocol string          `json:"protocol,omitempty"`
	Rel      string          `json:"path"` // in its folder
	Rows     int64           `json:"rows"`
	Bytes    int64           `json:"bytes"`
	Columns  []bundle.Column `json:"-"` // of a part without rows

	Protocols map[string][]bundle.Column `json:"-"` // of the part of table calls without rows: the columns of each protocol's parts
}

// Folder is where the part's table has its parts.
func (p *Part) Folder() string { return folderOf(p.Table, p.Protocol) }

// Schema is the schema of the parts of a table; nil if there is none of this name.
func (t *Tables) Schema(name, protocol string) *table.Schema {
	switch {
	case name == "calls" && protocol != "":
		return t.known[protocol]
	case protocol != "":
		return nil
	}
	return t.schema[name]
}

// Again returns tables in another folder with the same schemas, for parts that are kept for a short
// time: no digests are made.
func (t *Tables) Again(b Folder) *Tables {
	n := *t
	n.b, n.also = b, nil
	n.opts.Scratch, n.opts.NoDigests, n.opts.Mode = &columnar.Scratch{StagedBytes: t.opts.Scratch.StagedBytes}, true, b.Mode()
	n.plain, n.calls = map[string]*columnar.Table{}, map[string]*columnar.Table{}
	return &n
}

// Tee makes rows go to other tables too; nil ends it.
func (t *Tables) Tee(to *Tables) { t.also = to }

// FinishRows closes the tables, and returns the parts of those that have rows.
func (t *Tables) FinishRows() (list []Part, err error) {
	for _, name := range slices.Sorted(maps.Keys(t.plain)) {
		if list, err = finishRows(list, name, "", t.plain[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.calls)) {
		if list, err = finishRows(list, "calls", name, t.calls[name]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func finishRows(list []Part, name, protocol string, c *columnar.Table) ([]Part, error) {
	r, err := c.Close()
	if err != nil || r.Rows == 0 {
		return list, err
	}
	rel := folderOf(name, protocol)
	for _, p := range r.Parts {
		list = append(list, Part{Table: name, Protocol: protocol, Rel: rel + p.Name, Rows: p.Rows, Bytes: p.Bytes})
	}
	return list, nil
}

// FinishEmpty writes every table without rows, so that a query on any of them binds.
func (t *Tables) FinishEmpty() (list []Part, err error) {
	for _, name := range append([]string{"calls"}, t.order...) {
		c, err := t.create("data/tables/"+name, t.schema[name])
		if err != nil {
			return nil, err
		}
		r, err := c.Close()
		if err != nil {
			return nil, err
		}
		p := Part{Table: name, Rel: folderOf(name, "") + r.Parts[0].Name, Bytes: r.Parts[0].Bytes}
		p.Columns = columnsOf(t.schema[name])
		if name == "calls" {
			p.Protocols = map[string][]bundle.Column{}
			for protocol, s := range t.known {
				p.Protocols[protocol] = columnsOf(s)
			}
		}
		list = append(list, p)
	}
	return list, nil
}

// columnsOf are the columns of a table for a manifest, without digests.
func columnsOf(s *table.Schema) (list []bundle.Column) {
	for i := range s.Columns {
		list = append(list, bundle.Column{Name: s.Columns[i].Name, Type: s.Columns[i].Kind.String()})
	}
	return list
}

// folderOf is where the parts of a table are.
func folderOf(name, protocol string) string {
	if protocol == "" {
		return "data/tables/" + name + "/"
	}
	return "data/tables/" + name + "/protocol=" + protocol + "/"
}
