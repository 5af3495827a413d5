package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Settings define how a worker opens its database.
type Settings struct {
	Memory  int64 // bytes that DuckDB counts; 0: DuckDB's own limit
	Threads int   // 0: one per processor
	Temp    string
	MaxTemp int64
	Data    int64    // bytes of memory that the kernel allows; 0: no limit
	Dirs    []string // folders with the files that may be read
}

// Masks define what views mask; see package redact.
type Masks struct {
	Policy string   // as YAML
	Values []string // values that are secret everywhere
}

// Views are made when a query on a connection of their kind first names one of them.
type Views struct {
	Kind  int      // 0: all connections; the next number begins a new kind
	Names []string // of the views
	SQL   []string // statements that make them
}

// Question is a query for a worker.
type Question struct {
	Kind   int    // kind of its connection, see Views
	Own    uint64 // number of a connection that only queries with this number use; 0: any free one
	Setup  bool   // any statement, not only a query
	SQL    string
	Hidden []string // names that SQL defines for all of its parts, so that they are no views
	Args   []any
}

// Column is one column of an answer.
type Column struct {
	Name string
	Type string // DuckDB's word
}

// Header is the part of a Head frame before its rows.
type Header struct {
	Columns []Column
	Shapes  []Shape
}

// Shape is the names of the fields of a struct. Values refer to it by number.
type Shape []string

// Failure is an error.
type Failure struct {
	Reason Reason
	Msg    string
}

// Reason is the kind of an error.
type Reason byte

// Reasons.
const (
	Said    Reason = iota // Msg is the message of DuckDB
	Refused               // the worker refuses to run it
	TooBig                // a row is larger than MaxRow
	Other                 // any other error of the worker
)

// Append writes s.
func (s *Settings) Append(b []byte) []byte {
	b = binary.AppendVarint(b, s.Memory)
	b = binary.AppendVarint(b, int64(s.Threads))
	b = appendText(b, s.Temp)
	b = binary.AppendVarint(b, s.MaxTemp)
	b = binary.AppendVarint(b, s.Data)
	return appendTexts(b, s.Dirs)
}

// ReadSettings reads what Append wrote.
func ReadSettings(body []byte) (s Settings, err error) {
	r := Reader{data: body}
	s.Memory, s.Threads, s.Temp = r.varint(), int(r.varint()), r.text()
	s.MaxTemp, s.Data, s.Dirs = r.varint(), r.varint(), r.texts()
	return s, r.end()
}

// Append writes m.
func (m *Masks) Append(b []byte) []byte { return appendTexts(appendText(b, m.Policy), m.Values) }

// ReadMasks reads what Append wrote.
func ReadMasks(body []byte) (m Masks, err error) {
	r := Reader{data: body}
	m.Policy, m.Values = r.text(), r.texts()
	return m, r.end()
}

// Append writes v.
func (v *Views) Append(b []byte) []byte {
	return appendTexts(appendTexts(binary.AppendUvarint(b, uint64(v.Kind)), v.Names), v.SQL)
}

// ReadViews reads what Append wrote.
func ReadViews(body []byte) (v Views, err error) {
	r := Reader{data: body}
	v.Kind, v.Names, v.SQL = int(min(r.uvarint(), math.MaxInt32)), r.texts(), r.texts()
	return v, r.end()
}

// Append writes q. It fails if a value has no form on the wire.
func (q *Question) Append(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(q.Kind))
	b = binary.AppendUvarint(b, q.Own)
	b = append(b, 0)
	if q.Setup {
		b[len(b)-1] = 1
	}
	b = appendTexts(appendText(b, q.SQL), q.Hidden)
	b = binary.AppendUvarint(b, uint64(len(q.Args)))
	var err error
	for i, a := range q.Args {
		if b, err = appendArg(b, a); err != nil {
			return nil, fmt.Errorf("SQL: parameter %d: %w", i+1, err)
		}
	}
	return b, nil
}

// ReadQuestion reads what Append wrote.
func ReadQuestion(body []byte) (q Question, err error) {
	r := Reader{data: body}
	q.Kind, q.Own, q.Setup, q.SQL, q.Hidden = int(r.count()), r.uvarint(), r.byte() != 0, r.text(), r.texts()
	n := r.count()
	for range n {
		q.Args = append(q.Args, r.value(0))
		if r.err != nil {
			break
		}
	}
	return q, r.end()
}

// Append writes h.
func (h *Header) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.Columns)))
	for _, c := range h.Columns {
		b = appendText(appendText(b, c.Name), c.Type)
	}
	b = binary.AppendUvarint(b, uint64(len(h.Shapes)))
	for _, s := range h.Shapes {
		b = appendTexts(b, s)
	}
	return b
}

// ReadHeader reads what Append wrote, and returns the rest.
func ReadHeader(body []byte) (h Header, rest []byte, err error) {
	r := Reader{data: body}
	for range r.listed() {
		h.Columns = append(h.Columns, Column{r.text(), r.text()})
		if r.err != nil {
			return Header{}, nil, r.err
		}
	}
	for range r.listed() {
		h.Shapes = append(h.Shapes, r.texts())
		if r.err != nil {
			return Header{}, nil, r.err
		}
	}
	return h, r.data, r.err
}

// Append writes f.
func (f *Failure) Append(b []byte) []byte { return append(append(b, byte(f.Reason)), f.Msg...) }

// ReadFailure reads what Append wrote.
func ReadFailure(body []byte) Failure {
	if len(body) == 0 {
		return Failure{Reason: Other}
	}
	return Failure{Reason(body[0]), string(body[1:])}
}

// appendText writes a text.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendTexts writes a list of texts.
func appendTexts(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}
