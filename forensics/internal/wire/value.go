package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"
	"unicode/utf8"
)

// Decimal is an exact decimal number in digits.
type Decimal string

// Field is one field of a Struct.
type Field struct {
	Name  string
	Value any
}

// Struct is a STRUCT with its fields in order.
type Struct []Field

// Get returns the value of a field, or nil if there is none.
func (s Struct) Get(name string) any {
	for i := range s {
		if s[i].Name == name {
			return s[i].Value
		}
	}
	return nil
}

// Nameless reports whether the fields have no names, as in row(1, 2).
func (s Struct) Nameless() bool { return len(s) > 0 && s[0].Name == "" }

// Values returns the values of the fields in order.
func (s Struct) Values() []any {
	out := make([]any, len(s))
	for i := range s {
		out[i] = s[i].Value
	}
	return out
}

// Entry is one entry of a Map.
type Entry struct{ Key, Value any }

// Map is a MAP in its order.
type Map []Entry

// Tags before values.
const (
	tagNull = iota
	tagFalse
	tagTrue
	tagInt
	tagBig
	tagFloat
	tagDecimal
	tagText
	tagBytes
	tagTime
	tagList
	tagStruct
	tagMap
	// Only as arguments.
	tagTexts
	tagInts
	tagInt32
	tagUint64
)

// AppendNull writes a null.
func AppendNull(b []byte) []byte { return append(b, tagNull) }

// AppendInt writes an integer.
func AppendInt(b []byte, n int64) []byte { return binary.AppendVarint(append(b, tagInt), n) }

// AppendString writes a text as a value.
func AppendString(b, s []byte) []byte {
	return append(binary.AppendUvarint(append(b, tagText), uint64(len(s))), s...)
}

// AppendList begins a list of n values, which follow.
func AppendList(b []byte, n int) []byte { return binary.AppendUvarint(append(b, tagList), uint64(n)) }

// AppendStruct begins a struct; its values follow.
func AppendStruct(b []byte, shape int) []byte {
	return binary.AppendUvarint(append(b, tagStruct), uint64(shape))
}

// AppendMap begins a map of n keys, each followed by its value.
func AppendMap(b []byte, n int) []byte { return binary.AppendUvarint(append(b, tagMap), uint64(n)) }

// AppendValue writes a plain value.
func AppendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return AppendNull(b), nil
	case bool:
		if v {
			return append(b, tagTrue), nil
		}
		return append(b, tagFalse), nil
	case int64:
		return AppendInt(b, v), nil
	case float64:
		return binary.LittleEndian.AppendUint64(append(b, tagFloat), math.Float64bits(v)), nil
	case string:
		return appendText(append(b, tagText), v), nil
	case []byte:
		return append(binary.AppendUvarint(append(b, tagBytes), uint64(len(v))), v...), nil
	case Decimal:
		return appendText(append(b, tagDecimal), string(v)), nil
	case time.Time:
		b = binary.AppendVarint(append(b, tagTime), v.Unix())
		return binary.AppendUvarint(b, uint64(v.Nanosecond())), nil
	case *big.Int:
		sign := byte(0)
		if v.Sign() < 0 {
			sign = 1
		}
		return appendText(append(b, tagBig, sign), string(v.Bytes())), nil
	}
	return nil, fmt.Errorf("type %T is not supported on the wire", v)
}

var errNotUTF8 = errors.New("text that is not UTF-8")

// appendArg writes an argument of a query.
func appendArg(b []byte, a any) ([]byte, error) {
	switch a := a.(type) {
	case int:
		return AppendInt(b, int64(a)), nil
	case int32:
		return binary.AppendVarint(append(b, tagInt32), int64(a)), nil
	case uint64:
		return binary.AppendUvarint(append(b, tagUint64), a), nil
	case nil, bool, int64, float64, []byte, time.Time:
		return AppendValue(b, a)
	case string:
		if !utf8.ValidString(a) { // DuckDB would throw an uncaught exception
			return nil, errNotUTF8
		}
		return AppendValue(b, a)
	case []string:
		for _, x := range a {
			if !utf8.ValidString(x) {
				return nil, errNotUTF8
			}
		}
		return appendTexts(append(b, tagTexts), a), nil
	case []int64:
		b = binary.AppendUvarint(append(b, tagInts), uint64(len(a)))
		for _, x := range a {
			b = binary.AppendVarint(b, x)
		}
		return b, nil
	}
	return nil, fmt.Errorf("type %T, expected nil, bool, int, float64, string, []byte, time.Time or a list of text or int64", a)
}

