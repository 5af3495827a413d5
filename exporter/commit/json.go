package commit

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/internal/columnar"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// appendJSON appends a value of a row: text as the table has it, bytes in hexadecimal, a range of
// packets as a list of two numbers.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(b, v)
	case int32:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case string:
		return textItem(b, v)
	case []byte:
		return appendHex(b, v)
	case table.ID:
		return appendHex(b, v[:])
	case table.Hash:
		return appendHex(b, v[:])
	case []string:
		return appendList(b, v, textItem)
	case []int64:
		return appendList(b, v, func(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) })
	case table.Cites:
		return appendList(b, v, func(b []byte, r table.Range) []byte { return fmt.Appendf(b, "[%d,%d]", r.First, r.Last) })
	case []table.Header:
		return appendList(b, v, func(b []byte, h table.Header) []byte {
			return appendList(b, []string{h.Name, h.Value, h.Kind}, textItem)
		})
	case []table.Pair:
		return appendList(b, v, func(b []byte, p table.Pair) []byte { return appendList(b, []string{p.Name, p.Value}, textItem) })
	}
	panic(fmt.Sprintf("a row has a value of type %T", v)) // parts.Rows names all types
}

func textItem(b []byte, s string) []byte { return appendText(b, columnar.EscapeText(s)) }

func appendList[T any](b []byte, list []T, item func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, v)
	}
	return append(b, ']')
}

func appendHex(b, v []byte) []byte { return append(hex.AppendEncode(append(b, '"'), v), '"') }

// appendText appends a text in quotes, with the escapes of RFC 8785 section 3.2.2.2.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(append(b, s[from:]...), '"')
}
