package engine

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
	"github.com/pcapsule/pcapsule/internal/quote"
)

var errUnsupported = errors.New("this type is not supported; cast it to VARCHAR")

// maxTypeDepth is the highest nesting of types.
const maxTypeDepth = 64

// kind is the type of a column with the data needed to read its values.
type kind struct {
	id       duckdb.Type // type of the values; inner is the integer type of an ENUM or DECIMAL
	inner    duckdb.Type
	name     string
	scale    int
	size     int // of an ARRAY
	words    []string
	names    []string
	shape    int // number of a STRUCT's shape in the answer
	children []*kind
}

// newKind adds the shapes of structs to shapes.
func newKind(t duckdb.LogicalType, shapes *[]wire.Shape, depth int) (*kind, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("types nested more than %d deep", maxTypeDepth)
	}
	k := &kind{id: duckdb.GetTypeId(t)}
	k.name = typeNames[k.id]
	child := func(c duckdb.LogicalType) error {
		defer duckdb.DestroyLogicalType(&c)
		x, err := newKind(c, shapes, depth+1)
		k.children = append(k.children, x)
		return err
	}
	switch k.id {
	case duckdb.TypeVarchar:
		if alias := duckdb.LogicalTypeGetAlias(t); alias != "" {
			k.name = alias
		}
	case duckdb.TypeDecimal:
		k.inner, k.scale = duckdb.DecimalInternalType(t), int(duckdb.DecimalScale(t))
		k.name = fmt.Sprintf("DECIMAL(%d,%d)", duckdb.DecimalWidth(t), k.scale)
	case duckdb.TypeEnum:
		k.inner = duckdb.EnumInternalType(t)
		for i := range duckdb.EnumDictionarySize(t) {
			k.words = append(k.words, duckdb.EnumDictionaryValue(t, duckdb.IdxT(i)))
		}
	case duckdb.TypeList:
		if err := child(duckdb.ListTypeChildType(t)); err != nil {
			return nil, err
		}
		k.name = k.children[0].name + "[]"
	case duckdb.TypeArray:
		k.size = int(duckdb.ArrayTypeArraySize(t))
		if err := child(duckdb.ArrayTypeChildType(t)); err != nil {
			return nil, err
		}
		k.name = k.children[0].name + "[" + strconv.Itoa(k.size) + "]"
	case duckdb.TypeMap:
		if err := child(duckdb.MapTypeKeyType(t)); err != nil {
			return nil, err
		}
		if err := child(duckdb.MapTypeValueType(t)); err != nil {
			return nil, err
		}
		k.name = "MAP(" + k.children[0].name + ", " + k.children[1].name + ")"
	case duckdb.TypeStruct:
		for i := range duckdb.StructTypeChildCount(t) {
			k.names = append(k.names, duckdb.StructTypeChildName(t, i))
			if err := child(duckdb.StructTypeChildType(t, i)); err != nil {
				return nil, err
			}
		}
		k.name = k.fields("STRUCT")
		k.shape = len(*shapes)
		*shapes = append(*shapes, k.names)
	case duckdb.TypeUnion:
		for i := range duckdb.UnionTypeMemberCount(t) {
			k.names = append(k.names, duckdb.UnionTypeMemberName(t, i))
			if err := child(duckdb.UnionTypeMemberType(t, i)); err != nil {
				return nil, err
			}
		}
		k.name = k.fields("UNION")
	}
	if k.name == "" {
		return nil, errUnsupported
	}
	return k, nil
}

func (k *kind) fields(word string) string {
	parts := make([]string, len(k.names))
	for i, n := range k.names {
		parts[i] = quote.Ident(n) + " " + k.children[i].name
	}
	return word + "(" + strings.Join(parts, ", ") + ")"
}

