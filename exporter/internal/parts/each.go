package parts

import (
	"context"
	"fmt"
	"io"
	"slices"

	schema "github.com/pcapsule/pcapsule/exporter/table"
)

// Each visits some columns of a table, in the order of their names here.
func Each(ctx context.Context, files, columns []string, visit func(values []any) error) error {
	rows, err := ReadRows(files, func(name string, _ schema.Kind) bool { return slices.Contains(columns, name) })
	if err != nil {
		return err
	}
	defer rows.Close()
	if len(rows.Columns) == 0 {
		return nil
	}
	order := make([]int, len(columns))
	for i, c := range columns {
		if order[i] = slices.Index(rows.Columns, c); order[i] < 0 {
			return fmt.Errorf("no column %s", c)
		}
	}
	var values []any
	sorted := make([]any, len(columns))
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if values, err = rows.Next(values); err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for i, k := range order {
			sorted[i] = values[k]
		}
		if err := visit(sorted); err != nil {
			return err
		}
	}
}
