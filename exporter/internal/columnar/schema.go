package columnar

import (
	"encoding/json"
	"fmt"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// leaf is a column of the Parquet file: one of our columns, or a member of its items.
type leaf struct {
	path   []string
	typ    format.Type
	width  int  // of a fixed value
	text   bool // UTF-8
	maxRep byte
	maxDef byte
}

// leafNames are the members of a list's items; "" is the item itself.
func leafNames(k table.Kind) []string {
	switch k {
	case table.Ranges:
		return []string{"first", "last"}
	case table.Headers:
		return []string{"name", "value", "kind"}
	case table.Pairs:
		return []string{"name", "value"}
	}
	return []string{""}
}

// leavesOf lists the Parquet columns of a column.
func leavesOf(c *column) []leaf {
	one := leaf{path: []string{c.Name}}
	if c.Optional {
		one.maxDef = 1
	}
	switch c.Kind {
	case table.Bool:
		one.typ = format.Boolean
	case table.Int32:
		one.typ = format.Int32
	case table.Int64, table.Timestamp, table.Ranges, table.IntList:
		one.typ = format.Int64
	case table.Fixed16:
		one.typ, one.width = format.FixedLenByteArray, 16
	case table.Fixed32:
		one.typ, one.width = format.FixedLenByteArray, 32
	case table.Bytes:
		one.typ = format.ByteArray
	default:
		one.typ, one.text = format.ByteArray, true
	}
	if !c.isList() {
		return []leaf{one}
	}
	one.maxRep, one.maxDef = 1, 2
	var all []leaf
	for _, name := range leafNames(c.Kind) {
		l := one
		l.path = []string{c.Name, "list", "element"}
		if name != "" {
			l.path = append(l.path, name)
		}
		all = append(all, l)
	}
	return all
}

// elements is the schema of the file, flattened depth first as in Parquet. Lists have the three
// levels of the format's LogicalTypes page; items are never null.
func elements(s *table.Schema, columns []*column) []format.SchemaElement {
	all := []format.SchemaElement{{Name: s.Name, NumChildren: thrift.New(int32(len(columns)))}}
	for _, c := range columns {
		leaves := leavesOf(c)
		if !c.isList() {
			rep := format.Required
			if c.Optional {
				rep = format.Optional
			}
			all = append(all, element(c.Name, rep, leaves[0], c.Kind))
			continue
		}
		list := group(c.Name, format.Optional, 1)
		list.LogicalType.Value = &format.ListType{}
		list.ConvertedType = thrift.New(deprecated.List)
		all = append(all, list, group("list", format.Repeated, 1))
		if c.Kind == table.TextList || c.Kind == table.IntList {
			all = append(all, element("element", format.Required, leaves[0], c.Kind))
			continue
		}
		all = append(all, group("element", format.Required, len(leaves)))
		for i, name := range leafNames(c.Kind) {
			all = append(all, element(name, format.Required, leaves[i], c.Kind))
		}
	}
	return all
}

func group(name string, rep format.FieldRepetitionType, children int) format.SchemaElement {
	return format.SchemaElement{Name: name, RepetitionType: thrift.New(rep), NumChildren: thrift.New(int32(children))}
}

func element(name string, rep format.FieldRepetitionType, l leaf, k table.Kind) format.SchemaElement {
	e := format.SchemaElement{Name: name, RepetitionType: thrift.New(rep), Type: thrift.New(l.typ)}
	if l.width > 0 {
		e.TypeLength = thrift.New(int32(l.width))
	}
	if l.text {
		e.LogicalType.Value = &format.StringType{}
		e.ConvertedType = thrift.New(deprecated.UTF8)
	}
	if k == table.Timestamp {
		// Not adjusted to UTC: readers then show the UTC time unchanged in every time zone. The
		// older TIMESTAMP_MICROS means adjusted, so it is omitted.
		e.LogicalType.Value = &format.TimestampType{Unit: format.TimeUnit{Value: &format.MicroSeconds{}}}
	}
	return e
}

// metadata is the description in each part's footer.
func metadata(s *table.Schema, o Options) (createdBy string, pairs []format.KeyValue) {
	type column struct {
		Name string `json:"name"`
		Type string `json:"type"`
		Unit string `json:"unit,omitempty"`
		Doc  string `json:"doc"`
	}
	columns := make([]column, len(s.Columns))
	for i, c := range s.Columns {
		columns[i] = column{c.Name, c.Kind.String(), c.Unit, c.Doc}
	}
	docs, err := json.Marshal(columns)
	if err != nil {
		panic(err) // strings always marshal
	}
	name, version := o.ReleaseName, o.ReleaseVersion
	if name == "" {
		name = "pcapsule"
	}
	if version == "" {
		version = "0.0.0"
	}
	return fmt.Sprintf("%s version %s", name, version), []format.KeyValue{
		{Key: "pcapsule.columns", Value: string(docs)},
		{Key: "pcapsule.schema_version", Value: fmt.Sprint(SchemaVersion)},
		{Key: "pcapsule.table", Value: s.Name},
		{Key: "pcapsule.table_doc", Value: s.Doc},
	}
}
