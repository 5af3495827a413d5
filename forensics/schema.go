package forensics

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// Table is one table of a case, or the calls of one protocol, with the meaning of its columns.
type Table struct {
	Name    string
	Doc     string
	Calls   bool // it has the columns of table calls too, which are not listed again
	Columns []TableColumn
	Rows    int64 // as in the manifests; -1 if they are computed when a query first needs them
}

// TableColumn is one column of a table.
type TableColumn struct {
	Name, Type, Unit, Doc string

	Protocols []string // of table calls: the protocols that have the column; SELECT * does not have it
	Absent    bool     // no row of the case has a value, and SELECT * does not have the column
}

// doc is the description of a column in the footer of a part.
type doc struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	Doc  string `json:"doc"`
}

// Tables lists the tables with every column that a query can name, including those of the endpoints
// and, last, those without a value.
// The descriptions come from the bundles, so columns of a later release are also described.
func (c *Case) Tables() ([]Table, error) {
	docs, err := c.docs()
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	for _, s := range table.All() {
		known[s.Name] = s.Doc
	}
	known["sightings"] = "calls of this case that are also in another of its bundles, and the row of calls that represents both"
	known["connection_sightings"] = "connections of this case that several of its bundles show, with the row of connections that represents them, which for one of them is itself"
	var out []Table
	for _, name := range c.order {
		v := c.views[name]
		t := Table{Name: name, Doc: known[name], Calls: v.rows.protocols != nil}
		for _, b := range c.bundles {
			for _, m := range b.Manifest.Tables {
				if m.Name == name && !t.Calls || t.Calls && m.Name == "calls" && m.Protocol == name {
					t.Rows += m.Rows
				}
			}
		}
		if t.Calls {
			out = append(out, c.relationTable(t, docs))
			continue
		}
		switch {
		case name == "calls":
			t.Rows -= c.copied
		case name == "sightings":
			t.Rows = c.copied
		case name == "connection_sightings":
			t.Rows = -1
		case name == "endpoints" && c.ends != nil:
			t.Rows += c.ends.made
		case name == "anomalies" && c.ends != nil:
			t.Rows += c.ends.contrary
		}
		for i, list := range [][]duck.Column{v.all(), v.absent} {
			for _, col := range list {
				d := describe(docs, name, col.Name)
				add := TableColumn{Name: col.Name, Type: col.Type, Unit: d.Unit, Doc: d.Doc, Absent: i == 1}
				if hasColumn(v.own, col.Name) {
					add.Protocols = c.protocolsWith(col.Name)
				}
				t.Columns = append(t.Columns, add)
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// relationTable describes the calls of one protocol.
func (c *Case) relationTable(t Table, docs map[string]map[string]doc) Table {
	t.Doc = "calls of " + t.Name + ": the columns of calls, and those of the protocol"
	if c.copied > 0 {
		t.Rows = -1
	}
	for _, col := range c.calls.own[t.Name] {
		d := describe(docs, "calls", col.Name)
		t.Columns = append(t.Columns, TableColumn{Name: col.Name, Type: col.Type, Unit: d.Unit, Doc: d.Doc})
	}
	return t
}

func describe(docs map[string]map[string]doc, tableName, column string) doc {
	if d, ok := docs[tableName][column]; ok {
		return d
	}
	of := map[string]string{"sightings": "calls", "connection_sightings": "connections"}[tableName]
	if d, ok := docs[of][column]; ok {
		return d
	}
	if d, ok := docs[receipts][column]; ok {
		return d
	}
	switch column {
	case "bundle":
		return doc{Doc: "index of the bundle in the case, from 0; numbers such as call_no are unique only within a bundle"}
	case "of_bundle":
		return doc{Doc: "index of the bundle with the row that represents it"}
	case "packets":
		return doc{Doc: "packets of the flow that has most"}
	case "of_call_no", "of_conn_id":
		return doc{Doc: "its " + strings.TrimPrefix(column, "of_") + " there"}
	case "ts_exact":
		return doc{Doc: "ts_ns as a TIMESTAMP_NS, UTC"}
	}
	for prefix, who := range map[string]string{"src_": "client: ", "dst_": "server: "} {
		if rest, ok := strings.CutPrefix(column, prefix); ok {
			if d, ok := docs["endpoints"][rest]; ok {
				return doc{Unit: d.Unit, Doc: who + d.Doc}
			}
		}
	}
	return doc{}
}

// readDocs reads the descriptions of all columns from the footers.
func (c *Case) readDocs() (map[string]map[string]doc, error) {
	out := map[string]map[string]doc{}
	for _, name := range c.order {
		if c.views[name].rows.protocols != nil {
			continue // its columns are among those of calls
		}
		words := map[string]doc{}
		for _, b := range c.bundles {
			for _, file := range b.TableParts(name) {
				if err := c.readFooter(file, words); err != nil {
					return nil, err
				}
			}
		}
		out[name] = words
	}
	schemas := table.All()
	schemas[0].Columns = append(schemas[0].Columns, table.ProtocolColumns()...)
	for _, s := range schemas {
		for _, col := range s.Columns {
			if words := out[s.Name]; words != nil && words[col.Name].Doc == "" {
				words[col.Name] = doc{Name: col.Name, Unit: col.Unit, Doc: col.Doc}
			}
		}
	}
	return out, nil
}

// readFooter adds the descriptions in one part. The first part of a folder suffices. Without
// descriptions the columns have none.
func (c *Case) readFooter(file string, words map[string]doc) error {
	if !strings.HasSuffix(file, "part-000.parquet") {
		return nil
	}
	rows, err := c.db.Query(context.Background(), "SELECT CAST(value AS BLOB) FROM parquet_kv_metadata("+quote.SQL(escapeGlob(file))+
		") WHERE CAST(key AS VARCHAR) = 'pcapsule.columns'")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		v, err := rows.Value(0)
		if err != nil {
			return err
		}
		text, _ := v.([]byte)
		var list []doc
		if json.Unmarshal(text, &list) != nil {
			continue
		}
		for _, d := range list {
			if _, ok := words[d.Name]; !ok {
				words[d.Name] = d
			}
		}
	}
	return rows.Err()
}
