// Package reader answers questions about one bundle from its files, without a database, as the viewer must in a browser tab. The
// answers have the shape, the values and the masks of those of the REST server. What it cannot answer it refuses, with the command
// that can.
package reader

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/shown"
	"github.com/pcapsule/pcapsule/kfl"
)

// Limits of a bundle that a tab reads: its tables are in memory.
const (
	MaxCalls   = 1_000_000
	MaxPackets = 8_000_000
)

// Reader is an open bundle. It must be used by one goroutine.
type Reader struct {
	// State is what is known about the files of the bundle: not_verified, verified or broken.
	State string

	name    string
	b       *bundle.Bundle
	policy  *redact.Policy
	masker  *redact.Masker
	known   *redact.Known
	calls   []*relation
	order   []place // of calls, by time
	ends    *relation
	endRow  map[int64]int
	tables  map[string]*relation
	by      map[string]map[int64]int // rows of other tables, by "table key"
	env     kfl.Env
	record  *forensics.Recording
	packets *packets
	shakes  map[string]map[int64]any // of the first handshake of a connection that has a value, by column
	masked  map[maskKey]string
	parts   map[string][]kfl.BodyPart // of all bodies, once a filter needed them
}

// place is a row of calls.
type place struct {
	of  *relation
	row int
}

type maskKey struct{ column, how, text string }

// Open opens the bundle at a path. name is how answers call it.
func Open(path, name string) (*Reader, error) {
	b, err := bundle.Open(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{State: "not_verified", name: name, b: b, policy: redact.Default(), tables: map[string]*relation{}, by: map[string]map[int64]int{}, shakes: map[string]map[int64]any{}, masked: map[maskKey]string{}}
	var calls int64
	for _, n := range b.Manifest.Calls {
		calls += n
	}
	if calls > MaxCalls || b.Manifest.Accounts.Packets > MaxPackets {
		return nil, &TooLargeError{fmt.Sprintf("%s has %d calls and %d packets, more than the %d and %d that a tab reads", name, calls, b.Manifest.Accounts.Packets, MaxCalls, MaxPackets)}
	}
	if r.calls, err = relations(b, "calls", "call_no"); err != nil {
		return nil, err
	}
	for _, c := range r.calls {
		if err := c.load("ts_ns"); err != nil {
			return nil, err
		}
		for row := range c.rows {
			r.order = append(r.order, place{c, row})
		}
	}
	slices.SortFunc(r.order, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.of.int("ts_ns", a.row), b.of.int("ts_ns", b.row)), cmp.Compare(a.of.int("call_no", a.row), b.of.int("call_no", b.row)))
	})
	if err := r.readEnds(); err != nil {
		return nil, err
	}
	if err := r.learn(); err != nil {
		return nil, err
	}
	r.masker = redact.NewMasker(r.policy, r.known)
	return r, r.describe()
}

// TooLargeError says that a bundle is too large for a tab.
type TooLargeError struct{ text string }

func (e *TooLargeError) Error() string { return e.text }

// table is another table of the bundle, empty if it has none.
func (r *Reader) table(name, key string) (*relation, error) {
	if t := r.tables[name]; t != nil {
		return t, nil
	}
	list, err := relations(r.b, name, key)
	if err != nil {
		return nil, err
	}
	t := &relation{columns: map[string][]any{}}
	if len(list) > 0 {
		t = list[0]
	}
	r.tables[name] = t
	return t, nil
}

// rowOf finds a row of a table by the value of its key.
func (r *Reader) rowOf(name, key string, id any) (*relation, int, bool, error) {
	t, err := r.table(name, key)
	if err != nil {
		return nil, 0, false, err
	}
	if err := t.load(key); err != nil {
		return nil, 0, false, err
	}
	if r.by[name] == nil {
		of := map[int64]int{}
		for row := t.rows - 1; row >= 0; row-- {
			of[t.int(key, row)] = row
		}
		r.by[name] = of
	}
	n, ok := id.(int64)
	if !ok {
		return t, 0, false, nil
	}
	row, ok := r.by[name][n]
	return t, row, ok, nil
}

func (r *Reader) readEnds() error {
	t, err := r.table("endpoints", "endpoint_id")
	if err != nil {
		return err
	}
	r.ends, r.endRow = t, map[int64]int{}
	for row := range t.rows {
		r.endRow[t.int("endpoint_id", row)] = row
	}
	return t.load(t.names()...)
}