// Reader reads values. It stores the first error; after that all values are empty.
type Reader struct {
	data   []byte
	shapes []Shape
	budget int // bytes of memory left for values; 0: limited by the data
	held   int
	err    error
}

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrFrame}, args...)...)
	}
	r.data = nil
}

// end returns the error, or an error if data is left over.
func (r *Reader) end() error {
	if r.err == nil && len(r.data) > 0 {
		r.fail("%d bytes too many", len(r.data))
	}
	return r.err
}

func (r *Reader) byte() byte {
	if len(r.data) == 0 {
		r.fail("cut short")
		return 0
	}
	c := r.data[0]
	r.data = r.data[1:]
	return c
}

func (r *Reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.data)
	if size <= 0 {
		r.fail("no number")
		return 0
	}
	r.data = r.data[size:]
	return n
}

func (r *Reader) varint() int64 {
	n, size := binary.Varint(r.data)
	if size <= 0 {
		r.fail("no number")
		return 0
	}
	r.data = r.data[size:]
	return n
}

// count reads a number of items of at least one byte each.
func (r *Reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.fail("%d things in %d bytes", n, len(r.data))
		return 0
	}
	return int(n)
}

func (r *Reader) bytes() []byte {
	n := r.count()
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *Reader) text() string { return string(r.bytes()) }

// listed reads the number of items in a list that the program or the worker made itself.
func (r *Reader) listed() int {
	n := r.count()
	if n > maxList {
		r.fail("a list of %d", n)
		return 0
	}
	return n
}

func (r *Reader) texts() []string {
	list := make([]string, r.listed())
	for i := range list {
		list[i] = r.text()
	}
	return list
}

// hold counts memory.
func (r *Reader) hold(n int) bool {
	r.held += n
	if r.budget > 0 && r.held > r.budget {
		r.fail("a value of more than %d bytes", r.budget)
		return false
	}
	return true
}

func (r *Reader) value(depth int) any {
	if depth > maxDepth {
		r.fail("values nested more than %d deep", maxDepth)
		return nil
	}
	switch tag := r.byte(); tag {
	case tagNull:
		return nil
	case tagFalse, tagTrue:
		return tag == tagTrue
	case tagInt:
		return r.varint()
	case tagFloat:
		if len(r.data) < 8 {
			r.fail("cut short")
			return nil
		}
		v := math.Float64frombits(binary.LittleEndian.Uint64(r.data))
		r.data = r.data[8:]
		return v
	case tagText:
		return r.text()
	case tagBytes:
		return append([]byte{}, r.bytes()...)
	case tagDecimal:
		return Decimal(r.text())
	case tagList:
		return r.list(depth)
	case tagStruct:
		return r.structure(depth)
	case tagMap:
		return r.entries(depth)
	default:
		return r.rare(tag)
	}
}

func (r *Reader) list(depth int) any {
	n := r.count()
	if !r.hold(n * perValue) {
		return nil
	}
	out := make([]any, n)
	for i := range out {
		out[i] = r.value(depth + 1)
	}
	return out
}

func (r *Reader) structure(depth int) any {
	n := r.uvarint()
	if n >= uint64(len(r.shapes)) {
		r.fail("shape %d of %d", n, len(r.shapes))
		return nil
	}
	shape := r.shapes[n]
	if !r.hold(len(shape) * 2 * perValue) {
		return nil
	}
	s := make(Struct, len(shape))
	for i, name := range shape {
		s[i] = Field{name, r.value(depth + 1)}
	}
	return s
}

func (r *Reader) entries(depth int) any {
	n := r.count()
	if !r.hold(n * 2 * perValue) {
		return nil
	}
	m := make(Map, n)
	for i := range m {
		m[i] = Entry{r.value(depth + 1), r.value(depth + 1)}
	}
	return m
}

// rare reads values that are rare in rows or only used in arguments.
func (r *Reader) rare(tag byte) any {
	switch tag {
	case tagTime:
		s, ns := r.varint(), r.uvarint()
		if ns > 999_999_999 {
			r.fail("%d nanoseconds", ns)
			return nil
		}
		return time.Unix(s, int64(ns)).UTC()
	case tagBig:
		negative, digits := r.byte() != 0, r.bytes()
		if len(digits) > maxBig {
			r.fail("an integer of %d bytes", len(digits))
			return nil
		}
		n := new(big.Int).SetBytes(digits)
		if negative {
			n.Neg(n)
		}
		return n
	case tagTexts:
		return r.texts()
	case tagInts:
		list := make([]int64, r.count())
		for i := range list {
			list[i] = r.varint()
		}
		return list
	case tagInt32:
		return int32(r.varint())
	case tagUint64:
		return r.uvarint()
	}
	r.fail("value of kind %d", tag)
	return nil
}
