package format

import (
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/internal/version"
)

// parquetRows writes an answer as one Parquet file, with the types of parquetTypes.
type parquetRows struct {
	out  io.Writer
	w    *parquet.GenericWriter[any]
	as   []parquetType // by column
	at   []int         // by column: index in the file, whose columns are sorted by name
	rows []parquet.Row
}

// Begin implements Rows.
func (p *parquetRows) Begin(cols []forensics.Column) error {
	group := parquet.Group{}
	p.as = make([]parquetType, len(cols))
	for i, c := range cols {
		if _, twice := group[c.Name]; twice {
			return exit.Usagef("two columns are named %s; rename one with AS", c.Name)
		}
		p.as[i] = parquetTypeOf(c.Type)
		group[c.Name] = parquet.Optional(p.as[i].node)
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
func (p *parquetRows) Row(cols []forensics.Column, row []any) error {
	line := make(parquet.Row, len(row))
	for i, v := range row {
		out := parquet.NullValue().Level(0, 0, p.at[i])
		if v != nil {
			x, ok := p.as[i].value(v)
			if !ok {
				return exit.Usagef("column %s: %s does not fit Parquet's type for %s; cast it to VARCHAR", cols[i].Name, strings.Trim(string(encode.JSON(nil, v)), `"`), cols[i].Type)
			}
			out = x.Level(0, 1, p.at[i])
		}
		line[p.at[i]] = out
	}
	if p.rows = append(p.rows, line); len(p.rows) < 1024 {
		return nil
	}
	return p.flush()
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