// endColumn is the column of endpoints that a column of calls or flows shows, such as src_name.
func (r *Reader) endColumn(of *relation, name string) (id, column string, ok bool) {
	for _, side := range []string{"src_", "dst_"} {
		if len(name) > len(side) && name[:len(side)] == side && !of.Has(name) && r.ends.Has(name[len(side):]) && name[len(side):] != "endpoint_id" {
			return side + "id", name[len(side):], true
		}
	}
	return "", "", false
}

// load reads columns of calls and what they need.
func (r *Reader) load(names ...string) error {
	for _, c := range r.calls {
		list := slices.Clone(names)
		for _, name := range names {
			if id, _, ok := r.endColumn(c, name); ok {
				list = append(list, id)
			}
			list = append(list, redact.Context([]string{name})...)
			if isReceipt(name) {
				list = append(list, "call_no", "response_bytes")
			}
		}
		if err := c.load(list...); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(names, isReceipt) {
		t, err := r.table("receipts", "call_no")
		if err != nil {
			return err
		}
		return t.load(t.names()...)
	}
	return nil
}

var receiptColumns = sync.OnceValue(func() (list []table.Column) {
	for _, c := range table.SchemaOf("receipts", "", table.Receipt{}).Columns {
		if c.Name != "call_no" {
			list = append(list, c)
		}
	}
	return list
})

func isReceipt(name string) bool {
	return slices.ContainsFunc(receiptColumns(), func(c table.Column) bool { return c.Name == name })
}

// raw is a value of a call as it was sent; load comes first.
func (r *Reader) raw(p place, name string) any {
	if p.of.Has(name) {
		return p.of.at(name, p.row)
	}
	if id, column, ok := r.endColumn(p.of, name); ok {
		if row, ok := r.endRow[p.of.int(id, p.row)]; ok && p.of.at(id, p.row) != nil {
			return r.ends.at(column, row)
		}
		return nil
	}
	if isReceipt(name) {
		t, row, ok, err := r.rowOf("receipts", "call_no", p.of.at("call_no", p.row))
		if err != nil || t.rows == 0 && len(t.Columns) == 0 {
			return nil
		}
		var v any
		if ok {
			v = t.at(name, row)
		}
		if name == "response_delivered" && v == nil && p.of.int("response_bytes", p.row) > 0 {
			return table.DeliveryUnknown
		}
		return v
	}
	return nil
}

// value is a masked value of a call.
func (r *Reader) value(p place, name string) any {
	return r.cell(p.of, p.row, name, r.raw(p, name))
}

// cell masks a value of a row. Texts that rows repeat are masked once.
func (r *Reader) cell(of *relation, row int, name string, v any) any {
	column := name
	if _, end, ok := r.endColumn(of, name); ok {
		column = end // ends are masked as table endpoints
	}
	other := func(name string) (any, bool) { return of.at(name, row), of.Has(name) }
	s, ok := v.(string)
	if !ok {
		return r.masker.Cell(column, v, other)
	}
	key := maskKey{column: column, text: s}
	for _, c := range redact.Context([]string{column}) {
		text, plain := of.at(c, row).(string)
		if !plain && of.at(c, row) != nil {
			out, _ := r.masker.Cell(column, v, other).(string)
			return out
		}
		key.how += text + "\x00"
	}
	if column == "text" {
		key.how = of.text("content_type", row)
	}
	if out, ok := r.masked[key]; ok {
		return out
	}
	out, _ := r.masker.Cell(column, v, other).(string)
	if len(r.masked) < maxMasked && len(s) < 1024 {
		r.masked[key] = out
	}
	return out
}

// maxMasked is how many masked texts are kept.
const maxMasked = 1 << 20

// structOf is a masked row of a table.
func (r *Reader) structOf(t *relation, row int) (s forensics.Struct) {
	for _, c := range t.Columns {
		s = append(s, forensics.Field{Name: c.Name, Value: r.cell(t, row, c.Name, t.at(c.Name, row))})
	}
	return s
}

// one is the masked row of a table with a number, nil if there is none.
func (r *Reader) one(name, key string, id any) (forensics.Struct, error) {
	t, row, ok, err := r.rowOf(name, key, id)
	if err != nil || !ok {
		return nil, err
	}
	if err := t.load(t.names()...); err != nil {
		return nil, err
	}
	return r.structOf(t, row), nil
}

func (r *Reader) mask() shown.Mask { return shown.Mask{Policy: r.policy, Known: r.known} }
