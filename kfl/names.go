package kfl

import (
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/table"
)

//go:embed names.tsv
var namesFile string

// Field is a name that a query may use, with its meaning.
type Field struct {
	Name      string   // the preferred name, in Format, Explain and the documentation
	Type      string   // bool, int, float, text, time, list of text, map, body, bytes
	Unit      string   // us, ns, ms, bytes or empty
	Aliases   []string // other names for the same
	Protocols []string // protocols whose calls can have it; empty for all
	Source    string   // column of the view calls, or the KFL expression that it abbreviates; empty if there is no column yet
	Doc       string   // one sentence
}

type sourceKind uint8

const (
	srcColumn sourceKind = iota // arg is the column
	srcExpr                     // arg is KFL
	srcLater                    // arg is its future column
	srcHeaders
	srcCookies
	srcQuery
	srcLabels
	srcBody
	srcFindings
	srcFlow
	srcConnection
	srcHello
	srcHandshake
)

// field is a row of names.tsv, or a column of a protocol.
type field struct {
	name    string
	typ     typ
	kind    sourceKind
	arg     string
	scope   []string
	aliases []string
	doc     string
}

// nameTable is the content of names.tsv, and the columns of protocols.
type nameTable struct {
	fields []*field
	byName map[string]*field // every name and alias
	heads  map[string]bool   // "src", "src.pod": dotted beginnings of names
	all    []string          // every name, sorted
}

// names reads the embedded table once, and adds the columns of all protocols. It panics on an invalid
// row, which every test would find.
var names = sync.OnceValue(func() *nameTable {
	t := &nameTable{byName: map[string]*field{}, heads: map[string]bool{}}
	for i, line := range strings.Split(strings.TrimSuffix(namesFile, "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f, err := parseField(line)
		if err != nil {
			panic(fmt.Sprintf("names.tsv:%d: %v", i+1, err))
		}
		if err := t.add(f); err != nil {
			panic(fmt.Sprintf("names.tsv:%d: %v", i+1, err))
		}
	}
	for _, c := range table.ProtocolColumns() {
		if t.byName[c.Name] != nil {
			continue // names.tsv gives it other names, or the meaning that it has in KFL2
		}
		typ, ok := columnType(c.Kind.String())
		if !ok {
			continue
		}
		typ.unit = c.Unit
		if err := t.add(&field{name: c.Name, typ: typ, kind: srcColumn, arg: c.Name, scope: strings.Fields(c.Protocol), doc: c.Doc}); err != nil {
			panic(err)
		}
	}
	sort.Strings(t.all)
	return t
})

func (t *nameTable) add(f *field) error {
	t.fields = append(t.fields, f)
	for _, n := range append([]string{f.name}, f.aliases...) {
		if t.byName[n] != nil {
			return fmt.Errorf("name %s is defined twice", n)
		}
		t.byName[n] = f
		t.all = append(t.all, n)
		for j := range n {
			if n[j] == '.' {
				t.heads[n[:j]] = true
			}
		}
	}
	return nil
}

func parseField(line string) (*field, error) {
	c := strings.Split(line, "\t")
	if len(c) != 7 {
		return nil, fmt.Errorf("%d columns, expected 7", len(c))
	}
	f := &field{name: c[0], scope: strings.Fields(c[3]), aliases: strings.Fields(c[5]), doc: c[6]}
	var ok bool
	if f.typ, ok = typeWords[c[1]]; !ok {
		return nil, fmt.Errorf("unknown type %q", c[1])
	}
	f.typ.unit = c[4]
	head, arg, _ := strings.Cut(c[2], ":")
	switch {
	case strings.HasPrefix(c[2], "="):
		f.kind, f.arg = srcExpr, c[2][1:]
	case head == "column":
		f.kind, f.arg = srcColumn, arg
		if arg == "" {
			f.arg = f.name
		}
	default:
		kinds := map[string]sourceKind{"later": srcLater, "headers": srcHeaders, "cookies": srcCookies, "query": srcQuery, "labels": srcLabels, "body": srcBody,
			"findings": srcFindings, "flow": srcFlow, "connection": srcConnection, "hello": srcHello, "handshake": srcHandshake}
		if f.kind, ok = kinds[head]; !ok {
			return nil, fmt.Errorf("unknown source %q", c[2])
		}
		f.arg = arg
		if f.kind == srcLater {
			f.arg = f.name
		}
	}
	return f, nil
}

// typeWords are the types in names.tsv.
var typeWords = map[string]typ{
	"bool": {kind: kBool}, "int": {kind: kInt}, "float": {kind: kFloat}, "string": {kind: kText},
	"name": {kind: kText, text: textName}, "ip": {kind: kText, text: textIP}, "port": {kind: kInt, text: textPort}, "outcome": {kind: kText, text: textOutcome}, "hex": {kind: kText, text: textHex},
	"protocol": {kind: kText, text: textProtocol}, "time": {kind: kTime}, "bytes": {kind: kBytes},
	"strings": {kind: kList, elem: kText}, "map": {kind: kMap}, "labels": {kind: kMap}, "body": {kind: kBody},
}

// IsProtocol reports whether a name is the word for the calls of the protocol of that name.
func IsProtocol(name string) bool {
	f := names().byName[name]
	return f != nil && f.kind == srcExpr && f.arg == `protocol == "`+name+`"`
}

// Fields lists every field and keyword, in the order of the documentation.
func Fields() []Field {
	var out []Field
	for _, f := range names().fields {
		out = append(out, f.public())
	}
	return out
}

// ColumnNamed returns the field of that name, or with that other name, if it is a column of calls.
func ColumnNamed(name string) (Field, bool) {
	f := names().byName[name]
	if f == nil || f.kind != srcColumn {
		return Field{}, false
	}
	return f.public(), true
}

func (f *field) public() Field {
	p := Field{Name: f.name, Type: f.typ.String(), Unit: f.typ.unit, Aliases: append([]string(nil), f.aliases...),
		Protocols: append([]string(nil), f.scope...), Doc: f.doc}
	switch f.kind {
	case srcColumn, srcExpr, srcLabels:
		p.Source = f.arg
	case srcHeaders:
		p.Source = "headers"
	case srcCookies:
		p.Source = "headers"
	case srcQuery:
		p.Source = "query_string"
	case srcBody:
		p.Source = f.arg + "_body_sha256"
	case srcFlow, srcConnection, srcHello, srcHandshake:
		p.Source = joins[f.kind].table + "." + f.arg
	}
	return p
}
