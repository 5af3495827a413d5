package columnar

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// place is a struct with columns: the row itself, or a struct that few rows point to.
type place struct {
	columns []*column
	sized   []*column // those without a fixed size
	fixed   int       // raw size of the others

	far     bool
	pointer uintptr          // of the pointer in a row, if far
	absent  unsafe.Pointer   // a zero struct, in place of nil
	found   []unsafe.Pointer // the structs of the rows being gathered
}

// locate finds the columns in a row. It waits for the first row, because a schema that joins the
// columns of several protocols has no row type and never has rows.
func (t *Table) locate() error {
	if t.located {
		return nil
	}
	t.places = []*place{{}}
	for _, c := range t.columns {
		p, err := t.placeOf(c)
		if err != nil {
			return err
		}
		p.columns = append(p.columns, c)
		if p.fixed += c.fixedSize(); c.fixedSize() == 0 {
			p.sized = append(p.sized, c)
		}
	}
	t.located = true
	return nil
}

// placeOf finds a column and the struct that has it.
func (t *Table) placeOf(c *column) (*place, error) {
	row := t.schema.Row
	typ, at := row, t.places[0]
	c.offset = 0
	for _, i := range c.Field {
		if typ.Kind() == reflect.Pointer && !at.far {
			at = t.far(c.offset, typ.Elem())
			typ, c.offset = typ.Elem(), 0
		}
		if typ.Kind() != reflect.Struct || i >= typ.NumField() {
			return nil, fmt.Errorf("column %s: not a field of %s", c.Name, row)
		}
		f := typ.Field(i)
		c.offset += f.Offset
		typ = f.Type
	}
	kind, opt, ok := fieldKind(typ)
	if !ok || kind != c.Kind || opt && !c.Optional {
		return nil, fmt.Errorf("column %s: the field has type %s instead of %s", c.Name, typ, c.Kind)
	}
	if c.opt = opt; opt {
		c.present = c.offset + typ.Field(1).Offset
	}
	return at, nil
}

// far is the place behind a pointer of the row.
func (t *Table) far(pointer uintptr, typ reflect.Type) *place {
	for _, p := range t.places {
		if p.far && p.pointer == pointer {
			return p
		}
	}
	p := &place{far: true, pointer: pointer, absent: reflect.New(typ).UnsafePointer()}
	t.places = append(t.places, p)
	return p
}

// size is the raw size of the place's columns in a row, and how many columns have their first value of the group there, so
// that all its rows need a level.
func (p *place) size(row unsafe.Pointer) (n, first int) {
	if p.far {
		if row = *(*unsafe.Pointer)(unsafe.Add(row, p.pointer)); row == nil {
			row = p.absent
		}
	}
	n = p.fixed
	for _, c := range p.sized {
		if c.opt && *(*byte)(unsafe.Add(row, c.present)) == 0 {
			continue // as most
		}
		size := c.sizeIn(row)
		if size > 0 && !c.counted && c.Optional && !c.isList() {
			c.counted = true
			first++
		}
		n += size
	}
	return n, first
}

// gather appends the columns' values of rows.
func (p *place) gather(rows []unsafe.Pointer) {
	if p.far {
		p.found = p.found[:0]
		for _, row := range rows {
			s := *(*unsafe.Pointer)(unsafe.Add(row, p.pointer))
			if s == nil {
				s = p.absent
			}
			p.found = append(p.found, s)
		}
		rows = p.found
		defer clear(p.found)
	}
	for _, c := range p.columns {
		c.gather(rows)
	}
}

// fieldKind is the kind as which a field's type is stored, and whether it is an Opt.
func fieldKind(t reflect.Type) (kind table.Kind, opt, ok bool) {
	if t.Kind() == reflect.Struct && t.NumField() == 2 && t.Field(0).Name == "V" && t.Field(1).Name == "OK" {
		kind, _, ok = fieldKind(t.Field(0).Type)
		return kind, true, ok
	}
	switch t {
	case reflect.TypeFor[bool]():
		return table.Bool, false, true
	case reflect.TypeFor[int32]():
		return table.Int32, false, true
	case reflect.TypeFor[int64]():
		return table.Int64, false, true
	case reflect.TypeFor[table.Micros]():
		return table.Timestamp, false, true
	case reflect.TypeFor[string]():
		return table.Text, false, true
	case reflect.TypeFor[[]byte]():
		return table.Bytes, false, true
	case reflect.TypeFor[table.ID]():
		return table.Fixed16, false, true
	case reflect.TypeFor[table.Hash]():
		return table.Fixed32, false, true
	case reflect.TypeFor[[]string]():
		return table.TextList, false, true
	case reflect.TypeFor[[]int64]():
		return table.IntList, false, true
	case reflect.TypeFor[table.Cites]():
		return table.Ranges, false, true
	case reflect.TypeFor[[]table.Header]():
		return table.Headers, false, true
	case reflect.TypeFor[[]table.Pair]():
		return table.Pairs, false, true
	}
	return 0, false, false
}
