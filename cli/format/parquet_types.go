package format

import (
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/encode"
)

// parquetType is a Parquet type for a type of SQL.
type parquetType struct {
	node parquet.Node
	// value converts a value that is not null. It returns false if the type cannot hold it.
	value func(v any) (parquet.Value, bool)
}

// parquetTypes has the types of SQL that are not text or JSON.
var parquetTypes = map[string]parquetType{
	"BOOLEAN":      {parquet.Leaf(parquet.BooleanType), func(v any) (parquet.Value, bool) { b, ok := v.(bool); return parquet.BooleanValue(b), ok }},
	"TINYINT":      {parquet.Int(64), parquetInt},
	"SMALLINT":     {parquet.Int(64), parquetInt},
	"INTEGER":      {parquet.Int(64), parquetInt},
	"BIGINT":       {parquet.Int(64), parquetInt},
	"UTINYINT":     {parquet.Int(64), parquetInt},
	"USMALLINT":    {parquet.Int(64), parquetInt},
	"UINTEGER":     {parquet.Int(64), parquetInt},
	"UBIGINT":      {parquet.Uint(64), parquetUint},
	"HUGEINT":      parquetDecimal(maxDigits, 0),
	"UHUGEINT":     parquetDecimal(maxDigits, 0),
	"FLOAT":        {parquet.Leaf(parquet.DoubleType), parquetFloat},
	"DOUBLE":       {parquet.Leaf(parquet.DoubleType), parquetFloat},
	"DATE":         {parquet.Date(), parquetDate},
	"TIMESTAMP":    {parquet.TimestampAdjusted(parquet.Microsecond, false), parquetMicros},
	"TIMESTAMP_S":  {parquet.TimestampAdjusted(parquet.Microsecond, false), parquetMicros},
	"TIMESTAMP_MS": {parquet.TimestampAdjusted(parquet.Microsecond, false), parquetMicros},
	"TIMESTAMP_NS": {parquet.TimestampAdjusted(parquet.Nanosecond, false), parquetNanos},
	"BLOB":         {parquet.Leaf(parquet.ByteArrayType), func(v any) (parquet.Value, bool) { b, ok := v.([]byte); return parquet.ByteArrayValue(b), ok }},
	"JSON":         {parquet.JSON(), parquetText},

	"TIMESTAMP WITH TIME ZONE": {parquet.TimestampAdjusted(parquet.Microsecond, true), parquetMicros},
}

// maxDigits is the precision of the widest decimal that readers of Parquet have.
const maxDigits = 38

// parquetTypeOf is the type for a type of SQL. Lists, structs, maps and unions become JSON; what
// Parquet has no type for, such as TIME and ENUM, becomes text.
func parquetTypeOf(sql string) parquetType {
	if t, ok := parquetTypes[sql]; ok {
		return t
	}
	switch {
	case strings.HasSuffix(sql, "]") || strings.HasPrefix(sql, "STRUCT(") || strings.HasPrefix(sql, "MAP(") || strings.HasPrefix(sql, "UNION("):
		return parquetType{parquet.JSON(), func(v any) (parquet.Value, bool) {
			return parquet.ByteArrayValue(encode.JSON(nil, v)), true
		}}
	case strings.HasPrefix(sql, "DECIMAL("):
		digits, scale, _ := strings.Cut(strings.TrimSuffix(sql[len("DECIMAL("):], ")"), ",")
		p, _ := strconv.Atoi(digits)
		s, err := strconv.Atoi(scale)
		if err == nil && 0 < p && p <= maxDigits && 0 <= s && s <= p {
			return parquetDecimal(p, s)
		}
	}
	return parquetType{parquet.String(), parquetText}
}

func parquetText(v any) (parquet.Value, bool) {
	s, ok := v.(string)
	return parquet.ByteArrayValue([]byte(s)), ok
}

func parquetInt(v any) (parquet.Value, bool) {
	n, ok := v.(int64)
	return parquet.Int64Value(n), ok
}

func parquetUint(v any) (parquet.Value, bool) {
	switch n := v.(type) {
	case int64:
		return parquet.Int64Value(n), n >= 0
	case *big.Int:
		return parquet.Int64Value(int64(n.Uint64())), n.IsUint64()
	}
	return parquet.Value{}, false
}

func parquetFloat(v any) (parquet.Value, bool) {
	f, ok := v.(float64)
	return parquet.DoubleValue(f), ok
}

// parquetDate takes the text of a date. DuckDB has dates that Go has not, such as those before the
// year 1 and infinity.
func parquetDate(v any) (parquet.Value, bool) {
	s, _ := v.(string)
	t, err := time.Parse(time.DateOnly, s)
	return parquet.Int32Value(int32(t.Unix() / (24 * 60 * 60))), err == nil
}

func parquetMicros(v any) (parquet.Value, bool) {
	t, ok := v.(time.Time) // infinity is text
	n := t.UnixMicro()
	return parquet.Int64Value(n), ok && time.UnixMicro(n).Equal(t.Truncate(time.Microsecond))
}

func parquetNanos(v any) (parquet.Value, bool) {
	t, ok := v.(time.Time)
	n := t.UnixNano()
	return parquet.Int64Value(n), ok && time.Unix(0, n).Equal(t)
}

// parquetDecimal is a decimal in 16 bytes, the form that all readers have for each precision.
func parquetDecimal(digits, scale int) parquetType {
	const size = 16
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	return parquetType{parquet.Decimal(scale, digits, parquet.FixedLenByteArrayType(size)), func(v any) (parquet.Value, bool) {
		var n *big.Int
		switch v := v.(type) {
		case int64:
			n = big.NewInt(v)
		case *big.Int:
			n = v
		case forensics.Decimal: // text with scale digits after its point
			var ok bool
			if n, ok = new(big.Int).SetString(strings.Replace(string(v), ".", "", 1), 10); !ok {
				return parquet.Value{}, false
			}
		}
		if n == nil || n.CmpAbs(limit) >= 0 {
			return parquet.Value{}, false
		}
		b := make([]byte, size)
		if n.Sign() < 0 { // two's complement
			n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), 8*size))
		}
		return parquet.FixedLenByteArrayValue(n.FillBytes(b)), true
	}}
}
