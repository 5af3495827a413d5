package format

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/version"
)

// parquetRows writes an answer as one Parquet file. Whole numbers, booleans, text,
// bytes and times keep their type; lists, structs and maps become JSON.
type parquetRows struct {
	out  io.Writer
	w    *parquet.GenericWriter[any]
	kind []byte // by column: i integer, b bool, f float, t time, x bytes, j JSON, s text
	at   []int  // by column: index in the file, whose columns are sorted by name
	rows []parquet.Row
}

// Begin implements Rows.
func (p *parquetRows) Begin(cols []forensics.Column) error {
	group := parquet.Group{}
	p.kind = make([]byte, len(cols))
	for i, c := range cols {
		if _, twice := group[c.Name]; twice {
			return exit.Usagef("two columns are named %s; rename one with AS", c.Name)
		}
		var node parquet.Node
		switch t := c.Type; {
		case t == "BIGINT" || t == "INTEGER" || t == "SMALLINT" || t == "TINYINT" || t == "UINTEGER" || t == "USMALLINT" || t == "UTINYINT":
			p.kind[i], node = 'i', parquet.Int(64)
		case t == "BOOLEAN":
			p.kind[i], node = 'b', parquet.Leaf(parquet.BooleanType)
		case t == "DOUBLE" || t == "FLOAT":
			p.kind[i], node = 'f', parquet.Leaf(parquet.DoubleType)
		case strings.HasPrefix(t, "TIMESTAMP"):
			p.kind[i], node = 't', parquet.TimestampAdjusted(parquet.Nanosecond, false)
		case t == "BLOB":
			p.kind[i], node = 'x', parquet.Leaf(parquet.ByteArrayType)
		case t == "VARCHAR":
			p.kind[i], node = 's', parquet.String()
		default:
			p.kind[i], node = 'j', parquet.JSON()
		}
		group[c.Name] = parquet.Optional(node)
	}
	schema := parquet.NewSchema("answer", group)
	p.at = make([]int, len(cols))
	for i, c := range cols {
		leaf, ok := schema.Lookup(c.Name)
		if !ok {
			return fmt.Errorf("writing parquet: column %s is not in the schema", c.Name)
		}
		p.at[i] = leaf.ColumnIndex
	}
	p.w = parquet.NewGenericWriter[any](p.out, schema, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("pcapsule", version.Release, ""))
	return nil
}

// Row implements Rows.
func (p *parquetRows) Row(_ []forensics.Column, row []any) error {
	line := make(parquet.Row, len(row))
	for i, v := range row {
		line[p.at[i]] = p.value(i, v)
	}
	if p.rows = append(p.rows, line); len(p.rows) < 1024 {
		return nil
	}
	return p.flush()
}

func (p *parquetRows) value(i int, v any) parquet.Value {
	if v == nil {
		return parquet.NullValue().Level(0, 0, p.at[i])
	}
	var out parquet.Value
	switch x := v.(type) {
	case int64:
		out = parquet.Int64Value(x)
	case bool:
		out = parquet.BooleanValue(x)
	case float64:
		out = parquet.DoubleValue(x)
	case time.Time:
		out = parquet.Int64Value(x.UnixNano())
	case []byte:
		out = parquet.ByteArrayValue(x)
	case string:
		out = parquet.ByteArrayValue([]byte(x))
	default:
		out = parquet.ByteArrayValue(encode.JSON(nil, v))
	}
	return out.Level(0, 1, p.at[i])
}

func (p *parquetRows) flush() error {
	_, err := p.w.WriteRows(p.rows)
	p.rows = p.rows[:0]
	return err
}

// End implements Rows.
func (p *parquetRows) End() error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.w.Close()
}