var typeNames = map[duckdb.Type]string{
	duckdb.TypeBoolean: "BOOLEAN", duckdb.TypeTinyInt: "TINYINT", duckdb.TypeSmallInt: "SMALLINT", duckdb.TypeInteger: "INTEGER",
	duckdb.TypeBigInt: "BIGINT", duckdb.TypeUTinyInt: "UTINYINT", duckdb.TypeUSmallInt: "USMALLINT", duckdb.TypeUInteger: "UINTEGER",
	duckdb.TypeUBigInt: "UBIGINT", duckdb.TypeHugeInt: "HUGEINT", duckdb.TypeUHugeInt: "UHUGEINT", duckdb.TypeFloat: "FLOAT",
	duckdb.TypeDouble: "DOUBLE", duckdb.TypeTimestamp: "TIMESTAMP", duckdb.TypeTimestampS: "TIMESTAMP_S", duckdb.TypeTimestampMS: "TIMESTAMP_MS",
	duckdb.TypeTimestampNS: "TIMESTAMP_NS", duckdb.TypeTimestampTZ: "TIMESTAMP WITH TIME ZONE", duckdb.TypeDate: "DATE", duckdb.TypeTime: "TIME",
	duckdb.TypeInterval: "INTERVAL", duckdb.TypeVarchar: "VARCHAR", duckdb.TypeBlob: "BLOB", duckdb.TypeUUID: "UUID", duckdb.TypeEnum: "ENUM",
	duckdb.TypeSQLNull: "NULL",
}

// vector is one column of a chunk. It points into DuckDB's memory and is valid until the next chunk
// is fetched.
type vector struct {
	k        *kind
	data     unsafe.Pointer
	valid    unsafe.Pointer // bitmap of rows that are not null, or nil
	children []vector
}

func (v *vector) load(k *kind, from duckdb.Vector) {
	v.k, v.data, v.valid = k, duckdb.VectorGetData(from), duckdb.VectorGetValidity(from)
	if v.children == nil && len(k.children) > 0 {
		v.children = make([]vector, len(k.children))
	}
	switch k.id {
	case duckdb.TypeList:
		v.children[0].load(k.children[0], duckdb.ListVectorGetChild(from))
	case duckdb.TypeArray:
		v.children[0].load(k.children[0], duckdb.ArrayVectorGetChild(from))
	case duckdb.TypeMap: // a list of structs of key and value
		entries := duckdb.ListVectorGetChild(from)
		for i := range v.children {
			v.children[i].load(k.children[i], duckdb.StructVectorGetChild(entries, duckdb.IdxT(i)))
		}
	case duckdb.TypeStruct:
		for i := range v.children {
			v.children[i].load(k.children[i], duckdb.StructVectorGetChild(from, duckdb.IdxT(i)))
		}
	case duckdb.TypeUnion: // a struct whose first field is the tag
		v.data = duckdb.VectorGetData(duckdb.StructVectorGetChild(from, 0))
		for i := range v.children {
			v.children[i].load(k.children[i], duckdb.StructVectorGetChild(from, duckdb.IdxT(i+1)))
		}
	}
}

func (v *vector) null(row int) bool {
	if v.valid == nil {
		return false
	}
	return *(*uint64)(unsafe.Add(v.valid, row/64*8))>>(row%64)&1 == 0
}

func get[T any](v *vector, row int) T {
	var zero T
	return *(*T)(unsafe.Add(v.data, uintptr(row)*unsafe.Sizeof(zero)))
}

func (v *vector) span(row int) (from, n int) {
	if v.k.id == duckdb.TypeArray {
		return row * v.k.size, v.k.size
	}
	e := get[[2]uint64](v, row)
	return int(e[0]), int(e[1])
}

// bytes returns a string without copying: up to 12 bytes are in the vector, longer ones behind a
// pointer.
func (v *vector) bytes(row int) []byte {
	at := unsafe.Add(v.data, row*16)
	n := *(*uint32)(at)
	if n <= 12 {
		return unsafe.Slice((*byte)(unsafe.Add(at, 4)), n)
	}
	return unsafe.Slice(*(**byte)(unsafe.Add(at, 8)), n)
}

