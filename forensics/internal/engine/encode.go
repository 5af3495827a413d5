package engine

import (
	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// column writes n rows from a row on. It stops if they are too large.
func (v *vector) column(w *wire.Writer, from, n int) error {
	nulls := false
	for row := from; v.valid != nil && row < from+n && !nulls; row++ {
		nulls = v.null(row)
	}
	switch v.k.id {
	case duckdb.TypeBigInt:
		ints[int64](v, w, from, n, nulls)
	case duckdb.TypeInteger:
		ints[int32](v, w, from, n, nulls)
	case duckdb.TypeSmallInt:
		ints[int16](v, w, from, n, nulls)
	case duckdb.TypeTinyInt:
		ints[int8](v, w, from, n, nulls)
	case duckdb.TypeUInteger:
		ints[uint32](v, w, from, n, nulls)
	case duckdb.TypeUSmallInt:
		ints[uint16](v, w, from, n, nulls)
	case duckdb.TypeUTinyInt:
		ints[uint8](v, w, from, n, nulls)
	case duckdb.TypeDouble:
		v.fixed(w, wire.Floats, from, n, nulls, func(row int) { w.Float(get[float64](v, row)) })
	case duckdb.TypeFloat:
		v.fixed(w, wire.Floats, from, n, nulls, func(row int) { w.Float(float64(get[float32](v, row))) })
	case duckdb.TypeBoolean:
		v.fixed(w, wire.Bools, from, n, nulls, func(row int) { w.Bool(get[uint8](v, row)) })
	case duckdb.TypeVarchar:
		return v.sized(w, wire.Texts, from, n, nulls, func(row int) error { w.Bytes(v.bytes(row)); return nil })
	case duckdb.TypeBlob:
		return v.sized(w, wire.Blobs, from, n, nulls, func(row int) error { w.Bytes(v.bytes(row)); return nil })
	default:
		return v.sized(w, wire.Values, from, n, nulls, func(row int) error {
			err := v.append(w, row)
			w.Value()
			return err
		})
	}
	return nil
}

func ints[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](v *vector, w *wire.Writer, from, n int, nulls bool) {
	v.fixed(w, wire.Ints, from, n, nulls, func(row int) { w.Int(int64(get[T](v, row))) })
}

func (v *vector) fixed(w *wire.Writer, form wire.Form, from, n int, nulls bool, add func(row int)) {
	w.Column(form, nulls)
	for row := from; row < from+n; row++ {
		if nulls && v.null(row) {
			w.Null()
			continue
		}
		add(row)
	}
}

func (v *vector) sized(w *wire.Writer, form wire.Form, from, n int, nulls bool, add func(row int) error) error {
	w.Column(form, nulls)
	for row := from; row < from+n; row++ {
		if nulls && v.null(row) {
			w.Null()
			continue
		}
		// A text in DuckDB may have gigabytes, so check its size before copying it.
		if form != wire.Values && len(v.bytes(row)) > w.Limit {
			return wire.ErrTooBig
		}
		if err := add(row); err != nil {
			return err
		}
		if w.Full() {
			return wire.ErrTooBig
		}
	}
	return nil
}

// append writes a value of any type.
func (v *vector) append(w *wire.Writer, row int) (err error) {
	if w.Full() {
		return wire.ErrTooBig
	}
	if v.null(row) {
		w.Buf = wire.AppendNull(w.Buf)
		return nil
	}
	switch v.k.id {
	case duckdb.TypeBigInt:
		w.Buf = wire.AppendInt(w.Buf, get[int64](v, row))
	case duckdb.TypeInteger:
		w.Buf = wire.AppendInt(w.Buf, int64(get[int32](v, row)))
	case duckdb.TypeVarchar, duckdb.TypeBlob:
		b := v.bytes(row)
		if len(b) > w.Limit {
			return wire.ErrTooBig
		}
		if v.k.id == duckdb.TypeBlob {
			w.Buf, err = wire.AppendValue(w.Buf, b)
			return err
		}
		w.Buf = wire.AppendString(w.Buf, b)
	case duckdb.TypeBoolean:
		w.Buf, err = wire.AppendValue(w.Buf, get[uint8](v, row) != 0)
	case duckdb.TypeDouble:
		w.Buf, err = wire.AppendValue(w.Buf, get[float64](v, row))
	case duckdb.TypeFloat:
		w.Buf, err = wire.AppendValue(w.Buf, float64(get[float32](v, row)))
	case duckdb.TypeList, duckdb.TypeArray, duckdb.TypeMap, duckdb.TypeStruct, duckdb.TypeUnion:
		return v.nested(w, row)
	default:
		var x any
		if x, err = v.rare(row); err == nil {
			w.Buf, err = wire.AppendValue(w.Buf, x)
		}
	}
	return err
}

func (v *vector) nested(w *wire.Writer, row int) error {
	switch v.k.id {
	case duckdb.TypeList, duckdb.TypeArray:
		from, n := v.span(row)
		w.Hold(n)
		w.Buf = wire.AppendList(w.Buf, n)
		return v.elements(w, from, n)
	case duckdb.TypeMap:
		from, n := v.span(row)
		w.Hold(2 * n)
		w.Buf = wire.AppendMap(w.Buf, n)
		return v.elements(w, from, n)
	case duckdb.TypeStruct:
		w.Hold(2 * len(v.children))
		w.Buf = wire.AppendStruct(w.Buf, v.k.shape)
		return v.elements(w, row, 1)
	}
	tag := int(get[uint8](v, row)) // of a union
	if tag >= len(v.children) {
		w.Buf = wire.AppendNull(w.Buf)
		return nil
	}
	return v.children[tag].append(w, row)
}

// elements writes n rows of all children.
func (v *vector) elements(w *wire.Writer, from, n int) error {
	for i := from; i < from+n; i++ {
		for c := range v.children {
			if err := v.children[c].append(w, i); err != nil {
				return err
			}
		}
	}
	return nil
}
