// Package table defines the rows of every table of a bundle: their columns in order, with types,
// units and meaning.
//
// A table is a Go struct whose fields carry tags:
//
//	Status Opt[int32] `col:"status_code" unit:"" doc:"HTTP status, DNS rcode …"`
//
// Column names are snake case. A name has the same type in every table, and in every release. The
// package imports no other package of this project and writes nothing: exporter/internal/columnar
// turns rows into Parquet, and forensics binds the same names.
package table

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Kind is the physical shape of a column.
type Kind uint8

// The kinds a column can have, with their Parquet and DuckDB types.
const (
	Bool      Kind = iota // BOOLEAN
	Int32                 // INTEGER
	Int64                 // BIGINT
	Timestamp             // TIMESTAMP, microseconds UTC, not adjusted (field type Micros)
	Text                  // VARCHAR, valid UTF-8
	Bytes                 // BLOB
	Fixed16               // BLOB of 16 bytes (ID)
	Fixed32               // BLOB of 32 bytes (Hash)
	TextList              // VARCHAR[]
	IntList               // BIGINT[]
	Ranges                // STRUCT(first BIGINT, last BIGINT)[] (Cites)
	Headers               // STRUCT(name VARCHAR, value VARCHAR, kind VARCHAR)[]
	Pairs                 // STRUCT(name VARCHAR, value VARCHAR)[] (labels)
)

var kindNames = [...]string{
	Bool: "BOOLEAN", Int32: "INTEGER", Int64: "BIGINT", Timestamp: "TIMESTAMP", Text: "VARCHAR",
	Bytes: "BLOB", Fixed16: "BLOB", Fixed32: "BLOB", TextList: "VARCHAR[]", IntList: "BIGINT[]",
	Ranges:  `STRUCT("first" BIGINT, "last" BIGINT)[]`,
	Headers: `STRUCT("name" VARCHAR, "value" VARCHAR, "kind" VARCHAR)[]`,
	Pairs:   `STRUCT("name" VARCHAR, "value" VARCHAR)[]`,
}

// String is the DuckDB type of the kind.
func (k Kind) String() string { return kindNames[k] }

// KindOf returns the first kind with a DuckDB type.
func KindOf(duckType string) (Kind, bool) {
	k := slices.Index(kindNames[:], duckType)
	return Kind(max(k, 0)), k >= 0
}

// ID is the first 16 bytes of a hash that identifies a row by its content.
type ID [16]byte

// ContentID is the number of bytes at the end of a call_id that depend only on the content of
// the call. The bytes before them also differ if the bundle has the same content several times.
const ContentID = 10

// Hash is a SHA-256.
type Hash [32]byte

// Micros is a time in microseconds since 1970-01-01 UTC.
type Micros int64

// MicrosOf is a time in nanoseconds as microseconds, rounded down.
func MicrosOf(ns int64) Micros {
	us := ns / 1000
	if ns%1000 < 0 {
		us--
	}
	return Micros(us)
}

// Opt is a value that may be absent; the zero value is absent.
type Opt[T any] struct {
	V  T
	OK bool
}

// Some returns a present value.
func Some[T any](v T) Opt[T] { return Opt[T]{v, true} }

// NonEmpty returns a text that is present unless it is empty.
func NonEmpty(s string) Opt[string] { return Opt[string]{s, s != ""} }

// Range is the packets from First to Last, inclusive.
type Range struct {
	First, Last int64
}

// Cites are the packets that a row cites: ascending ranges that neither overlap nor touch.
type Cites []Range

// Header is one name and value as on the wire, in wire order. Kind is "request", "response",
// "request_trailer", "response_trailer" or a protocol's own kind.
type Header struct {
	Name, Value, Kind string
}

// Pair is one name and value of a set such as Kubernetes labels, sorted by name.
type Pair struct {
	Name, Value string
}

// Column is one column of a table.
type Column struct {
	Name     string
	Kind     Kind
	Optional bool   // may be null
	Dict     bool   // few distinct values: dictionary encoded
	Bloom    bool   // looked up by single values: has a bloom filter
	Unit     string // ns, us, bytes, packets, or empty
	Doc      string // one sentence
	Protocol string // protocols that define this column, with spaces between, empty for a column of all protocols
	Field    []int  // reflect index path in the row struct
}

// Schema is a table: its name and columns in file order.
type Schema struct {
	Name    string
	Doc     string
	Columns []Column
	Row     reflect.Type // the struct type that rows have
}

// SchemaOf reads the schema from the tags of row, a struct value. Embedded structs, and structs
// embedded by a pointer that may be nil, are read in place. It panics on an invalid tag, which is a programmer's mistake that the first test
// finds.
func SchemaOf(name, doc string, row any) *Schema {
	t := reflect.TypeOf(row)
	s := &Schema{Name: name, Doc: doc, Row: t}
	if list, ok := collected.Load(t); ok {
		s.Columns = slices.Clone(list.([]Column))
		return s
	}
	s.collect(t, nil)
	seen := map[string]bool{}
	for _, c := range s.Columns {
		if seen[c.Name] {
			panic(fmt.Sprintf("table %s: column %s twice", name, c.Name))
		}
		seen[c.Name] = true
	}
	collected.Store(t, slices.Clone(s.Columns))
	return s
}

// collected has the columns of each type that was read before, because reading the tags of all types
// takes as long as writing the tables of a small capture.
var collected sync.Map