// rare returns a value of a type that tables do not have but queries can produce.
func (v *vector) rare(row int) (any, error) {
	switch v.k.id {
	case duckdb.TypeTinyInt:
		return int64(get[int8](v, row)), nil
	case duckdb.TypeSmallInt:
		return int64(get[int16](v, row)), nil
	case duckdb.TypeUTinyInt:
		return int64(get[uint8](v, row)), nil
	case duckdb.TypeUSmallInt:
		return int64(get[uint16](v, row)), nil
	case duckdb.TypeUInteger:
		return int64(get[uint32](v, row)), nil
	case duckdb.TypeUBigInt:
		return fit(new(big.Int).SetUint64(get[uint64](v, row))), nil
	case duckdb.TypeHugeInt:
		return fit(v.huge(row, true)), nil
	case duckdb.TypeUHugeInt:
		return fit(v.huge(row, false)), nil
	case duckdb.TypeDecimal:
		return v.decimal(row), nil
	case duckdb.TypeEnum:
		n := v.small(v.k.inner, row)
		if n < 0 || n >= int64(len(v.k.words)) {
			return nil, fmt.Errorf("word %d of %d", n, len(v.k.words))
		}
		return v.k.words[n], nil
	case duckdb.TypeTimestamp, duckdb.TypeTimestampTZ, duckdb.TypeTimestampS, duckdb.TypeTimestampMS, duckdb.TypeTimestampNS:
		return v.time(row), nil
	case duckdb.TypeDate:
		return date(get[int32](v, row)), nil
	case duckdb.TypeTime:
		return clock(get[int64](v, row)), nil
	case duckdb.TypeInterval:
		return v.interval(row), nil
	case duckdb.TypeUUID:
		h := v.huge(row, true)
		h.Add(h, new(big.Int).Lsh(big.NewInt(1), 127)) // stored with the highest bit inverted
		var b [16]byte
		h.FillBytes(b[:])
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
	case duckdb.TypeSQLNull:
		return nil, nil
	}
	return nil, errUnsupported
}

// fit returns n as an int64 if possible: sums of BIGINT are HUGEINT, but mostly small.
func fit(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func (v *vector) huge(row int, signed bool) *big.Int {
	w := get[[2]uint64](v, row)
	high := new(big.Int).SetUint64(w[1])
	if signed {
		high.SetInt64(int64(w[1]))
	}
	high.Lsh(high, 64)
	return high.Add(high, new(big.Int).SetUint64(w[0]))
}

func (v *vector) small(t duckdb.Type, row int) int64 {
	switch t {
	case duckdb.TypeUTinyInt:
		return int64(get[uint8](v, row))
	case duckdb.TypeUSmallInt:
		return int64(get[uint16](v, row))
	case duckdb.TypeUInteger:
		return int64(get[uint32](v, row))
	case duckdb.TypeSmallInt:
		return int64(get[int16](v, row))
	case duckdb.TypeInteger:
		return int64(get[int32](v, row))
	}
	return get[int64](v, row)
}

func (v *vector) decimal(row int) wire.Decimal {
	n := big.NewInt(0)
	if v.k.inner == duckdb.TypeHugeInt {
		n = v.huge(row, true)
	} else {
		n.SetInt64(v.small(v.k.inner, row))
	}
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
		n.Abs(n)
	}
	s := n.String()
	if v.k.scale == 0 {
		return wire.Decimal(sign + s)
	}
	if len(s) <= v.k.scale {
		s = strings.Repeat("0", v.k.scale-len(s)+1) + s
	}
	return wire.Decimal(sign + s[:len(s)-v.k.scale] + "." + s[len(s)-v.k.scale:])
}

// time returns a time.Time, or a text for DuckDB's infinities.
func (v *vector) time(row int) any {
	n := get[int64](v, row)
	switch n {
	case math.MaxInt64:
		return "infinity"
	case -math.MaxInt64:
		return "-infinity"
	}
	switch v.k.id {
	case duckdb.TypeTimestampS:
		return time.Unix(n, 0).UTC()
	case duckdb.TypeTimestampMS:
		return time.UnixMilli(n).UTC()
	case duckdb.TypeTimestampNS:
		return time.Unix(0, n).UTC()
	}
	return time.UnixMicro(n).UTC()
}

func date(days int32) string {
	switch days {
	case math.MaxInt32:
		return "infinity"
	case -math.MaxInt32:
		return "-infinity"
	}
	return time.Unix(int64(days)*86400, 0).UTC().Format(time.DateOnly)
}

func clock(micros int64) string {
	s := micros / 1e6
	return fmt.Sprintf("%02d:%02d:%02d.%06d", s/3600, s/60%60, s%60, micros%1e6)
}

// interval writes an ISO 8601 duration.
func (v *vector) interval(row int) string {
	w := get[struct {
		months, days int32
		micros       int64
	}](v, row)
	s := "P"
	if w.months != 0 {
		s += strconv.Itoa(int(w.months)) + "M"
	}
	if w.days != 0 {
		s += strconv.Itoa(int(w.days)) + "D"
	}
	if w.micros != 0 || s == "P" {
		s += "T" + strings.TrimSuffix(strconv.FormatFloat(float64(w.micros)/1e6, 'f', 6, 64), ".000000") + "S"
	}
	return s
}
