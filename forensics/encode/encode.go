// Package encode writes the values of an answer: as JSON, and as text for tables and CSV.
package encode

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Row appends a row as one JSON object with keys in the order of the columns. JSON
// defines the format of values.
func Row(dst []byte, cols []forensics.Column, row []any) []byte {
	dst = append(dst, '{')
	for i, col := range cols {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, col.Name), ':')
		if s, ok := row[i].(string); ok && col.Type == "JSON" && json.Valid([]byte(s)) {
			dst = append(dst, s...)
			continue
		}
		dst = JSON(dst, row[i])
	}
	return append(dst, '}')
}

// JSON appends a value as JSON: times as when.Layout, BLOBs (call_id, hashes, bytes) in
// lower-case hexadecimal, numbers without loss, NaN and infinity as text, structs as objects, or as
// lists if their fields have no names, maps as lists of objects with key and value.
func JSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case *big.Int:
		return v.Append(dst, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return appendText(dst, strconv.FormatFloat(v, 'g', -1, 64))
		}
		return appendFloat(dst, v)
	case forensics.Decimal:
		return append(dst, v...)
	case string:
		return appendText(dst, v)
	case []byte:
		return append(hex.AppendEncode(append(dst, '"'), v), '"')
	case time.Time:
		return append(v.UTC().AppendFormat(append(dst, '"'), when.Layout), '"')
	case []any:
		dst = append(dst, '[')
		for i, x := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = JSON(dst, x)
		}
		return append(dst, ']')
	case forensics.Struct:
		if v.Nameless() {
			return JSON(dst, v.Values())
		}
		dst = append(dst, '{')
		for i, f := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = JSON(append(appendText(dst, f.Name), ':'), f.Value)
		}
		return append(dst, '}')
	case forensics.Map:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = JSON(append(dst, `{"key":`...), e.Key)
			dst = append(JSON(append(dst, `,"value":`...), e.Value), '}')
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

// appendFloat writes whole numbers without an exponent if they are exact.
func appendFloat(dst []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.AppendFloat(dst, v, 'f', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendText writes a JSON string. Unlike encoding/json it does not escape <, > and &.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c == '\n':
				dst = append(dst, '\\', 'n')
			case c == '\r':
				dst = append(dst, '\\', 'r')
			case c == '\t':
				dst = append(dst, '\\', 't')
			case c < 0x20 || c == 0x7f:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			default:
				dst = append(dst, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, `\ufffd`...)
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return append(dst, '"')
}