func (s *Schema) collect(t reflect.Type, path []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(append([]int(nil), path...), i)
		name, ok := f.Tag.Lookup("col")
		if !ok {
			switch {
			case f.Anonymous && f.Type.Kind() == reflect.Struct:
				s.collect(f.Type, at)
			case f.Anonymous && f.Type.Kind() == reflect.Pointer:
				s.collectShared(f.Type.Elem(), at)
			}
			continue
		}
		c := Column{Name: name, Unit: f.Tag.Get("unit"), Doc: f.Tag.Get("doc"), Dict: f.Tag.Get("enc") == "dict", Bloom: f.Tag.Get("enc") == "bloom", Field: at}
		c.Kind, c.Optional, ok = kindOf(f.Type)
		if !ok || !f.IsExported() {
			panic(fmt.Sprintf("table %s: column %s: type %s is not a column type", s.Name, name, f.Type))
		}
		if c.Doc == "" {
			panic(fmt.Sprintf("table %s: column %s has no doc", s.Name, name))
		}
		s.Columns = append(s.Columns, c)
	}
}

// collectShared reads the columns of a struct that is embedded by a pointer, because few rows have
// it. All its columns are null in a row without it.
func (s *Schema) collectShared(t reflect.Type, path []int) {
	n := len(s.Columns)
	s.collect(t, path)
	for _, c := range s.Columns[n:] {
		if !c.Optional {
			panic(fmt.Sprintf("table %s: column %s: it must be optional, because not every row has a %s", s.Name, c.Name, t))
		}
	}
}

func kindOf(t reflect.Type) (k Kind, optional, ok bool) {
	switch t {
	case reflect.TypeFor[ID]():
		return Fixed16, false, true
	case reflect.TypeFor[Opt[ID]]():
		return Fixed16, true, true
	case reflect.TypeFor[Hash]():
		return Fixed32, false, true
	case reflect.TypeFor[Opt[Hash]]():
		return Fixed32, true, true
	case reflect.TypeFor[Micros]():
		return Timestamp, false, true
	case reflect.TypeFor[Opt[Micros]]():
		return Timestamp, true, true
	case reflect.TypeFor[bool]():
		return Bool, false, true
	case reflect.TypeFor[Opt[bool]]():
		return Bool, true, true
	case reflect.TypeFor[int32]():
		return Int32, false, true
	case reflect.TypeFor[Opt[int32]]():
		return Int32, true, true
	case reflect.TypeFor[int64]():
		return Int64, false, true
	case reflect.TypeFor[Opt[int64]]():
		return Int64, true, true
	case reflect.TypeFor[string]():
		return Text, false, true
	case reflect.TypeFor[Opt[string]]():
		return Text, true, true
	case reflect.TypeFor[[]byte]():
		return Bytes, true, true // nil is null, empty is empty
	case reflect.TypeFor[[]string]():
		return TextList, true, true // nil is null
	case reflect.TypeFor[[]int64]():
		return IntList, true, true // nil is null
	case reflect.TypeFor[Cites]():
		return Ranges, true, true
	case reflect.TypeFor[[]Header]():
		return Headers, true, true
	case reflect.TypeFor[[]Pair]():
		return Pairs, true, true
	}
	return 0, false, false
}

// Column returns the column of that name, or nil.
func (s *Schema) Column(name string) *Column {
	for i := range s.Columns {
		if s.Columns[i].Name == name {
			return &s.Columns[i]
		}
	}
	return nil
}

// Union makes a schema with the columns of all schemas: first the columns of base in its order,
// then each other column once, sorted by name. It returns an error if one name has two types.
func Union(base *Schema, others ...*Schema) (*Schema, error) {
	u := &Schema{Name: base.Name, Doc: base.Doc, Row: base.Row, Columns: append([]Column(nil), base.Columns...)}
	have := map[string]Column{}
	for _, c := range base.Columns {
		have[c.Name] = c
	}
	var extra []string
	for _, o := range others {
		for _, c := range o.Columns {
			old, ok := have[c.Name]
			if ok && old.Kind != c.Kind {
				return nil, fmt.Errorf("column %s of %s: type %s, elsewhere %s", c.Name, o.Name, c.Kind, old.Kind)
			}
			protocol := strings.TrimPrefix(o.Name, base.Name+"/")
			switch {
			case !ok:
				c.Protocol, c.Optional = protocol, true
				have[c.Name] = c
				extra = append(extra, c.Name)
			case old.Protocol != "":
				old.Protocol += " " + protocol
				have[c.Name] = old
			}
		}
	}
	slices.Sort(extra)
	for _, name := range extra {
		u.Columns = append(u.Columns, have[name])
	}
	return u, nil
}

// Add adds the packets first to last to the ranges. Packets are mostly in ascending order, so
// the usual cost is one comparison.
func (c *Cites) Add(first, last int64) {
	s := *c
	n := len(s)
	if n == 0 || first > s[n-1].Last+1 {
		*c = append(s, Range{first, last})
		return
	}
	if first >= s[n-1].First {
		s[n-1].Last = max(s[n-1].Last, last)
		return
	}
	s = append(s, Range{first, last})
	sort.Slice(s, func(i, j int) bool { return s[i].First < s[j].First })
	out := s[:1]
	for _, r := range s[1:] {
		if l := &out[len(out)-1]; r.First <= l.Last+1 {
			l.Last = max(l.Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	*c = out
}

// Has reports whether a packet is cited.
func (c Cites) Has(no int64) bool {
	i := sort.Search(len(c), func(i int) bool { return c[i].Last >= no })
	return i < len(c) && c[i].First <= no
}

// Count is the number of packets in the ranges.
func (c Cites) Count() (n int64) {
	for _, r := range c {
		n += r.Last - r.First + 1
	}
	return n
}
